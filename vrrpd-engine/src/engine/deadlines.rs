//! The deadlines of routers, one each.

use vrrpd_common::Instant;

use crate::ids::{Id as _, RouterId};

/// No deadline.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// A tree: each node is the earlier one of its two children, and the leaves are the deadlines of the routers, by place. If a
/// deadline moves later, as that of a Backup does with each advert, hardly any other node changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    /// The children of node n are 2n and 2n + 1. Node 1 is the root; the second half is the leaves.
    nodes: Vec<Instant>,
    /// The routers of the leaves.
    ids: Vec<RouterId>,
}

impl Deadlines {
    /// Sets the deadline of a router, or removes it.
    pub(super) fn set(&mut self, id: RouterId, at: Option<Instant>) {
        let place = id.place() as usize;
        if place >= self.ids.len() {
            self.grow(place + 1);
        }
        if let Some(holder) = self.ids.get_mut(place) {
            *holder = id;
        }
        self.set_leaf(place, at.unwrap_or(NEVER));
    }

    /// Forgets a router that has left.
    pub(super) fn forget(&mut self, id: RouterId) {
        let place = id.place() as usize;
        if self.ids.get(place) == Some(&id) {
            self.set_leaf(place, NEVER);
        }
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Instant> {
        Some(self.node(1)).filter(|at| *at != NEVER)
    }

    /// The routers with a deadline of `now` or earlier, the earliest first.
    pub(super) fn due(&self, now: Instant) -> Vec<RouterId> {
        // Mostly there is none.
        if self.first().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        let mut nodes = vec![1];
        while let Some(node) = nodes.pop() {
            let at = self.node(node);
            if at > now || at == NEVER {
                continue;
            }
            match node.checked_sub(self.ids.len()) {
                Some(place) => due.extend(self.ids.get(place).map(|id| (at, *id))),
                None => nodes.extend([2 * node, 2 * node + 1]),
            }
        }
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }

    fn set_leaf(&mut self, place: usize, at: Instant) {
        let mut node = self.ids.len() + place;
        let mut earliest = at;
        while let Some(there) = self.nodes.get_mut(node).filter(|there| node > 0 && **there != earliest) {
            *there = earliest;
            // The other child of the same node.
            earliest = earliest.min(self.node(node ^ 1));
            node /= 2;
        }
    }

    fn node(&self, node: usize) -> Instant {
        self.nodes.get(node).copied().unwrap_or(NEVER)
    }

    /// Makes room for so many routers.
    fn grow(&mut self, count: usize) {
        let leaves = self.nodes.split_off(self.ids.len());
        self.ids.resize(count.next_power_of_two(), RouterId::FIRST);
        self.nodes = vec![NEVER; 2 * self.ids.len()];
        for (place, at) in leaves.into_iter().enumerate() {
            self.set_leaf(place, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn routers_are_due_in_the_order_of_their_deadlines_and_one_that_has_left_is_not() {
        let id = RouterId::new;
        let mut deadlines = Deadlines::default();
        assert_eq!((deadlines.first(), deadlines.due(at(9))), (None, vec![]));
        for (place, nanos) in [(4, 7), (0, 8), (2, 7), (3, 9)] {
            deadlines.set(id(place, 0), Some(at(nanos)));
        }
        assert_eq!(deadlines.first(), Some(at(7)));
        assert_eq!(deadlines.due(at(6)), []);
        assert_eq!(deadlines.due(at(8)), [id(2, 0), id(4, 0), id(0, 0)]);
        deadlines.forget(id(2, 1));
        assert_eq!(deadlines.due(at(7)), [id(2, 0), id(4, 0)], "another one was there");
        deadlines.forget(id(2, 0));
        deadlines.set(id(4, 0), None);
        assert_eq!(deadlines.first(), Some(at(8)));
        deadlines.set(id(2, 1), Some(at(1)));
        assert_eq!(deadlines.due(at(8)), [id(2, 1), id(0, 0)]);
    }

    proptest! {
        #[test]
        fn they_are_what_a_sorted_map_says(sets in vec((0_u32..20, prop::option::of(0_u64..100)), 1..60), now in 0_u64..100) {
            let (mut deadlines, mut map) = (Deadlines::default(), BTreeMap::new());
            for (place, nanos) in sets {
                let id = RouterId::new(place, 0);
                deadlines.set(id, nanos.map(at));
                map.remove(&id);
                map.extend(nanos.map(|nanos| (id, at(nanos))));
                prop_assert_eq!(deadlines.first(), map.values().min().copied());
                let mut due: Vec<_> = map.iter().filter(|(_, due)| **due <= at(now)).map(|(id, due)| (*due, *id)).collect();
                due.sort_unstable();
                let due: Vec<_> = due.into_iter().map(|(_, id)| id).collect();
                prop_assert_eq!(deadlines.due(at(now)), due);
            }
        }
    }
}
