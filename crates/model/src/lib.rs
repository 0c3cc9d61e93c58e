//! VITON-HD (Choi et al., CVPR 2021), from the photos of a person and a garment to the person in that garment, and a way to
//! run any other network of the same kinds of layers: on GPUs with hand-written WGSL, on processor cores with vector code, and
//! on a tape with gradients.
//!
//! [`TryOn`] runs all three networks. Given a person with the torso blanked out, the drawn pose, the garment warped roughly into
//! place and a segmentation of the result, the last of them, ALIAS, draws the person wearing the garment:
//!
//! ```
//! # fn main() -> alias_model::Result<()> {
//! use alias_model::{CpuOptions, Device, GeneratorConfig, Layers, Noise, Painter, Rgb8Pictures, Sample, fill, planes_to_rgb8};
//!
//! // A narrow generator with random weights; Checkpoint::read("alias_final.pth")? reads trained ones.
//! let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(2) };
//! let checkpoint = fill(&config.network()?, 1);
//!
//! let device = Device::cores(CpuOptions::default())?; // Device::auto() takes a GPU where there is one
//! let painter = Painter::load(&device, &checkpoint)?;
//!
//! let (height, width) = (64, 64);
//! let sample = Sample::from_rgb8(&Rgb8Pictures {
//!     height,
//!     width,
//!     agnostic: &[128; 3 * 64 * 64],
//!     pose: &[0; 3 * 64 * 64],
//!     warped_cloth: &[200; 3 * 64 * 64],
//!     warped_mask: &[255; 64 * 64],
//!     labels: &[2; 64 * 64],
//! })?;
//! let image = painter.draw(&sample, Noise::None)?; // (1, 3, 64, 64) in [-1, 1]
//! let rgb8 = planes_to_rgb8(&image); // what a picture file holds
//! assert_eq!(rgb8.len(), 3 * height * width);
//! # Ok(())
//! # }
//! ```
//!
//! # Which type to use
//!
//! | to | use |
//! |---|---|
//! | dress a person in a garment, from photos | [`TryOn`], on a GPU or on cores |
//! | do one of its stages alone | [`Segmenter`], [`Matcher`], [`Painter`] |
//! | draw images from segmentations and warped garments | [`Painter`] |
//! | draw one person in many garments of one outline | [`Painter::person`], then [`Person::draw`] |
//! | keep images on the application's GPU | [`Person::draw_to_rgba8`] |
//! | know what an image costs, without a device | [`Cost::of_image`] |
//! | differentiate the generator | [`Generator`] |
//! | describe another network | [`network::Builder`] |
//! | run it | [`Session`] |
//! | differentiate it | [`Module`] |
//!
//! Training is in `alias-train`, picture files are in `alias-pictures`.
//!
//! # Features
//!
//! `image`: makes a [`Sample`] from pictures of the `image` crate.

mod error;
mod generator;
mod inputs;
mod label_map;
pub mod network;
mod networks;
mod noise;
mod painter;
mod pixels;
mod plans;
mod processor;
mod sample;
mod state_dict;
mod tape;
mod try_on;
mod tuning;

pub use alias_checkpoint::{self as checkpoint, Checkpoint};
pub use alias_cpu::{Cpu, CpuOptions, Instructions};
pub use alias_plan::{self as plan, Plan, Precision};
pub use alias_preprocess as preprocess;
pub use alias_tensor::{self as tensor, AdapterChoice, Cores, Device, Gpu, GpuOptions, Tensor, wgpu};
pub use error::{ConfigError, Error, InputError, Result, StateDictError, StateDictMismatch};
pub use generator::Generator;
pub use inputs::Inputs;
pub use label_map::{GARMENT, misaligned};
pub use networks::{
    DiscriminatorConfig, GeneratorConfig, Layers, LoadOptions, MatchingConfig, ParameterFreeNorm, SegmentationConfig,
    Vgg19Config,
};
pub use noise::Noise;
pub use painter::{Painter, Person, PersonPlan};
pub use pixels::{Rgb8Pictures, planes_to_rgb8, rgb8_to_planes, to_byte};
pub use plans::{Conditioning, Cost, PlanOptions, Planned, Prepared, Session, Target, Tuning};
pub use processor::Processor;
pub use sample::{CLASSES, Sample};
pub use state_dict::{SPADE_GAIN, fill, initialize};
pub use tape::{Feed, LabelFeed, Module, SharedConditions, SpadeMethod};
pub use try_on::{
    Checkpoints, Framing, Garment, GarmentPhoto, GarmentPictures, Matcher, PersonPhoto, PreparedGarment,
    PreparedPerson, Seeds, Segmenter, TryOn, Warped, Wearer, WearerPictures, Worn,
};
