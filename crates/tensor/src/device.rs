//! Where tensors live and kernels run.

use crate::{AdapterChoice, Cores, Counters, Error, Gpu, GpuOptions, KernelTime, Result, adapters};
use alias_cpu::{Cpu, CpuOptions};
use std::collections::BTreeMap;
use wgpu::{Adapter, DeviceType};

/// A GPU, or processor cores. Clones are cheap.
///
/// ```
/// use alias_tensor::{CpuOptions, Device, Tensor};
///
/// let device = Device::cores(CpuOptions { threads: Some(1), ..Default::default() })?;
/// let x = Tensor::new(&device, &[2], &[1.0, 2.0])?;
/// assert_eq!(x.to_vec()?, [1.0, 2.0]);
/// assert!(matches!(x.device(), Device::Cores(cores) if cores.cpu().threads() == 1));
/// # Ok::<(), alias_tensor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Device {
    /// A GPU, or a software rasterizer that acts as one.
    Gpu(Gpu),
    /// Processor cores.
    Cores(Cores),
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
    /// use alias_tensor::{AdapterChoice, Device, adapters};
    ///
    /// let (adapter, reason) = Device::choose(&AdapterChoice::Best, &adapters())?;
    /// match &adapter {
    ///     Some(adapter) => println!("{}: {reason}", adapter.get_info().name),
    ///     None => println!("processor cores: {reason}"),
    /// }
    /// assert_eq!(matches!(Device::auto()?, Device::Gpu(_)), adapter.is_some()); // auto chooses in the same way
    /// # Ok::<(), alias_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoAdapter`] if the named adapter does not exist.
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
    /// As [`Cores::open`].
    pub fn cores(options: CpuOptions) -> Result<Device> {
        Ok(Device::Cores(Cores::open(options)?))
    }

    /// A device like this one that counts launches and memory but computes and holds nothing.
    ///
    /// # Errors
    /// As [`Gpu::counting`].
    pub fn counting(&self) -> Result<Device> {
        Ok(match self {
            Device::Gpu(gpu) => Device::Gpu(gpu.counting()?),
            Device::Cores(cores) => Device::Cores(cores.counting()),
        })
    }

    /// Counts so far.
    pub fn counters(&self) -> Counters {
        match self {
            Device::Gpu(gpu) => gpu.counters(),
            Device::Cores(cores) => cores.counters(),
        }
    }

    /// Gives the memory that no tensor uses back.
    pub fn trim(&self) {
        match self {
            Device::Gpu(gpu) => gpu.trim(),
            Device::Cores(cores) => cores.trim(),
        }
    }

    /// Waits until all that was launched is done. On cores a launch is over when it returns.
    ///
    /// # Errors
    /// As [`Gpu::synchronize`].
    pub fn synchronize(&self) -> Result<()> {
        match self {
            Device::Gpu(gpu) => gpu.synchronize(),
            Device::Cores(_) => Ok(()),
        }
    }

    /// Runs `f` and measures each kernel that it launches: by name, what its launches took. A GPU then waits for each launch
    /// before the next, so that `f` as a whole takes longer than otherwise.
    ///
    /// # Errors
    /// As [`Device::synchronize`].
    pub fn profile<T>(&self, f: impl FnOnce() -> T) -> Result<(T, BTreeMap<String, KernelTime>)> {
        self.synchronize()?;
        let profile = match self {
            Device::Gpu(gpu) => &gpu.0.profile,
            Device::Cores(cores) => &cores.0.profile,
        };
        profile.start();
        let value = f();
        Ok((value, profile.stop()))
    }

    /// Whether both are handles of one device.
    pub fn is(&self, other: &Device) -> bool {
        match (self, other) {
            (Device::Gpu(a), Device::Gpu(b)) => a.same_device(b),
            (Device::Cores(a), Device::Cores(b)) => a.same_cores(b),
            _ => false,
        }
    }

    /// The most bytes that a tensor may have. Kernels number elements in 32 bits.
    pub fn largest_tensor(&self) -> u64 {
        match self {
            Device::Gpu(gpu) => gpu.largest_tensor(),
            Device::Cores(_) => 4 * u64::from(u32::MAX),
        }
    }

    /// An error if a tensor of `bytes` bytes, which `what` names, is too large.
    pub(crate) fn check_size(&self, what: impl FnOnce() -> String, bytes: u64) -> Result<()> {
        let allowed = self.largest_tensor();
        if bytes <= allowed {
            return Ok(());
        }
        let adapter = match self {
            Device::Gpu(gpu) => {
                // A device without storage buffers has a remedy of its own.
                gpu.check_alive()?;
                gpu.info().name
            }
            Device::Cores(_) => "processor cores".into(),
        };
        Err(Error::Limit { what: what(), needed: bytes, allowed, adapter })
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

impl From<Cores> for Device {
    fn from(cores: Cores) -> Device {
        Device::Cores(cores)
    }
}

impl From<&Cores> for Device {
    fn from(cores: &Cores) -> Device {
        Device::Cores(cores.clone())
    }
}

impl From<Cpu> for Device {
    fn from(cpu: Cpu) -> Device {
        Device::Cores(cpu.into())
    }
}

impl From<&Device> for Device {
    fn from(device: &Device) -> Device {
        device.clone()
    }
}
