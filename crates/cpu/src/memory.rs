//! Where the buffers of a plan lie.

use crate::aligned::Aligned;
use alias_plan::{BufferId, Memory, Plan};

/// The buffers of a plan, in memory that those take turns with which are never needed together.
#[derive(Debug)]
pub struct Buffers {
    slots: Vec<Aligned>,
    /// For each buffer, its slot and how many elements it has.
    places: Vec<(usize, usize)>,
}

impl Buffers {
    /// Room for all buffers of `plan`, zeros.
    pub fn new(plan: &Plan, memory: &Memory) -> Buffers {
        let slots = memory.slots.iter().map(|&bytes| Aligned::zeros(bytes as usize / 4)).collect();
        let elements = plan.buffers.iter().map(|buffer| buffer.elements);
        Buffers { slots, places: memory.slot_of.iter().copied().zip(elements).collect() }
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

    /// Elements that are numbers of something.
    pub(crate) fn indices(&self, id: BufferId) -> &[u32] {
        bytemuck::cast_slice(self.get(id))
    }

    /// Lets `work` write one buffer while it reads others, none of which may share its memory.
    pub(crate) fn write<T>(&mut self, id: BufferId, work: impl FnOnce(&Buffers, &mut [f32]) -> T) -> T {
        let (slot, elements) = self.places[id.0];
        let mut output = std::mem::replace(&mut self.slots[slot], Aligned::EMPTY);
        let result = work(self, &mut output[..elements]);
        self.slots[slot] = output;
        result
    }
}
