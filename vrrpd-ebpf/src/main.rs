//! The XDP program: adverts for the virtual routers of an interface are judged, noted and consumed here, and the
//! master's silence is timed. Everything else goes on as it came.
//!
//! [`vrrpd_common::classify`] parses frames, and [`vrrpd_common::watch`] handles adverts; both are the daemon's own
//! code. It never sends or changes a frame.
//!
//! Entries: [`vrrpd`] for each frame, [`command::vrrpd_command`] for commands of the daemon. The third entry is the
//! timer callback in [`timer`].
#![no_std]
#![no_main]
// Inline assembly for atomic operations, which the language does not have for this target.
#![feature(asm_experimental_arch)]

mod advert;
mod atomic;
mod command;
mod judge;
mod maps;
mod object;
mod packet;
mod reading;
mod router;
mod timer;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use vrrpd_common::abi::flag;
use vrrpd_common::classify::classify;

use crate::judge::note;
use crate::packet::Packet;
use crate::router::{Configured, Router};

/// Entry for each frame that the interface receives.
#[xdp]
pub fn vrrpd(ctx: XdpContext) -> u32 {
    // SAFETY: the kernel's context, which the verifier lets be read while the program runs.
    let interface = unsafe { (*ctx.ctx).ingress_ifindex };
    let packet = Packet::between(ctx.data(), ctx.data_end());
    let configured = Configured::new(interface, false);
    note(&ctx, classify(&packet, &configured), &configured, XDP_PASS, |router| {
        if passes_on(router) { XDP_PASS } else { XDP_DROP }
    })
}

/// Whether handled adverts are passed on.
#[inline(always)]
fn passes_on(router: &Router) -> bool {
    // SAFETY: the element lives as long as the map.
    unsafe { (*router.slot()).config.has(flag::PASS_ON) }
}
