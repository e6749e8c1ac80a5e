//! A packet at the hook of classifiers, as [`Octets`]. The kernel has already taken out the outermost VLAN tag, and
//! compared the destination with the interface's MAC address. A packet may consist of several pieces, of which a
//! program can read only the first one, so the octets of a VRRP packet are pulled into it.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_skb_pull_data};
use aya_ebpf::programs::TcContext;
use vrrpd_common::MacAddr;
use vrrpd_common::octets::Octets;
use vrrpd_common::wire::{ethernet, ipv4, ipv6};

use crate::packet::Packet;
use crate::reading::MAX_OFFSET;
use crate::router::is_station;

/// `PACKET_OTHERHOST` of `linux/if_packet.h`: not for the interface's present MAC address.
const TO_OTHERS: u32 = 3;
/// The VLAN ID in a VLAN tag; 0: priority only.
const VLAN_ID: u32 = 0x0fff;
/// Maximum number of octets read of an advert.
const MAX_READ: usize = MAX_OFFSET + 64;

const PROTOCOL: usize = ethernet::HEADER_LEN + ipv4::field::PROTOCOL;
const NEXT_HEADER: usize = ethernet::HEADER_LEN + ipv6::field::NEXT_HEADER;

/// A packet that may be VRRP.
pub struct Frame {
    /// The readable octets.
    octets: Packet,
    /// Length of the packet in octets.
    len: usize,
}

/// The packet, if it is VRRP and untagged. Most packets are not, which takes a few instructions.
#[inline(always)]
pub fn vrrp(ctx: &TcContext) -> Option<Frame> {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel's context, which the program may read while it runs.
    let ethertype = u16::from_be(unsafe { (*skb).protocol } as u16);
    let is_vrrp = match ethertype {
        ethernet::TYPE_IPV4 => octet::<PROTOCOL>(skb)? == ipv4::PROTOCOL_VRRP,
        ethernet::TYPE_IPV6 => octet::<NEXT_HEADER>(skb)? == ipv6::NEXT_HEADER_VRRP,
        _ => false,
    };
    // SAFETY: as above.
    let (kind, tag, len) = unsafe { ((*skb).pkt_type, (*skb).vlan_tci, (*skb).len as usize) };
    // It is 0 without a tag.
    if !is_vrrp || tag & VLAN_ID != 0 {
        return None;
    }
    let read = if len > MAX_READ { MAX_READ } else { len };
    if octets(skb).len() < read {
        // SAFETY: the kernel's context, as above. Earlier pointers to its octets are not used again.
        let failed = unsafe { bpf_skb_pull_data(skb.cast(), read as u32) };
        if failed != 0 {
            return None;
        }
    }
    let octets = octets(skb);
    // Decided here, so that the verifier does not follow the classification for both answers. The kernel compares with the
    // present MAC address; the interface may accept its previous one, too.
    if kind == TO_OTHERS && !is_station(interface_of(ctx), MacAddr(octets.get::<6>(0)?)) {
        return None;
    }
    Some(Frame { octets, len })
}

/// The index of the interface that receives the packet.
#[inline(always)]
pub fn interface_of(ctx: &TcContext) -> u32 {
    // SAFETY: the kernel's context, which the program may read while it runs.
    unsafe { (*ctx.skb.skb).ifindex }
}

/// The first piece of a packet.
#[inline(always)]
fn octets(skb: *mut __sk_buff) -> Packet {
    // SAFETY: the kernel's context, as above.
    let (start, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    Packet::between(start, end)
}

/// The octet of a packet at `AT`, in any piece.
#[inline(always)]
fn octet<const AT: usize>(skb: *mut __sk_buff) -> Option<u8> {
    // SAFETY: the kernel's context, as above.
    let (start, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    if start + AT + 2 <= end {
        // SAFETY: it exists, as just checked.
        return Some(unsafe { *((start + AT) as *const u8) });
    }
    let mut octet = 0_u8;
    // SAFETY: the kernel writes one octet.
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), AT as u32, (&raw mut octet).cast(), 1) };
    (failed == 0).then_some(octet)
}

impl Octets for Frame {
    #[inline(always)]
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.octets.get(at)
    }

    #[inline(always)]
    fn u32_at(&self, at: usize) -> Option<u32> {
        self.octets.u32_at(at)
    }
}
