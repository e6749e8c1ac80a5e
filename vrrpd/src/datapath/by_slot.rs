//! A table of the routers of one interface by slot, since each frame is looked up several times.

use vrrpd_common::abi::{router_at, slot};
use vrrpd_common::{Family, Vrid};

/// The family and VRID of a router.
pub(super) type Key = (Family, Vrid);

/// A value for each router of an interface. It takes 8 octets for each possible VRID up to the highest one, and an
/// allocation for each router.
#[derive(Debug)]
pub(super) struct BySlot<T>(Vec<Option<Box<T>>>);

impl<T> Default for BySlot<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> BySlot<T> {
    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.0.get(index(key))?.as_deref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.0.get_mut(index(key))?.as_deref_mut()
    }

    /// Sets the value of a router.
    pub(super) fn insert(&mut self, key: Key, value: T) {
        let index = index(key);
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(Box::new(value));
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.0.get_mut(index(key))?.take().map(|value| *value)
    }

    /// All of them, IPv4 first, by VRID.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0u32..).zip(&self.0).filter_map(|(slot, value)| Some((router_at(slot)?, value.as_deref()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten().map(|value| &**value)
    }
}

fn index((family, vrid): Key) -> usize {
    slot(family, vrid) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_router_has_a_place_of_its_own_and_they_come_in_order() {
        let keys: Vec<Key> = [Family::Ipv4, Family::Ipv6]
            .into_iter()
            .flat_map(|family| [1, 51, 255].map(|vrid| (family, Vrid::new(vrid).expect("is legal"))))
            .collect();
        let mut table = BySlot::default();
        for key in keys.iter().rev() {
            assert_eq!(table.get(*key), None);
            table.insert(*key, *key);
        }
        assert_eq!(table.iter().map(|(key, _)| key).collect::<Vec<_>>(), keys);
        assert!(table.iter().all(|(key, value)| key == *value));
        assert_eq!(table.remove(keys[1]), Some(keys[1]));
        assert_eq!((table.get(keys[1]), table.values().count()), (None, keys.len() - 1));
    }
}
