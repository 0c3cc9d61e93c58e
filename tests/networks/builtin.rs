//! VGG-19 and the discriminators, narrow; and a chain of residual blocks.

use alias_model::network::{Activation, Builder, Conv, Network, Reading};
use alias_model::{DiscriminatorConfig, Vgg19Config};

pub(crate) fn networks() -> Vec<Network> {
    let discriminator = |config| DiscriminatorConfig { ndf: 5, ..config }.network().unwrap();
    vec![
        Vgg19Config { divisor: 16 }.network().unwrap(),
        discriminator(DiscriminatorConfig::SPADE),
        discriminator(DiscriminatorConfig::VITON_HD),
        residual(),
        early_sum(),
    ]
}

/// An output that replaces its skip connection in memory long before the last layer: nothing may replace it.
fn early_sum() -> Network {
    let mut net = Builder::new("EarlySum");
    let image = net.input("image", 3);
    let same = |key: &str, cin| Conv::same(key, cin, 8, 3);
    let first = net.convolution(Reading::of(image), same("first", 3));
    let between = net.convolution(Reading::of(first).relu(), same("between", 8));
    let sum = net.convolution(Reading::of(between).relu(), same("sum", 8));
    let sum = net.add(sum, first);
    net.output("sum", sum);
    let mut x = net.convolution(Reading::of(image), same("second", 3));
    for key in ["third", "fourth", "fifth"] {
        x = net.convolution(Reading::of(x).relu(), same(key, 8));
    }
    net.output("last", x);
    net.finish()
}

/// Each sum replaces its skip connection in memory, and is normalized in its place.
fn residual() -> Network {
    let mut net = Builder::new("Residual");
    let image = net.input("image", 3);
    let mut x = net.convolution(Reading::of(image), Conv::same("first", 3, 20, 3));
    for block in 0..3 {
        x = net.block(format!("block.{block}"), |net| {
            let key = |name: &str| format!("block.{block}.{name}");
            let y = Reading::of(x).instance_norm(key("norm_0")).leaky_relu(0.2);
            let y = net.convolution(y, Conv::same(key("conv_0"), 20, 20, 3));
            let y = Reading::of(y).instance_norm(key("norm_1")).relu();
            let y = net.convolution(y, Conv::same(key("conv_1"), 20, 20, 1));
            let y = net.add(y, x);
            net.activate(y, Activation::LeakyRelu { slope: 0.5 })
        });
    }
    net.output("sum", x);
    let last = net.convolution(Reading::of(x.resized(1)).instance_norm("norm").relu(), Conv::same("last", 20, 3, 3));
    net.output("last", last);
    net.finish()
}
