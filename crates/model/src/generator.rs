//! The ALIAS generator, on a device.

use crate::conv::{Conv2d, Take};
use crate::table::Table;
use crate::{Architecture, Checkpoint, Config, Error, Inputs, NormKind, Result, architecture, strictness};
use alias_kernels::{
    RunningStatistics, add, add_noise, batch_norm, batch_norm_train, concat, instance_norm, leaky_relu, mask_norm,
    modulate, modulate_rows, relu, resize, tanh,
};
use alias_plan::Statistics;
use alias_tensor::{Gpu, Pass, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// What every normalization adds to a variance.
const EPS: f32 = Statistics::EPS;
/// Slope of the leaky ReLUs.
const SLOPE: f32 = 0.2;

/// The Gaussian noise before each normalization. The authors draw it in evaluation, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noise {
    /// No noise: the same image every time.
    #[default]
    None,
    /// The noise of this seed: on one device the same image, bit for bit; on another one the same but for rounding.
    Seed(u64),
}

/// How SPADE's scale and shift are computed; the result is the same but for rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modulation {
    /// For each distinct window of the label map, at the resolutions where that is less work than for each pixel.
    #[default]
    Table,
    /// For each pixel, as PyTorch does.
    Dense,
}

/// How to load a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Whether the generator is the ablation without mask norm, which the checkpoint cannot tell with instance norm.
    pub plain: bool,
    /// Whether a tensor that does not belong to the generator is an error. One that is missing always is.
    pub strict: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { plain: false, strict: true }
    }
}

/// How far batch norm's running statistics move in a step of training.
const MOMENTUM: f32 = 0.1;

/// The ALIAS generator, its weights on a device.
///
/// Forward passes are recorded on the tape, so that the image can be differentiated with respect to tracked inputs, and
/// to tracked weights given to [`Generator::from_state`].
#[derive(Debug)]
pub struct Generator {
    architecture: Architecture,
    stages: Vec<Stage>,
    image: Conv2d,
    /// Whether blocks are computed a second time for their gradients, instead of keeping what the first time gave.
    recomputes: bool,
}

/// What happens at one resolution: the input's features join what came before, and a block follows.
#[derive(Debug)]
struct Stage {
    name: &'static str,
    features: Conv2d,
    block: Arc<AliasResBlock>,
}

#[derive(Debug)]
struct AliasResBlock {
    /// Whether its labels are those with the misaligned region.
    sees_mask: bool,
    first: (AliasNorm, Conv2d),
    second: (AliasNorm, Conv2d),
    skip: Option<(AliasNorm, Conv2d)>,
}

#[derive(Debug)]
struct AliasNorm {
    noise_scale: Tensor,
    stream: u32,
    standardize: Standardize,
    shared: Conv2d,
    gamma: Conv2d,
    beta: Conv2d,
}

/// Where a norm gets its labels from.
enum Labels {
    /// From every pixel of the map (N, labels, H, W).
    Dense(Tensor),
    /// From its distinct windows.
    Table(Arc<Table>),
}

#[derive(Debug)]
enum Standardize {
    Mask,
    Instance,
    Batch(RunningStatistics),
    /// By the batch's own statistics, which move the running ones.
    BatchInTraining(Mutex<RunningStatistics>),
}

impl Generator {
    /// Loads a checkpoint, its configuration read from the weights.
    ///
    /// # Errors
    /// [`Error::StateDict`] where it is not exactly a generator's state dict; what the device reports.
    pub fn load(gpu: &Gpu, checkpoint: &Checkpoint) -> Result<Generator> {
        Generator::load_with(gpu, checkpoint, LoadOptions::default())
    }

    /// Loads a checkpoint by `options`.
    ///
    /// # Errors
    /// As [`Generator::load`].
    pub fn load_with(gpu: &Gpu, checkpoint: &Checkpoint, options: LoadOptions) -> Result<Generator> {
        let inferred = Config::infer(checkpoint)?;
        let config = Config { plain: options.plain || inferred.plain, ..inferred };
        let architecture = Architecture::new(config)?;
        strictness::verify(&architecture, checkpoint, options.strict)?;
        Generator::from_state(architecture, |key, shape| {
            let array = checkpoint.get(key).ok_or_else(|| Error::StateDict(format!("no tensor '{key}'")))?;
            Ok(Tensor::new(gpu, shape, &array.to_f32()?)?)
        })
    }

    /// Assembles a generator from tensors: `state` gives each one of the state dict that evaluation uses, by name and
    /// shape. What it gives may be [tracked](Tensor::requires_grad).
    ///
    /// # Errors
    /// What `state` or the device reports.
    pub fn from_state(
        architecture: Architecture,
        mut state: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Generator> {
        let shapes = architecture.state_dict();
        let mut take = |key: &str| state(key, &shapes[key]);
        let image = Conv2d::new(&architecture.image, &mut take)?;
        let stages = architecture.blocks.iter().zip(&architecture.features).map(|(block, features)| {
            Ok(Stage {
                name: block.key,
                features: Conv2d::new(features, &mut take)?,
                block: Arc::new(AliasResBlock::new(block, &mut take)?),
            })
        });
        let stages = stages.collect::<Result<_>>()?;
        Ok(Generator { architecture, stages, image, recomputes: false })
    }

    /// The same in training: batch norm goes by the batch, and moves its running statistics.
    pub(crate) fn in_training(mut self) -> Generator {
        let blocks =
            self.stages.iter_mut().map(|stage| Arc::get_mut(&mut stage.block).expect("nobody else has it yet"));
        for norm in blocks.flat_map(AliasResBlock::norms_mut) {
            if let Standardize::Batch(running) = &norm.standardize {
                norm.standardize = Standardize::BatchInTraining(Mutex::new(running.clone()));
            }
        }
        self
    }

    /// The same, which computes its blocks a second time for their gradients, if so told: with only the blocks' inputs kept,
    /// it takes a fraction of the memory, and a third more time.
    pub(crate) fn recomputing(self, recomputes: bool) -> Generator {
        Generator { recomputes, ..self }
    }

    /// Names and values of the running statistics that training has moved.
    pub(crate) fn running_statistics(&self) -> Vec<(String, Tensor)> {
        let layers = self.architecture.blocks.iter().flat_map(architecture::ResBlock::halves);
        let norms = self.stages.iter().flat_map(|stage| stage.block.norms());
        let moved = layers.zip(norms).filter_map(|((layers, _), norm)| {
            let Standardize::BatchInTraining(running) = &norm.standardize else { return None };
            let RunningStatistics { mean, variance } = running.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Some(layers.running_statistics_keys().into_iter().zip([mean, variance]))
        });
        moved.flatten().collect()
    }

    /// Its layers.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Draws the image: (N, 3, H, W) in (-1, 1).
    ///
    /// # Errors
    /// [`Error::Input`] where H or W is not a multiple of what the layers need; what the device reports.
    pub fn forward(&self, inputs: &Inputs, noise: Noise) -> Result<Tensor> {
        self.forward_with(inputs, noise, Modulation::Table, |_, _| {})
    }

    /// Draws the image, its modulation computed as told, and shows each block's output, by the block's name, on the way.
    ///
    /// # Errors
    /// As [`Generator::forward`].
    pub fn forward_with(
        &self,
        inputs: &Inputs,
        noise: Noise,
        modulation: Modulation,
        mut tap: impl FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        let [_, height, width] = inputs.size()?;
        let layers = self.architecture.config.layers;
        layers.check_size(height, width)?;
        let multiple = layers.multiple();
        let mut y: Option<Tensor> = None;
        for (i, Stage { name, features, block }) in self.stages.iter().enumerate() {
            let (h, w) = ((height / multiple) << i, (width / multiple) << i);
            let features = features.forward(&resize(&inputs.x, h, w)?)?;
            let x = match &y {
                None => features,
                Some(y) => concat(&[&resize(y, h, w)?, &features])?,
            };
            let out = if self.recomputes {
                let (block, inputs) = (block.clone(), inputs.clone());
                x.checkpoint(move |x, pass| block.forward(x, &inputs, noise, modulation, pass))?
            } else {
                block.forward(&x, inputs, noise, modulation, Pass::First)?
            };
            tap(name, &out);
            y = Some(out);
        }
        let y = y.ok_or_else(|| Error::Config("a generator without blocks".into()))?;
        Ok(tanh(&self.image.forward(&leaky_relu(&y, SLOPE)?)?)?)
    }
}

impl AliasResBlock {
    fn new(layers: &architecture::ResBlock, take: Take) -> Result<AliasResBlock> {
        let mut half = |(norm, conv): &(architecture::AliasNorm, architecture::Conv)| {
            Ok::<_, Error>((AliasNorm::new(norm, take)?, Conv2d::new(conv, take)?))
        };
        Ok(AliasResBlock {
            sees_mask: layers.sees_mask,
            first: half(&layers.first)?,
            second: half(&layers.second)?,
            skip: layers.skip.as_ref().map(half).transpose()?,
        })
    }

    /// In the order of [`architecture::ResBlock::halves`].
    fn norms(&self) -> impl Iterator<Item = &AliasNorm> {
        [&self.first, &self.second].into_iter().chain(&self.skip).map(|(norm, _)| norm)
    }

    fn norms_mut(&mut self) -> impl Iterator<Item = &mut AliasNorm> {
        [&mut self.first, &mut self.second].into_iter().chain(&mut self.skip).map(|(norm, _)| norm)
    }

    fn forward(
        &self,
        x: &Tensor,
        inputs: &Inputs,
        noise: Noise,
        modulation: Modulation,
        pass: Pass,
    ) -> alias_tensor::Result<Tensor> {
        let size @ [_, _, h, w] = x.shape().nchw("block", "x")?;
        let table = match modulation {
            Modulation::Table => inputs.tables(self.sees_mask).get(x.gpu(), size)?,
            Modulation::Dense => None,
        };
        let labels = match table {
            Some(table) => Labels::Table(table),
            None => Labels::Dense(resize(if self.sees_mask { &inputs.seg_div } else { &inputs.seg }, h, w)?),
        };
        let norm = |norm: &AliasNorm, x: &Tensor| norm.forward(x, &labels, &inputs.mask, noise, pass);
        let skip = match &self.skip {
            Some((norm_s, conv_s)) => conv_s.forward(&norm(norm_s, x)?)?,
            None => x.clone(),
        };
        let (norm_0, conv_0) = &self.first;
        let y = conv_0.forward(&leaky_relu(&norm(norm_0, x)?, SLOPE)?)?;
        let (norm_1, conv_1) = &self.second;
        let y = conv_1.forward(&leaky_relu(&norm(norm_1, &y)?, SLOPE)?)?;
        add(&skip, &y)
    }
}

impl AliasNorm {
    fn new(layers: &architecture::AliasNorm, take: Take) -> Result<AliasNorm> {
        let standardize = match layers.kind {
            NormKind::Mask => Standardize::Mask,
            NormKind::Instance => Standardize::Instance,
            NormKind::Batch => {
                let [mean, variance] = layers.running_statistics_keys();
                Standardize::Batch(RunningStatistics { mean: take(&mean)?, variance: take(&variance)? })
            }
        };
        Ok(AliasNorm {
            noise_scale: take(&layers.noise_scale_key())?,
            stream: layers.stream,
            standardize,
            shared: Conv2d::new(&layers.shared, take)?,
            gamma: Conv2d::with_taps(&layers.gamma, take)?,
            beta: Conv2d::with_taps(&layers.beta, take)?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        labels: &Labels,
        mask: &Tensor,
        noise: Noise,
        pass: Pass,
    ) -> alias_tensor::Result<Tensor> {
        let x = match noise {
            Noise::None => x.clone(),
            Noise::Seed(seed) => add_noise(x, &self.noise_scale, seed, self.stream)?,
        };
        let standardized = match &self.standardize {
            Standardize::Mask => {
                let [_, _, h, w] = x.shape().nchw("norm", "x")?;
                mask_norm(&x, &resize(mask, h, w)?, EPS)?
            }
            Standardize::Instance => instance_norm(&x, EPS)?,
            Standardize::Batch(running) => batch_norm(&x, running, EPS)?,
            Standardize::BatchInTraining(running) => {
                let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
                let (y, moved) = batch_norm_train(&x, &running, MOMENTUM, EPS)?;
                if pass == Pass::First {
                    *running = moved;
                }
                y
            }
        };
        match labels {
            Labels::Dense(labels) => {
                let hidden = relu(&self.shared.forward(labels)?)?;
                modulate(&standardized, &self.gamma.forward(&hidden)?, &self.beta.forward(&hidden)?)
            }
            Labels::Table(table) => {
                let hidden = relu(&self.shared.forward_unfolded(&table.patches)?)?;
                let (gamma, beta) = (table.convolve(&self.gamma, &hidden)?, table.convolve(&self.beta, &hidden)?);
                modulate_rows(&standardized, &gamma, &beta, &table.rows)
            }
        }
    }
}
