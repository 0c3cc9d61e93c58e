//! The device that runs a network.

use crate::Result;
use alias_cpu::{Cpu, CpuOptions};
use alias_tensor::wgpu::{Adapter, DeviceType};
use alias_tensor::{AdapterChoice, Gpu, GpuOptions, adapters};

/// A GPU, or processor cores. Clones are cheap.
///
/// ```
/// # fn main() -> alias_model::Result<()> {
/// use alias_model::{CpuOptions, Device};
///
/// let device = Device::cores(CpuOptions { threads: Some(1), ..Default::default() })?;
/// let Device::Cpu(cpu) = &device else { unreachable!("cores were asked for") };
/// println!("{} thread with {}", cpu.threads(), cpu.instructions());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum Device {
    /// A GPU, or a software rasterizer that acts as one.
    Gpu(Gpu),
    /// Processor cores.
    Cpu(Cpu),
}

impl Device {
    /// A GPU if there is a real one, else processor cores, as in [`Device::choose`].
    ///
    /// # Errors
    /// If the environment names an adapter that does not exist, or the device cannot be opened.
    pub fn auto() -> Result<Device> {
        match Device::choose(&AdapterChoice::Best, &adapters())? {
            (Some(_), _) => Ok(Device::Gpu(Gpu::open(&GpuOptions::default())?)),
            (None, _) => Device::cores(CpuOptions::default()),
        }
    }

    /// Which of `adapters` to compute on, or `None` for processor cores, and why. A software rasterizer is slower than
    /// the cores that it runs on, so it is chosen only if somebody names it.
    ///
    /// ```
    /// # fn main() -> alias_model::Result<()> {
    /// use alias_model::Device;
    /// use alias_tensor::{AdapterChoice, adapters};
    ///
    /// let (adapter, reason) = Device::choose(&AdapterChoice::Best, &adapters())?;
    /// match &adapter {
    ///     Some(adapter) => println!("{}: {reason}", adapter.get_info().name),
    ///     None => println!("processor cores: {reason}"),
    /// }
    /// assert_eq!(matches!(Device::auto()?, Device::Gpu(_)), adapter.is_some()); // auto chooses in the same way
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`alias_tensor::Error::NoAdapter`] if the named adapter does not exist.
    pub fn choose(choice: &AdapterChoice, adapters: &[Adapter]) -> Result<(Option<Adapter>, String)> {
        let picked = choice.pick(adapters);
        if choice.is_named() {
            let (adapter, reason) = picked?;
            return Ok((Some(adapter), reason));
        }
        Ok(match picked {
            Ok((adapter, reason)) if adapter.get_info().device_type != DeviceType::Cpu => (Some(adapter), reason),
            Ok((adapter, _)) => {
                let name = adapter.get_info().name;
                (None, format!("the best adapter, {name}, is a software rasterizer, which is slower"))
            }
            Err(_) => (None, "there is no adapter with Vulkan, Metal or DX12".into()),
        })
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
