//! Where a run starts: from nothing, or from its newest checkpoint.

use super::Arguments;
use crate::commands::report_damaged;
use alias_model::{Checkpoint, DiscriminatorConfig, GeneratorConfig, Inputs, Sample, initialize};
use alias_pictures::dataset::{Dataset, Example};
use alias_tensor::{Device, Tensor};
use alias_train::{Batch, Trainer, Vgg19};
use alias_train::{
    Checkpoints, DataSummary, Lock, Newest, Purpose, RunCheckpoint, RunDescription, Settings, checksum, read_generator,
};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::sync::Arc;

/// Everything of a run that needs no device.
pub(super) struct Start {
    pub(super) run: RunDescription,
    pub(super) dataset: Arc<Dataset>,
    vgg: Option<Checkpoint>,
    /// The checkpoint to resume from; None for a new run.
    from: Option<RunCheckpoint>,
    /// The lock of the run's folder, if that existed.
    lock: Option<Lock>,
}

/// The log in a run's folder.
pub(super) fn log_path(folder: &Path) -> std::path::PathBuf {
    folder.join("log.jsonl")
}

impl Start {
    pub(super) fn new(arguments: &Arguments) -> Result<Start> {
        let given = arguments.given()?;
        if !arguments.resume {
            verify_new(&arguments.out)?;
            let mut settings = Settings::new(given).context("settings")?;
            infer(&mut settings)?;
            return Start::with(settings, None, None);
        }
        let lock = if arguments.out.is_dir() { Some(lock(&arguments.out)?) } else { None };
        let checkpoint = newest_checkpoint(&arguments.out)?;
        let before = checkpoint.run.clone();
        let start = Start::with(before.settings.resumed_with(given)?, Some(checkpoint), lock)?;
        ensure!(
            start.run.data == before.data,
            "{} has changed: it has {}, where this run began with {}; restore the old one, or start another run in \
             another folder, with --weights and --discriminator from this one",
            start.run.settings.data.display(),
            start.run.data,
            before.data
        );
        ensure!(
            start.run.vgg_checksum == before.vgg_checksum,
            match before.vgg_checksum {
                Some(_) => "these are not the weights of VGG-19 that this run began with; give their file with --vgg",
                None => "this run began without VGG-19, to compare pixels; leave --vgg out",
            }
        );
        Ok(start)
    }

    fn with(settings: Settings, from: Option<RunCheckpoint>, lock: Option<Lock>) -> Result<Start> {
        let dataset = Dataset::open(&settings.data)?;
        let dataset = match settings.size {
            Some(size) => dataset.at_size(size),
            None => dataset,
        };
        let Settings { batch, at_once, .. } = settings;
        ensure!(
            batch.is_multiple_of(at_once),
            "--batch is {batch} and --at-once {at_once}; --batch must be a multiple of --at-once"
        );
        let [height, width] = dataset.size();
        let config = settings.config()?;
        config.network()?;
        config.layers.check_size(height, width).context("give another --size")?;
        let vgg = settings.vgg.as_ref().map(Checkpoint::read).transpose().context("--vgg")?;
        let vgg_checksum = vgg.as_ref().map(checksum).transpose()?;
        let run = RunDescription { data: DataSummary::new(&dataset), settings, vgg_checksum };
        Ok(Start { run, dataset: Arc::new(dataset), vgg, from, lock })
    }

    /// Steps taken.
    pub(super) fn step(&self) -> u64 {
        self.from.as_ref().map_or(0, |checkpoint| checkpoint.step)
    }

    /// Writes the generator's weights, which a finished run lacks if it was killed right after its last checkpoint.
    pub(super) fn finish(&self, folder: &Path) -> Result<()> {
        if let Some(checkpoint) = &self.from {
            Checkpoints::of(folder).save_generator(checkpoint)?;
        }
        Ok(())
    }

    /// Whether this is a new run.
    pub(super) fn is_new(&self) -> bool {
        self.from.is_none()
    }

    /// The lock of the run's folder, which must exist by now.
    pub(super) fn lock(&mut self, folder: &Path) -> Result<Lock> {
        if let Some(lock) = self.lock.take() {
            return Ok(lock);
        }
        let lock = lock(folder)?;
        // The process that held it before may have started a run.
        verify_new(folder)?;
        Ok(lock)
    }

    /// The trainer in its first state.
    pub(super) fn trainer(&self, device: &Device) -> Result<Trainer> {
        let vgg = self.vgg.as_ref().map(|vgg| Vgg19::load(device, vgg)).transpose()?;
        let mut trainer = match &self.from {
            Some(checkpoint) => Trainer::resume(device, &checkpoint.state, vgg)?,
            None => new_trainer(device, &self.run.settings, vgg)?,
        };
        trainer.set_recomputes(self.run.settings.recompute);
        Ok(trainer)
    }
}

fn lock(folder: &Path) -> Result<Lock> {
    let lock = Lock::take(folder).with_context(|| format!("{}", folder.display()))?;
    lock.with_context(|| format!("another process is training in {}", folder.display()))
}

/// An error if this folder already holds a run.
fn verify_new(folder: &Path) -> Result<()> {
    let is_new = !log_path(folder).exists() && Checkpoints::of(folder).steps()?.is_empty();
    let shown = folder.display();
    ensure!(is_new, "there is a run in {shown} already; resume it with --resume, or name another folder");
    Ok(())
}

/// The newest checkpoint of the run in this folder; damaged ones are renamed.
fn newest_checkpoint(folder: &Path) -> Result<RunCheckpoint> {
    let shown = folder.display();
    let Some(Newest { checkpoint, damaged }) = Checkpoints::of(folder).newest()? else {
        ensure!(
            !log_path(folder).exists(),
            "there is a log in {shown} but no checkpoint to resume from; start a new run in another folder"
        );
        bail!("there is no run in {shown} to resume; start one without --resume");
    };
    report_damaged(&damaged);
    Checkpoints::set_aside(&damaged)?;
    Ok(checkpoint)
}

/// Reads the networks' settings from the weights that are given.
fn infer(settings: &mut Settings) -> Result<()> {
    if let Some(path) = &settings.weights {
        let config = GeneratorConfig::infer(&read_generator(path)?).with_context(|| format!("{}", path.display()))?;
        settings.ngf = config.ngf;
        settings.layers = config.layers.to_string();
        settings.norm = config.norm.to_string();
        settings.plain |= config.plain;
    }
    if let Some(path) = &settings.discriminator {
        let config = DiscriminatorConfig::infer(&read_discriminator(path)?);
        settings.ndf = config.with_context(|| format!("{}", path.display()))?.ndf;
    }
    Ok(())
}

/// The discriminator's state dict in a file: the whole file, or its part of a training's checkpoint.
fn read_discriminator(path: &Path) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::read(path)?;
    let part = checkpoint.part("discriminator.");
    Ok(if part.is_empty() { checkpoint } else { part })
}

/// An error if the given weights hold NaN or infinity, which no training mends.
fn check_finite(path: &Path, weights: &Checkpoint) -> Result<()> {
    for (key, array) in weights.iter() {
        let is_finite = array.to_f32()?.iter().all(|value| value.is_finite());
        ensure!(is_finite, "{}: {key} holds NaN or infinity; start from other weights", path.display());
    }
    Ok(())
}

/// A trainer of a new run.
fn new_trainer(device: &Device, settings: &Settings, vgg: Option<Vgg19>) -> Result<Trainer> {
    let (config, generator) = match &settings.weights {
        Some(path) => {
            let weights = GeneratorConfig::state_dict_in(&read_generator(path)?)?.into_owned();
            check_finite(path, &weights)?;
            (GeneratorConfig { plain: settings.plain, ..GeneratorConfig::infer(&weights)? }, weights)
        }
        None => {
            let config = settings.config()?;
            (config, initialize(&config.network()?, settings.gain, settings.seed_of(Purpose::Generator)))
        }
    };
    let (judge, discriminator) = match &settings.discriminator {
        Some(path) => {
            let weights = read_discriminator(path)?;
            check_finite(path, &weights)?;
            (DiscriminatorConfig::infer(&weights)?, weights)
        }
        None => {
            let config = DiscriminatorConfig { ndf: settings.ndf, ..DiscriminatorConfig::VITON_HD };
            (config, initialize(&config.network()?, settings.gain, settings.seed_of(Purpose::Discriminator)))
        }
    };
    Ok(Trainer::new(device, (config, &generator), (judge, &discriminator), vgg, settings.trainer_options()?)?)
}

/// Uploads examples of one size as one part of a batch.
pub(super) fn upload(device: &Device, examples: &[Example]) -> Result<Batch> {
    let sample = Sample::stack(examples.iter().map(|example| &example.sample))?;
    let truth: Vec<_> = examples.iter().flat_map(|example| example.truth.iter().copied()).collect();
    let shape = [sample.batch, 3, sample.height, sample.width];
    Ok(Batch { inputs: Inputs::new(device, &sample)?, real: Tensor::new(device, &shape, &truth)? })
}
