//! Identifiers of routers, interfaces and requests, and the tables they belong to.
//!
//! A slot of a table is reused with another generation, so an identifier is never reused. An identifier in a late
//! message finds no entry if its router has left, and never the next one in that slot.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use vrrpd_common::group::Member;

/// Identifier of an entry in a [`Slots`].
pub trait Id: Copy + Eq {
    /// The identifier for this slot and generation.
    fn new(place: u32, generation: u32) -> Self;
    /// Index of the slot.
    fn place(self) -> u32;
    /// How often the slot was used before.
    fn generation(self) -> u32;
}

/// A router's place in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlace {
    /// Index of the group in this process.
    pub group: usize,
    /// The member that the router is.
    pub member: Member,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name {
            place: u32,
            generation: u32,
        }

        impl Id for $name {
            fn new(place: u32, generation: u32) -> Self {
                Self { place, generation }
            }

            fn place(self) -> u32 {
                self.place
            }

            fn generation(self) -> u32 {
                self.generation
            }
        }

        impl $name {
            /// The identifier of the first entry of a table.
            pub const FIRST: Self = Self { place: 0, generation: 0 };
        }
    };
}

id! {
    /// A virtual router of this process.
    RouterId
}
id! {
    /// An interface with routers of this process.
    LinkId
}

/// Identifies a request to the system and its answer. Counted up, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// A table whose entries have identifiers of type `I`.
#[derive(Clone, Debug)]
pub struct Slots<I, T> {
    places: Vec<Slot<T>>,
    /// Number of used slots.
    taken: usize,
    names: PhantomData<I>,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    /// Generation of the entry, or of the next one.
    generation: u32,
    entry: Option<T>,
}

impl<I, T> Default for Slots<I, T> {
    fn default() -> Self {
        Self { places: Vec::new(), taken: 0, names: PhantomData }
    }
}

impl<I: Id, T> Slots<I, T> {
    /// An empty table with this capacity.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// The identifier that the next entry will get: the first free slot.
    pub fn next_id(&self) -> I {
        let place = self.free_place();
        I::new(number(place), self.places.get(place).map_or(0, |slot| slot.generation))
    }

    /// Adds an entry, under the identifier that [`Slots::next_id`] returned.
    pub fn insert(&mut self, entry: T) -> I {
        let id = self.next_id();
        self.taken += 1;
        match self.places.get_mut(id.place() as usize) {
            Some(slot) => slot.entry = Some(entry),
            None => self.places.push(Slot { generation: id.generation(), entry: Some(entry) }),
        }
        id
    }

    /// Adds an entry under an identifier of another table, for tables used in parallel. Returns the previous entry of
    /// that slot.
    pub fn put(&mut self, id: I, entry: T) -> Option<T> {
        let place = id.place() as usize;
        while self.places.len() <= place {
            self.places.push(Slot { generation: 0, entry: None });
        }
        let slot = self.places.get_mut(place)?;
        slot.generation = id.generation();
        let before = slot.entry.replace(entry);
        self.taken += usize::from(before.is_none());
        before
    }

    /// Removes an entry. Its identifier is not reused.
    pub fn remove(&mut self, id: I) -> Option<T> {
        let slot =
            self.places.get_mut(id.place() as usize).filter(|slot| slot.generation == id.generation())?;
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.taken -= 1;
        Some(entry)
    }

    /// The entry with this identifier; `None`: it was removed.
    pub fn get(&self, id: I) -> Option<&T> {
        self.places
            .get(id.place() as usize)
            .filter(|slot| slot.generation == id.generation())
            .and_then(|slot| slot.entry.as_ref())
    }

    /// Like [`Slots::get`], mutable.
    pub fn get_mut(&mut self, id: I) -> Option<&mut T> {
        self.places
            .get_mut(id.place() as usize)
            .filter(|slot| slot.generation == id.generation())
            .and_then(|slot| slot.entry.as_mut())
    }

    /// All entries with identifiers, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        (0..).zip(&self.places).filter_map(|(place, slot)| {
            let id = I::new(place, slot.generation);
            slot.entry.as_ref().map(|entry| (id, entry))
        })
    }

    /// All entries with identifiers, mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (I, &mut T)> {
        (0..).zip(&mut self.places).filter_map(|(place, slot)| {
            let id = I::new(place, slot.generation);
            slot.entry.as_mut().map(|entry| (id, entry))
        })
    }

    /// The identifiers of all entries.
    pub fn ids(&self) -> impl Iterator<Item = I> {
        self.iter().map(|(id, _)| id)
    }

    /// All entries.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|slot| slot.entry.as_ref())
    }

    /// All entries, mutable.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|slot| slot.entry.as_mut())
    }

    /// Number of entries.
    pub const fn len(&self) -> usize {
        self.taken
    }

    /// Whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Removes all entries. Their identifiers are not reused.
    pub fn clear(&mut self) {
        for slot in &mut self.places {
            if slot.entry.take().is_some() {
                slot.generation = slot.generation.wrapping_add(1);
            }
        }
        self.taken = 0;
    }

    fn free_place(&self) -> usize {
        if self.taken == self.places.len() {
            return self.places.len();
        }
        self.places.iter().position(|slot| slot.entry.is_none()).unwrap_or(self.places.len())
    }
}

/// A table has at most 2^32 slots, since each takes more than one octet.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_of_an_entry_that_was_taken_out_never_means_the_next_one_in_its_place() {
        let mut table: Slots<RouterId, &str> = Slots::default();
        let (first, second) = (table.insert("first"), table.insert("second"));
        assert_eq!(table.remove(first), Some("first"));
        assert!(table.get(first).is_none() && table.remove(first).is_none());
        let promised = table.next_id();
        let third = table.insert("third");
        assert_eq!(third, promised);
        assert_eq!(third.place(), first.place(), "the place is used again");
        assert_ne!(third, first);
        assert!(table.get(first).is_none() && table.get_mut(first).is_none());
        assert_eq!((table.get(second), table.get(third)), (Some(&"second"), Some(&"third")));
    }

    #[test]
    fn entries_are_gone_through_in_the_order_of_their_places() {
        let mut table: Slots<LinkId, u32> = Slots::with_capacity(4);
        let ids: Vec<_> = (0..4).map(|n| table.insert(n)).collect();
        table.remove(ids[1]);
        assert_eq!(table.values().copied().collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(table.ids().collect::<Vec<_>>(), [ids[0], ids[2], ids[3]]);
        assert_eq!((table.len(), table.is_empty()), (3, false));
        for value in table.values_mut() {
            *value *= 10;
        }
        for (id, value) in table.iter_mut() {
            *value += id.place();
        }
        let all: Vec<_> = table.iter().map(|(id, value)| (id.place(), *value)).collect();
        assert_eq!(all, [(0, 0), (2, 22), (3, 33)]);
        table.clear();
        assert!(table.is_empty() && ids.iter().all(|id| table.get(*id).is_none()));
        assert_eq!(table.insert(7).generation(), 1);
    }

    #[test]
    fn a_table_beside_another_has_its_names() {
        let (mut table, mut beside): (Slots<RouterId, u32>, Slots<RouterId, &str>) = Default::default();
        let ids: Vec<_> = (0..3).map(|n| table.insert(n)).collect();
        assert_eq!(beside.put(ids[2], "third"), None);
        assert_eq!((beside.get(ids[2]), beside.get(ids[0]), beside.len()), (Some(&"third"), None, 1));
        table.remove(ids[2]);
        let next = table.insert(3);
        assert_eq!(beside.get(next), None, "it is another one's");
        assert_eq!(beside.put(next, "next"), Some("third"));
        assert_eq!((beside.remove(ids[2]), beside.remove(next), beside.len()), (None, Some("next"), 0));
    }

    #[test]
    fn next_id_of_a_full_table_is_behind_the_last_entry() {
        let mut table: Slots<RouterId, ()> = Slots::default();
        assert_eq!(table.next_id(), RouterId::FIRST);
        table.insert(());
        assert_eq!((table.next_id().place(), table.next_id().generation()), (1, 0));
    }
}
