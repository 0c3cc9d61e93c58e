//! Compiled kernels: each shader module and pipeline is made once a device.

use crate::kernel::MAX_CONSTANTS;
use crate::open_device::{OpenDevice, lock};
use crate::{Kernel, Result};
use std::collections::HashMap;
use std::sync::Mutex;

/// A compiled kernel, as a launch needs it.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// All that were compiled so far.
#[derive(Default)]
pub(crate) struct Pipelines {
    /// By the pieces of their text, and whether they run unchecked. Pieces are compared as text, so that kernels which
    /// list the same ones share a module.
    modules: Mutex<HashMap<(&'static [&'static str], bool), wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Specialization, Pipeline>>,
}

/// A static text, or a list of pieces, by its address: comparing the text would take longer than a launch.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    address: usize,
    length: usize,
}

impl Place {
    fn of<T>(text: &'static [T]) -> Place {
        Place { address: text.as_ptr() as usize, length: text.len() }
    }
}

/// What tells one compiled kernel from another.
#[derive(PartialEq, Eq, Hash)]
struct Specialization {
    source: Place,
    entry: Place,
    workgroup: u32,
    constants: [(Place, u32); MAX_CONSTANTS],
    in_bounds: bool,
}

impl Specialization {
    fn of(kernel: &Kernel) -> Specialization {
        Specialization {
            source: Place::of(kernel.source),
            entry: Place::of(kernel.entry.as_bytes()),
            workgroup: kernel.workgroup,
            constants: kernel.constants.map(|(name, value)| (Place::of(name.as_bytes()), value)),
            in_bounds: kernel.in_bounds,
        }
    }
}

impl Pipelines {
    /// `kernel`, compiled the first time and from the cache after that.
    pub(crate) fn get(&self, kernel: &Kernel, device: &OpenDevice) -> Result<Pipeline> {
        let mut pipelines = lock(&self.pipelines);
        let key = Specialization::of(kernel);
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let unchecked = kernel.in_bounds && !device.bounds_checks;
        let module = self.module(kernel, unchecked, device)?;
        let label = kernel.label();
        let set = kernel.constants.iter().filter(|(name, _)| !name.is_empty());
        let constants: Vec<_> =
            set.map(|&(name, value)| (name, value.into())).chain([("WG", kernel.workgroup.into())]).collect();
        let pipeline = device.scoped(&label, 0, |device| {
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&label),
                layout: None,
                module: &module,
                entry_point: Some(kernel.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    zero_initialize_workgroup_memory: !unchecked,
                },
                cache: None,
            });
            let layout = pipeline.get_bind_group_layout(0);
            Pipeline { pipeline, layout }
        })?;
        pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn module(&self, kernel: &Kernel, unchecked: bool, device: &OpenDevice) -> Result<wgpu::ShaderModule> {
        let mut modules = lock(&self.modules);
        let key = (kernel.source, unchecked);
        if let Some(module) = modules.get(&key) {
            return Ok(module.clone());
        }
        let module = device.scoped(kernel.name(), 0, |device| {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name()),
                source: wgpu::ShaderSource::Wgsl(kernel.source.concat().into()),
            };
            if unchecked {
                #[expect(unsafe_code, reason = "checks cost up to a third of a convolution")]
                // SAFETY: whoever declared the kernel promised this at `Kernel::assume_in_bounds`.
                unsafe {
                    device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
                }
            } else {
                device.create_shader_module(descriptor)
            }
        })?;
        modules.insert(key, module.clone());
        Ok(module)
    }
}
