//! Which buffers can share memory: those that are never needed at the same time.

use crate::{BufferId, Plan, Role};

/// Where each buffer of a plan lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// For each buffer of the plan, the slot it lies in.
    pub slot_of: Vec<usize>,
    /// Bytes of each slot.
    pub slots: Vec<u64>,
}

impl Memory {
    /// Lays out the buffers of `plan`. One that lasts from one step to another shares its slot with those that are done
    /// before or begin after; the others have slots of their own.
    pub fn assign(plan: &Plan) -> Memory {
        let mut last_use = vec![0; plan.buffers.len()];
        let mut first_use = vec![usize::MAX; plan.buffers.len()];
        for (at, step) in plan.steps.iter().enumerate() {
            for BufferId(buffer) in step.buffers() {
                first_use[buffer] = first_use[buffer].min(at);
                last_use[buffer] = at;
            }
        }
        let mut slot_of = vec![usize::MAX; plan.buffers.len()];
        let mut slots: Vec<u64> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        for at in 0..plan.steps.len() {
            // The largest of a step's first: it has the least choice.
            let mut begins: Vec<_> = (0..plan.buffers.len()).filter(|&b| first_use[b] == at).collect();
            begins.sort_by_key(|&b| std::cmp::Reverse(plan.bytes(BufferId(b))));
            for buffer in begins {
                let bytes = plan.bytes(BufferId(buffer));
                let shares = plan.buffers[buffer].role == Role::Temporary;
                // The smallest that is large enough; else the largest, made larger.
                let best = free
                    .iter()
                    .enumerate()
                    .filter(|_| shares)
                    .min_by_key(|&(_, &slot)| (slots[slot] < bytes, slots[slot].abs_diff(bytes)));
                slot_of[buffer] = match best.map(|(place, _)| place) {
                    Some(place) => free.swap_remove(place),
                    None => {
                        slots.push(0);
                        slots.len() - 1
                    }
                };
                let slot = &mut slots[slot_of[buffer]];
                *slot = bytes.max(*slot);
            }
            let ends = (0..plan.buffers.len()).filter(|&b| first_use[b] != usize::MAX && last_use[b] == at);
            free.extend(ends.filter(|&b| plan.buffers[b].role == Role::Temporary).map(|b| slot_of[b]));
        }
        // What no step touches needs no memory; it gets a slot all the same, so that every buffer has one.
        for slot in slot_of.iter_mut().filter(|slot| **slot == usize::MAX) {
            *slot = slots.len();
            slots.push(4);
        }
        Memory { slot_of, slots }
    }

    /// Bytes of all slots.
    pub fn total(&self) -> u64 {
        self.slots.iter().sum()
    }

    /// Bytes of the largest slot, which is bound whole.
    pub fn largest(&self) -> u64 {
        self.slots.iter().copied().max().unwrap_or(0)
    }
}
