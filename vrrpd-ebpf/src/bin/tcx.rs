//! The classifier of an interface: what the XDP program does, on the hook `tcx`. It consumes nothing, so the programs behind
//! it, macvlan links, bridges and sockets see every packet; it knows of a packet's VLAN tag, which drivers take out of frames;
//! and forwarding costs nothing that can be measured.
//!
//! Adverts, timers and commands are handled by the files that the XDP program is made of.
#![no_std]
#![no_main]
// Atomic operations, which the language does not have for this target, in its own words.
#![feature(asm_experimental_arch)]

#[path = "../advert.rs"]
mod advert;
#[path = "../atomic.rs"]
mod atomic;
#[path = "../command.rs"]
mod command;
#[path = "../judge.rs"]
mod judge;
#[path = "../maps.rs"]
mod maps;
#[path = "../packet.rs"]
mod packet;
#[path = "../reading.rs"]
mod reading;
#[path = "../router.rs"]
mod router;
#[path = "../skb.rs"]
mod skb;
#[path = "../timer.rs"]
mod timer;

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS};
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use vrrpd_common::classify::{classify_ipv4, classify_ipv6};
use vrrpd_common::wire::ethernet::{self, EthernetRepr};

use crate::judge::note;
use crate::router::Configured;
use crate::skb::Frame;

/// `TCX_NEXT`: the next program is asked.
const NEXT: i32 = TC_ACT_UNSPEC;

/// For each packet that the interface receives.
#[classifier]
pub fn vrrpd(ctx: TcContext) -> i32 {
    if let Some(frame) = skb::vrrp(&ctx) {
        read(&ctx, &frame);
    }
    NEXT
}

/// Notes what a packet says.
#[inline(always)]
fn read(ctx: &TcContext, frame: &Frame) -> Option<()> {
    let configured = Configured::new(true);
    let (link, at) = EthernetRepr::parse(frame)?;
    match link.ethertype {
        ethernet::TYPE_IPV4 => {
            note(ctx, classify_ipv4(frame, &link, at, &configured), &configured, 0, |_| 0)
        }
        ethernet::TYPE_IPV6 => {
            note(ctx, classify_ipv6(frame, &link, at, &configured), &configured, 0, |_| 0)
        }
        _ => return None,
    };
    Some(())
}

/// For what the daemon asks, by `BPF_PROG_TEST_RUN` on a frame that is a [`vrrpd_common::abi::KernelCommand`]. Never attached
/// to an interface.
#[xdp]
pub fn vrrpd_command(ctx: XdpContext) -> u32 {
    match command::carry_out(&ctx) {
        Some(()) => XDP_PASS,
        None => XDP_ABORTED,
    }
}

/// For the helpers that the kernel allows to programs under a GPL-compatible licence only.
// SAFETY: the section is one that the kernel's loaders read as a string, and nothing else is in it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Nothing here can panic; the language wants a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
