//! Takes the steps of a run, and writes its files on the way.

use super::memory::{Forecast, device_error};
use super::start::{Start, log_path, upload};
use super::{Arguments, progress::Progress};
use crate::commands::to_image;
use crate::device::name;
use crate::terminal::tell;
use alias_model::{Checkpoint, Generator, LoadOptions, Noise};
use alias_pictures::dataset::Dataset;
use alias_pictures::images::write_sheet;
use alias_pictures::sheet;
use alias_tensor::{Device, Error, no_grad};
use alias_train::Trainer;
use alias_train::{
    Checkpoints, GENERATOR, Loader, Lock, Log, LogEntry, Order, Purpose, RunCheckpoint, RunCheckpointError,
    RunDescription, Settings, curves,
};
use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Examples on a sheet of samples.
const SAMPLES: usize = 4;
/// Taller pictures are scaled down to this height on a sheet.
const SAMPLE_HEIGHT: usize = 256;
/// Index of the warped garments in `Dataset::sources`. Their folder is printed, since one named `cloth` may hold flat
/// garments.
const WARPED: usize = 4;
/// The default number of threads that load pictures.
const WORKERS: usize = 2;

pub(super) struct Training {
    device: Device,
    trainer: Trainer,
    run: RunDescription,
    dataset: Arc<Dataset>,
    folder: PathBuf,
    checkpoints: Checkpoints,
    log: Log,
    entries: Vec<LogEntry>,
    /// The step of the newest checkpoint.
    saved_step: u64,
    workers: usize,
    /// Time spent waiting for examples, since this process started.
    waited: Duration,
    /// Time that threads have spent loading, and how many examples they have loaded.
    loading: (Duration, u32),
    _lock: Lock,
}

impl Training {
    /// Creates the run's folder, or opens it to resume.
    pub(super) fn begin(mut start: Start, device: Device, arguments: &Arguments) -> Result<Training> {
        let forecast = Forecast::new(&start, &device)?;
        let Settings { mut batch, mut at_once, .. } = start.run.settings;
        if arguments.fits_batch() {
            batch = forecast.largest_batch()?;
            at_once = batch;
        }
        let mib = forecast.bytes(batch, at_once)?.div_ceil(1 << 20);
        (start.run.settings.batch, start.run.settings.at_once) = (batch, at_once);
        let folder = arguments.out.clone();
        let checkpoints = Checkpoints::of(&folder);
        let perceptual =
            if start.run.vgg_checksum.is_some() { "VGG-19's features" } else { "L1 of pixels, without --vgg" };
        let (examples, [height, width]) = (start.dataset.len(), start.dataset.size());
        tell(format_args!(
            "{examples} examples at {height}x{width} on {}; perceptual loss: {perceptual}",
            name(&device)
        ));
        if let Some((what, from)) = start.dataset.sources().nth(WARPED) {
            tell(format_args!("{what}s from {}", from.display()));
        }
        tell(format_args!("a step of {batch} examples, {at_once} at once, takes {mib} MiB on the device"));
        let trainer = start.trainer(&device).map_err(|error| match device_error(&error) {
            Some(Error::OutOfMemory { .. }) => {
                error.context("the networks alone do not fit the device; take a smaller --ngf and --ndf, or no --vgg")
            }
            _ => error,
        })?;
        // Nothing is written before everything else that can fail.
        for folder in [folder.clone(), checkpoints.folder(), samples(&folder)] {
            std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        }
        let lock = start.lock(&folder)?;
        checkpoints.remove_unfinished()?;
        let (step, is_new) = (start.step(), start.is_new());
        let Start { run, dataset, .. } = start;
        if is_new {
            // So that the run can be resumed even if the files of its initial weights change.
            checkpoints
                .save(&mut RunCheckpoint { step, run: run.clone(), state: trainer.save()? }, run.settings.keep)?;
        }
        let path = log_path(&folder);
        let opened = if path.exists() {
            Log::resume(&path, step)
        } else {
            Log::create(&path, &run, &name(&device)).map(|log| (log, Vec::new()))
        };
        let (log, entries) = opened.with_context(|| format!("{}", path.display()))?;
        Ok(Training {
            device,
            trainer,
            run,
            dataset,
            folder,
            checkpoints,
            log,
            entries,
            saved_step: step,
            workers: arguments.workers.map_or(WORKERS, usize::from),
            waited: Duration::ZERO,
            loading: (Duration::ZERO, 0),
            _lock: lock,
        })
    }

    /// Trains to the end, or until `stop` is set; returns a message for the user.
    pub(super) fn train(mut self, stop: &AtomicBool) -> Result<String> {
        let start = Instant::now();
        let first = self.trainer.step_count();
        let mut progress = Progress::new(first, self.run.settings.total_steps());
        let done = self.steps(stop, &mut progress);
        progress.clear();
        done.map_err(|error| self.with_remedy(error))?;
        let (step, total) = (self.trainer.step_count(), self.run.settings.total_steps());
        let folder = self.folder.display();
        let mut text = if step == total {
            format!("{total} steps: {}\n", self.folder.join(GENERATOR).display())
        } else {
            format!("stopped and saved at step {step} of {total}; to resume: tryon train --resume --out {folder}\n")
        };
        text += &self.report(start.elapsed(), step - first);
        Ok(text)
    }

    fn steps(&mut self, stop: &AtomicBool, progress: &mut Progress) -> Result<()> {
        let settings = self.run.settings.clone();
        let (total, batch) = (settings.total_steps(), settings.batch as u64);
        let order = Order::new(settings.seed_of(Purpose::Order), self.dataset.len());
        let positions = self.trainer.step_count() * batch..total.saturating_mul(batch);
        let mut loader = Loader::new(&self.dataset, &order, positions, self.workers);
        let options = settings.trainer_options()?;
        while self.trainer.step_count() < total {
            if stop.load(Ordering::Relaxed) {
                return self.save();
            }
            let rates = options.rates(self.trainer.step_count());
            let start = Instant::now();
            let mut examples = Vec::with_capacity(settings.batch);
            let mut waited = Duration::ZERO;
            for _ in 0..batch {
                let asked = Instant::now();
                let loaded = loader.next().context("a thread that loads pictures has ended")??;
                waited += asked.elapsed();
                self.loading.0 += loaded.took;
                self.loading.1 += 1;
                examples.push(loaded.example);
            }
            let parts =
                examples.chunks(settings.at_once).map(|part| upload(&self.device, part)).collect::<Result<Vec<_>>>()?;
            let losses = self.trainer.step(&parts)?;
            self.waited += waited;
            let step = self.trainer.step_count();
            let seconds = [start.elapsed(), waited].map(|time| time.as_secs_f64());
            let entry = LogEntry::new(step, losses, rates, seconds, settings.batch);
            self.log.append(&entry).with_context(|| format!("{}", log_path(&self.folder).display()))?;
            self.entries.push(entry);
            progress.step(&entry);
            // Samples first: with its last checkpoint a run counts as finished.
            if step.is_multiple_of(settings.sample_every) || step == total {
                self.draw()?;
            }
            if step.is_multiple_of(settings.checkpoint_every) || step == total {
                self.save()?;
            }
        }
        Ok(())
    }

    /// Writes a checkpoint, unless this step has one, and the generator's weights.
    fn save(&mut self) -> Result<()> {
        let step = self.trainer.step_count();
        let mut checkpoint = RunCheckpoint { step, run: self.run.clone(), state: self.trainer.save()? };
        if self.saved_step != step {
            self.log.sync().with_context(|| format!("{}", log_path(&self.folder).display()))?;
            self.checkpoints.save(&mut checkpoint, self.run.settings.keep)?;
            self.saved_step = step;
        }
        Ok(self.checkpoints.save_generator(&checkpoint)?)
    }

    /// Writes a sheet of samples and the loss curves.
    fn draw(&self) -> Result<()> {
        let weights: Checkpoint = self.trainer.generator()?;
        let options = LoadOptions { plain: self.run.settings.plain, ..Default::default() };
        let generator = Generator::load_with(&self.device, &weights, options)?;
        let mut rows = Vec::new();
        for index in 0..SAMPLES.min(self.dataset.len()) {
            let example = self.dataset.read(index)?;
            let inputs = upload(&self.device, std::slice::from_ref(&example))?.inputs;
            let result = no_grad(|| generator.forward(&inputs, Noise::None))?.to_vec()?;
            let [result, truth] = [result, example.truth].map(|data| to_image(&example.sample, data));
            rows.push(sheet::columns(&example.sample, result, truth).to_vec());
        }
        let height = self.dataset.size()[0].min(SAMPLE_HEIGHT);
        let path = samples(&self.folder).join(format!("step-{:08}.png", self.trainer.step_count()));
        write_sheet(&path, &sheet::sheet(&sheet::TITLES, &rows, height))?;
        if !self.entries.is_empty() {
            write_sheet(&self.folder.join("losses.png"), &curves(&self.entries))?;
        }
        Ok(())
    }

    /// Saves the state after an error, unless it has diverged; adds to the error how to resume.
    fn with_remedy(&mut self, error: anyhow::Error) -> anyhow::Error {
        let step = self.trainer.step_count();
        let settings = &self.run.settings;
        if diverged(&error) {
            let last = self.checkpoints.path(self.saved_step);
            let rates = [settings.generator_rate, settings.discriminator_rate].map(|rate| rate / 2.0);
            let again = settings.restart_options(&last, rates);
            return anyhow!(
                "{error:#}\nstopped at step {step}. To start a new run from the last checkpoint, or from an earlier \
                 one, with half the rates: tryon train {again} --out OTHER"
            );
        }
        let out = self.folder.display();
        let how_to_resume = match lack_of_memory(&error, settings) {
            Some(remedy) => format!("to resume: tryon train --resume --out {out}; {remedy}"),
            None => format!("once the cause is removed, resume with: tryon train --resume --out {out}"),
        };
        let ending = match self.save() {
            Ok(()) => format!("stopped and saved at step {step}; {how_to_resume}"),
            Err(failed) if self.checkpoints.path(self.saved_step).is_file() => format!(
                "stopped at step {step}, which cannot be saved ({failed:#}); the checkpoint of step {} remains; \
                 {how_to_resume}",
                self.saved_step
            ),
            Err(failed) => format!(
                "stopped at step {step}, which cannot be saved ({failed:#}); the checkpoints are gone from {}; once \
                 they are back, resume with: tryon train --resume --out RUN",
                self.checkpoints.folder().display()
            ),
        };
        anyhow!("{error:#}\n{ending}")
    }

    /// A line that compares the speed of loading with that of training.
    fn report(&self, elapsed: Duration, steps: u64) -> String {
        let (loading, examples) = self.loading;
        if steps == 0 || examples == 0 {
            return String::new();
        }
        let waited = self.waited.as_secs_f64();
        let each = loading.as_secs_f64() / f64::from(examples) / self.workers as f64;
        let trained = (elapsed.as_secs_f64() - waited) / (steps * self.run.settings.batch as u64) as f64;
        format!(
            "data: each step waited {:.1} ms, {:.1} % of the time; {} threads load {:.0} times as fast as the training \
             needs\n",
            1e3 * waited / steps as f64,
            100.0 * waited / elapsed.as_secs_f64(),
            self.workers,
            trained / each,
        )
    }
}

/// Whether a loss or a weight is NaN or infinite, so that the state is not worth saving.
fn diverged(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(alias_train::Error::Diverged { .. }))
        || matches!(error.downcast_ref(), Some(RunCheckpointError::NotFinite { .. }))
}

/// The remedy, if the device ran out of memory.
fn lack_of_memory(error: &anyhow::Error, settings: &Settings) -> Option<&'static str> {
    matches!(device_error(error), Some(Error::OutOfMemory { .. })).then_some(if settings.recompute {
        "for less memory, start another run with --weights and --discriminator from this one and a smaller --at-once \
         or --size"
    } else {
        "with --recompute a step takes less memory"
    })
}

fn samples(folder: &Path) -> PathBuf {
    folder.join("samples")
}
