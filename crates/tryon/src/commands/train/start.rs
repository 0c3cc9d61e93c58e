//! Where a run starts: from nothing, or from its newest checkpoint.

use super::Arguments;
use crate::commands::passed_over;
use alias_model::{Checkpoint, DiscriminatorConfig, GeneratorConfig, Inputs, Sample, initialize};
use alias_pictures::dataset::{Dataset, Example};
use alias_tensor::{Gpu, Tensor};
use alias_train::{Batch, Trainer, Vgg19};
use alias_train::{Checkpoints, DataSummary, Lock, Newest, Purpose, Run, Saved, Settings, checksum, read_generator};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::sync::Arc;

/// A run that can go on as soon as there is a device.
pub(super) struct Start {
    pub(super) run: Run,
    pub(super) dataset: Arc<Dataset>,
    vgg: Option<Checkpoint>,
    /// None for a folder that has yet to be begun.
    from: Option<Saved>,
    /// Of a run that was there.
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
        let saved = earlier(&arguments.out)?;
        let before = saved.run.clone();
        let start = Start::with(before.settings.going_on(given)?, Some(saved), lock)?;
        ensure!(
            start.run.data == before.data,
            "{} has changed: it has {}, where this run began with {}; bring the old one back, or start another run in \
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

    fn with(settings: Settings, from: Option<Saved>, lock: Option<Lock>) -> Result<Start> {
        let dataset = Dataset::open(&settings.data)?;
        let dataset = match settings.size {
            Some(size) => dataset.at_size(size),
            None => dataset,
        };
        let Settings { batch, at_once, .. } = settings;
        ensure!(
            batch.is_multiple_of(at_once),
            "--batch is {batch} and --at-once {at_once}: a step takes its examples in parts of one size"
        );
        let [height, width] = dataset.size();
        let config = settings.config()?;
        config.network()?;
        config.layers.check_size(height, width).context("give another --size")?;
        let vgg = settings.vgg.as_ref().map(Checkpoint::read).transpose().context("--vgg")?;
        let vgg_checksum = vgg.as_ref().map(checksum).transpose()?;
        let run = Run { data: DataSummary::new(&dataset), settings, vgg_checksum };
        Ok(Start { run, dataset: Arc::new(dataset), vgg, from, lock })
    }

    /// Steps that have been taken.
    pub(super) fn step(&self) -> u64 {
        self.from.as_ref().map_or(0, |saved| saved.step)
    }

    /// Writes what a run that was killed right after its last checkpoint still lacks.
    pub(super) fn finish(&self, folder: &Path) -> Result<()> {
        if let Some(saved) = &self.from {
            Checkpoints::of(folder).save_generator(saved)?;
        }
        Ok(())
    }

    /// Whether its folder has yet to be begun.
    pub(super) fn is_new(&self) -> bool {
        self.from.is_none()
    }

    /// The lock of the run's folder, which is there by now.
    pub(super) fn lock(&mut self, folder: &Path) -> Result<Lock> {
        if let Some(lock) = self.lock.take() {
            return Ok(lock);
        }
        let lock = lock(folder)?;
        // Who had it before may have begun a run.
        verify_new(folder)?;
        Ok(lock)
    }

    /// The trainer, where it starts.
    pub(super) fn trainer(&self, gpu: &Gpu) -> Result<Trainer> {
        let vgg = self.vgg.as_ref().map(|vgg| Vgg19::load(gpu, vgg)).transpose()?;
        let mut trainer = match &self.from {
            Some(saved) => Trainer::resume(gpu, &saved.state, vgg)?,
            None => begin(gpu, &self.run.settings, vgg)?,
        };
        trainer.set_recomputes(self.run.settings.recompute);
        Ok(trainer)
    }
}

fn lock(folder: &Path) -> Result<Lock> {
    let lock = Lock::take(folder).with_context(|| format!("{}", folder.display()))?;
    lock.with_context(|| format!("another process is training in {}", folder.display()))
}

/// Errors where a run is in this folder already.
fn verify_new(folder: &Path) -> Result<()> {
    let is_new = !log_path(folder).exists() && Checkpoints::of(folder).steps()?.is_empty();
    let shown = folder.display();
    ensure!(is_new, "there is a run in {shown} already; go on with it by --resume, or name another folder");
    Ok(())
}

/// How far the run in this folder has come.
fn earlier(folder: &Path) -> Result<Saved> {
    let shown = folder.display();
    let Some(Newest { saved, damaged }) = Checkpoints::of(folder).newest()? else {
        ensure!(
            !log_path(folder).exists(),
            "there is a log in {shown} and no checkpoint to go on from; start anew in another folder"
        );
        bail!("there is no run in {shown} to go on with; start one without --resume");
    };
    passed_over(&damaged);
    Checkpoints::set_aside(&damaged)?;
    Ok(saved)
}

/// Reads from the weights what networks they are of.
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

/// The discriminator's state dict in a file: the file itself, or what a checkpoint of a training holds of it.
fn read_discriminator(path: &Path) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::read(path)?;
    let part = checkpoint.part("discriminator.");
    Ok(if part.is_empty() { checkpoint } else { part })
}

/// A trainer that has taken no step.
fn begin(gpu: &Gpu, settings: &Settings, vgg: Option<Vgg19>) -> Result<Trainer> {
    let (config, generator) = match &settings.weights {
        Some(path) => {
            let weights = read_generator(path)?;
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
            (DiscriminatorConfig::infer(&weights)?, weights)
        }
        None => {
            let config = DiscriminatorConfig { ndf: settings.ndf, ..DiscriminatorConfig::VITON_HD };
            (config, initialize(&config.network()?, settings.gain, settings.seed_of(Purpose::Discriminator)))
        }
    };
    Ok(Trainer::new(gpu, (config, &generator), (judge, &discriminator), vgg, settings.trainer_options()?)?)
}

/// Examples of one size on the device, as one part of a batch.
pub(super) fn upload(gpu: &Gpu, examples: &[Example]) -> Result<Batch> {
    let sample = Sample::stack(examples.iter().map(|example| &example.sample))?;
    let truth: Vec<_> = examples.iter().flat_map(|example| example.truth.iter().copied()).collect();
    let shape = [sample.batch, 3, sample.height, sample.width];
    Ok(Batch { inputs: Inputs::new(gpu, &sample)?, real: Tensor::new(gpu, &shape, &truth)? })
}
