//! A packet at the hook of classifiers, as [`Octets`]. The kernel has taken the outermost VLAN tag out of it by then, and knows
//! for whom it is. Its octets may be in several pieces, of which a program can read the first one only, so what is VRRP is
//! copied.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::TcContext;
use vrrpd_common::octets::Octets;
use vrrpd_common::wire::{ethernet, ipv4, ipv6};

use crate::reading::{MAX_OFFSET, checked, u32_from};

/// `PACKET_OTHERHOST` of `linux/if_packet.h`: the packet is for another station.
const TO_OTHERS: u32 = 3;
/// The part of a VLAN tag that names the VLAN; 0: it has a priority only.
const VLAN_ID: u32 = 0x0fff;
/// As many octets may be read at once.
const MOST_AT_ONCE: usize = 64;
/// As many octets are copied as an advert can have; that none behind them are read is more than the verifier sees.
const ROOM: usize = MAX_OFFSET + MOST_AT_ONCE;

const PROTOCOL: usize = ethernet::HEADER_LEN + ipv4::field::PROTOCOL;
const NEXT_HEADER: usize = ethernet::HEADER_LEN + ipv6::field::NEXT_HEADER;

/// Where the copy is, by processor: no packet comes while the program has another one.
#[btf_map]
static FRAMES: PerCpuArray<[u8; ROOM], 1> = PerCpuArray::new();

/// A packet that may be VRRP.
pub struct Frame {
    /// Where the copy begins, which has [`ROOM`].
    copy: usize,
    /// Octets of it that are set.
    copied: usize,
    /// Octets of the packet.
    len: usize,
}

/// The packet, if it is VRRP for this machine and for no VLAN. Mostly it is not, which takes a few instructions.
#[inline(always)]
pub fn vrrp(ctx: &TcContext) -> Option<Frame> {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel's context, which the verifier lets be read while the program runs.
    let ethertype = u16::from_be(unsafe { (*skb).protocol } as u16);
    let is_vrrp = match ethertype {
        ethernet::TYPE_IPV4 => octet::<PROTOCOL>(skb)? == ipv4::PROTOCOL_VRRP,
        ethernet::TYPE_IPV6 => octet::<NEXT_HEADER>(skb)? == ipv6::NEXT_HEADER_VRRP,
        _ => false,
    };
    // SAFETY: as above.
    let (kind, tag, len) = unsafe { ((*skb).pkt_type, (*skb).vlan_tci, (*skb).len as usize) };
    // Without a tag there is 0.
    if !is_vrrp || kind == TO_OTHERS || tag & VLAN_ID != 0 {
        return None;
    }
    let copy = FRAMES.get_ptr_mut(0)?;
    let copied = checked(len).unwrap_or(MAX_OFFSET);
    if copied == 0 {
        return None;
    }
    // SAFETY: the kernel writes so many octets of the packet, which has them, to where there is room for them.
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), 0, copy.cast(), copied as u32) };
    (failed == 0).then_some(Frame { copy: copy as usize, copied, len })
}

/// The octet of a packet at `AT`, wherever it is.
#[inline(always)]
fn octet<const AT: usize>(skb: *mut __sk_buff) -> Option<u8> {
    // SAFETY: the kernel's context, as above.
    let (start, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    if start + AT + 2 <= end {
        // SAFETY: it is there, as was just checked.
        return Some(unsafe { *((start + AT) as *const u8) });
    }
    let mut octet = 0_u8;
    // SAFETY: the kernel writes one octet.
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), AT as u32, (&raw mut octet).cast(), 1) };
    (failed == 0).then_some(octet)
}

impl Frame {
    /// The address of the `N` octets from `at` on; `None` unless all of them are there.
    #[inline(always)]
    fn locate<const N: usize>(&self, at: usize) -> Option<usize> {
        const { assert!(N <= MOST_AT_ONCE) };
        let offset = checked(at)?;
        if offset + N > self.copied { None } else { Some(self.copy + offset) }
    }
}

impl Octets for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let from = self.locate::<N>(at)?;
        // SAFETY: all of them are there.
        Some(unsafe { (from as *const [u8; N]).read() })
    }

    #[inline(always)]
    fn u32_at(&self, at: usize) -> Option<u32> {
        let from = self.locate::<4>(at)?;
        // SAFETY: all four are there.
        Some(unsafe { u32_from(from) })
    }
}
