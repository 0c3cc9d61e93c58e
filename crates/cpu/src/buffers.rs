//! A plan's buffers in memory.

use crate::Error;
use crate::aligned::Aligned;
use alias_plan::{BufferId, Memory, Plan};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The buffers of a plan. Buffers with disjoint lifetimes share memory.
#[derive(Debug)]
pub struct HostBuffers {
    slots: Vec<Aligned>,
    /// Slot and number of elements of each buffer.
    places: Vec<(usize, usize)>,
}

impl HostBuffers {
    /// Allocates all buffers of `plan`, filled with zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the system does not have that much.
    pub fn new(plan: &Plan, memory: &Memory) -> Result<HostBuffers, Error> {
        HostBuffers::reusing(plan, memory, HostBuffers { slots: Vec::new(), places: Vec::new() })
    }

    /// Allocates the buffers of `plan` from `spare` memory where it fits, with arbitrary contents, and frees the rest
    /// of it. The system clears new memory when it is first touched, which takes a fifth of a small image's time.
    ///
    /// # Errors
    /// As [`HostBuffers::new`].
    pub fn reusing(plan: &Plan, memory: &Memory, spare: HostBuffers) -> Result<HostBuffers, Error> {
        let mut spare = spare.slots;
        spare.sort_by_key(|slot| slot.len());
        let mut order: Vec<usize> = (0..memory.slots.len()).collect();
        order.sort_by_key(|&slot| std::cmp::Reverse(memory.slots[slot]));
        let mut slots: Vec<Option<Aligned>> = memory.slots.iter().map(|_| None).collect();
        for slot in order {
            let elements = memory.slots[slot] as usize / 4;
            // The smallest that is large enough, unless it would waste more than half.
            let at = spare.partition_point(|spare| spare.len() < elements);
            let fits = spare.get(at).is_some_and(|spare| spare.len() <= 2 * elements);
            slots[slot] = fits.then(|| spare.remove(at));
        }
        drop(spare);
        let missing = slots.iter().zip(&memory.slots).filter(|(slot, _)| slot.is_none());
        let missing: u64 = missing.map(|(_, bytes)| bytes).sum();
        let refused = || Error::OutOfMemory { bytes: missing };
        let new = |(slot, &bytes): (Option<Aligned>, &u64)| match slot {
            Some(slot) => Ok(slot),
            None => usize::try_from(bytes / 4).ok().and_then(Aligned::try_zeros).ok_or_else(refused),
        };
        let slots = slots.into_iter().zip(&memory.slots).map(new).collect::<Result<_, _>>()?;
        let elements = plan.buffers.iter().map(|buffer| buffer.elements);
        Ok(HostBuffers { slots, places: memory.slot_of.iter().copied().zip(elements).collect() })
    }

    /// A buffer's elements.
    pub fn get(&self, id: BufferId) -> &[f32] {
        let (slot, elements) = self.places[id.0];
        &self.slots[slot][..elements]
    }

    /// A buffer's elements, mutable.
    pub fn get_mut(&mut self, id: BufferId) -> &mut [f32] {
        let (slot, elements) = self.places[id.0];
        &mut self.slots[slot][..elements]
    }

    /// The elements of a uint32 buffer, such as [`ModulationTable::index`](alias_plan::ModulationTable::index).
    pub(crate) fn indices(&self, id: BufferId) -> &[u32] {
        bytemuck::cast_slice(self.get(id))
    }

    /// Runs `work` with mutable access to the buffers `ids` and shared access to all others.
    ///
    /// # Panics
    /// If two of `ids` share memory, or `work` reads a buffer that shares memory with one of them.
    pub(crate) fn write<T, const COUNT: usize>(
        &mut self,
        ids: [BufferId; COUNT],
        work: impl FnOnce(&HostBuffers, [&mut [f32]; COUNT]) -> T,
    ) -> T {
        let places = ids.map(|id| self.places[id.0]);
        for (k, (slot, _)) in places.iter().enumerate() {
            assert!(places[..k].iter().all(|(other, _)| other != slot), "two buffers to write share memory");
        }
        let mut slots = places.map(|(slot, _)| std::mem::replace(&mut self.slots[slot], Aligned::EMPTY));
        // The memory is put back even after a panic, since a caller that catches the panic may use the buffers again.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut elements = places.iter().map(|(_, elements)| *elements);
            work(self, slots.each_mut().map(|slot| &mut slot[..elements.next().unwrap_or_default()]))
        }));
        for ((slot, _), memory) in places.into_iter().zip(slots) {
            self.slots[slot] = memory;
        }
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alias_plan::{Buffer, Precision, Role};

    /// Two buffers that share a slot, and one that is larger than its slot.
    fn buffers() -> HostBuffers {
        let buffer = |elements| Buffer { name: String::new(), elements, activations: true, role: Role::Temporary };
        let buffers = [3, 2, 5].map(buffer).to_vec();
        let plan = Plan { precision: Precision::F32, block: 1, buffers, steps: Vec::new() };
        HostBuffers::new(&plan, &Memory { slot_of: vec![0, 0, 1], slots: vec![12, 16] }).unwrap()
    }

    #[test]
    fn too_much_memory_is_an_error() {
        let plan = Plan { precision: Precision::F32, block: 1, buffers: Vec::new(), steps: Vec::new() };
        // More than a vector may hold, and more than a processor can address: the second is the system's to refuse.
        for bytes in [1 << 63, 1 << 52] {
            let error = HostBuffers::new(&plan, &Memory { slot_of: Vec::new(), slots: vec![bytes] }).unwrap_err();
            assert!(error.to_string().contains(&format!("{bytes} bytes")), "{error}");
        }
    }

    #[test]
    fn spare_memory_serves_buffers_of_about_its_size() {
        let plan = Plan { precision: Precision::F32, block: 1, buffers: Vec::new(), steps: Vec::new() };
        let memory = |bytes: u64| Memory { slot_of: Vec::new(), slots: vec![bytes] };
        let length = |bytes| {
            let spare = HostBuffers::new(&plan, &memory(4000)).unwrap();
            HostBuffers::reusing(&plan, &memory(bytes), spare).unwrap().slots[0].len()
        };
        assert_eq!([4000, 2000, 1996, 4004].map(length), [1000, 1000, 499, 1001]);
    }

    #[test]
    fn memory_comes_back_after_every_panic() {
        let [first, shares, too_large] = [0, 1, 2].map(BufferId);
        let mut buffers = buffers();
        buffers.get_mut(first).copy_from_slice(&[1.0, 2.0, 3.0]);
        let mut write = |ids: [BufferId; 2]| {
            let writing = AssertUnwindSafe(|| buffers.write(ids, |_, _| ()));
            assert!(catch_unwind(writing).is_err(), "{ids:?} is refused");
            assert_eq!(buffers.get(first), [1.0, 2.0, 3.0], "after {ids:?}");
        };
        write([first, shares]);
        write([first, too_large]);
        let working = AssertUnwindSafe(|| buffers.write([first], |_, _| panic!("of the work itself")));
        assert!(catch_unwind(working).is_err());
        assert_eq!(buffers.get(first), [1.0, 2.0, 3.0]);
    }
}
