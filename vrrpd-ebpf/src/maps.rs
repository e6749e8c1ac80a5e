//! The maps of a process, for all its interfaces. Their layouts are in [`vrrpd_common::abi`].
//!
//! The sizes here are those of an object that is loaded as it is. The daemon says how many places it needs.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, bpf_spin_lock, bpf_timer};
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, RingBuf};
use aya_ebpf::macros::btf_map;
use vrrpd_common::Reject;
use vrrpd_common::abi::{
    KernelConfig, KernelCounters, KernelEvent, MAX_KNOWN_ADDRESSES, PLACES, RING_LEN, RouterRecord, Stations,
};

use crate::atomic;

/// State of a virtual router that only the kernel can access: user space can map neither a timer nor a lock.
#[repr(C)]
pub struct RouterSlot {
    /// Master_Down_Timer.
    pub timer: bpf_timer,
    /// Held while configuration or record change.
    pub lock: bpf_spin_lock,
    /// Zero.
    pub reserved: u32,
    /// The last configuration of the daemon.
    pub config: KernelConfig,
}

/// The place of each virtual router, by [`place_key`](vrrpd_common::abi::place_key).
#[btf_map]
pub static INDEX: HashMap<u64, u32, PLACES> = HashMap::new();

/// Timers, locks and configurations, by place.
#[btf_map]
pub static ROUTERS: Array<RouterSlot, PLACES> = Array::new();

/// Records, by place, for user space to map into memory.
#[btf_map]
pub static RECORDS: Array<RouterRecord, PLACES, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Discarded adverts that name none of our virtual routers, by the number of the interface.
#[btf_map]
pub static REJECTS: HashMap<u32, KernelCounters, PLACES> = HashMap::new();

/// The virtual addresses and peers of all virtual routers, and the addresses that peers send to, with full prefix
/// length: a trie uses memory only for existing entries.
#[btf_map]
pub static ADDRESSES: LpmTrie<[u8; 24], u32, MAX_KNOWN_ADDRESSES> = LpmTrie::new();

/// By place: the [`known_bit`](vrrpd_common::abi::known_bit)s of the router's entries in [`ADDRESSES`]. The address of a
/// usual master has none of them, and the trie is not searched.
#[btf_map]
pub static KNOWN: Array<u64, PLACES> = Array::new();

/// The MAC addresses to which an interface takes in frames, by its number.
#[btf_map]
pub static STATIONS: HashMap<u32, Stations, PLACES> = HashMap::new();

/// Events for the daemon.
#[btf_map]
pub static EVENTS: RingBuf<KernelEvent, RING_LEN> = RingBuf::new();

/// Counts a discarded advert that names none of our virtual routers on an interface.
#[inline(always)]
pub fn count(interface: u32, reject: Reject) {
    if let Some(counters) = REJECTS.get_ptr_mut(interface) {
        // SAFETY: the element lives as long as the program runs, and has a counter for each reason.
        unsafe { atomic::increment(counters.cast::<u64>().add(reject as usize)) };
    }
}
