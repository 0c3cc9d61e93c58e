//! Kernels: WGSL entry points, compiled once a device.

use crate::{Error, Gpu, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A compute entry point of a WGSL text and the workgroup size it is specialised with.
///
/// The text declares `override WG: u32` as its workgroup size, which other overrides may follow, its uniform `Params` at
/// binding 0 and its buffers from binding 1, in the order in which [`Gpu::launch`] gets them.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    source: &'static [&'static str],
    entry: &'static str,
    workgroup: u32,
    /// Values of the text's other overrides; unused places have no name.
    constants: [(&'static str, u32); MAX_CONSTANTS],
    in_bounds: bool,
}

/// How many overrides a kernel may set besides `WG`.
const MAX_CONSTANTS: usize = 6;

impl Kernel {
    /// Entry point `entry` of the WGSL text whose pieces are `source`, in workgroups of 256. `name` is for error messages.
    pub const fn new(name: &'static str, source: &'static [&'static str], entry: &'static str) -> Kernel {
        Kernel { name, source, entry, workgroup: 256, constants: [("", 0); MAX_CONSTANTS], in_bounds: false }
    }

    /// The same with workgroups of `size` invocations.
    #[must_use]
    pub const fn workgroup(self, size: u32) -> Kernel {
        Kernel { workgroup: size, ..self }
    }

    /// The same with the text's `override NAME` set to `value`.
    ///
    /// # Panics
    /// With more than six of them.
    #[must_use]
    pub const fn constant(self, name: &'static str, value: u32) -> Kernel {
        let mut constants = self.constants;
        let mut place = 0;
        while !constants[place].0.is_empty() {
            place += 1;
        }
        constants[place] = (name, value);
        Kernel { constants, ..self }
    }

    /// The same, compiled without checks on indices and without bounds on loops, unless the device was opened with
    /// [`bounds_checks`](crate::GpuOptions::bounds_checks).
    ///
    /// # Safety
    /// For every launch, each index lies inside its buffer or array, each loop ends, and workgroup memory is written
    /// before it is read. Launching is safe, so keep the kernel private to code that launches it so.
    #[must_use]
    #[expect(unsafe_code, reason = "declares the contract that create_shader_module_trusted asks for")]
    pub const unsafe fn assume_in_bounds(self) -> Kernel {
        Kernel { in_bounds: true, ..self }
    }

    /// The name it was declared with.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name and the entry point.
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.name, self.entry)
    }
}

/// How much work a launch is.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    count: Count,
    flops: u64,
}

#[derive(Clone, Copy, Debug)]
enum Count {
    Threads(u64),
    Groups(u64),
}

impl Work {
    /// At least `n` invocations, in as many workgroups as that takes. The kernel ignores the ones past `n`.
    pub fn threads(n: usize) -> Work {
        Work { count: Count::Threads(n as u64), flops: 0 }
    }

    /// At least `n` workgroups. The kernel ignores the ones past `n`.
    pub fn groups(n: usize) -> Work {
        Work { count: Count::Groups(n as u64), flops: 0 }
    }

    /// Declares the floating-point operations, for the counters.
    #[must_use]
    pub fn flops(self, flops: u64) -> Work {
        Work { flops, ..self }
    }

    pub(crate) fn declared_flops(&self) -> u64 {
        self.flops
    }

    /// The dispatch, split in two dimensions where one is not enough. Kernels undo it with `thread_index` or
    /// `group_index` of shaders/shared/grid.wgsl.
    pub(crate) fn grid(&self, kernel: &Kernel, gpu: &Gpu) -> Result<[u32; 2]> {
        let groups = match self.count {
            Count::Threads(n) => n.div_ceil(kernel.workgroup.into()),
            Count::Groups(n) => n,
        };
        let side = u64::from(gpu.limits().max_compute_workgroups_per_dimension);
        let limit = |what: &str, needed: u64, allowed: u64| {
            if needed <= allowed {
                return Ok(());
            }
            let what = format!("{}: the number of {what}", kernel.label());
            Err(Error::Limit { what, needed, allowed, adapter: gpu.info().name })
        };
        limit("workgroups", groups, side * side)?;
        let rows = groups.div_ceil(side);
        if rows == 0 {
            return Ok([0, 0]);
        }
        let columns = groups.div_ceil(rows);
        limit("invocations", columns * rows * u64::from(kernel.workgroup), u32::MAX.into())?;
        // Both fit in 32 bits, since `side` does.
        Ok([columns as u32, rows as u32])
    }
}

/// What a launch needs of a compiled kernel.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Shader modules and pipelines, each compiled once.
#[derive(Default)]
pub(crate) struct KernelCache {
    /// By their pieces and whether they are unchecked. Pieces compare by their letters: kernels that list the same share one.
    modules: Mutex<HashMap<(&'static [&'static str], bool), wgpu::ShaderModule>>,
    pipelines: Mutex<HashMap<Specialization, Pipeline>>,
}

/// A static text, or the list of its pieces, by its place in memory: comparing the letters would take longer than a launch.
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

impl Kernel {
    fn specialization(&self) -> Specialization {
        Specialization {
            source: Place::of(self.source),
            entry: Place::of(self.entry.as_bytes()),
            workgroup: self.workgroup,
            constants: self.constants.map(|(name, value)| (Place::of(name.as_bytes()), value)),
            in_bounds: self.in_bounds,
        }
    }
}

impl Gpu {
    /// The compiled kernel, from the cache after the first time.
    pub(crate) fn pipeline(&self, kernel: &Kernel) -> Result<Pipeline> {
        let mut pipelines = self.0.kernels.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let key = kernel.specialization();
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let unchecked = kernel.in_bounds && !self.0.bounds_checks;
        let module = self.module(kernel, unchecked)?;
        let label = kernel.label();
        let set = kernel.constants.iter().filter(|(name, _)| !name.is_empty());
        let constants: Vec<_> =
            set.map(|&(name, value)| (name, value.into())).chain([("WG", kernel.workgroup.into())]).collect();
        let pipeline = self.scoped(&label, 0, |device| {
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

    fn module(&self, kernel: &Kernel, unchecked: bool) -> Result<wgpu::ShaderModule> {
        let mut modules = self.0.kernels.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kernel.source, unchecked);
        if let Some(module) = modules.get(&key) {
            return Ok(module.clone());
        }
        let module = self.scoped(kernel.name, 0, |device| {
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(kernel.name),
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
