//! The fastest method for each convolution, measured on the user's own adapter and stored in a file.

use crate::{Checkpoint, Error, LoadOptions, Painter, PlanOptions, Result, Sample, Target, Tuning};
use alias_checkpoint::write_atomically;
use alias_plan::{Method, Step};
use alias_tensor::Gpu;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The methods and their names in the file.
const METHODS: [(&str, Method); 3] =
    [("fused", Method::Fused), ("winograd", Method::Winograd(2)), ("staged", Method::Staged(0))];
/// Runs of each method, of which the fastest counts.
const RUNS: usize = 3;

impl Tuning {
    /// Times every convolution of the generator in `checkpoint` by every method while drawing `sample` on `gpu`, and
    /// takes the fastest.
    ///
    /// ```no_run
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::{LoadOptions, Painter, Precision, Sample, Target, Tuning};
    /// use alias_tensor::{Gpu, GpuOptions};
    /// # use alias_model::{GeneratorConfig, Layers, fill};
    /// # let config = GeneratorConfig { layers: Layers::More, ..GeneratorConfig::PUBLISHED.with_ngf(1) };
    /// # let checkpoint = fill(&config.network()?, 1);
    /// # let pixels = 64 * 64;
    /// # let sample = Sample {
    /// #     batch: 1,
    /// #     height: 64,
    /// #     width: 64,
    /// #     agnostic: vec![0.0; 3 * pixels],
    /// #     pose: vec![0.0; 3 * pixels],
    /// #     warped_cloth: vec![0.5; 3 * pixels],
    /// #     warped_mask: vec![1.0; pixels],
    /// #     labels: vec![2; pixels],
    /// # };
    ///
    /// let gpu = Gpu::open(&GpuOptions::default())?;
    /// let (options, target) = (LoadOptions::default(), Target::of(&gpu, Precision::F32));
    /// let tuning = Tuning::measure(&gpu, &checkpoint, options, &sample, &target)?;
    /// tuning.write("tuning.json".as_ref())?; // for the next start
    /// let painter = Painter::load_with(&gpu, &checkpoint, options, Target { tuning, ..target })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Painter::load_with`] and [`Painter::person`].
    pub fn measure(
        gpu: &Gpu,
        checkpoint: &Checkpoint,
        options: LoadOptions,
        sample: &Sample,
        target: &Target,
    ) -> Result<Tuning> {
        let mut best: BTreeMap<String, (Duration, Method)> = BTreeMap::new();
        for (_, method) in METHODS {
            let target = Target { tuning: Tuning::Always(method), ..target.clone() };
            let person =
                Painter::load_with(gpu, checkpoint, options, target)?.person(sample, PlanOptions::default())?;
            // The first run compiles the kernels.
            person.profile()?;
            for _ in 0..RUNS {
                let mut run: BTreeMap<&str, (Duration, Method)> = BTreeMap::new();
                for (step, time) in person.profile()? {
                    let Step::Convolution(step) = step else { continue };
                    // The number of staged rows depends on the image's size, so it is not part of the result.
                    let method = if let Method::Staged(_) = step.method { Method::Staged(0) } else { step.method };
                    run.entry(&step.name).or_insert((Duration::ZERO, method)).0 += time;
                }
                for (name, found) in run {
                    let best = best.entry(name.into()).or_insert(found);
                    if found.0 < best.0 {
                        *best = found;
                    }
                }
            }
        }
        Ok(Tuning::Measured(best.into_iter().map(|(name, (_, method))| (name, method)).collect()))
    }

    /// Reads what [`Tuning::write`] wrote.
    ///
    /// # Errors
    /// [`Error::Tuning`] if the file cannot be read or is not a tuning file.
    pub fn read(path: &Path) -> Result<Tuning> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::Tuning { path: path.into(), problem: format!("{e}; tune first") })?;
        let refused = |problem: String| Error::Tuning {
            path: path.into(),
            problem: format!("{problem}; remove it, or tune again"),
        };
        let names: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|e| refused(e.to_string()))?;
        let method = |(layer, name): (String, String)| {
            let known = METHODS.iter().find(|(known, _)| *known == name);
            let (_, method) = known.ok_or_else(|| refused(format!("'{name}', for {layer}, is not a method")))?;
            Ok((layer, *method))
        };
        names.into_iter().map(method).collect::<Result<_>>().map(Tuning::Measured)
    }

    /// Writes the measured methods as a JSON object from layers to methods.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::Tuning;
    /// use alias_model::plan::Method;
    /// # let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    /// # let path = folder.path().join("tuning.json");
    ///
    /// let tuning = Tuning::Measured([("conv_img".into(), Method::Winograd(2))].into());
    /// tuning.write(&path)?;
    /// assert_eq!(Tuning::read(&path)?, tuning);
    /// assert!(Tuning::Default.write(&path).is_err()); // nothing was measured
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Tuning`] if the file cannot be written, or `self` is not what [`Tuning::measure`] returns.
    pub fn write(&self, path: &Path) -> Result<()> {
        let refused = |problem: String| Error::Tuning { path: path.into(), problem };
        let Tuning::Measured(methods) = self else {
            return Err(refused("there are no measured methods to write; use Tuning::measure".into()));
        };
        let name = |(layer, method)| {
            let known = METHODS.iter().find(|(_, known)| known == method);
            let (name, _) = known.ok_or_else(|| refused(format!("{method:?}, for {layer}, is not for GPUs")))?;
            Ok((layer, *name))
        };
        let names: BTreeMap<_, _> = methods.iter().map(name).collect::<Result<_>>()?;
        let text = serde_json::to_string_pretty(&names).map_err(|e| refused(e.to_string()))?;
        write_atomically(path, |file| file.write_all(text.as_bytes()))
            .map_err(|e: std::io::Error| refused(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let path = std::env::temp_dir().join(format!("tuning-{}.json", std::process::id()));
        let layers = METHODS.map(|(name, method)| (format!("layer {name}"), method));
        let tuning = Tuning::Measured(layers.into());
        tuning.write(&path).unwrap();
        assert_eq!(Tuning::read(&path).unwrap(), tuning);
        std::fs::write(&path, "{\"up_0.conv_0\": \"sideways\"}").unwrap();
        let error = Tuning::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("'sideways', for up_0.conv_0, is not a method") && error.contains("remove it"),
            "{error}"
        );
        std::fs::write(&path, "[").unwrap();
        assert!(Tuning::read(&path).unwrap_err().to_string().contains("tuning-"));
        std::fs::remove_file(&path).unwrap();
    }
}
