//! Assignment of places in the maps of an object to virtual routers.

use vrrpd_engine::LinkId;

/// The virtual router that has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its interface.
    pub link: LinkId,
    /// Its [`slot`](vrrpd_common::abi::slot) there.
    pub slot: u32,
}

/// The places of an object.
#[derive(Debug)]
pub(super) struct Places {
    owners: Vec<Option<Owner>>,
    /// Free places; the next one is taken from the end.
    free: Vec<u32>,
    /// Number of free places that are reserved.
    reserved: usize,
}

impl Places {
    /// Places for this number of routers, and a quarter more for routers that a reload adds.
    pub(super) fn for_routers(routers: usize) -> Self {
        /// Number of records that are mapped together.
        const TOGETHER: usize = crate::sys::records::BLOCK;
        let places = (routers + routers / 4).next_multiple_of(TOGETHER).max(TOGETHER);
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        // In ascending order, so that few pages are mapped.
        Self { owners: vec![None; places as usize], free: (0..places).rev().collect(), reserved: 0 }
    }

    /// Number of places.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.owners.len()).unwrap_or(u32::MAX)
    }

    /// Reserves places; returns false, without a change, if there are too few.
    pub(super) fn reserve(&mut self, places: usize) -> bool {
        let are_there = self.free.len() - self.reserved >= places;
        if are_there {
            self.reserved += places;
        }
        are_there
    }

    /// Cancels the reservation of so many places.
    pub(super) fn release(&mut self, places: usize) {
        self.reserved = self.reserved.saturating_sub(places);
    }

    /// Assigns a place to a router, reserved or not; `None` if there is none.
    pub(super) fn take(&mut self, owner: Owner, is_reserved: bool) -> Option<u32> {
        if is_reserved {
            self.release(1);
        } else if self.free.len() <= self.reserved {
            return None;
        }
        let place = self.free.pop()?;
        *self.owners.get_mut(place as usize)? = Some(owner);
        Some(place)
    }

    /// Releases a place.
    pub(super) fn free(&mut self, place: u32) {
        if self.owners.get_mut(place as usize).and_then(Option::take).is_some() {
            self.free.push(place);
        }
    }

    /// The router that has a place.
    pub(super) fn owner(&self, place: u32) -> Option<Owner> {
        *self.owners.get(place as usize)?
    }
}

#[cfg(test)]
mod tests {
    use vrrpd_engine::ids::Id as _;

    use super::*;

    fn owner(slot: u32) -> Owner {
        Owner { link: LinkId::new(3, 0), slot }
    }

    #[test]
    fn there_are_as_many_places_as_routers_and_some_more() {
        for (routers, places) in [(0, 16), (1, 16), (13, 16), (16, 32), (255, 320), (4000, 5008)] {
            assert_eq!(Places::for_routers(routers).len(), places, "{routers} routers");
        }
    }

    #[test]
    fn a_reserved_place_is_not_assigned_to_another_interface() {
        let mut places = Places::for_routers(1);
        assert!(places.reserve(10) && places.reserve(5));
        assert!(!places.reserve(2), "one is left");
        assert_eq!(places.take(owner(1), false), Some(0));
        assert_eq!(places.take(owner(2), false), None);
        assert_eq!(places.take(owner(2), true), Some(1));
        places.release(14);
        assert_eq!(places.take(owner(3), false), Some(2));
    }

    #[test]
    fn a_place_that_was_freed_has_no_router_until_it_is_taken_again() {
        let mut places = Places::for_routers(1);
        let place = places.take(owner(51), false).expect("there are 16");
        assert_eq!(places.owner(place), Some(owner(51)));
        places.free(place);
        places.free(place);
        assert_eq!((places.owner(place), places.owner(99)), (None, None));
        let all: Vec<_> = std::iter::from_fn(|| places.take(owner(7), false)).collect();
        assert_eq!(all.len(), 16);
    }
}
