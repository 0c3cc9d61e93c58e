use super::*;
use png::{BitDepth, ColorType, Encoder};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Encodes raw samples as a PNG file.
fn encode(dir: &TempDir, color: ColorType, depth: BitDepth, (height, width): (u32, u32), bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(format!("{color:?}-{depth:?}-{}.png", bytes.len()));
    let mut encoder = Encoder::new(fs::File::create(&path).unwrap(), width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == ColorType::Indexed {
        encoder.set_palette((0..=255).flat_map(|i| [255 - i, i, 7]).take(3 << depth as usize).collect::<Vec<u8>>());
    }
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    path
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn names(dir: &TempDir) -> Vec<String> {
    fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_colour_type_reads_as_colour() {
    let dir = directory();
    let (eight, sixteen) = (BitDepth::Eight, BitDepth::Sixteen);
    let unit = |v: f32| v / 255.0 * 2.0 - 1.0;
    let cases: [(ColorType, BitDepth, &[u8], [f32; 3]); 13] = [
        (ColorType::Grayscale, BitDepth::One, &[0x80], [255.0; 3]),
        (ColorType::Grayscale, BitDepth::Two, &[0x80], [170.0; 3]),
        (ColorType::Grayscale, BitDepth::Four, &[0x30], [51.0; 3]),
        (ColorType::Grayscale, eight, &[77], [77.0; 3]),
        (ColorType::Grayscale, sixteen, &[77, 77], [77.0; 3]),
        (ColorType::GrayscaleAlpha, eight, &[100, 51], [224.0; 3]),
        (ColorType::GrayscaleAlpha, sixteen, &[100, 100, 51, 51], [224.0; 3]),
        (ColorType::Rgb, eight, &[1, 2, 3], [1.0, 2.0, 3.0]),
        (ColorType::Rgb, sixteen, &[1, 1, 2, 2, 3, 3], [1.0, 2.0, 3.0]),
        (ColorType::Rgba, eight, &[0, 255, 100, 51], [204.0, 255.0, 224.0]),
        (ColorType::Rgba, sixteen, &[0, 0, 255, 255, 100, 100, 51, 51], [204.0, 255.0, 224.0]),
        (ColorType::Indexed, eight, &[9], [246.0, 9.0, 7.0]),
        (ColorType::Indexed, BitDepth::Four, &[0x50], [250.0, 5.0, 7.0]),
    ];
    for (color, depth, bytes, want) in cases {
        let path = encode(&dir, color, depth, (1, 1), bytes);
        let got = read_rgb(&path).unwrap();
        for (got, want) in got.pixel(0, 0).iter().zip(want.map(unit)) {
            assert!((got - want).abs() < 1e-5, "{color:?} {depth:?}: {got} is not {want}");
        }
    }
}

#[test]
fn transparent_pixels_are_white_but_a_picture_has_others() {
    let dir = directory();
    let eight = |color, bytes: &[u8]| encode(&dir, color, BitDepth::Eight, (1, 2), bytes);
    let half = eight(ColorType::Rgba, &[0, 255, 100, 0, 1, 2, 3, 255]);
    assert_eq!(read_rgb8(&half).unwrap().pixels(), [[255; 3], [1, 2, 3]]);
    for (color, bytes) in [(ColorType::Rgba, &[9, 9, 9, 0, 9, 9, 9, 0][..]), (ColorType::GrayscaleAlpha, &[9, 0, 9, 0])]
    {
        let path = eight(color, bytes);
        for error in [read_rgb(&path).map(drop), read_rgb8(&path).map(drop), read_mask(&path).map(drop)] {
            let said = error.unwrap_err().to_string();
            assert!(said.contains("every pixel is transparent") && said.contains(path.to_str().unwrap()), "{said}");
        }
    }
}

#[test]
fn pictures_are_planes() {
    let dir = directory();
    let path = encode(&dir, ColorType::Rgb, BitDepth::Eight, (2, 1), &[255, 0, 0, 0, 0, 255]);
    let image = read_rgb(&path).unwrap();
    assert_eq!((image.height, image.width), (2, 1));
    assert_eq!(image.data, [1.0, -1.0, -1.0, -1.0, -1.0, 1.0]);
    assert_eq!(read_size(&path).unwrap(), (2, 1));
}

#[test]
fn masks_are_brightness() {
    let dir = directory();
    let read = |color, bytes: &[u8]| read_mask(&encode(&dir, color, BitDepth::Eight, (1, 2), bytes)).unwrap().data;
    assert_eq!(read(ColorType::Grayscale, &[0, 255]), [0.0, 1.0]);
    assert_eq!(read(ColorType::Rgb, &[51, 51, 51, 0, 0, 0]), [0.2, 0.0]);
    // White, once opaque and once transparent.
    assert_eq!(read(ColorType::GrayscaleAlpha, &[255, 255, 255, 0]), [1.0, 0.0]);
    assert!((read(ColorType::Rgb, &[255, 0, 0, 0, 255, 0])[1] - 0.587).abs() < 1e-6);
}

/// Encodes indices as a palette PNG.
fn encode_palette(dir: &TempDir, palette: &[[u8; 3]], (height, width): (u32, u32), indices: &[u8]) -> PathBuf {
    let path = dir.path().join("palette.png");
    let mut encoder = Encoder::new(fs::File::create(&path).unwrap(), width, height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_palette(palette.concat());
    encoder.write_header().unwrap().write_image_data(indices).unwrap();
    path
}

#[test]
fn masks_of_two_values_are_black_and_white() {
    let dir = directory();
    let eight = |color, bytes: &[u8]| encode(&dir, color, BitDepth::Eight, (1, 2), bytes);
    for path in [
        eight(ColorType::Grayscale, &[0, 1]),
        eight(ColorType::Rgb, &[0, 0, 0, 1, 1, 1]),
        encode(&dir, ColorType::Grayscale, BitDepth::Sixteen, (1, 2), &[0, 0, 0, 1]),
        encode(&dir, ColorType::Grayscale, BitDepth::Sixteen, (1, 2), &[0, 0, 0, 255]),
        encode_palette(&dir, &[[0; 3], [1; 3]], (1, 2), &[0, 1]),
        encode_palette(&dir, &[[0; 3], [128, 0, 0]], (1, 2), &[0, 1]),
    ] {
        let mut notes = Vec::new();
        let mask = read::read_mask_noting(&path, &mut notes).unwrap();
        assert_eq!(mask.data, [0.0, 1.0], "{}", path.display());
        assert!(matches!(notes[..], [Note::MaskScaled { .. }]), "{notes:?}");
    }
    let noted = |bytes: &[u8]| {
        let mut notes = Vec::new();
        (read::read_mask_noting(&eight(ColorType::Grayscale, bytes), &mut notes).unwrap().data, notes)
    };
    let (mask, notes) = noted(&[0, 51]);
    assert_eq!(mask, [0.0, 0.2]);
    assert!(matches!(notes[..], [Note::MaskDark { largest: 51.0, .. }]), "{notes:?}");
    assert!(noted(&[0, 200]).1.is_empty() && noted(&[0, 0]).1.is_empty());
}

#[test]
fn pictures_that_are_no_masks_are_told() {
    let dir = directory();
    let size = (128, 96);
    let told = |path: &Path| {
        let mut notes = Vec::new();
        read::read_mask_noting(path, &mut notes).unwrap();
        notes.iter().map(Note::to_string).collect::<Vec<_>>()
    };
    let gray = |value: &dyn Fn(f32, f32) -> f32| {
        let bytes: Vec<u8> = (0..128 * 96).map(|i| value((i / 96) as f32, (i % 96) as f32) as u8).collect();
        encode(&dir, ColorType::Grayscale, BitDepth::Eight, size, &bytes)
    };
    // How far a pixel is inside of the garment, a box and two sleeves.
    let depth = |y: f32, x: f32| {
        let of_box = |[top, bottom, left, right]: [f32; 4]| (y - top).min(bottom - y).min(x - left).min(right - x);
        of_box([20.0, 110.0, 25.0, 70.0]).max(of_box([25.0, 45.0, 5.0, 90.0]))
    };
    // Smooth edges three pixels wide; an edge that rings, as that of a JPEG of poor quality.
    assert_eq!(told(&gray(&|y, x| 255.0 * (depth(y, x) / 3.0).clamp(0.0, 1.0))), [""; 0]);
    let ringing = |y: f32, x: f32| if depth(y, x).abs() < 8.0 { 40.0 * (3.0 * depth(y, x)).sin() } else { 0.0 };
    assert_eq!(told(&gray(&|y, x| if depth(y, x) > 0.0 { 255.0 } else { 0.0 } + ringing(y, x))), [""; 0]);
    // The garment's photo, a label map.
    let photo = told(&gray(&|y, x| if depth(y, x) > 0.0 { 120.0 + x / 4.0 } else { 246.0 }));
    assert!(photo[0].contains("gray, neither dark nor bright") && photo.len() == 1, "{photo:?}");
    let labels: Vec<u8> =
        (0..96 * 128).map(|i| if depth((i / 96) as f32, (i % 96) as f32) > 0.0 { 5 } else { 0 }).collect();
    let path = dir.path().join("labels.png");
    write_lip_labels(&path, &Plane { height: 128, width: 96, data: labels }).unwrap();
    let scaled = told(&path);
    assert!(scaled[0].contains("taken for white"), "two values of a palette are a mask: {scaled:?}");
    let labels: Vec<u8> = (0..96 * 128)
        .map(|i| if depth((i / 96) as f32, (i % 96) as f32) > 0.0 { 5 } else { i as u8 / 255 * 3 })
        .collect();
    let mut labels = Plane { height: 128, width: 96, data: labels };
    labels.data[0] = 18; // yellow, the brightest colour
    write_lip_labels(&path, &labels).unwrap();
    assert!(told(&path)[0].contains("a photo or a label map"), "{:?}", told(&path));
}

#[test]
fn skeletons_over_a_photo_are_told() {
    let dir = directory();
    let path = dir.path().join("pose.png");
    let told = |share: usize, background: f32| {
        let mut picture = Image::filled(20, 10, [background; 3]);
        (0..200).filter(|i| i % 20 < share).for_each(|i| picture.set_pixel(i / 10, i % 10, [1.0, -1.0, -1.0]));
        write_rgb(&path, &picture).unwrap();
        let mut notes = Vec::new();
        read_skeleton_noting(&path, &mut notes).unwrap();
        notes.iter().map(Note::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(8, -0.9), [""; 0], "a thick skeleton on the black of a JPEG");
    let said = told(2, 0.1);
    assert!(said[0].contains("pose.png: ") && said[0].contains("--disable_blending"), "{said:?}");
}

#[test]
fn labels_of_lossy_files_are_refused() {
    let dir = directory();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    // Gray labels in lossless files.
    let bytes: Vec<u8> = [0, 5, 13, 19].iter().flat_map(|label| [*label; 3]).collect();
    let (mut webp, mut tiff) = (Vec::new(), std::io::Cursor::new(Vec::new()));
    let rgb = ::image::ExtendedColorType::Rgb8;
    ::image::codecs::webp::WebPEncoder::new_lossless(&mut webp).encode(&bytes, 2, 2, rgb).unwrap();
    ::image::ImageEncoder::write_image(::image::codecs::tiff::TiffEncoder::new(&mut tiff), &bytes, 2, 2, rgb).unwrap();
    for path in [write("a.webp", &webp), write("a.tif", tiff.get_ref())] {
        assert_eq!(read_labels(&path).unwrap().data, [0, 5, 13, 19], "{}", path.display());
    }
    let lossy: &[u8] =
        b"RIFF\x22\0\0\0WEBPVP8 \x16\0\0\0\x30\x01\0\x9d\x01\x2a\x01\0\x01\0\x0e\xc0\xfe\x25\xa4\0\x03\x70\0\0\0\0";
    let extended =
        [&b"RIFF\x3b\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0ALPH\x01\0\0\0\0\0"[..], &lossy[12..]].concat();
    let frame = [&b"RIFF\x48\0\0\0WEBPANMF\x2e\0\0\0"[..], &[0; 16], &lossy[12..]].concat();
    let little = b"II*\0\x08\0\0\0\x02\0\0\x01\x03\0\x01\0\0\0\x01\0\0\0\x03\x01\x03\0\x01\0\0\0\x07\0\0\0";
    let big = b"MM\0*\0\0\0\x08\0\x01\x01\x03\0\x03\0\0\0\x01\0\x07\0\0";
    for (name, bytes) in
        [("b.webp", lossy), ("c.webp", &extended), ("d.webp", &frame), ("b.tif", little), ("c.tif", big)]
    {
        let said = read_labels(&write(name, bytes)).unwrap_err().to_string();
        assert!(said.contains(name) && said.contains("which changes labels"), "{said}");
    }
    // Cut off before anything is told of the compression.
    for (name, bytes) in [("e.webp", &lossy[..17]), ("e.tif", &little[..20])] {
        assert!(matches!(read_labels(&write(name, bytes)), Err(Error::Decode { .. })));
    }
}

#[test]
fn labels_of_a_known_palette_are_found_by_colour() {
    let dir = directory();
    // Skin, background, hair in LIP's colours.
    let (face, background, hair) = ([0, 0, 255], [0; 3], [255, 0, 0]);
    let path = encode_palette(&dir, &[face, background, hair], (1, 4), &[0, 1, 2, 0]);
    let mut notes = Vec::new();
    assert_eq!(read::read_labels_noting(&path, &mut notes).unwrap().data, [13, 0, 2, 13]);
    assert!(notes[0].to_string().contains("those of LIP and CIHP"), "{notes:?}");
    let path = encode(&dir, ColorType::Rgb, BitDepth::Eight, (1, 3), &[face, background, hair].concat());
    assert_eq!(read_labels(&path).unwrap().data, [13, 0, 2]);
    // Labels as gray, in a palette of a program's own order.
    let path = encode_palette(&dir, &[[13; 3], [0; 3], [5; 3]], (1, 4), &[0, 1, 2, 0]);
    assert_eq!(read::read_labels_noting(&path, &mut notes).unwrap().data, [13, 0, 5, 13]);
    assert!(notes[1].to_string().contains("those of gray labels"), "{notes:?}");
    // Labels as gray, stored in colour.
    let path = encode(&dir, ColorType::Rgb, BitDepth::Eight, (1, 2), &[5, 5, 5, 0, 0, 0]);
    assert_eq!(read_labels(&path).unwrap().data, [5, 0]);
    // Colours of no palette.
    let path = encode(&dir, ColorType::Rgb, BitDepth::Eight, (1, 3), &[1, 2, 3, 0, 0, 0, 255, 0, 0]);
    assert!(matches!(read_labels(&path), Err(Error::NotIndices { .. })));
}

#[test]
fn labels_are_indices_at_every_depth() {
    let dir = directory();
    let cases: [(BitDepth, &[u8], [u8; 5]); 4] = [
        (BitDepth::One, &[0b1011_0000], [1, 0, 1, 1, 0]),
        (BitDepth::Two, &[0b1101_1000, 0b0100_0000], [3, 1, 2, 0, 1]),
        (BitDepth::Four, &[0x0f, 0x12, 0x60], [0, 15, 1, 2, 6]),
        (BitDepth::Eight, &[0, 19, 6, 1, 2], [0, 19, 6, 1, 2]),
    ];
    for (depth, row, want) in cases {
        for color in [ColorType::Indexed, ColorType::Grayscale] {
            let labels = read_labels(&encode(&dir, color, depth, (2, 5), &row.repeat(2))).unwrap();
            assert_eq!(labels.data, want.repeat(2), "{color:?} {depth:?}");
        }
    }
}

#[test]
fn colour_parse_maps_are_refused_with_a_remedy() {
    let dir = directory();
    for (color, depth, bytes) in [
        (ColorType::Rgb, BitDepth::Eight, 3),
        (ColorType::Rgba, BitDepth::Eight, 4),
        (ColorType::GrayscaleAlpha, BitDepth::Eight, 2),
        (ColorType::Grayscale, BitDepth::Sixteen, 2),
    ] {
        let path = encode(&dir, color, depth, (1, 1), &vec![0; bytes]);
        let message = read_labels(&path).unwrap_err().to_string();
        assert!(message.contains("palette (indexed)") && message.contains(path.to_str().unwrap()), "{message}");
    }
}

#[test]
fn written_pictures_read_back() {
    let dir = directory();
    let path = dir.path().join("a.png");
    let data: Vec<f32> = (0..3 * 256).map(|i| (i * 7 % 256) as f32 / 255.0 * 2.0 - 1.0).collect();
    let image = Image { height: 8, width: 32, data };
    write_rgb(&path, &image).unwrap();
    let back = read_rgb(&path).unwrap();
    assert!(image.data.iter().zip(&back.data).all(|(a, b)| (a - b).abs() < 1e-6));
    // Overwrite it with values out of range and between two levels.
    let extreme = Image { height: 1, width: 2, data: vec![-7.0, 9.0, f32::INFINITY, -0.001, f32::NEG_INFINITY, 1.0] };
    write_rgb(&path, &extreme).unwrap();
    let bytes: Vec<f32> = read_rgb(&path).unwrap().data.iter().map(|v| ((v + 1.0) * 127.5).round()).collect();
    assert_eq!(bytes, [0.0, 255.0, 255.0, 127.0, 0.0, 255.0]);
    assert_eq!(names(&dir), ["a.png"]);
}

#[test]
fn written_labels_read_back() {
    let dir = directory();
    let path = dir.path().join("labels.png");
    let labels = Plane { height: 3, width: 7, data: (0..21).map(|i| i % 7).collect() };
    write_labels(&path, &labels).unwrap();
    assert_eq!(read_labels(&path).unwrap(), labels);
    let shown = read_rgb(&path).unwrap().pixel(0, 2).map(|v| ((v + 1.0) * 127.5).round() as u8);
    assert_eq!(shown, PALETTE[2]);
    let wrong = write_labels(&path, &Plane { height: 1, width: 2, data: vec![0, 7] }).unwrap_err();
    assert!(matches!(wrong, Error::Label { value: 7, x: 1, y: 0, classes: 7, .. }));
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let dir = directory();
    let path = dir.path().join("a.png");
    let mut image = Image::filled(2, 3, [0.0; 3]);
    image.data[6 + 4] = f32::NAN;
    let message = write_rgb(&path, &image).unwrap_err().to_string();
    assert!(message.contains("green value at column 1, row 1"), "{message}");
    assert!(names(&dir).is_empty());

    // The rename fails: a directory is in the way.
    fs::create_dir_all(path.join("full")).unwrap();
    let image = Image::filled(2, 3, [0.0; 3]);
    assert!(matches!(write_rgb(&path, &image), Err(Error::Io { .. })));
    // The encoder fails: PNG has no empty pictures.
    let empty = Image::filled(0, 3, [0.0; 3]);
    assert!(matches!(write_rgb(&dir.path().join("b.png"), &empty), Err(Error::Encode { .. })));
    assert_eq!(names(&dir), ["a.png"]);

    assert!(write_rgb(&dir.path().join("missing/a.png"), &image).is_err());
    assert!(write_rgb(Path::new("/"), &image).is_err());
}

#[test]
fn lip_labels_become_the_authors_classes() {
    // The 13 groups that VITON-HD merges LIP's labels into, and the class that each group becomes.
    let groups: [(&[u8], u8); 13] = [
        (&[0, 10], 0),
        (&[1, 2], 3),
        (&[4, 13], 1),
        (&[5, 6, 7], 2),
        (&[9, 12], 1),
        (&[14], 4),
        (&[15], 5),
        (&[16], 1),
        (&[17], 1),
        (&[18], 1),
        (&[19], 1),
        (&[8], 1),
        (&[3, 11], 6),
    ];
    let indices = Plane { height: 4, width: 5, data: (0..20).collect() };
    let classes = labels_from_parse(&indices, ParseLabels::Auto, Path::new("p")).unwrap();
    assert_eq!(groups.iter().map(|(members, _)| members.len()).sum::<usize>(), 20);
    for (members, class) in groups {
        members.iter().for_each(|&m| assert_eq!(classes.data[usize::from(m)], class, "LIP {m}"));
    }
}

#[test]
fn the_set_of_labels_can_be_forced() {
    let path = Path::new("p.png");
    let indices = Plane { height: 1, width: 3, data: vec![0, 2, 5] };
    assert_eq!(labels_from_parse(&indices, ParseLabels::Auto, path).unwrap(), indices);
    assert_eq!(labels_from_parse(&indices, ParseLabels::Seven, path).unwrap(), indices);
    assert_eq!(labels_from_parse(&indices, ParseLabels::Lip, path).unwrap().data, [0, 3, 2]);

    let indices = Plane { height: 2, width: 2, data: vec![0, 1, 20, 7] };
    let error = |labels| labels_from_parse(&indices, labels, path).unwrap_err().to_string();
    assert_eq!(error(ParseLabels::Seven), "p.png: label 20 at column 0, row 1 is not one of the 7 classes (0 to 6)");
    assert_eq!(error(ParseLabels::Auto), "p.png: label 20 at column 0, row 1 is not one of the 20 classes (0 to 19)");
}

#[test]
fn samples_read_back_and_sizes_must_agree() {
    let dir = directory();
    let scene = alias_scene::draw(5, 64, 48);
    let (height, width) = (64, 48);
    let paths = ["agnostic", "pose", "cloth", "mask", "parse"].map(|name| dir.path().join(format!("{name}.png")));
    let [agnostic, pose, warped_cloth, warped_mask, parse] = paths.each_ref().map(PathBuf::as_path);
    let files = SampleFiles { agnostic, pose, warped_cloth, warped_mask, parse };
    let image = |data: &[f32]| Image { height, width, data: data.to_vec() };
    write_rgb(agnostic, &image(&scene.sample.agnostic)).unwrap();
    write_rgb(pose, &image(&scene.sample.pose)).unwrap();
    write_rgb(warped_cloth, &image(&scene.sample.warped_cloth)).unwrap();
    let mask: Vec<f32> = scene.sample.warped_mask.iter().map(|v| v * 2.0 - 1.0).collect();
    write_rgb(warped_mask, &image(&mask.repeat(3))).unwrap();
    write_labels(parse, &Plane { height, width, data: scene.sample.labels.clone() }).unwrap();

    let back = read_sample(&files, ParseLabels::Auto).unwrap();
    assert_eq!(back.labels, scene.sample.labels);
    let close = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.005);
    assert!(close(&back.agnostic, &scene.sample.agnostic) && close(&back.pose, &scene.sample.pose));
    assert!(close(&back.warped_cloth, &scene.sample.warped_cloth));
    assert!(close(&back.warped_mask, &scene.sample.warped_mask));

    write_rgb(warped_mask, &Image::filled(48, 64, [0.0; 3])).unwrap();
    let message = read_sample(&files, ParseLabels::Auto).unwrap_err().to_string();
    for part in ["mask.png is 48x64", "agnostic.png is 64x48"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn missing_and_foreign_files_are_named() {
    let dir = directory();
    let path = dir.path().join("nothing.png");
    assert!(read_rgb(&path).unwrap_err().to_string().contains("nothing.png"));
    fs::write(&path, b"GIF89a").unwrap();
    assert!(matches!(read_rgb(&path), Err(Error::Decode { .. })));
}

#[test]
fn damaged_files_are_errors() {
    let dir = directory();
    let noise: Vec<u8> = (0..3 * 16 * 16u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = encode(&dir, ColorType::Rgb, BitDepth::Eight, (16, 16), &noise);
    let whole = fs::read(&path).unwrap();
    let broken = dir.path().join("broken.png");
    for length in 0..whole.len() {
        fs::write(&broken, &whole[..length]).unwrap();
        // A PNG that lacks only (part of) its end marker of 12 bytes may be readable.
        let read = read_rgb(&broken);
        assert!(read.is_err() || length >= whole.len() - 12, "{length} of {} bytes were enough", whole.len());
    }
    for i in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[i] ^= 0x55;
        fs::write(&broken, &bytes).unwrap();
        // Reading may succeed or fail, but must not panic.
        let _ = (read_rgb(&broken), read_mask(&broken), read_labels(&broken));
    }
}

#[test]
fn absurd_sizes_are_refused_before_allocating() {
    let dir = directory();
    let path = dir.path().join("huge.png");
    for (width, height) in [(2_000_000_000_u32, 2_000_000_000_u32), (1, (1 << 25) + 1), (6000, 6000)] {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes, width, height).write_header().map(drop).unwrap_or_default();
        fs::write(&path, &bytes).unwrap();
        let error = read_rgb(&path).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains(&format!("{height}x{width}")));
    }
    // A JPEG's start, frame of 20000x20000 in three components, and start of the scan.
    let mut jpeg =
        vec![0xff, 0xd8, 0xff, 0xc0, 0, 17, 8, 0x4e, 0x20, 0x4e, 0x20, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
    jpeg.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
    let path = dir.path().join("huge.jpg");
    fs::write(&path, jpeg).unwrap();
    let error = read_rgb(&path).unwrap_err();
    assert!(matches!(error, Error::TooLarge { width: 20_000, height: 20_000, .. }), "{error}");
}
