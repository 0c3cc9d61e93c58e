//! Launches that are the same every time: checked, bound and given their parameters once, submitted as often as one likes.

use crate::recorder::{Launch, MAX_LAUNCHES, SLOT};
use crate::{Gpu, Kernel, Result, Tensor, Work};
use bytemuck::Pod;

/// Floating-point operations per submission. Windows resets a GPU that works on one for two seconds; a slow one, of 200
/// GFLOP/s, takes half of that.
const MAX_FLOPS: u64 = 120_000_000_000;

/// A list of launches over tensors that it keeps alive.
///
/// What changes from one run to the next lies in tensors; [`Tensor::overwrite`] writes to them.
pub struct Recording {
    gpu: Gpu,
    launches: Vec<Launch>,
    /// One slot a launch, [`MAX_LAUNCHES`] of them a buffer.
    uniforms: Vec<wgpu::Buffer>,
    tensors: Vec<Tensor>,
}

impl Recording {
    /// No launches yet.
    pub fn new(gpu: &Gpu) -> Recording {
        Recording { gpu: gpu.clone(), launches: Vec::new(), uniforms: Vec::new(), tensors: Vec::new() }
    }

    /// The device it runs on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Adds a launch, as [`Gpu::launch`] takes it.
    ///
    /// # Errors
    /// As [`Gpu::launch`].
    pub fn launch<P: Pod>(
        &mut self,
        kernel: &Kernel,
        params: &P,
        inputs: &[&Tensor],
        outputs: &[&Tensor],
        work: Work,
    ) -> Result<()> {
        let prepared = self.gpu.prepare::<P>(kernel, inputs, outputs, work)?;
        let (chunk, place) = (self.launches.len() / MAX_LAUNCHES, self.launches.len() % MAX_LAUNCHES);
        if chunk == self.uniforms.len() {
            self.uniforms.push(self.gpu.uniform_buffer()?);
        }
        let (uniforms, params) = (&self.uniforms[chunk], bytemuck::bytes_of(params));
        let launch = self.gpu.bind(prepared, uniforms, place * SLOT, params.len())?;
        let offset = (place * SLOT) as u64;
        self.gpu.scoped(kernel.name(), 0, |_| self.gpu.queue().write_buffer(uniforms, offset, params))?;
        self.tensors.extend([inputs, outputs].concat().into_iter().cloned());
        self.launches.push(launch);
        Ok(())
    }

    /// Runs the launches, after everything recorded or submitted so far.
    ///
    /// # Errors
    /// As [`Gpu::submit`].
    pub fn submit(&self) -> Result<()> {
        self.gpu.submit()?;
        let total: u64 = self.launches.iter().map(|launch| launch.flops).sum();
        let budget = total.div_ceil(total.div_ceil(MAX_FLOPS).max(1));
        let mut rest = self.launches.as_slice();
        while !rest.is_empty() {
            let mut flops = 0;
            let fits = |launch: &&Launch| {
                flops += launch.flops;
                flops <= budget
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (batch, later) = rest.split_at(count);
            self.gpu.submit_launches(batch)?;
            rest = later;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording({} launches on {:?})", self.launches.len(), self.gpu)
    }
}
