//! VITON-HD's ALIAS generator: given a person with the torso blanked out, the pose, the garment warped roughly into place
//! and a segmentation of the result, it draws the person wearing the garment.
//!
//! ```no_run
//! use alias_model::{Checkpoint, Generator, Inputs, Noise, Sample};
//! use alias_tensor::{Gpu, GpuOptions};
//!
//! # fn main() -> alias_model::Result<()> {
//! let gpu = Gpu::open(&GpuOptions::default())?;
//! let generator = Generator::load(&gpu, &Checkpoint::read("alias_final.pth")?)?;
//! let sample = Sample::from_tensors(&Checkpoint::read("inputs.safetensors")?)?;
//! let image = generator.forward(&Inputs::new(&gpu, &sample)?, Noise::None)?;
//! let pixels: Vec<f32> = image.to_vec()?; // (N, 3, H, W) in [-1, 1]
//! # Ok(())
//! # }
//! ```
//!
//! `architecture` is plain data: which layers there are, their names and shapes. `generator` runs it. Both read like the
//! paper (Choi et al., "VITON-HD", CVPR 2021, section 3.4 and supplement).

mod architecture;
mod choice;
mod compile;
mod config;
mod conv;
mod device;
mod discriminator;
mod engine;
mod error;
mod fill;
mod generator;
mod init;
mod inputs;
mod label_map;
pub mod losses;
mod painter;
mod sample;
mod strictness;
mod table;
mod trainer;
mod tuning;
mod vgg;
mod weights;

pub use alias_checkpoint::{self as checkpoint, Checkpoint};
pub use alias_cpu::{Cpu, CpuOptions, Instructions};
pub use alias_plan::{self as plan, Plan, Precision};
pub use architecture::{AliasNorm, Architecture, Conv, NormKind, ResBlock};
pub use choice::{Processor, Target, Tuning};
pub use compile::{Cost, PersonOptions};
pub use config::{Config, Layers, Norm};
pub use device::Device;
pub use discriminator::{DiscriminatorConfig, MultiscaleDiscriminator};
pub use error::{Error, Result};
pub use fill::{fill, fill_state_dict};
pub use generator::{Generator, LoadOptions, Modulation, Noise};
pub use init::{SPADE_GAIN, initialize};
pub use inputs::Inputs;
pub use label_map::{GARMENT, misaligned};
pub use losses::Gan;
pub use painter::{Painter, Person};
pub use sample::{CLASSES, Sample};
pub use trainer::{Batch, Losses, Trainer, TrainerOptions};
pub use vgg::Vgg19;
