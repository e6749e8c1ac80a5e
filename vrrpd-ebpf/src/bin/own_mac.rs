//! The classifier of an interface that has a virtual MAC address in place of its own: frames to its own one are its own
//! still. To the kernel they are somebody else's by then, and IP would drop them.
#![no_std]
#![no_main]

#[path = "../object.rs"]
mod object;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

/// `PACKET_HOST` of `linux/if_packet.h`: to us.
const TO_US: u32 = 0;
/// `PACKET_OTHERHOST`: to somebody else.
const TO_OTHERS: u32 = 3;

/// The interface's own MAC address, and two octets to spare; the daemon sets it before the program is loaded.
#[unsafe(no_mangle)]
static OWN_MAC: [u8; 8] = [0; 8];

/// For each frame that the interface receives.
#[classifier]
pub fn own_mac(ctx: TcContext) -> i32 {
    if is_for_own_mac(ctx.skb.skb) {
        // Whether it worked makes no difference to what can be done.
        let _ = ctx.skb.change_type(TO_US);
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn is_for_own_mac(skb: *const __sk_buff) -> bool {
    // SAFETY: the kernel's context, which the verifier lets be read while the program runs.
    let (kind, data, end) = unsafe { ((*skb).pkt_type, (*skb).data as usize, (*skb).data_end as usize) };
    if kind != TO_OTHERS || data + 6 > end {
        return false;
    }
    // SAFETY: six octets from `data` on are there, which was just checked.
    let destination = unsafe { *(data as *const [u8; 6]) };
    // SAFETY: a static of this program. Volatile, since the daemon's value is not the one that the compiler sees.
    let [a, b, c, d, e, f, _, _] = unsafe { core::ptr::read_volatile(&raw const OWN_MAC) };
    destination == [a, b, c, d, e, f]
}
