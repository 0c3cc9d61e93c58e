use super::*;

const SIZE: (usize, usize) = (24, 20);

/// A picture of the levels that `level` gives for channel, row and column.
fn image(level: impl Fn(usize, usize, usize) -> usize) -> Image {
    let (height, width) = SIZE;
    let mut image = Image::filled(height, width, [0.0; 3]);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        image.set_pixel(y, x, [0, 1, 2].map(|c| level(c, y, x) as f32 / 127.5 - 1.0));
    }
    image
}

fn pattern(c: usize, y: usize, x: usize) -> usize {
    (37 * c + 11 * y + 7 * x + x * y) % 256
}

#[track_caller]
fn assert_close(got: Scores, want: Scores) {
    let pairs = [(got.l1, want.l1), (got.psnr, want.psnr), (got.ssim, want.ssim)];
    assert!(pairs.iter().all(|(got, want)| (got - want).abs() < 2e-12), "{got:?}, not {want:?}");
}

/// The expected values are from scikit-image 0.26, with the options that the module names, and NumPy. `m` is the SSIM
/// map, whose weighted mean over a region leaves out the edges:
///
/// ```python
/// H, W = 24, 20
/// c, y, x = np.meshgrid(range(3), range(H), range(W), indexing="ij")
/// a = (37 * c + 11 * y + 7 * x + x * y) % 256
/// b = np.where((x + 2 * y + c) % 5 == 0, (a + 90 + 3 * y) % 256, (3 * a + 20 * c) // 4)
/// w = (x + y)[0] % 4 / 4 * (x[0] > 6)
/// s, m = structural_similarity(A, B, ..., full=True)  # A, B: (H, W, 3) in uint8
/// d, i = (A.astype(float) - B) / 255, (slice(5, -5), slice(5, -5))
/// abs(d).mean(), peak_signal_noise_ratio(A, B, data_range=255), s
/// (abs(d).mean(2) * w).sum() / w.sum()
/// -10 * np.log10(((d**2).mean(2) * w).sum() / w.sum())
/// (m.mean(2)[i] * w[i]).sum() / w[i].sum()
/// ```
#[test]
fn scores_are_those_of_other_implementations() {
    let a = image(pattern);
    let b = image(|c, y, x| match (x + 2 * y + c) % 5 {
        0 => (pattern(c, y, x) + 90 + 3 * y) % 256,
        _ => (3 * pattern(c, y, x) + 20 * c) / 4,
    });
    let comparison = Comparison::new(&a, &b);
    assert_close(comparison.scores(), Scores { l1: 0.186165577342, psnr: 12.021164930054, ssim: 0.522636189181 });
    let (height, width) = SIZE;
    let region: Vec<f32> = (0..height * width)
        .map(|i| (i % width, i / width))
        .map(|(x, y)| ((x + y) % 4) as f32 / 4.0 * f32::from(x > 6))
        .collect();
    assert_close(
        comparison.scores_in(&region).unwrap(),
        Scores { l1: 0.188986648791, psnr: 11.929271708763, ssim: 0.536538995265 },
    );
    assert_close(comparison.scores_in(&vec![0.5; height * width]).unwrap(), comparison.scores());
}

#[test]
fn equal_pictures_and_a_constant_offset_have_known_scores() {
    let a = image(pattern);
    let same = Comparison::new(&a, &a).scores();
    assert_close(same, Scores { l1: 0.0, psnr: PSNR_CAP, ssim: 1.0 });
    // Rounding to levels removes less than half a level.
    let mut near = a.clone();
    near.data.iter_mut().for_each(|v| *v += 0.4 / 127.5);
    assert_eq!(Comparison::new(&a, &near).scores(), same);
    let ten = image(|c, y, x| pattern(c, y, x) / 2 + 10);
    let moved = Comparison::new(&image(|c, y, x| pattern(c, y, x) / 2), &ten).scores();
    assert!((moved.l1 - 10.0 / 255.0).abs() < 1e-12 && (moved.psnr - 28.130803608679).abs() < 1e-11, "{moved:?}");
}

/// Pixels outside a region do not count, and an empty region has no scores.
#[test]
fn regions_are_by_themselves() {
    let (height, width) = SIZE;
    let (a, mut b) = (image(pattern), image(pattern));
    b.set_pixel(12, 3, [1.0, -1.0, 1.0]);
    let comparison = Comparison::new(&a, &b);
    let of = |columns: std::ops::Range<usize>| {
        comparison
            .scores_in(&(0..height * width).map(|i| f32::from(columns.contains(&(i % width)))).collect::<Vec<_>>())
    };
    assert!(of(0..8).unwrap().psnr < 40.0);
    assert_close(of(9..20).unwrap(), Scores { l1: 0.0, psnr: PSNR_CAP, ssim: 1.0 });
    assert_eq!(of(0..0), None);
    assert_eq!(of(0..5), None, "no window lies inside");
}
