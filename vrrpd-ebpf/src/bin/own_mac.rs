//! The classifier of an interface that has a virtual MAC address: accepts frames to its own MAC address. The kernel
//! marks them as for another host, and IP would drop them.
#![no_std]
#![no_main]

#[path = "../object.rs"]
mod object;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

/// `PACKET_HOST` of `linux/if_packet.h`: for this machine.
const TO_US: u32 = 0;
/// `PACKET_OTHERHOST`: for another host.
const TO_OTHERS: u32 = 3;

/// The interface's own MAC address, and two spare octets; the daemon sets it before the program is loaded.
#[unsafe(no_mangle)]
static OWN_MAC: [u8; 8] = [0; 8];

/// Entry for each frame that the interface receives.
#[classifier]
pub fn own_mac(ctx: TcContext) -> i32 {
    if is_for_own_mac(ctx.skb.skb) {
        // Nothing can be done if it fails.
        let _ = ctx.skb.change_type(TO_US);
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn is_for_own_mac(skb: *const __sk_buff) -> bool {
    // SAFETY: the kernel's context, which the program may read while it runs.
    let (kind, data, end) = unsafe { ((*skb).pkt_type, (*skb).data as usize, (*skb).data_end as usize) };
    if kind != TO_OTHERS || data + 6 > end {
        return false;
    }
    // SAFETY: the six octets from `data` on exist, as just checked.
    let destination = unsafe { *(data as *const [u8; 6]) };
    // SAFETY: a static of this program. Volatile, since the daemon changes the value before loading.
    let [a, b, c, d, e, f, _, _] = unsafe { core::ptr::read_volatile(&raw const OWN_MAC) };
    destination == [a, b, c, d, e, f]
}
