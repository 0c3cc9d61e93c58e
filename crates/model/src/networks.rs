//! The networks, one file each: configuration and description.

mod discriminator;
pub(crate) mod generator;
mod matching;
mod segmentation;
mod vgg19;

pub use discriminator::DiscriminatorConfig;
pub use generator::{GeneratorConfig, Layers, LoadOptions, ParameterFreeNorm};
pub use matching::MatchingConfig;
pub use segmentation::SegmentationConfig;
pub use vgg19::Vgg19Config;

/// Classes of a person's segmentation in VITON-HD's first two networks, made of LIP's 20 labels.
pub(crate) const CLASSES_13: usize = 13;
