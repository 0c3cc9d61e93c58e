//! VGG-19 and the discriminators, narrow.

use alias_model::network::Network;
use alias_model::{DiscriminatorConfig, Vgg19Config};

pub(crate) fn networks() -> Vec<Network> {
    let discriminator = |config| DiscriminatorConfig { ndf: 5, ..config }.network().unwrap();
    vec![
        Vgg19Config { divisor: 16 }.network(),
        discriminator(DiscriminatorConfig::SPADE),
        discriminator(DiscriminatorConfig::VITON_HD),
    ]
}
