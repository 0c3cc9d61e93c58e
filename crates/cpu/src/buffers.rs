//! Where the buffers of a plan lie.

use crate::aligned::Aligned;
use alias_plan::{BufferId, Memory, Plan};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The buffers of a plan, in memory that those take turns with which are never needed together.
#[derive(Debug)]
pub struct HostBuffers {
    slots: Vec<Aligned>,
    /// For each buffer, its slot and how many elements it has.
    places: Vec<(usize, usize)>,
}

impl HostBuffers {
    /// Room for all buffers of `plan`, zeros.
    pub fn new(plan: &Plan, memory: &Memory) -> HostBuffers {
        let slots = memory.slots.iter().map(|&bytes| Aligned::zeros(bytes as usize / 4)).collect();
        let elements = plan.buffers.iter().map(|buffer| buffer.elements);
        HostBuffers { slots, places: memory.slot_of.iter().copied().zip(elements).collect() }
    }

    /// A buffer's elements.
    pub fn get(&self, id: BufferId) -> &[f32] {
        let (slot, elements) = self.places[id.0];
        &self.slots[slot][..elements]
    }

    /// A buffer's elements, to be written.
    pub fn get_mut(&mut self, id: BufferId) -> &mut [f32] {
        let (slot, elements) = self.places[id.0];
        &mut self.slots[slot][..elements]
    }

    /// A buffer of uint32, such as [`ModulationTable::index`](alias_plan::ModulationTable::index).
    pub(crate) fn indices(&self, id: BufferId) -> &[u32] {
        bytemuck::cast_slice(self.get(id))
    }

    /// Lets `work` write some buffers while it reads others.
    ///
    /// # Panics
    /// Where a buffer shares memory with one of `ids`, and is another one of them or read.
    pub(crate) fn write<T, const COUNT: usize>(
        &mut self,
        ids: [BufferId; COUNT],
        work: impl FnOnce(&HostBuffers, [&mut [f32]; COUNT]) -> T,
    ) -> T {
        let places = ids.map(|id| self.places[id.0]);
        let mut slots = places.map(|(slot, _)| std::mem::replace(&mut self.slots[slot], Aligned::EMPTY));
        let mut elements = places.iter().map(|(_, elements)| *elements);
        let written = slots.each_mut().map(|slot| &mut slot[..elements.next().unwrap_or_default()]);
        // Whatever happens, the memory comes back: who catches a panic may draw another image.
        let result = catch_unwind(AssertUnwindSafe(|| work(self, written)));
        for ((slot, _), memory) in places.into_iter().zip(slots) {
            self.slots[slot] = memory;
        }
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}
