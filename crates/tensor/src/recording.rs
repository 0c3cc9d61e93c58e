//! Launches that are the same every time: checked, bound and given their parameters once, submitted any number of
//! times.

use crate::recorder::{Launch, MAX_LAUNCHES, Recorder, SLOT, uniform_buffer};
use crate::{Gpu, Kernel, Result, Tensor, Work};
use bytemuck::Pod;
use std::time::{Duration, Instant};

/// Launches in one query set: each takes two queries, and wgpu allows 4096.
const MAX_TIMED: usize = 2048;

/// A list of launches. It keeps their tensors alive.
///
/// Whatever changes from one run to the next is in tensors; [`Tensor::overwrite`] writes to them.
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
        let device = &self.gpu.0.device;
        if chunk == self.uniforms.len() {
            self.uniforms.push(device.scoped("the buffer of parameters", Recorder::UNIFORM_BYTES, uniform_buffer)?);
        }
        let (uniforms, params) = (&self.uniforms[chunk], bytemuck::bytes_of(params));
        let launch = self.gpu.bind(prepared, uniforms, place * SLOT, params.len())?;
        let offset = (place * SLOT) as u64;
        device.scoped(kernel.name(), 0, |_| device.queue.write_buffer(uniforms, offset, params))?;
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
        self.parts().into_iter().try_for_each(|part| self.submit_part(part).map(drop))
    }

    fn submit_part(&self, launches: &[Launch]) -> Result<wgpu::SubmissionIndex> {
        let device = &self.gpu.0.device;
        device.check_alive()?;
        let work = launches.iter().map(Launch::work).sum();
        let submitted = device.submit("submitting a recording", work, |wgpu| {
            let mut encoder = wgpu.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            launches.iter().for_each(|launch| launch.encode(&mut pass));
            drop(pass);
            encoder.finish()
        })?;
        launches.iter().for_each(|launch| device.counters.launched(launch.flops, launch.bytes));
        Ok(submitted)
    }

    /// The launches of each submission: of about equal work, and within the device's budget unless a single launch is
    /// not.
    fn parts(&self) -> Vec<&[Launch]> {
        let total: u64 = self.launches.iter().map(Launch::work).sum();
        let count = total.div_ceil(self.gpu.0.device.budget().max(1)).max(1);
        let mut done = 0;
        // The part that a launch's middle falls into.
        let part_of = self.launches.iter().map(|launch| {
            let middle = done + launch.work() / 2;
            done += launch.work();
            u128::from(middle) * u128::from(count) / u128::from(total.max(1))
        });
        let mut rest = self.launches.as_slice();
        let part_of: Vec<u128> = part_of.collect();
        let split = |part: &[u128]| rest.split_off(..part.len()).unwrap_or_default();
        part_of.chunk_by(|a, b| a == b).map(split).collect()
    }

    /// How many launches it has.
    pub fn len(&self) -> usize {
        self.launches.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.launches.is_empty()
    }

    /// Runs the launches one by one and measures each: by the device's clock if it was opened with
    /// [`Features::TIMESTAMP_QUERY`](wgpu::Features::TIMESTAMP_QUERY), else from submission to completion on the
    /// host's.
    ///
    /// # Errors
    /// As [`Gpu::synchronize`].
    pub fn profile(&self) -> Result<Vec<Duration>> {
        self.gpu.synchronize()?;
        if self.gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            let chunks = self.parts().into_iter().flat_map(|part| part.chunks(MAX_TIMED));
            return Ok(chunks.map(|chunk| self.timestamps(chunk)).collect::<Result<Vec<_>>>()?.concat());
        }
        let time = |launch| {
            let start = Instant::now();
            let submitted = self.submit_part(std::slice::from_ref(launch))?;
            self.gpu.0.device.wait(submitted)?;
            Ok(start.elapsed())
        };
        self.launches.iter().map(time).collect()
    }

    fn timestamps(&self, launches: &[Launch]) -> Result<Vec<Duration>> {
        let count = 2 * launches.len() as u32;
        let bytes = 8 * u64::from(count);
        let device = &self.gpu.0.device;
        let (queries, resolved, read) = device.scoped("timestamps", bytes, |device| {
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("timestamps"),
                    size: bytes,
                    usage,
                    mapped_at_creation: false,
                })
            };
            let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            use wgpu::BufferUsages as Usage;
            (queries, buffer(Usage::QUERY_RESOLVE | Usage::COPY_SRC), buffer(Usage::MAP_READ | Usage::COPY_DST))
        })?;
        let work = launches.iter().map(Launch::work).sum();
        let submitted = device.submit("submitting a recording", work, |wgpu| {
            let mut encoder = wgpu.create_command_encoder(&Default::default());
            for (k, launch) in (0..).zip(launches) {
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(2 * k),
                    end_of_pass_write_index: Some(2 * k + 1),
                };
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) };
                launch.encode(&mut encoder.begin_compute_pass(&descriptor));
            }
            encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
            encoder.copy_buffer_to_buffer(&resolved, 0, &read, 0, bytes);
            encoder.finish()
        })?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&self.gpu.map(&read, submitted)?);
        let period = f64::from(self.gpu.queue().get_timestamp_period());
        let time = |pair: &[u64]| Duration::from_nanos((pair[1].saturating_sub(pair[0]) as f64 * period) as u64);
        Ok(ticks.chunks(2).map(time).collect())
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recording({} launches on {:?})", self.launches.len(), self.gpu)
    }
}
