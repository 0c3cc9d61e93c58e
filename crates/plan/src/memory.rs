//! Memory layout of a plan: buffers with disjoint lifetimes share memory.

use crate::{BufferId, Plan, Role};
use std::ops::Range;

/// The memory layout of a plan's buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The slot of each buffer, by [`BufferId`].
    pub slot_of: Vec<usize>,
    /// Bytes of each slot.
    pub slots: Vec<u64>,
}

impl Memory {
    /// Assigns the buffers of `plan` to slots, largest buffer first. Buffers in one slot have disjoint lifetimes, which
    /// follow from the steps that use them and from their [`Role`]s.
    pub fn assign(plan: &Plan) -> Memory {
        let lifetimes = lifetimes(plan);
        let mut order: Vec<_> = (0..plan.buffers.len()).collect();
        order.sort_by_key(|&buffer| std::cmp::Reverse(plan.bytes(BufferId(buffer))));
        let mut slot_of = vec![0; plan.buffers.len()];
        let mut slots: Vec<u64> = Vec::new();
        let mut taken: Vec<Vec<Range<usize>>> = Vec::new();
        for buffer in order {
            let lifetime = &lifetimes[buffer];
            let apart = |other: &Range<usize>| other.end <= lifetime.start || lifetime.end <= other.start;
            let slot = taken.iter().position(|slot| slot.iter().all(apart)).unwrap_or_else(|| {
                slots.push(plan.bytes(BufferId(buffer)));
                taken.push(Vec::new());
                slots.len() - 1
            });
            taken[slot].push(lifetime.clone());
            slot_of[buffer] = slot;
        }
        Memory { slot_of, slots }
    }

    /// Bytes of all slots together.
    pub fn total(&self) -> u64 {
        self.slots.iter().sum()
    }
}

/// The lifetime of each buffer: the steps at which no other buffer may use its memory.
fn lifetimes(plan: &Plan) -> Vec<Range<usize>> {
    let forever = 0..usize::MAX;
    // A buffer that no step uses keeps this lifetime and gets a slot to itself.
    let mut lifetimes = vec![forever.clone(); plan.buffers.len()];
    for (at, step) in plan.steps.iter().enumerate() {
        for BufferId(buffer) in step.buffers() {
            let start = if lifetimes[buffer] == forever { at } else { lifetimes[buffer].start };
            lifetimes[buffer] = start..at + 1;
        }
    }
    for (lifetime, buffer) in lifetimes.iter_mut().zip(&plan.buffers) {
        match buffer.role {
            Role::Input => lifetime.start = 0,
            Role::Temporary => {}
            Role::Output => lifetime.end = usize::MAX,
            Role::Kept => *lifetime = forever.clone(),
        }
    }
    lifetimes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Buffer, NoisePlane, Precision, Step};

    /// A chain of steps, each from one buffer to the next.
    fn chain(roles: &[(usize, Role)]) -> Plan {
        let buffer =
            |&(elements, role): &(usize, Role)| Buffer { name: String::new(), elements, activations: false, role };
        let step =
            |k: usize| Step::Noise(NoisePlane { stream: 0, elements: 1, seed: BufferId(k), output: BufferId(k + 1) });
        Plan {
            precision: Precision::F32,
            block: 1,
            buffers: roles.iter().map(buffer).collect(),
            steps: (0..roles.len() - 1).map(step).collect(),
        }
    }

    #[test]
    fn buffers_that_are_never_needed_together_share_a_slot() {
        use Role::{Input, Output, Temporary};
        let memory = Memory::assign(&chain(&[(5, Input), (3, Temporary), (4, Temporary), (6, Temporary), (2, Output)]));
        assert_eq!(memory.slot_of, [0, 2, 1, 0, 1]);
        assert_eq!(memory.slots, [24, 16, 12]);
        assert_eq!(memory.total(), 52);
    }

    #[test]
    fn what_is_kept_has_a_slot_of_its_own() {
        use Role::{Input, Kept, Output, Temporary};
        let memory = Memory::assign(&chain(&[(5, Input), (5, Kept), (5, Temporary), (5, Output)]));
        let alone = |buffer: usize| memory.slot_of.iter().filter(|&&slot| slot == memory.slot_of[buffer]).count() == 1;
        assert!(alone(1) && memory.slots.len() == 3, "{memory:?}");
    }

    /// Buffers in one slot have disjoint lifetimes, so that none is overwritten while it is needed.
    #[test]
    fn no_slot_holds_two_buffers_at_once() {
        use Role::{Input, Kept, Output, Temporary};
        let roles: Vec<_> =
            (0..40).map(|k| (k * 37 % 11 + 1, [Temporary, Kept, Temporary, Input, Temporary, Output][k % 6])).collect();
        let plan = chain(&roles);
        let (memory, lifetimes) = (Memory::assign(&plan), lifetimes(&plan));
        for a in 0..roles.len() {
            assert!(memory.slots[memory.slot_of[a]] >= plan.bytes(BufferId(a)), "buffer {a} fits");
            for b in 0..a {
                let apart = lifetimes[a].end <= lifetimes[b].start || lifetimes[b].end <= lifetimes[a].start;
                assert!(apart || memory.slot_of[a] != memory.slot_of[b], "buffers {a} and {b}");
            }
        }
    }
}
