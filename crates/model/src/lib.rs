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
//! [`network`] describes networks as plain data, `networks` holds the descriptions, `tape` runs them with gradients and `plans`
//! as fused plans.

mod device;
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

pub use alias_checkpoint::{self as checkpoint, Checkpoint};
pub use alias_cpu::{Cpu, CpuOptions, Instructions};
pub use alias_plan::{self as plan, Plan, Precision};
pub use device::Device;
pub use error::{ConfigError, Error, InputError, Result, StateDictError, StateDictMismatch};
pub use generator::Generator;
pub use inputs::Inputs;
pub use label_map::{GARMENT, misaligned};
pub use networks::{DiscriminatorConfig, GeneratorConfig, Layers, LoadOptions, ParameterFreeNorm, Vgg19Config};
pub use noise::Noise;
pub use painter::{Painter, Person, PersonPlan};
pub use pixels::{Rgb8Pictures, planes_to_rgb8, rgb8_to_planes, to_byte};
pub use plans::{Conditioning, Cost, PlanOptions, Planned, Prepared, Session, Target, Tuning};
pub use processor::Processor;
pub use sample::{CLASSES, Sample};
pub use state_dict::{SPADE_GAIN, fill, initialize};
pub use tape::{Feed, Module, SpadeMethod};
