//! Kernels as the operations declare them: a WGSL entry point, and how much work a launch of it is.

/// A compute entry point of a WGSL text and the workgroup size it is specialised with.
///
/// The text declares `override WG: u32` as its workgroup size, which other overrides may follow, its uniform `Params`
/// at binding 0 and its buffers from binding 1, in the order in which [`Gpu::launch`](crate::Gpu::launch) gets them.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    pub(crate) source: &'static [&'static str],
    pub(crate) entry: &'static str,
    pub(crate) workgroup: u32,
    /// Values of the text's other overrides; unused ones have an empty name.
    pub(crate) constants: [(&'static str, u32); MAX_CONSTANTS],
    pub(crate) in_bounds: bool,
}

/// How many overrides a kernel may set besides `WG`.
pub(crate) const MAX_CONSTANTS: usize = 6;

impl Kernel {
    /// Entry point `entry` of the WGSL text whose pieces are `source`, in workgroups of 256. `name` is for error
    /// messages.
    pub const fn new(name: &'static str, source: &'static [&'static str], entry: &'static str) -> Kernel {
        Kernel { name, source, entry, workgroup: 256, constants: [("", 0); MAX_CONSTANTS], in_bounds: false }
    }

    /// This kernel with workgroups of `size` invocations.
    #[must_use]
    pub const fn workgroup(self, size: u32) -> Kernel {
        Kernel { workgroup: size, ..self }
    }

    /// This kernel with the text's `override NAME` set to `value`.
    ///
    /// # Panics
    /// If more than six are set.
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

    /// The name it was declared with.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name and the entry point.
    pub(crate) fn label(&self) -> String {
        format!("{}.{}", self.name, self.entry)
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
