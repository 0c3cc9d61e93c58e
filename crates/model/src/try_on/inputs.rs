//! A person and a garment as the networks read them, each prepared once.

use super::planes::{concatenate, resize_bilinear, resize_nearest, resize_one_hot};
use crate::pixels::OF_BYTE;
use crate::sample::check_pixels;
use crate::{InputError, Result, rgb8_to_planes};
use alias_preprocess::labels::LIP_TO_13;

/// A person, or a batch of them, after preprocessing: what VITON-HD's data set class makes of its files. All pictures
/// have the size of the result.
#[derive(Clone, Copy, Debug)]
pub struct WearerPictures<'a> {
    /// Number of persons, N.
    pub batch: usize,
    /// Height, H.
    pub height: usize,
    /// Width, W.
    pub width: usize,
    /// The person with torso, neck and arms painted gray: RGB, (N, H, W, 3).
    pub agnostic: &'a [u8],
    /// The drawn skeleton: RGB, (N, H, W, 3).
    pub pose: &'a [u8],
    /// LIP's labels, 0 to 19, without garment, neck and arms: (N, H, W).
    pub labels: &'a [u8],
}

/// A garment, or a batch of them.
#[derive(Clone, Copy, Debug)]
pub struct GarmentPictures<'a> {
    /// Number of garments, N.
    pub batch: usize,
    /// Height, H.
    pub height: usize,
    /// Width, W.
    pub width: usize,
    /// The garment on its background: RGB, (N, H, W, 3).
    pub picture: &'a [u8],
    /// 1 where the garment is, else 0: (N, H, W).
    pub mask: &'a [u8],
}

/// A prepared person, from [`TryOn::wearer`](crate::TryOn::wearer).
#[derive(Clone, Debug)]
pub struct Wearer {
    pub(super) batch: usize,
    /// [H, W].
    pub(super) size: [usize; 2],
    /// Size at which the first two networks work, [h, w].
    pub(super) low: [usize; 2],
    /// RGB, (N, H, W, 3). Bytes, since an application may keep many persons and garments.
    agnostic: Vec<u8>,
    /// RGB, (N, H, W, 3).
    pose: Vec<u8>,
    /// The 13 classes: (N, 13, h, w).
    pub(super) parsed_low: Vec<f32>,
    /// (N, 3, h, w).
    pub(super) pose_bilinear: Vec<f32>,
    /// (N, 3, h, w).
    pub(super) pose_nearest: Vec<f32>,
    /// (N, 3, h, w).
    pub(super) agnostic_nearest: Vec<f32>,
}

/// A prepared garment, from [`TryOn::garment`](crate::TryOn::garment).
#[derive(Clone, Debug)]
pub struct Garment {
    batch: usize,
    size: [usize; 2],
    /// RGB, (N, H, W, 3).
    picture: Vec<u8>,
    /// 0 or 1: (N, H, W).
    mask: Vec<u8>,
    /// What the segmentation generator reads of it, the mask and the garment on gray: (N, 4, h, w).
    pub(super) for_scores: Vec<f32>,
    /// What the matching module reads of it: (N, 3, h, w).
    pub(super) nearest: Vec<f32>,
}

impl Wearer {
    pub(super) fn new(pictures: &WearerPictures, low: [usize; 2]) -> Result<Wearer> {
        let WearerPictures { batch, height, width, agnostic, pose, labels } = *pictures;
        let (pixels, size) = (check_pixels(batch, height, width)?, [height, width]);
        for (name, bytes, channels) in [("agnostic", agnostic, 3), ("pose", pose, 3), ("labels", labels, 1)] {
            check_length(name, bytes, channels, [batch, height, width], pixels)?;
        }
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= LIP_TO_13.len()) {
            return Err(InputError::Class { value: labels[at].into(), at, classes: LIP_TO_13.len() }.into());
        }
        let plane = height * width;
        let of_pose = |c| values(pose, plane, c);
        Ok(Wearer {
            batch,
            size,
            low,
            parsed_low: resize_one_hot(labels, size, low),
            pose_bilinear: resize_bilinear(3 * batch, size, low, of_pose),
            pose_nearest: resize_nearest(3 * batch, size, low, of_pose),
            agnostic_nearest: resize_nearest(3 * batch, size, low, |c| values(agnostic, plane, c)),
            agnostic: agnostic.into(),
            pose: pose.into(),
        })
    }

    /// The agnostic picture and the skeleton, each (N, 3, H, W) in [-1, 1].
    pub(super) fn agnostic_and_pose(&self) -> [Vec<f32>; 2] {
        [&self.agnostic, &self.pose].map(|pictures| {
            let mut planes = Vec::with_capacity(pictures.len());
            pictures.chunks_exact(pictures.len() / self.batch).for_each(|one| planes.extend(rgb8_to_planes(one)));
            planes
        })
    }
}

impl Garment {
    pub(super) fn new(pictures: &GarmentPictures, low: [usize; 2]) -> Result<Garment> {
        let GarmentPictures { batch, height, width, picture, mask } = *pictures;
        let (pixels, size) = (check_pixels(batch, height, width)?, [height, width]);
        check_length("picture", picture, 3, [batch, height, width], pixels)?;
        check_length("mask", mask, 1, [batch, height, width], pixels)?;
        if let Some(at) = mask.iter().position(|&value| value > 1) {
            return Err(InputError::Range { name: "mask", value: mask[at].into(), at, low: 0.0 }.into());
        }
        let plane = height * width;
        let is_garment = |n: usize| move |at: usize| f32::from(mask[n * plane + at]);
        let of_picture = |c| values(picture, plane, c);
        // Gray, which is 0, where the garment is not.
        let masked = |c: usize| {
            let (value, is_garment) = (of_picture(c), is_garment(c / 3));
            move |at: usize| value(at) * is_garment(at)
        };
        let (mask_low, masked) =
            (resize_bilinear(batch, size, low, is_garment), resize_bilinear(3 * batch, size, low, masked));
        Ok(Garment {
            batch,
            size,
            for_scores: concatenate(batch, &[&mask_low, &masked]),
            nearest: resize_nearest(3 * batch, size, low, of_picture),
            picture: picture.into(),
            mask: mask.into(),
        })
    }

    /// The picture in [-1, 1] and the mask: (N, 4, H, W).
    pub(super) fn picture_and_mask(&self) -> Vec<f32> {
        let plane = self.mask.len() / self.batch;
        let mut planes = Vec::with_capacity(4 * self.mask.len());
        for (picture, mask) in self.picture.chunks_exact(3 * plane).zip(self.mask.chunks_exact(plane)) {
            planes.extend(rgb8_to_planes(picture));
            planes.extend(mask.iter().map(|&value| f32::from(value)));
        }
        planes
    }

    /// Errors unless it is of the person's size and number.
    pub(super) fn check_fits(&self, wearer: &Wearer) -> Result<()> {
        let of = |batch: usize, [h, w]: [usize; 2]| [batch, h, w];
        let (garment, person) = (of(self.batch, self.size), of(wearer.batch, wearer.size));
        if garment == person { Ok(()) } else { Err(InputError::GarmentSize { garment, person }.into()) }
    }
}

/// The elements in [-1, 1], by index, of plane `c` of (3 N, `plane`) that RGB bytes (N, `plane`, 3) make.
fn values(bytes: &[u8], plane: usize, c: usize) -> impl Fn(usize) -> f32 {
    let bytes = &bytes[c / 3 * plane * 3 + c % 3..];
    move |at| OF_BYTE[usize::from(bytes[3 * at])]
}

fn check_length(name: &'static str, bytes: &[u8], channels: usize, [n, h, w]: [usize; 3], pixels: usize) -> Result<()> {
    let (got, expected) = (bytes.len(), pixels * channels);
    if got == expected {
        return Ok(());
    }
    Err(InputError::Elements { name: name.into(), got, expected, shape: vec![n, h, w, channels] }.into())
}
