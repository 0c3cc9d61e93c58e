use super::*;

const SIZES: [(usize, usize); 5] = [(128, 128), (256, 128), (128, 256), (256, 192), (64, 64)];

/// FNV-1a over everything a scene holds.
fn hash(scene: &Scene) -> u64 {
    let Sample { agnostic, pose, warped_cloth, warped_mask, labels, .. } = &scene.sample;
    let floats = [agnostic, pose, warped_cloth, warped_mask, &scene.truth].into_iter().flatten();
    let bytes = floats.flat_map(|v| v.to_bits().to_le_bytes()).chain(labels.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn the_same_everywhere() {
    let hash = hash(&draw(7, 128, 96));
    // If the drawing was meant to change: look at it, then pin its new hash.
    assert_eq!(hash, 0x20b6a09d836d5d18, "{hash:#018x}");
}

fn check(seed: u64, height: usize, width: usize) {
    let Scene { sample, truth } = draw(seed, height, width);
    let what = format!("seed {seed} at {height}x{width}");
    let plane = height * width;
    assert_eq!((sample.batch, sample.height, sample.width), (1, height, width));
    for picture in [&sample.agnostic, &sample.pose, &sample.warped_cloth, &truth] {
        assert_eq!(picture.len(), 3 * plane);
        assert!(picture.iter().all(|v| (-1.0..=1.0).contains(v)), "{what}");
    }
    assert_eq!(sample.warped_mask.len(), plane);
    assert!(sample.warped_mask.iter().all(|v| (0.0..=1.0).contains(v)), "{what}");

    let mut count = [0; 7];
    sample.labels.iter().for_each(|&label| count[usize::from(label)] += 1);
    assert!(count[..6].iter().all(|&n| n > 0), "{what}: {count:?}");

    // The warp misses some of the garment, but less than half, and has a soft edge.
    let garment = sample.labels.iter().zip(&sample.warped_mask).filter(|(label, _)| **label == 2);
    let missing: f32 = garment.map(|(_, cover)| 1.0 - cover).sum();
    let part = missing / count[2] as f32;
    assert!((0.01..0.45).contains(&part), "{what}: {part} of the garment is misaligned");
    assert!(sample.warped_mask.iter().any(|&v| v > 0.0 && v < 1.0), "{what}");

    // The agnostic picture shows nothing of garment and arms, and all of the hair. Pixels at edges mix both, so they
    // are skipped.
    let class = |y: usize, x: usize| match sample.labels[y * width + x] {
        2 | 4..=6 => 'b',
        3 => 'k',
        _ => '?',
    };
    let (mut seen, mut wrong) = (0, 0);
    for (y, x) in (1..height - 1).flat_map(|y| (1..width - 1).map(move |x| (y, x))) {
        let here = class(y, x);
        if here == '?' || (y - 1..=y + 1).any(|y| (x - 1..=x + 1).any(|x| class(y, x) != here)) {
            continue;
        }
        let want = |i: usize| if here == 'k' { truth[i] } else { 0.0 };
        let channels = [0, 1, 2].map(|c| c * plane + y * width + x);
        seen += 1;
        wrong += usize::from(channels.iter().any(|&i| (sample.agnostic[i] - want(i)).abs() > 0.02));
    }
    // The tip of a lock may cover less than half of a pixel, so a few pixels may be wrong.
    assert!(wrong * 100 <= seen, "{what}: {wrong} of {seen} pixels");
}

#[test]
fn small_scenes_are_sound() {
    for (height, width) in SIZES {
        (0..20).for_each(|seed| check(seed, height, width));
    }
}

#[test]
fn full_size_scenes_are_sound() {
    (0..20).for_each(|seed| check(seed, 1024, 768));
}

#[test]
fn the_figure_does_not_depend_on_the_garment() {
    let (a, b) = (draw_pair(3, 4, 128, 96), draw_pair(3, 5, 128, 96));
    assert_eq!(a.sample.pose, b.sample.pose);
    assert_ne!(a.sample.warped_cloth, b.sample.warped_cloth);
    let differing = a.sample.agnostic.iter().zip(&b.sample.agnostic).filter(|(a, b)| a != b).count();
    // Hems hide more or less of the trousers, and collar and hem cast shadows.
    assert!(differing < a.sample.agnostic.len() / 20, "{differing}");
}
