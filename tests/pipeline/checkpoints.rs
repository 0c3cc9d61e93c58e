//! State dicts that PyTorch saved are read tensor by tensor.

use crate::weights;
use alias_checkpoint::Checkpoint;
use alias_model::network::Network;
use alias_model::{MatchingConfig, SegmentationConfig};
use alias_oracle::relative_l2;

/// Reads a file of this workspace with the weights of `seed`.
fn check(file: &str, network: &Network, seed: u64) -> Checkpoint {
    let read = Checkpoint::read(format!("tests/golden/{file}")).unwrap();
    network.verify(&read, true).unwrap();
    for (key, expected) in weights(network, seed).iter() {
        let distance = relative_l2(&read.get(key).unwrap().to_f32().unwrap(), &expected.to_f64().unwrap());
        assert!(distance < 1e-6, "{file}: {key} is {distance:.1e} off");
    }
    read
}

#[test]
fn the_segmentation_generators_is_read() {
    let config = SegmentationConfig { ngf: 4 };
    let read = check("pipeline_seg.pth", &config.network().unwrap(), 32);
    assert_eq!(SegmentationConfig::infer(&read).unwrap(), config);
}

#[test]
fn the_matching_modules_is_read() {
    let config = MatchingConfig::of_size(4, [64, 64]);
    let read = check("pipeline_gmm.pth", &config.network().unwrap(), 33);
    assert_eq!(MatchingConfig::infer(&read).unwrap(), config);
}
