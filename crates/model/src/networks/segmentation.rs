//! VITON-HD's segmentation generator (Choi et al., "VITON-HD", CVPR 2021, section 3.2 and supplement): a U-Net
//! (Ronneberger et al. 2015) that predicts the segmentation of the person in the garment.

use crate::network::{Activation, Builder, Conv, Network, Pool, Reading, Value};
use crate::{Checkpoint, ConfigError, Result, StateDictError};
use std::borrow::Cow;

/// Channels of the input: the garment's mask 1, the garment 3, classes without garment 13, pose 3, noise 1.
const INPUTS: usize = 21;
/// Levels of the U-Net.
const LEVELS: usize = 5;
/// The widest that fits into memory. A file that claims more is damaged.
const WIDEST: usize = 4096;
/// Random streams of the dropout after the two deepest levels, behind those of ALIAS's noise.
const DROPOUT_STREAMS: [u32; 2] = [25, 26];

/// The configuration of a segmentation generator.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{SegmentationConfig, fill};
///
/// let config = SegmentationConfig { ngf: 4 };
/// assert_eq!(SegmentationConfig::infer(&fill(&config.network()?, 1))?, config);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentationConfig {
    /// Channels of the first level; each deeper one has twice as many. 64 in the published model.
    pub ngf: usize,
}

impl SegmentationConfig {
    /// The published model, `seg_final.pth`.
    pub const PUBLISHED: SegmentationConfig = SegmentationConfig { ngf: 64 };
    /// Height and width must be multiples of this.
    pub const MULTIPLE: usize = 1 << (LEVELS - 1);

    /// The segmentation generator's state dict in a checkpoint that may hold other tensors beside it, or names with a prefix,
    /// as [`Checkpoint::state_dict`] finds it.
    ///
    /// # Errors
    /// If there are several.
    pub fn state_dict_in(checkpoint: &Checkpoint) -> Result<Cow<'_, Checkpoint>> {
        // The names do not depend on the width.
        SegmentationConfig::PUBLISHED.network()?.state_dict_in(checkpoint)
    }

    /// Reads the width from a checkpoint.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if the checkpoint is not a segmentation generator's.
    pub fn infer(checkpoint: &Checkpoint) -> Result<SegmentationConfig> {
        let checkpoint = &*SegmentationConfig::state_dict_in(checkpoint)?;
        let first = checkpoint.get("conv1.0.weight").map(|first| first.shape());
        let Some(&[ngf, INPUTS, 3, 3]) = first else {
            let found: Vec<_> = checkpoint.keys().take(3).collect();
            let reason = match first {
                Some(shape) => format!("its conv1.0.weight has the shape {shape:?}, not [ngf, {INPUTS}, 3, 3]"),
                None => format!("it has no conv1.0.weight among its {} tensors, such as {found:?}", checkpoint.len()),
            };
            return Err(StateDictError::Unrecognized { network: "segmentation generator", reason }.into());
        };
        Ok(SegmentationConfig { ngf })
    }

    /// The network. Input: `x` (21), at height and width that are multiples of 16, at least one of them 32. Output: `scores`
    /// (13) in (0, 1). Layers have the names of the authors' state dict.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] if `ngf` is 0 or larger than 4096.
    pub fn network(self) -> Result<Network> {
        let SegmentationConfig { ngf } = self;
        if !(1..=WIDEST).contains(&ngf) {
            return Err(ConfigError::Setting { name: "ngf", value: ngf, least: 1, most: WIDEST }.into());
        }
        let mut net = Builder::new("SegGenerator");
        // Its coarsest images have 16x12 pixels: half of all operations would be direct at the two coarsest levels.
        net.direct_levels(0);
        let mut levels: Vec<Level> = Vec::with_capacity(LEVELS);
        let input = net.input("x", INPUTS);
        for i in 0..LEVELS {
            let name = format!("conv{}", i + 1);
            let x = match levels.last() {
                None => input,
                Some(above) => net.pool(format!("pool{i}"), above.read(0, &format!("pool{i}.norm")), Pool::MAX_2X2),
            };
            let unit = double(&mut net, &name, Reading::of(x), ngf << i);
            // Dropout needs the normalized result.
            levels.push(match (i + DROPOUT_STREAMS.len()).checked_sub(LEVELS) {
                None => unit,
                Some(at) => {
                    let read = unit.read(0, &format!("{name}.norm"));
                    Level::Done(net.dropout(format!("{name}.dropout"), read, DROPOUT_STREAMS[at]))
                }
            });
        }
        let mut y = levels.pop().expect("there are levels");
        for (i, level) in levels.into_iter().enumerate().rev() {
            let (width, number) = (ngf << i, LEVELS + LEVELS - 1 - i);
            let (up, name) = (format!("up{number}"), format!("conv{number}"));
            let read = y.read(1, &format!("{up}.0"));
            let up = net.convolution(read, Conv::same(format!("{up}.1"), 2 * width, width, 3));
            let both = match level {
                Level::Raw(level) => Reading::of(level).and(up).instance_norm(format!("{name}.norm")).relu(),
                Level::Done(level) => {
                    let read = Reading::of(up).instance_norm(format!("up{number}.2")).relu();
                    Reading::of(level).and(net.pool(format!("up{number}"), read, Pool::STORE))
                }
            };
            y = double(&mut net, &name, both, width);
        }
        let scores = net.convolution(y.read(0, "conv9.4"), Conv::same("conv9.6", ngf, super::CLASSES_13, 3));
        let scores = net.activate(scores, Activation::Sigmoid);
        net.output("scores", scores);
        Ok(net.finish())
    }
}

/// The result of a level.
#[derive(Clone, Copy)]
enum Level {
    /// Of its last convolution: whoever reads it normalizes and activates.
    Raw(Value),
    /// Normalized, activated and, in training, dropped.
    Done(Value),
}

impl Level {
    /// Reads the result at its own size, or twice as large with a `zoom` of 1.
    fn read(self, zoom: i32, norm: &str) -> Reading {
        match self {
            Level::Raw(x) => Reading::of(x.resized(zoom)).instance_norm(norm).relu(),
            Level::Done(x) => Reading::of(x.resized(zoom)),
        }
    }
}

/// Two 3x3 convolutions, of which the second reads the first one's result normalized and activated.
fn double(net: &mut Builder, name: &str, x: Reading, width: usize) -> Level {
    let channels = x.sources.iter().map(|source| net.channels(source.value)).sum();
    let y = net.convolution(x, Conv::same(format!("{name}.0"), channels, width, 3));
    let y = Reading::of(y).instance_norm(format!("{name}.1")).relu();
    Level::Raw(net.convolution(y, Conv::same(format!("{name}.3"), width, width, 3)))
}
