//! One virtual router in the maps.

use core::cell::Cell;
use core::net::IpAddr;

use aya_ebpf::bindings::bpf_spin_lock;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_spin_lock as lock, bpf_spin_unlock as unlock};
use aya_ebpf::btf_maps::lpm_trie::Key;
use vrrpd_common::abi::{
    EventKind, KernelConfig, KernelReject, RouterRecord, address_key, any_router, slot, station,
};
use vrrpd_common::classify::{AddressUse, Delivery, Expect, RouterKey, Routers, is_vrrp_group};
use vrrpd_common::{Family, Instant, MacAddr, Reject, Rejection, Vrid};

use crate::atomic;
use crate::maps::{ADDRESSES, EVENTS, RECORDS, ROUTERS, RouterSlot, STATIONS};

/// The virtual routers of the configuration, and the generation of the one that was asked for last.
pub struct Configured {
    generation: Cell<u32>,
    /// The kernel has said that the frame is for this machine.
    is_for_us: bool,
}

impl Configured {
    /// `is_for_us`: the kernel has said that the frame is for this machine; otherwise its MAC address is looked up in
    /// [`STATIONS`].
    #[inline(always)]
    pub fn new(is_for_us: bool) -> Self {
        Self { generation: Cell::new(0), is_for_us }
    }

    /// [`KernelConfig::generation`] as it was before the configuration was read by which an advert was checked.
    #[inline(always)]
    pub fn generation(&self) -> u32 {
        self.generation.get()
    }
}

impl Routers for Configured {
    #[inline(always)]
    fn knows(&self, vlan: u16, family: Family, vrid: Vrid) -> bool {
        let Some(slot) = ROUTERS.get_ptr(slot(family, vrid)) else { return false };
        // SAFETY: the element lives as long as the map.
        let config = unsafe { &raw const (*slot).config };
        // SAFETY: as above. What a command changes from here on is noticed by this.
        self.generation.set(unsafe { (&raw const (*config).generation).read_volatile() });
        // SAFETY: as above.
        unsafe { (*config).role != 0 && (*config).vlan == vlan }
    }

    #[inline(always)]
    fn expect(&self, vlan: u16, family: Family, vrid: Vrid) -> Option<Expect> {
        let slot = ROUTERS.get_ptr(slot(family, vrid))?;
        // SAFETY: the element lives as long as the map.
        let config = unsafe { &(*slot).config };
        if config.role == 0 || config.vlan != vlan {
            return None;
        }
        config.expect(family)
    }

    #[inline(always)]
    fn use_of(&self, router: &RouterKey, address: IpAddr) -> AddressUse {
        AddressUse::from_bits(look_up(slot(router.family, router.vrid), address).unwrap_or_default())
    }

    #[inline(always)]
    fn is_destination(&self, destination: IpAddr) -> bool {
        let family = if destination.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        is_vrrp_group(destination) || look_up(any_router(family), destination).is_some()
    }

    #[inline(always)]
    fn delivery(&self, router: &RouterKey, sender: AddressUse, destination: IpAddr) -> Delivery {
        let Some(slot) = ROUTERS.get_ptr(slot(router.family, router.vrid)) else { return Delivery::Elsewhere };
        // SAFETY: the element lives as long as the map.
        unsafe { &(*slot).config }.delivery(sender, destination)
    }

    #[inline(always)]
    fn receives(&self, destination: MacAddr) -> bool {
        if self.is_for_us {
            return true;
        }
        let Some(stations) = STATIONS.get(0) else { return false };
        stations.contains(&station(destination))
    }
}

/// The entry of an address in the map.
#[inline(always)]
fn look_up(slot: u32, address: IpAddr) -> Option<u32> {
    let key = address_key(slot, address);
    ADDRESSES.get(&Key::new(8 * size_of_val(&key) as u32, key)).copied()
}

/// A virtual router's place in the maps.
#[derive(Clone, Copy)]
pub struct Router {
    number: u32,
    slot: *mut RouterSlot,
    record: *mut RouterRecord,
}

impl Router {
    /// The virtual router of a key.
    #[inline(always)]
    pub fn find(key: &RouterKey) -> Option<Self> {
        Self::at(slot(key.family, key.vrid))
    }

    /// The virtual router in a slot.
    #[inline(always)]
    pub fn at(number: u32) -> Option<Self> {
        let slot = ROUTERS.get_ptr_mut(number)?;
        let record = RECORDS.get_ptr_mut(number)?;
        Some(Self { number, slot, record })
    }

    /// Counts a discarded advert.
    #[inline(always)]
    pub fn count(&self, reject: Reject) {
        // SAFETY: the element lives as long as the map, and has a counter for each reason.
        unsafe {
            let counters = (&raw mut (*self.record).rejected).cast::<u64>();
            atomic::increment(counters.add(reject as usize));
        }
    }

    /// Notes a discarded advert.
    #[inline(always)]
    pub fn refuse(&self, rejection: &Rejection, source: IpAddr) {
        // SAFETY: the helper has no preconditions.
        let now = Instant::from_nanos(unsafe { bpf_ktime_get_ns() });
        let refused = KernelReject::new(rejection, source, now);
        self.locked(|_, record| record.refused = refused);
    }

    /// Puts the record as it is now into the ring, if there is room.
    #[inline(always)]
    pub fn report(&self, kind: EventKind, now: Instant) {
        match EVENTS.reserve(0) {
            Some(mut place) => {
                let event = place.as_mut_ptr();
                self.locked(|_, record| {
                    record.ring_takes_it();
                    // SAFETY: the ring gave the place, and nobody reads it before it is submitted.
                    unsafe { event.write(record.event(kind, self.number as u16, now)) };
                });
                place.submit(0);
            }
            None => self.locked(|_, record| record.ring_is_full(kind, now)),
        }
    }

    /// Changes configuration and record, alone.
    #[inline(always)]
    pub fn locked<T>(&self, change: impl FnOnce(&mut KernelConfig, &mut RouterRecord) -> T) -> T {
        // SAFETY: slot and record live as long as their maps; the lock makes this the only one that changes them.
        unsafe {
            let guard: *mut bpf_spin_lock = &raw mut (*self.slot).lock;
            lock(guard);
            // Readers without the lock see the number change around the rest.
            let sequence = &raw mut (*self.record).sequence;
            atomic::increment(sequence);
            let result = change(&mut (*self.slot).config, &mut *self.record);
            atomic::increment(sequence);
            unlock(guard);
            result
        }
    }

    /// Timer, lock and configuration.
    #[inline(always)]
    pub fn slot(&self) -> *mut RouterSlot {
        self.slot
    }

    /// When the timer is to look at the deadline next; 0: never.
    #[inline(always)]
    pub fn timer_at(&self) -> u64 {
        // SAFETY: the element lives as long as the map.
        unsafe { (&raw const (*self.record).timer_at).read_volatile() }
    }
}
