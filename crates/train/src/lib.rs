//! Training of VITON-HD's image generator: its losses, a trainer, and the files of a training run.
//!
//! Not a general training framework: one generator is trained against one discriminator, by Adam, in float32, on one
//! GPU or on processor cores. The stages before the generator are not trained here.
//!
//! Start with [`Trainer`]. [`Trainer::step`] updates both networks; [`Trainer::save`] and [`Trainer::resume`] continue
//! a training bit for bit. For long runs, `tryon train` adds [`Settings`], [`Order`] and [`Loader`] for the examples, a
//! [`Log`], [`curves`], and [`Checkpoints`], which survive a kill at any moment.
//!
//! ```
//! use alias_model::{DiscriminatorConfig, GeneratorConfig, Inputs, Layers, fill};
//! use alias_tensor::{Device, Tensor};
//! use alias_train::{Batch, Trainer, TrainerOptions};
//!
//! # fn main() -> alias_train::Result<()> {
//! let device = Device::auto()?;
//! let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
//! let judge = DiscriminatorConfig { ndf: 1, ..DiscriminatorConfig::VITON_HD };
//! // Fixed weights from a seed; `alias_model::initialize` makes those to train from.
//! let (generator, discriminator) = (fill(&config.network()?, 1), fill(&judge.network()?, 2));
//! let options = TrainerOptions::default();
//! let mut trainer = Trainer::new(&device, (config, &generator), (judge, &discriminator), None, options)?;
//!
//! let scene = alias_scene::draw(1, 64, 64);
//! let inputs = Inputs::new(&device, &scene.sample)?;
//! let real = Tensor::new(&device, &[1, 3, 64, 64], &scene.truth)?;
//! let losses = trainer.step(&[Batch { inputs, real }])?;
//! assert!(losses.generator.is_finite() && trainer.step_count() == 1);
//! # Ok(())
//! # }
//! ```

mod error;
pub mod losses;
mod run;
mod trainer;

pub use error::{Error, Result};
pub use losses::Gan;
pub use run::{
    Checkpoints, Conflict, DataSummary, GENERATOR, Loaded, Loader, Lock, Log, LogEntry, Newest, Order, Purpose,
    RunCheckpoint, RunCheckpointError, RunDescription, Settings, checksum, curves, read_generator,
};
pub use trainer::{Batch, Losses, MultiscaleDiscriminator, Observer, Phase, Trainer, TrainerOptions, Vgg19};
