//! A network on a device, and plans of it, each made once and run any number of times.

use super::choice::Target;
use super::conditioning::Conditioning;
use super::cost::Cost;
use super::engine::{self, Engine, Runner};
use super::lowering::{BatchNorm, PlanOptions, Program, ProgramInput, ProgramOutput, lower};
use crate::network::Network;
use crate::{Checkpoint, ConfigError, Device, InputError, Noise, Result};
use alias_plan::{BufferId, Precision, Step};
use alias_tensor::Tensor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A network for inference, with its weights packed for a device. [`Module`](crate::Module) also computes gradients.
///
/// Clones are cheap and share the weights.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::network::{Builder, Conv, Reading};
/// use alias_model::{Conditioning, Device, Noise, PlanOptions, Session, fill};
///
/// let mut net = Builder::new("Edges");
/// let image = net.input("image", 3);
/// let edges = net.convolution(Reading::of(image), Conv::same("edges", 3, 1, 3));
/// net.output("edges", edges);
/// let network = net.finish();
///
/// let session = Session::load(Device::cores(Default::default())?, &network, &fill(&network, 1))?;
/// let prepared = session.plan_and_prepare(&Conditioning::size(1, 20, 30), PlanOptions::default())?;
/// let outputs = prepared.run(&[("image", &[0.5; 3 * 20 * 30])], Noise::None)?;
/// assert_eq!(outputs[0].len(), 20 * 30);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    network: Network,
    engine: Box<dyn Engine>,
    target: Target,
}

/// A plan of a network, with its own buffers. Threads that share one take turns.
#[derive(Debug)]
pub struct Prepared {
    batch: usize,
    /// Height and width of the inputs.
    size: [usize; 2],
    cost: Cost,
    inputs: Vec<ProgramInput>,
    seed: Option<BufferId>,
    outputs: Vec<ProgramOutput>,
    /// Number of steps, from the first, that ran when it was made.
    run_once: usize,
    /// Locked during a run: all runs go through the same buffers.
    runner: Mutex<Box<dyn Runner>>,
}

/// A plan of a network, without buffers, for [`Session::prepare`].
#[derive(Debug)]
pub struct Planned {
    /// The session that made it, whose weights it is for.
    session: Session,
    batch: usize,
    /// Height and width of the inputs.
    size: [usize; 2],
    cost: Cost,
    /// Number of steps, from the first, that run only once.
    run_once: usize,
    uploads: Vec<(BufferId, Vec<u8>)>,
    inputs: Vec<ProgramInput>,
    seed: Option<BufferId>,
    batch_norms: Vec<BatchNorm>,
    outputs: Vec<ProgramOutput>,
}

impl Planned {
    /// The cost of a run.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }
}

impl Session {
    /// Packs a checkpoint for a device, in float32.
    ///
    /// # Errors
    /// [`Error::StateDict`](crate::Error::StateDict) if it is not exactly the network's state dict, or an error of the
    /// device.
    pub fn load(device: impl Into<Device>, network: &Network, checkpoint: &Checkpoint) -> Result<Session> {
        let device = device.into();
        Session::load_with(&device, network, checkpoint, Target::of(&device, Precision::F32))
    }

    /// Packs a checkpoint for plans for `target`, which is usually [`Target::of`] the device.
    ///
    /// # Errors
    /// As [`Session::load`]; [`alias_tensor::Error::MissingFeature`] if the device was opened without a feature that
    /// the target needs; [`Error::Config`](crate::Error::Config) if the device does not support the target.
    pub fn load_with(
        device: impl Into<Device>,
        network: &Network,
        checkpoint: &Checkpoint,
        target: Target,
    ) -> Result<Session> {
        let checkpoint = network.state_dict_in(checkpoint)?;
        network.verify(&checkpoint, true)?;
        Session::of_verified(device.into(), network.clone(), &checkpoint, target)
    }

    /// Packs a checkpoint that is known to be the network's.
    pub(crate) fn of_verified(
        device: Device,
        network: Network,
        checkpoint: &Checkpoint,
        target: Target,
    ) -> Result<Session> {
        let engine = engine::load(&device, &network, checkpoint, &target)?;
        Ok(Session(Arc::new(Inner { network, engine, target })))
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    /// Makes a plan and prepares to run it: [`Session::plan`], then [`Session::prepare`].
    ///
    /// # Errors
    /// As these two.
    pub fn plan_and_prepare(&self, conditioning: &Conditioning, options: PlanOptions) -> Result<Prepared> {
        self.prepare(self.plan(conditioning, options)?)
    }

    /// Makes a plan. This runs on the host alone, so another thread can do it while the device is busy.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if the network cannot take inputs of this size;
    /// [`Error::Config`](crate::Error::Config) if plans do not support a layer.
    pub fn plan(&self, conditioning: &Conditioning, options: PlanOptions) -> Result<Planned> {
        let Inner { network, target, .. } = &*self.0;
        let Program { plan, run_once, uploads, inputs, seed, batch_norms, outputs } =
            lower(network, conditioning, options, target)?;
        let cost = Cost::of(plan, network, target);
        let (session, batch, size) = (self.clone(), conditioning.batch, [conditioning.height, conditioning.width]);
        Ok(Planned { session, batch, size, cost, run_once, uploads, inputs, seed, batch_norms, outputs })
    }

    /// Prepares to run a plan that this session made: allocates buffers, computes tables that are kept, records
    /// launches.
    ///
    /// # Errors
    /// [`ConfigError::OtherSession`] if another session made the plan; an error of the device.
    pub fn prepare(&self, planned: Planned) -> Result<Prepared> {
        let Inner { engine, .. } = &*self.0;
        let Planned { session, batch, size, cost, run_once, uploads, inputs, seed, batch_norms, outputs } = planned;
        if !Arc::ptr_eq(&session.0, &self.0) {
            return Err(ConfigError::OtherSession.into());
        }
        let mut runner = engine.runner(&cost.plan, run_once)?;
        for (id, bytes) in &uploads {
            runner.upload(*id, bytes)?;
        }
        for norm in &batch_norms {
            runner.upload_coefficients(norm.buffer, engine.coefficients(&norm.key), &norm.operands, batch)?;
        }
        runner.run_once()?;
        Ok(Prepared { batch, size, inputs, seed, outputs, run_once, runner: Mutex::new(runner), cost })
    }
}

impl Prepared {
    /// Runs the plan on named inputs (N, C, H, W): all of the network's, except label maps and masks. Returns the
    /// outputs (N, C, H, W), in the network's order.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) if an input is missing, unknown or of the wrong length, or `noise` does
    /// not match [`PlanOptions::noise`]; an error of the device.
    pub fn run(&self, inputs: &[(&str, &[f32])], noise: Noise) -> Result<Vec<Vec<f32>>> {
        let given: Vec<_> = inputs.iter().map(|(name, _)| *name).collect();
        if let Some(unknown) = given.iter().find(|name| self.inputs.iter().all(|input| input.name != **name)) {
            let known = self.inputs.iter().map(|input| input.name.clone()).collect();
            return Err(InputError::Unknown { name: (*unknown).into(), known }.into());
        }
        if let Some(at) = (1..given.len()).find(|&at| given[..at].contains(&given[at])) {
            return Err(InputError::Twice { name: given[at].into() }.into());
        }
        let tensors = self.inputs.iter().map(|ProgramInput { name, channels, .. }| {
            let found = inputs.iter().find(|(given, _)| given == name);
            let missing = || InputError::Missing { name: name.clone(), found: given.join(", ") };
            let (_, values) = found.ok_or_else(missing)?;
            let [height, width] = self.size;
            let (expected, got) = (self.batch * channels * height * width, values.len());
            if got == expected {
                return Ok([*values]);
            }
            let shape = vec![self.batch, *channels, height, width];
            Err(InputError::Elements { name: name.clone(), got, expected, shape }.into())
        });
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        let tensors: Vec<&[&[f32]]> = tensors.iter().map(|tensor| tensor.as_slice()).collect();
        self.run_parts(&tensors, noise)
    }

    /// [`Prepared::run`] on inputs in the network's order, each given as tensors to concatenate along the channels.
    pub(crate) fn run_parts(&self, inputs: &[&[&[f32]]], noise: Noise) -> Result<Vec<Vec<f32>>> {
        let runner = self.launch(inputs, noise)?;
        self.outputs.iter().map(|output| runner.output(output.buffer, output.shape)).collect()
    }

    /// [`Prepared::run_parts`], but the first output (N, 3, H, W) in [-1, 1] stays on the GPU, as bytes: (N, H, W) of
    /// RGBA8.
    pub(crate) fn run_to_rgba8(&self, inputs: &[&[&[f32]]], noise: Noise) -> Result<Tensor> {
        let runner = self.launch(inputs, noise)?;
        let ProgramOutput { buffer, shape: [n, _, h, w], .. } = self.outputs[0];
        runner.rgba8(buffer, [n, h, w]).ok_or(ConfigError::NoGpu)?
    }

    /// Runs the plan. Its buffers hold the results as long as the caller holds the runner.
    fn launch(&self, inputs: &[&[&[f32]]], noise: Noise) -> Result<MutexGuard<'_, Box<dyn Runner>>> {
        let mut runner = self.runner();
        for (ProgramInput { buffer, .. }, tensors) in self.inputs.iter().zip(inputs) {
            runner.upload_input(*buffer, tensors, self.batch, self.size.iter().product())?;
        }
        match (noise, self.seed) {
            (Noise::Seed(seed), Some(id)) => {
                runner.upload(id, bytemuck::cast_slice(&[seed as u32, (seed >> 32) as u32]))?;
            }
            (Noise::None, None) => {}
            (Noise::Seed(_), None) => return Err(InputError::NoiseUnplanned.into()),
            (Noise::None, Some(_)) => return Err(InputError::SeedMissing.into()),
        }
        runner.run()?;
        Ok(runner)
    }

    fn runner(&self) -> MutexGuard<'_, Box<dyn Runner>> {
        // A run overwrites whatever a panic left in the buffers.
        self.runner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names and shapes (N, C, H, W) of the outputs.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{Conditioning, Device, PlanOptions, Session, Vgg19Config, fill};
    ///
    /// let network = Vgg19Config { divisor: 64 }.network()?;
    /// let session = Session::load(Device::cores(Default::default())?, &network, &fill(&network, 1))?;
    /// let prepared = session.plan_and_prepare(&Conditioning::size(2, 64, 48), PlanOptions::default())?;
    /// assert_eq!(prepared.outputs().last(), Some(("relu5_1", [2, 8, 4, 3])));
    /// # Ok(())
    /// # }
    /// ```
    pub fn outputs(&self) -> impl Iterator<Item = (&str, [usize; 4])> {
        self.outputs.iter().map(|output| (output.name.as_str(), output.shape))
    }

    /// The steps of each run: all of the plan's except tables that are kept.
    pub fn steps(&self) -> &[Step] {
        &self.cost.plan.steps[self.run_once..]
    }

    /// Runs each of [`Prepared::steps`] by itself, on whatever the buffers hold, and measures it. On a GPU,
    /// [`Recording::profile`](alias_tensor::Recording::profile) says how.
    ///
    /// # Errors
    /// If the device reports an error.
    pub fn profile(&self) -> Result<Vec<(&Step, Duration)>> {
        let times = self.runner().profile()?;
        Ok(self.steps().iter().zip(times).collect())
    }

    /// The cost of a run.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }
}
