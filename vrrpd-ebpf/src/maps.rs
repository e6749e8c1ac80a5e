//! The maps of an interface. Their layouts are in [`vrrpd_common::abi`].

use aya_ebpf::bindings::{BPF_F_MMAPABLE, bpf_spin_lock, bpf_timer};
use aya_ebpf::btf_maps::{Array, LpmTrie, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use vrrpd_common::Reject;
use vrrpd_common::abi::{
    KernelConfig, KernelCounters, KernelEvent, MAX_PEERS, RING_LEN, RouterRecord, SLOTS, Stations,
};
use vrrpd_common::wire::vrrp::MAX_ADDRESSES;

/// What of a virtual router only the kernel touches: user space could neither map a timer nor a lock.
#[repr(C)]
pub struct RouterSlot {
    /// Master_Down_Timer.
    pub timer: bpf_timer,
    /// Held while configuration or record change.
    pub lock: bpf_spin_lock,
    /// Zero.
    pub reserved: u32,
    /// The daemon's last word.
    pub config: KernelConfig,
}

/// Timers, locks and configurations, by slot.
#[btf_map]
pub static ROUTERS: Array<RouterSlot, SLOTS> = Array::new();

/// Records, by slot, for user space to map into memory.
#[btf_map]
pub static RECORDS: Array<RouterRecord, SLOTS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Discarded adverts that are none of our virtual routers'.
#[btf_map]
pub static REJECTS: PerCpuArray<KernelCounters, 1> = PerCpuArray::new();

/// The virtual addresses and peers of all virtual routers, and the addresses that peers send to, each in full length: a trie
/// needs memory only for entries that exist.
#[btf_map]
pub static ADDRESSES: LpmTrie<[u8; 20], u32, { SLOTS * (MAX_ADDRESSES + MAX_PEERS + 1) }> = LpmTrie::new();

/// To whom frames are that the interface takes in.
#[btf_map]
pub static STATIONS: Array<Stations, 1> = Array::new();

/// News for the daemon.
#[btf_map]
pub static EVENTS: RingBuf<KernelEvent, RING_LEN> = RingBuf::new();

/// Counts a discarded advert that is none of our virtual routers'.
#[inline(always)]
pub fn count(reject: Reject) {
    if let Some(counters) = REJECTS.get_ptr_mut(0) {
        // SAFETY: the element is this processor's own, and the program is not interrupted by itself.
        if let Some(counter) = unsafe { &mut *counters }.get_mut(reject as usize) {
            *counter += 1;
        }
    }
}
