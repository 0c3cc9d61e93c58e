//! Valid files: every format gives the tensors that were saved.

use crate::files;
use crate::files::{dict, floats, golden, open, safetensors, six, values};
use alias_checkpoint::{Array, Checkpoint, Dtype};
use zip::CompressionMethod;

/// The expected numbers were printed in Python after `torch.load`.
#[track_caller]
fn check_golden(file: &str, count: usize, name: &str, shape: &[usize], first: [f32; 3], sum: f64) {
    let checkpoint = Checkpoint::read(golden(file)).unwrap();
    assert_eq!(checkpoint.len(), count);
    let array = checkpoint.get(name).unwrap();
    assert_eq!((array.dtype(), array.shape()), (Dtype::F32, shape));
    assert_eq!(array.to_f32().unwrap()[..3], first);
    let difference = array.to_f64().unwrap().iter().sum::<f64>() - sum;
    assert!(difference.abs() < 1e-9, "sum differs by {difference}");
}

#[test]
fn reads_what_pytorch_saves_as_zip() {
    let first = [0.136_731_03, -0.088_839_24, 0.032_276_7];
    let sum = 2.176_273_576_655_33;
    check_golden("checkpoint.pth", 264, "conv_0.weight", &[32, 9, 3, 3], first, sum);
}

#[test]
fn reads_what_pytorch_saved_before_zip() {
    let name = "discriminator_0.model0.0.weight";
    let first = [-0.017_067_846, 0.051_547_934, 0.100_266_024];
    let sum = -3.235_824_573_988_793;
    check_golden("checkpoint_legacy.pth", 26, name, &[4, 11, 4, 4], first, sum);
}

#[test]
fn safetensors_keep_every_tensor_and_text() {
    let mut saved = Checkpoint::read(golden("checkpoint_legacy.pth")).unwrap();
    saved.insert("steps", Array::from_le_bytes(Dtype::I64, &[], 7i64.to_le_bytes().to_vec()));
    saved.insert("flags", Array::from_le_bytes(Dtype::Bool, &[3], vec![1, 0, 1]));
    saved.insert("half", Array::from_le_bytes(Dtype::F16, &[1], vec![0x00, 0x3c]));
    saved.insert("empty", Array::from_f32(&[0, 3], &[]));
    saved.metadata_mut().insert("epoch".into(), "a \"quoted\" 3".into());
    let path = std::env::temp_dir().join(format!("roundtrip-{}.safetensors", std::process::id()));
    saved.write_safetensors(&path).unwrap();
    let once = std::fs::read(&path).unwrap();
    saved.write_safetensors(&path).unwrap();
    let header_len = u64::from_le_bytes(once[..8].try_into().unwrap());
    assert_eq!(header_len % 8, 0, "the elements are aligned");
    let read = Checkpoint::read(&path).unwrap();
    assert_eq!(once, std::fs::read(&path).unwrap(), "the same checkpoint, the same bytes");
    std::fs::remove_file(&path).unwrap();

    assert!(saved.keys().eq(read.keys()));
    for ((name, saved), (_, read)) in saved.iter().zip(read.iter()) {
        assert_eq!((saved.dtype(), saved.shape()), (read.dtype(), read.shape()), "{name}");
        assert_eq!(saved.to_le_bytes().unwrap(), read.to_le_bytes().unwrap(), "{name}");
    }
    assert_eq!(saved.metadata(), read.metadata());
}

#[test]
fn safetensors_text_may_look_like_json() {
    let header = r#"{"__metadata__":{"config":"[[[[{{{{\"[[[[,,,,"}}"#;
    let checkpoint = open(safetensors(header, &[]));
    assert_eq!(checkpoint.metadata()["config"], "[[[[{{{{\"[[[[,,,,");
}

#[test]
fn a_failed_write_says_where() {
    let error = Checkpoint::new().write_safetensors("/nowhere/a.safetensors").unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/a.safetensors: "), "{error}");
    let mut checkpoint = Checkpoint::new();
    checkpoint.insert("__metadata__", Array::from_f32(&[1], &[1.0]));
    let error = checkpoint.write_safetensors("a.safetensors").unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");
}

#[test]
fn deflated_entries_are_inflated() {
    let mut stored = zip::ZipArchive::new(std::fs::File::open(golden("checkpoint.pth")).unwrap());
    let stored = stored.as_mut().unwrap();
    let mut entries = Vec::new();
    for i in 0..stored.len() {
        let mut entry = stored.by_index(i).unwrap();
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).unwrap();
        entries.push((entry.name().unwrap().into_owned(), content));
    }
    let entries: Vec<_> = entries.iter().map(|(n, c)| (&**n, &**c)).collect();
    let deflated = open(files::zip(&entries, CompressionMethod::Deflated));
    let stored = Checkpoint::read(golden("checkpoint.pth")).unwrap();
    assert!(stored.keys().eq(deflated.keys()));
    for ((name, stored), (_, deflated)) in stored.iter().zip(deflated.iter()) {
        assert_eq!(stored.to_le_bytes().unwrap(), deflated.to_le_bytes().unwrap(), "{name}");
    }
}

#[test]
fn zip64_sizes_are_found() {
    let object = files::program(&dict(&[("w", six(0, &[6], &[1]))]));
    let entries: [(&str, &[u8]); 2] = [("a/data.pkl", &object), ("a/data/0", &floats(6))];
    let options = zip::write::SimpleFileOptions::default().large_file(true);
    let options = options.compression_method(CompressionMethod::Stored);
    assert_eq!(values(&open(files::zip_with(&entries, options)), "w"), [0., 1., 2., 3., 4., 5.]);
}

#[test]
fn every_type_is_converted() {
    let array = |dtype, bytes: &[u8]| {
        let numel = bytes.len() / Dtype::size(dtype);
        Array::from_le_bytes(dtype, &[numel], bytes.to_vec())
    };
    let half = half::f16::from_f32(-2.5).to_le_bytes();
    let brain = half::bf16::from_f32(1e30).to_le_bytes();
    assert_eq!(array(Dtype::F16, &half).to_f32().unwrap(), [-2.5]);
    assert_eq!(array(Dtype::BF16, &brain).to_f32().unwrap(), [half::bf16::from_f32(1e30).to_f32()]);
    assert_eq!(array(Dtype::F64, &0.1f64.to_le_bytes()).to_f64().unwrap(), [0.1]);
    assert_eq!(array(Dtype::F64, &0.1f64.to_le_bytes()).to_f32().unwrap(), [0.1]);
    assert_eq!(array(Dtype::F32, &0.1f32.to_le_bytes()).to_f32().unwrap(), [0.1]);
    assert_eq!(array(Dtype::I64, &(-7i64).to_le_bytes()).to_f32().unwrap(), [-7.0]);
    assert_eq!(array(Dtype::I32, &70_000i32.to_le_bytes()).to_f32().unwrap(), [70_000.0]);
    assert_eq!(array(Dtype::I16, &(-300i16).to_le_bytes()).to_f32().unwrap(), [-300.0]);
    assert_eq!(array(Dtype::I8, &[0xff]).to_f32().unwrap(), [-1.0]);
    assert_eq!(array(Dtype::U8, &[0xff]).to_f32().unwrap(), [255.0]);
    assert_eq!(array(Dtype::Bool, &[0, 1]).to_f32().unwrap(), [0.0, 1.0]);
}

#[test]
#[should_panic(expected = "shape [2, 2]")]
fn an_array_of_the_wrong_length_is_a_bug() {
    let _ = Array::from_f32(&[2, 2], &[1.0]);
}
