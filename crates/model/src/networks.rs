//! The networks, one file each: configuration and description.

mod discriminator;
pub(crate) mod generator;
mod vgg19;

pub use discriminator::DiscriminatorConfig;
pub use generator::{GeneratorConfig, Layers, LoadOptions, ParameterFreeNorm};
pub use vgg19::Vgg19Config;
