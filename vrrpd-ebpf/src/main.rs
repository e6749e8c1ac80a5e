//! The XDP program of an interface: adverts for its own virtual routers are judged, noted and consumed here, and the
//! master's silence is timed. Everything else goes on as it came.
//!
//! It parses nothing and decides nothing by itself: [`vrrpd_common::classify`] says what a frame is, and
//! [`vrrpd_common::watch`] what an advert means; both are the daemon's own code. It never sends, and never changes a
//! frame.
//!
//! Two entries: [`vrrpd`] for each frame, [`vrrpd_command`] for what the daemon asks. The third way in is the timer, in
//! [`timer`].
#![no_std]
#![no_main]
// Atomic operations, which the language does not have for this target, in its own words.
#![feature(asm_experimental_arch)]

mod advert;
mod atomic;
mod command;
mod judge;
mod maps;
mod packet;
mod reading;
mod router;
mod timer;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use vrrpd_common::abi::flag;
use vrrpd_common::classify::classify;

use crate::judge::note;
use crate::packet::Packet;
use crate::router::{Configured, Router};

/// For each frame that the interface receives.
#[xdp]
pub fn vrrpd(ctx: XdpContext) -> u32 {
    let (packet, configured) = (Packet::between(ctx.data(), ctx.data_end()), Configured::new(false));
    note(&ctx, classify(&packet, &configured), &configured, XDP_PASS, |router| {
        if passes_on(router) { XDP_PASS } else { XDP_DROP }
    })
}

/// Whether what was handled is passed on.
#[inline(always)]
fn passes_on(router: &Router) -> bool {
    // SAFETY: the element lives as long as the map.
    unsafe { (*router.slot()).config.has(flag::PASS_ON) }
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
