//! The joints that OpenPose finds.

/// A joint of OpenPose's BODY_25, numbered as there. Right and left are the person's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "`name` says what each is")]
#[rustfmt::skip]
pub enum Joint {
    Nose, Neck, RightShoulder, RightElbow, RightWrist, LeftShoulder, LeftElbow, LeftWrist, MidHip, RightHip, RightKnee,
    RightAnkle, LeftHip, LeftKnee, LeftAnkle, RightEye, LeftEye, RightEar, LeftEar, LeftBigToe, LeftSmallToe, LeftHeel,
    RightBigToe, RightSmallToe, RightHeel,
}

impl Joint {
    /// All joints, in the order of BODY_25.
    #[rustfmt::skip]
    pub const ALL: [Self; 25] = {
        use Joint::*;
        [
            Nose, Neck, RightShoulder, RightElbow, RightWrist, LeftShoulder, LeftElbow, LeftWrist, MidHip, RightHip,
            RightKnee, RightAnkle, LeftHip, LeftKnee, LeftAnkle, RightEye, LeftEye, RightEar, LeftEar, LeftBigToe,
            LeftSmallToe, LeftHeel, RightBigToe, RightSmallToe, RightHeel,
        ]
    };

    /// What people call it, as in "right elbow".
    #[rustfmt::skip]
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 25] = [
            "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
            "middle of the hips", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
            "right eye", "left eye", "right ear", "left ear", "left big toe", "left small toe", "left heel",
            "right big toe", "right small toe", "right heel",
        ];
        NAMES[self as usize]
    }
}

impl std::fmt::Display for Joint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
