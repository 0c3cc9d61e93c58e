//! There and back.

use super::*;

fn picture(height: usize, width: usize) -> Rgb8 {
    let pixel = |(y, x): (usize, usize)| [0, 1, 2].map(|c| (y * 37 + x * 91 + c * 53 + y * x * 11) as u8);
    Rgb8::new(height, width, (0..height * width).map(|i| pixel((i / width, i % width))).collect()).unwrap()
}

#[test]
fn equal_sizes_change_nothing() {
    let fit = Fit::new([256, 128], [256, 128]).unwrap();
    let photo = picture(256, 128);
    let labels = photo.map(|pixel| pixel[1]);
    let mask = photo.map(|pixel| pixel[2] > 100);
    let keypoints = Keypoints(std::array::from_fn(|i| [0.1 + i as f64 / 3.0, 200.7 / (i + 1) as f64]));
    assert_eq!(fit.picture(&photo, Padding::Edge).unwrap(), photo);
    assert_eq!(fit.picture_back(&photo).unwrap(), photo);
    assert_eq!(fit.labels(&labels).unwrap(), labels);
    assert_eq!((fit.mask(&mask).unwrap(), fit.mask_back(&mask).unwrap()), (mask.clone(), mask));
    assert_eq!(fit.keypoints(&keypoints), keypoints);
}

#[test]
fn the_aspect_is_kept_and_the_rest_padded() {
    // 100x100 in 128x256: 128x128 from column 64 on.
    let fit = Fit::new([100, 100], [128, 256]).unwrap();
    let photo = picture(100, 100);
    let edge = fit.picture(&photo, Padding::Edge).unwrap();
    let colour = fit.picture(&photo, Padding::Colour([1, 2, 3])).unwrap();
    for y in 0..128 {
        assert_eq!(edge.row(y)[64..192], colour.row(y)[64..192]);
        assert!(edge.row(y)[..64].iter().all(|&pixel| pixel == edge.pixel(y, 64)));
        assert!(edge.row(y)[192..].iter().all(|&pixel| pixel == edge.pixel(y, 191)));
        assert!(colour.row(y)[..64].iter().chain(&colour.row(y)[192..]).all(|&pixel| pixel == [1, 2, 3]));
    }
    let labels = fit.labels(&Labels::filled(100, 100, 5)).unwrap();
    assert_eq!(
        (labels.pixel(0, 63), labels.pixel(0, 64), labels.pixel(127, 191), labels.pixel(127, 192)),
        (0, 5, 5, 0)
    );
    // The middle stays in the middle, what is missing stays missing.
    let mut keypoints = Keypoints([[0.0; 2]; 25]);
    keypoints.0[3] = [49.5, 49.5];
    let moved = fit.keypoints(&keypoints);
    assert_eq!((moved.0[3], moved.0[4]), ([127.5, 63.5], [0.0; 2]));
}

#[test]
fn there_and_back_has_the_own_size_and_picture() {
    for own in [[300, 200], [1000, 130], [130, 1000], [1, 1], [90, 61]] {
        let fit = Fit::new(own, [256, 128]).unwrap();
        let photo = Rgb8::new(own[0], own[1], (0..own[0] * own[1]).map(|i| [(i % own[1] / 4) as u8, 90, 7]).collect());
        let photo = photo.unwrap();
        let fitted = fit.picture(&photo, Padding::Edge).unwrap();
        let back = fit.picture_back(&fitted).unwrap();
        assert_eq!((fitted.size(), back.size()), ([256, 128], own));
        let error = |(a, b): (&u8, &u8)| a.abs_diff(*b);
        let worst = photo.bytes().iter().zip(back.bytes()).map(error).max().unwrap();
        assert!(worst <= 2, "{own:?}: {worst}");
        let mask = photo.map(|_| true);
        assert_eq!(fit.mask_back(&fit.mask(&mask).unwrap()).unwrap(), mask);
    }
}

#[test]
fn impossible_sizes_are_errors() {
    for own in [[20_000, 1], [1, 20_000], [0, 5], [usize::MAX, 3]] {
        let error = Fit::new(own, [1024, 768]).unwrap_err();
        assert!(matches!(error, Error::TooNarrow { .. }), "{error}");
    }
    for fine in [[0, 128], [1000, 768], [1024, 64]] {
        let error = Fit::new([10, 10], fine).unwrap_err();
        assert!(matches!(error, Error::FineSize { .. }), "{error}");
    }
    let fit = Fit::new([300, 200], [256, 128]).unwrap();
    fit.picture(&picture(200, 300), Padding::Edge).unwrap_err();
    let said = fit.labels(&Labels::filled(200, 300, 0)).unwrap_err().to_string();
    assert!(said.starts_with("the label map and the photo must be of one size"), "{said}");
    let said = fit.mask(&Mask::filled(200, 300, false)).unwrap_err().to_string();
    assert!(said.starts_with("the mask and the photo must be of one size"), "{said}");
    fit.picture_back(&picture(300, 200)).unwrap_err();
}
