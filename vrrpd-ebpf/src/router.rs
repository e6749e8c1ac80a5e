//! One virtual router in the maps.

use core::cell::Cell;
use core::net::IpAddr;

use aya_ebpf::bindings::bpf_spin_lock;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_spin_lock as lock, bpf_spin_unlock as unlock};
use aya_ebpf::btf_maps::lpm_trie::Key;
use vrrpd_common::abi::{
    EventKind, KernelConfig, KernelEvent, KernelReject, RouterRecord, address_key, any_router, known_bit, place_key, slot,
    station,
};
use vrrpd_common::classify::{AddressUse, Delivery, Expect, RouterKey, Routers, is_vrrp_group};
use vrrpd_common::{Family, Instant, MacAddr, Reject, Rejection, Vrid};

use crate::atomic;
use crate::maps::{ADDRESSES, EVENTS, INDEX, KNOWN, RECORDS, ROUTERS, RouterSlot, STATIONS};

/// The virtual routers that are configured on an interface, and the one that was asked for last.
pub struct Configured {
    interface: u32,
    /// Its [`slot`] and its place; before one was asked for, there is none.
    slot: Cell<u32>,
    place: Cell<u32>,
    /// [`KernelConfig::generation`] as it was before the configuration was read by which an advert was checked.
    generation: Cell<u32>,
    /// What [`KNOWN`] has in the place.
    known: Cell<u64>,
    /// The kernel has marked the frame as for this machine.
    is_for_us: bool,
}

impl Configured {
    /// The routers of the interface with this index. `is_for_us`: the kernel has said that the frame is for this machine;
    /// otherwise its MAC address is looked up in [`STATIONS`].
    #[inline(always)]
    pub fn new(interface: u32, is_for_us: bool) -> Self {
        let none = || Cell::new(u32::MAX);
        Self { interface, slot: none(), place: none(), generation: none(), known: Cell::new(0), is_for_us }
    }

    /// The number of the interface.
    #[inline(always)]
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// The virtual router that was asked for last.
    #[inline(always)]
    pub fn router(&self) -> Option<Router> {
        Router::at(self.place.get())
    }

    /// Whether what was asked for last is still configured as it was then, in the same place.
    #[inline(always)]
    pub fn is_still(&self, config: &KernelConfig, record: &RouterRecord) -> bool {
        config.generation == self.generation.get() && record.is_of(self.interface, self.slot.get())
    }

    /// What of the virtual router that was asked for last only the kernel touches.
    #[inline(always)]
    fn config(&self) -> Option<*const KernelConfig> {
        let router = ROUTERS.get_ptr(self.place.get())?;
        // SAFETY: the element lives as long as the map.
        Some(unsafe { &raw const (*router).config })
    }

    /// What the map of addresses has for one, in full length.
    #[inline(always)]
    fn look_up(&self, slot: u32, address: IpAddr) -> Option<u32> {
        let key = address_key(self.interface, slot, address);
        ADDRESSES.get(&Key::new(8 * size_of_val(&key) as u32, key)).copied()
    }
}

impl Routers for Configured {
    #[inline(always)]
    fn knows(&self, vlan: u16, family: Family, vrid: Vrid) -> bool {
        let slot = slot(family, vrid);
        let Some(place) = INDEX.get_ptr(place_key(self.interface, slot)) else { return false };
        self.slot.set(slot);
        // SAFETY: the element may be another router's by now, but its memory stays while the program runs.
        self.place.set(unsafe { place.read_volatile() });
        let Some(known) = KNOWN.get_ptr(self.place.get()) else { return false };
        // SAFETY: the element lives as long as the map.
        self.known.set(unsafe { known.read_volatile() });
        let Some(config) = self.config() else { return false };
        // SAFETY: the element lives as long as the map. What a command changes from here on is noticed by this.
        self.generation.set(unsafe { (&raw const (*config).generation).read_volatile() });
        // SAFETY: as above.
        unsafe { (*config).role != 0 && (*config).vlan == vlan }
    }

    #[inline(always)]
    fn expect(&self, vlan: u16, family: Family, _: Vrid) -> Option<Expect> {
        // SAFETY: the element lives as long as the map.
        let config = unsafe { &*self.config()? };
        if config.role == 0 || config.vlan != vlan {
            return None;
        }
        config.expect(family)
    }

    #[inline(always)]
    fn use_of(&self, _: &RouterKey, address: IpAddr) -> AddressUse {
        if self.known.get() & known_bit(address) == 0 {
            return AddressUse::default();
        }
        AddressUse::from_bits(self.look_up(self.slot.get(), address).unwrap_or_default())
    }

    #[inline(always)]
    fn is_destination(&self, destination: IpAddr) -> bool {
        let family = if destination.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
        is_vrrp_group(destination) || self.look_up(any_router(family), destination).is_some()
    }

    #[inline(always)]
    fn delivery(&self, _: &RouterKey, sender: AddressUse, destination: IpAddr) -> Delivery {
        let Some(config) = self.config() else { return Delivery::Elsewhere };
        // SAFETY: the element lives as long as the map.
        unsafe { &*config }.delivery(sender, destination)
    }

    #[inline(always)]
    fn receives(&self, destination: MacAddr) -> bool {
        self.is_for_us || is_station(self.interface, destination)
    }
}

/// Whether an interface accepts frames to this MAC address.
#[inline(always)]
pub fn is_station(interface: u32, mac: MacAddr) -> bool {
    // SAFETY: the daemon replaces elements, and does not change them.
    let stations = unsafe { STATIONS.get(interface) };
    stations.is_some_and(|stations| stations.contains(&station(mac)))
}

/// A virtual router in the maps.
#[derive(Clone, Copy)]
pub struct Router {
    place: u32,
    slot: *mut RouterSlot,
    record: *mut RouterRecord,
}

impl Router {
    /// The virtual router in a place.
    #[inline(always)]
    pub fn at(place: u32) -> Option<Self> {
        let slot = ROUTERS.get_ptr_mut(place)?;
        let record = RECORDS.get_ptr_mut(place)?;
        Some(Self { place, slot, record })
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

    /// Records a discarded advert.
    #[inline(always)]
    pub fn refuse(&self, rejection: &Rejection, source: IpAddr) {
        // SAFETY: the helper has no preconditions.
        let now = Instant::from_nanos(unsafe { bpf_ktime_get_ns() });
        let refused = KernelReject::new(rejection, source, now);
        self.locked(|_, record| record.refused = refused);
    }

    /// Puts an event into the ring buffer, if there is room.
    #[inline(always)]
    pub fn report(&self, kind: EventKind, now: Instant) {
        match EVENTS.reserve(0) {
            Some(mut room) => {
                self.locked(|_, record| record.ring_takes_it());
                // SAFETY: the ring buffer gave the room, and nobody reads it before it is submitted.
                unsafe { room.as_mut_ptr().write(KernelEvent::new(kind, self.place, now)) };
                room.submit(0);
            }
            None => self.locked(|_, record| record.ring_is_full(kind, now)),
        }
    }

    /// Changes configuration and record under the lock.
    #[inline(always)]
    pub fn locked<T>(&self, change: impl FnOnce(&mut KernelConfig, &mut RouterRecord) -> T) -> T {
        // SAFETY: slot and record live as long as their maps; the lock makes this access exclusive.
        unsafe {
            let guard: *mut bpf_spin_lock = &raw mut (*self.slot).lock;
            lock(guard);
            // Seqlock: readers without the lock see the number change before and after.
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

    /// When the timer has to fire next; 0: never.
    #[inline(always)]
    pub fn timer_at(&self) -> u64 {
        // SAFETY: the element lives as long as the map.
        unsafe { (&raw const (*self.record).timer_at).read_volatile() }
    }
}
