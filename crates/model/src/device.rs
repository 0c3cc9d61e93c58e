//! Where a generator runs.

use crate::Result;
use alias_cpu::{Cpu, CpuOptions};
use alias_tensor::{Gpu, GpuOptions};

/// A GPU, or processor cores. A cheap handle.
#[derive(Clone, Debug)]
pub enum Device {
    /// A GPU, or a software rasterizer that acts as one.
    Gpu(Gpu),
    /// Processor cores.
    Cpu(Cpu),
}

impl Device {
    /// A real GPU where there is one, else the cores. A software rasterizer is slower than the cores that it runs on, so that
    /// it is taken only by who names it: `Gpu::open` with its name.
    ///
    /// # Errors
    /// Where not even threads can be started.
    pub fn auto() -> Result<Device> {
        match Gpu::open(&GpuOptions::default()) {
            Ok(gpu) if !gpu.is_software() => Ok(Device::Gpu(gpu)),
            _ => Device::cores(CpuOptions::default()),
        }
    }

    /// Processor cores.
    ///
    /// # Errors
    /// As [`Cpu::open`].
    pub fn cores(options: CpuOptions) -> Result<Device> {
        Ok(Device::Cpu(Cpu::open(options)?))
    }
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Device {
        Device::Gpu(gpu)
    }
}

impl From<&Gpu> for Device {
    fn from(gpu: &Gpu) -> Device {
        Device::Gpu(gpu.clone())
    }
}

impl From<Cpu> for Device {
    fn from(cpu: Cpu) -> Device {
        Device::Cpu(cpu)
    }
}

impl From<&Cpu> for Device {
    fn from(cpu: &Cpu) -> Device {
        Device::Cpu(cpu.clone())
    }
}

impl From<&Device> for Device {
    fn from(device: &Device) -> Device {
        device.clone()
    }
}
