//! Which adapter to use, and why.

use crate::{Error, Result};
use std::cmp::Reverse;

/// Which adapter to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The one that the environment names (`WGPU_ADAPTER_NAME`), else the most capable kind: discrete, integrated,
    /// virtual, other, processor.
    #[default]
    Best,
    /// The first whose name contains this; upper and lower case do not matter.
    Name(String),
    /// The first of this kind.
    Kind(wgpu::DeviceType),
}

/// How to open a [`Gpu`](crate::Gpu).
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// Features that the caller needs; one that the adapter lacks is an error.
    pub features: wgpu::Features,
    /// Limits to request; `None` asks for all that the adapter has. `Some(wgpu::Limits::default())` is what WebGPU
    /// guarantees everywhere.
    pub limits: Option<wgpu::Limits>,
    /// Whether shaders check every index and bound every loop, for tests. This project's kernels stay in bounds and run
    /// without checks; their tests run both ways. Leave this off on Mesa's llvmpipe for wide networks: it ends a loop
    /// silently after 65,535 rounds an invocation, so that checked convolutions of some hundred channels come out
    /// wrong.
    pub bounds_checks: bool,
}

/// All adapters of the backends that `WGPU_BACKEND` names (by default every backend), the preferred one first.
pub fn adapters() -> Vec<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.sort_by_key(|a| (Reverse(capability(a.get_info().device_type)), a.get_info().name));
    adapters
}

impl AdapterChoice {
    /// Whether an adapter was asked for by name or kind, here or in the environment.
    pub fn is_named(&self) -> bool {
        *self != AdapterChoice::Best || from_environment().is_some()
    }

    /// Picks one of `adapters`, sorted as [`adapters`] does, and says why in a few words.
    ///
    /// # Errors
    /// [`Error::NoAdapter`], which lists what there is.
    pub fn pick(&self, adapters: &[wgpu::Adapter]) -> Result<(wgpu::Adapter, String)> {
        let infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
        let named = |name: &str| infos.iter().position(|i| i.name.to_lowercase().contains(&name.to_lowercase()));
        let (position, reason) = match (self, from_environment()) {
            (AdapterChoice::Name(name), _) => (named(name), format!("named '{name}'")),
            (AdapterChoice::Kind(kind), _) => {
                (infos.iter().position(|i| i.device_type == *kind), format!("of kind {kind:?}"))
            }
            (AdapterChoice::Best, Some(name)) => (named(&name), format!("named '{name}' by WGPU_ADAPTER_NAME")),
            (AdapterChoice::Best, None) => (if infos.is_empty() { None } else { Some(0) }, "of any kind".into()),
        };
        match position {
            Some(p) if *self == AdapterChoice::Best && reason == "of any kind" => {
                Ok((adapters[p].clone(), format!("the most capable kind here ({:?})", infos[p].device_type)))
            }
            Some(p) => Ok((adapters[p].clone(), format!("the first {reason}"))),
            None => Err(Error::NoAdapter { wanted: reason, found: list(&infos), remedy: remedy(&infos) }),
        }
    }
}

/// The adapter's name in `WGPU_ADAPTER_NAME`, if it is set.
fn from_environment() -> Option<String> {
    std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty())
}

fn capability(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 4,
        wgpu::DeviceType::IntegratedGpu => 3,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 1,
        wgpu::DeviceType::Cpu => 0,
    }
}

fn list(infos: &[wgpu::AdapterInfo]) -> String {
    if infos.is_empty() {
        return "none".into();
    }
    infos.iter().map(|i| format!("'{}' ({:?}, {:?})", i.name, i.device_type, i.backend)).collect::<Vec<_>>().join(", ")
}

fn remedy(infos: &[wgpu::AdapterInfo]) -> String {
    let backend = std::env::var("WGPU_BACKEND").unwrap_or_default();
    if infos.is_empty() && !backend.is_empty() {
        format!("WGPU_BACKEND is '{backend}', which lets no adapter through: unset it, or try vulkan, metal or dx12")
    } else if infos.is_empty() {
        "Install a driver with Vulkan, Metal or DX12; on Debian or Ubuntu without a GPU: apt-get install \
         mesa-vulkan-drivers"
            .into()
    } else {
        "Choose one of these by a part of its name".into()
    }
}
