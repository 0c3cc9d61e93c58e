//! The device that a command computes on.

use alias_model::{CpuOptions, Device, GeneratorConfig, Precision, Target, Tuning};
use alias_tensor::wgpu::{Adapter, Features};
use alias_tensor::{AdapterChoice, Gpu, GpuOptions, adapters};
use anyhow::ensure;
use std::path::PathBuf;

/// The device to run on.
#[derive(clap::Args)]
pub(crate) struct DeviceArguments {
    /// What to compute on
    #[arg(long, global = true, value_enum, default_value = "auto")]
    device: DeviceKind,

    /// Use the first adapter whose name contains NAME [default: the most capable; `tryon info` lists them]
    #[arg(long, global = true, value_name = "NAME")]
    adapter: Option<String>,

    /// Number of threads on processor cores [default: one for each core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum DeviceKind {
    /// A GPU where there is one, else processor cores
    Auto,
    /// A GPU, or a software rasterizer where there is no other adapter
    Gpu,
    /// Processor cores
    Cpu,
}

impl DeviceArguments {
    fn choice(&self) -> AdapterChoice {
        self.adapter.clone().map_or(AdapterChoice::Best, AdapterChoice::Name)
    }

    pub(crate) fn threads(&self) -> Option<usize> {
        self.threads.map(usize::from)
    }

    /// The adapter that would be used, None for processor cores; and why.
    pub(crate) fn pick(&self, adapters: &[Adapter]) -> anyhow::Result<(Option<Adapter>, String)> {
        if self.device == DeviceKind::Cpu {
            ensure!(self.adapter.is_none(), "--adapter names a GPU, --device cpu uses none; leave one of them out");
            return Ok((None, "as --device says".into()));
        }
        if self.device == DeviceKind::Gpu {
            let (adapter, reason) = self.choice().pick(adapters)?;
            return Ok((Some(adapter), reason));
        }
        Ok(Device::choose(&self.choice(), adapters)?)
    }

    /// Opens the device; a GPU with the features that `precision` needs, and with timestamp queries if it has them.
    pub(crate) fn open(&self, precision: Precision) -> anyhow::Result<Device> {
        let adapters = if self.device == DeviceKind::Cpu { Vec::new() } else { adapters() };
        let (Some(adapter), _) = self.pick(&adapters)? else {
            float32_on_cores(precision)?;
            return Ok(Device::cores(CpuOptions { threads: self.threads(), ..Default::default() })?);
        };
        let mut features = adapter.features() & Features::TIMESTAMP_QUERY;
        if precision == Precision::F16 {
            features |= Features::SHADER_F16;
        }
        Ok(Gpu::open(&GpuOptions { adapter: self.choice(), features, ..Default::default() })?.into())
    }
}

/// The name of a device.
pub(crate) fn name(device: &Device) -> String {
    match device {
        Device::Gpu(gpu) => gpu.info().name,
        Device::Cores(cores) => format!("{} cores, {}", cores.cpu().threads(), cores.cpu().instructions()),
    }
}

/// The target of plans for `device`, tuned for this generator if `tryon bench --tune` was run.
pub(crate) fn target(device: &Device, precision: Precision, config: GeneratorConfig) -> alias_model::Result<Target> {
    let target = Target::of(device, precision);
    let Device::Gpu(gpu) = device else { return Ok(target) };
    match tuning_file(gpu, precision, config).filter(|path| path.exists()) {
        Some(path) => Ok(Target { tuning: Tuning::read(&path)?, ..target }),
        None => Ok(target),
    }
}

/// The user's tuning file for this adapter, driver, generator and precision; None if the system has no cache folder.
/// Other drivers have files of their own, since other methods may be fastest there.
pub(crate) fn tuning_file(gpu: &Gpu, precision: Precision, config: GeneratorConfig) -> Option<PathBuf> {
    let info = gpu.info();
    let GeneratorConfig { ngf, layers, .. } = config;
    let name = format!("{} {} {} {layers:?} {ngf} {precision:?}.json", info.name, info.backend, info.driver_info);
    let name = name.replace(|c: char| !(c.is_ascii_alphanumeric() || " .-()".contains(c)), "_");
    Some(dirs::cache_dir()?.join("alias").join(name))
}

/// An error for half precision, which processor cores do not have.
pub(crate) fn float32_on_cores(precision: Precision) -> anyhow::Result<()> {
    ensure!(
        precision == Precision::F32,
        "processor cores store float32; for half precision name a GPU with --adapter or --device gpu"
    );
    Ok(())
}
