//! Kernels as the operations declare them: a WGSL entry point, beside it the function that computes the same on cores, and
//! how much work a launch is.

use alias_cpu::Cpu;

/// A kernel's function for processor cores: parameters, then inputs and outputs in the order of the shader's bindings. Each
/// slice has the elements of its tensor; what was in an output is undefined. It runs in the thread pool of the cores, so
/// that rayon's parallel iterators use their threads.
pub type OnCores<P, const INPUTS: usize, const OUTPUTS: usize> = fn(&Cpu, &P, [&[f32]; INPUTS], [&mut [f32]; OUTPUTS]);

/// A compute entry point of a WGSL text and the workgroup size it is specialised with. `Kernel<OnCores<...>>` is one that
/// runs on processor cores as well.
///
/// The text declares `override WG: u32` as its workgroup size, which other overrides may follow, its uniform `Params`
/// at binding 0 and its buffers from binding 1, in the order in which [`Device::launch`](crate::Device::launch) gets them.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<C = ()> {
    name: &'static str,
    pub(crate) source: &'static [&'static str],
    pub(crate) entry: &'static str,
    pub(crate) workgroup: u32,
    /// Values of the text's other overrides; unused ones have an empty name.
    pub(crate) constants: [(&'static str, u32); MAX_CONSTANTS],
    pub(crate) in_bounds: bool,
    pub(crate) on_cores: C,
}

/// How many overrides a kernel may set besides `WG`.
pub(crate) const MAX_CONSTANTS: usize = 6;

impl Kernel {
    /// Entry point `entry` of the WGSL text whose pieces are `source`, in workgroups of 256. `name` is for error
    /// messages.
    pub const fn new(name: &'static str, source: &'static [&'static str], entry: &'static str) -> Kernel {
        let constants = [("", 0); MAX_CONSTANTS];
        Kernel { name, source, entry, workgroup: 256, constants, in_bounds: false, on_cores: () }
    }

    /// This kernel, compiled without checks on indices and without bounds on loops, unless the device was opened with
    /// [`bounds_checks`](crate::GpuOptions::bounds_checks).
    ///
    /// # Safety
    /// For every launch, each index lies inside its buffer or array, each loop ends, and workgroup memory is written
    /// before it is read. Since launching is safe, the kernel must stay private to code that ensures this for each
    /// launch.
    #[must_use]
    #[expect(unsafe_code, reason = "declares the contract that create_shader_module_trusted asks for")]
    pub const unsafe fn assume_in_bounds(self) -> Kernel {
        Kernel { in_bounds: true, ..self }
    }

    /// This kernel, which `run` computes on processor cores.
    #[must_use]
    pub const fn on_cores<P, const INPUTS: usize, const OUTPUTS: usize>(
        self,
        run: OnCores<P, INPUTS, OUTPUTS>,
    ) -> Kernel<OnCores<P, INPUTS, OUTPUTS>> {
        let Kernel { name, source, entry, workgroup, constants, in_bounds, on_cores: () } = self;
        Kernel { name, source, entry, workgroup, constants, in_bounds, on_cores: run }
    }
}

impl<C: Copy> Kernel<C> {
    /// This kernel with workgroups of `size` invocations.
    #[must_use]
    pub const fn workgroup(self, size: u32) -> Kernel<C> {
        Kernel { workgroup: size, ..self }
    }

    /// This kernel with the text's `override NAME` set to `value`.
    ///
    /// # Panics
    /// If more than six are set.
    #[must_use]
    pub const fn constant(self, name: &'static str, value: u32) -> Kernel<C> {
        let mut constants = self.constants;
        let mut place = 0;
        while !constants[place].0.is_empty() {
            place += 1;
        }
        constants[place] = (name, value);
        Kernel { constants, ..self }
    }

    /// The name it was declared with.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The name and the entry point.
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.name, self.entry)
    }

    /// The WGSL entry point alone.
    pub(crate) fn shader(&self) -> Kernel {
        let Kernel { name, source, entry, workgroup, constants, in_bounds, .. } = *self;
        Kernel { name, source, entry, workgroup, constants, in_bounds, on_cores: () }
    }
}

/// How many invocations or workgroups a launch has, and how many operations it takes.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub(crate) count: Count,
    pub(crate) flops: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
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

    /// Declares the number of floating-point operations, for the counters and for the size of submissions.
    #[must_use]
    pub fn flops(self, flops: u64) -> Work {
        Work { flops, ..self }
    }
}
