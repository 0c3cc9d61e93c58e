//! A plan's buffers on a GPU.

use alias_plan::{BufferId, Memory, Plan, Precision, Role, Step};
use alias_tensor::{Error, Gpu, Result, Tensor};
use std::cell::Cell;

/// A plan and its buffers on a GPU.
///
/// Kernels run without bounds checks, and some buffers hold indices: the 3x3 windows of a 5x5 window, and the table
/// entry of a pixel. Only [`DeviceBuffers::upload`] fills such a buffer, and it checks every index against the plan. A
/// plan whose steps write to one is refused, and so is the recording of a step that reads one before the upload.
#[derive(Debug)]
pub struct DeviceBuffers {
    plan: Plan,
    gpu: Gpu,
    /// One for each buffer of the plan.
    tensors: Vec<Tensor>,
    /// For each buffer of the plan, what its indices must satisfy; `None` for a buffer that holds none.
    indices: Vec<Option<Indices>>,
}

/// What the indices in a buffer must satisfy.
#[derive(Clone, Debug)]
struct Indices {
    /// All indices are below this.
    below: usize,
    /// Every `stride`-th element is an index; the elements between are data.
    stride: usize,
    uploaded: Cell<bool>,
}

impl DeviceBuffers {
    /// Buffers for `plan`; those with disjoint lifetimes share memory.
    ///
    /// # Errors
    /// [`Error::Argument`] if a step of the plan writes to a buffer of indices, or such a buffer is not
    /// [kept](Role::Kept); what the device reports.
    pub fn new(gpu: &Gpu, plan: Plan) -> Result<DeviceBuffers> {
        let indices = indices(&plan)?;
        let memory = Memory::assign(&plan);
        // Largest first, so that small buffers do not take the memory that only large ones can use.
        let mut order: Vec<usize> = (0..memory.slots.len()).collect();
        order.sort_by_key(|&slot| std::cmp::Reverse(memory.slots[slot]));
        let mut slots: Vec<Option<Tensor>> = vec![None; order.len()];
        for slot in order {
            slots[slot] = Some(Tensor::empty_in_free_memory(gpu, &[memory.slots[slot] as usize / 4])?);
        }
        let slots: Vec<Tensor> = slots.into_iter().map(|slot| slot.expect("every slot was allocated")).collect();
        let view = |buffer: usize| slots[memory.slot_of[buffer]].prefix(&[plan.bytes(BufferId(buffer)) as usize / 4]);
        let tensors = (0..plan.buffers.len()).map(view).collect::<Result<Vec<_>>>()?;
        Ok(DeviceBuffers { plan, gpu: gpu.clone(), tensors, indices })
    }

    /// The device that holds them.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes `bytes` to the start of a buffer that holds coefficients or indices.
    ///
    /// # Errors
    /// [`Error::Argument`] if an index is out of bounds or indices are missing; what the device reports.
    pub fn upload(&self, id: BufferId, bytes: &[u8]) -> Result<()> {
        if let Some(Indices { below, stride, uploaded }) = &self.indices[id.0] {
            let values: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
            if let Some(index) = values.iter().step_by(*stride).find(|&&index| index as usize >= *below) {
                return Err(Error::argument("upload", "an index", index, format!("less than {below}")));
            }
            let elements = self.plan.buffers[id.0].elements;
            if values.len() != elements {
                return Err(Error::argument("upload", "the number of indices", values.len(), elements));
            }
            self.tensors[id.0].overwrite(0, bytes)?;
            uploaded.set(true);
            return Ok(());
        }
        self.tensors[id.0].overwrite(0, bytes)
    }

    /// Writes activations in the plan's precision, from element `start` on. In half precision, `start` and the number
    /// of values must be even.
    ///
    /// # Errors
    /// [`Error::Argument`] if the buffer does not hold activations or ends too early; what the device reports.
    pub fn write(&self, id: BufferId, start: usize, values: &[f32]) -> Result<()> {
        if !self.plan.buffers[id.0].activations {
            return Err(Error::argument("write", "the buffer", "coefficients or indices", "activations"));
        }
        match self.plan.precision {
            Precision::F32 => self.tensors[id.0].overwrite(start, values),
            Precision::F16 => {
                let halves: Vec<_> = values.iter().map(|&v| half::f16::from_f32(v)).collect();
                self.tensors[id.0].overwrite(start / 2, &halves)
            }
        }
    }

    /// The first `count` activations of a buffer, as float32.
    ///
    /// # Errors
    /// What the device reports.
    pub fn read(&self, id: BufferId, count: usize) -> Result<Vec<f32>> {
        let mut values = self.tensors[id.0].to_vec()?;
        if self.plan.buffers[id.0].activations && self.plan.precision == Precision::F16 {
            let halves: &[half::f16] = bytemuck::cast_slice(&values);
            values = halves.iter().map(|v| v.to_f32()).collect();
        }
        values.truncate(count);
        Ok(values)
    }

    /// An output on the device, in the plan's precision.
    ///
    /// # Panics
    /// If the buffer is not an output.
    pub fn output(&self, id: BufferId) -> &Tensor {
        assert_eq!(self.plan.buffers[id.0].role, Role::Output, "only outputs are given away");
        &self.tensors[id.0]
    }

    /// Step number `step` of the plan.
    ///
    /// # Errors
    /// [`Error::Argument`] if indices that it reads were not uploaded.
    pub(super) fn ready(&self, step: usize) -> Result<&Step> {
        let step = &self.plan.steps[step];
        for id in step.reads() {
            if self.indices[id.0].as_ref().is_some_and(|indices| !indices.uploaded.get()) {
                let name = &self.plan.buffers[id.0].name;
                return Err(Error::argument("record", "a buffer of indices", format!("'{name}', empty"), "uploaded"));
            }
        }
        Ok(step)
    }

    pub(crate) fn precision(&self) -> Precision {
        self.plan.precision
    }

    pub(crate) fn get(&self, id: BufferId) -> &Tensor {
        &self.tensors[id.0]
    }

    /// A buffer that plans for GPUs have and plans for processor cores lack.
    pub(crate) fn stored(&self, op: &'static str, what: &'static str, id: Option<BufferId>) -> Result<&Tensor> {
        id.map(|id| self.get(id))
            .ok_or_else(|| Error::argument(op, what, "none", "a buffer, as plans for GPUs have it"))
    }
}

/// What the indices in each buffer of `plan` must satisfy.
fn indices(plan: &Plan) -> Result<Vec<Option<Indices>>> {
    let mut indices: Vec<Option<Indices>> = vec![None; plan.buffers.len()];
    let mut add = |BufferId(id): BufferId, below: usize, stride: usize| {
        let uploaded = Cell::new(false);
        let found = indices[id].get_or_insert(Indices { below, stride, uploaded });
        // Several steps may use the indices, for tables of different lengths.
        found.below = found.below.min(below);
        (found.stride == stride)
            .then_some(())
            .ok_or_else(|| Error::argument("plan", "a buffer of indices", "read in two ways", "one use"))
    };
    for step in &plan.steps {
        let input = match step {
            Step::Table(table) => {
                add(table.index, table.windows + 1, 1)?;
                continue;
            }
            Step::Convolution(step) => &step.input,
            Step::Pool(step) => &step.input,
            Step::Linear(step) => &step.input,
            Step::Noise(_) | Step::Statistics(_) | Step::L2Normalization(_) | Step::Correlation(_) => continue,
        };
        if let Some(modulation) = input.modulation() {
            add(modulation.pixels, modulation.entries, 2)?;
        }
    }
    let written = plan.steps.iter().flat_map(Step::writes);
    for BufferId(id) in written {
        if indices[id].is_some() {
            return Err(Error::argument("plan", "a buffer of indices", "written by a step", "only uploaded"));
        }
    }
    let shared =
        |(buffer, indices): (&alias_plan::Buffer, &Option<Indices>)| indices.is_some() && buffer.role != Role::Kept;
    if let Some((buffer, _)) = plan.buffers.iter().zip(&indices).find(|&(buffer, indices)| shared((buffer, indices))) {
        let got = format!("'{}', which shares memory", buffer.name);
        return Err(Error::argument("plan", "a buffer of indices", got, "one that is kept"));
    }
    Ok(indices)
}
