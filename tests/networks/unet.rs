//! A small U-Net (Ronneberger et al. 2015): what it takes to add a network of known layers.

use alias_model::network::{Activation, Builder, Conv, Network, Pool, PoolKind, Reading, Source, Value};

/// Channels of each level, the finest first.
const WIDTHS: [usize; 3] = [6, 10, 20];

pub(crate) fn networks() -> Vec<Network> {
    vec![unet()]
}

/// Input `image` (3) with sides that are multiples of 4; output `mask` (2) in (-1, 1).
fn unet() -> Network {
    let mut net = Builder::new("UNet");
    let image = net.input("image", 3);
    let mut x = unit(&mut net, "down.0", &[image.into()], WIDTHS[0]);
    let mut levels = vec![x];
    for (level, width) in (1..).zip(&WIDTHS[1..]) {
        let halve = Pool { kind: PoolKind::Max, window: 2, stride: 2, padding: 0 };
        let read = Reading::of(x).instance_norm(format!("pool.{level}.norm")).relu();
        x = net.pool(format!("pool.{level}"), read, halve);
        x = unit(&mut net, &format!("down.{level}"), &[x.into()], *width);
        levels.push(x);
    }
    for level in (0..WIDTHS.len() - 1).rev() {
        // The encoder's level, then what is below it, twice as large.
        let read = [levels[level].into(), x.resized(1)];
        x = unit(&mut net, &format!("up.{level}"), &read, WIDTHS[level]);
    }
    let read = Reading::of(x).batch_norm("last.norm").relu();
    let mask = net.convolution(read, Conv::same("last", WIDTHS[0], 2, 1));
    let mask = net.activate(mask, Activation::Tanh);
    net.output("mask", mask);
    net.finish()
}

/// Two 3x3 convolutions, an instance norm and a ReLU before the second.
fn unit(net: &mut Builder, key: &str, read: &[Source], width: usize) -> Value {
    let cin = read.iter().map(|source| net.channels(source.value)).sum();
    let reading = read[1..].iter().fold(Reading::of(read[0]), |reading, &source| reading.and(source));
    let first = net.convolution(reading, Conv::same(format!("{key}.0"), cin, width, 3));
    let reading = Reading::of(first).instance_norm(format!("{key}.norm")).relu();
    net.convolution(reading, Conv::same(format!("{key}.1"), width, width, 3))
}
