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
mod maps;
mod packet;
mod router;
mod timer;

use core::net::IpAddr;

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use vrrpd_common::classify::{Classified, RouterKey, classify};
use vrrpd_common::{Advert, Reject, Rejection};

use crate::maps::count;
use crate::packet::Packet;
use crate::router::{Configured, Router};

/// For each frame that the interface receives.
#[xdp]
pub fn vrrpd(ctx: XdpContext) -> u32 {
    let configured = Configured::new();
    match classify(&Packet::of(&ctx), &configured) {
        Classified::NotVrrp => XDP_PASS,
        Classified::NotOurs { .. } => {
            count(Reject::NotOurs);
            XDP_PASS
        }
        // Too damaged to tell whose it is: if it is for others, it is theirs to judge.
        Classified::Reject { rejection, router: None } => {
            log(&ctx, &rejection);
            count(rejection.reject);
            XDP_PASS
        }
        Classified::Reject { rejection, router: Some((key, source)) } => {
            log(&ctx, &rejection);
            discard(&key, &rejection, source)
        }
        Classified::Advert { router: key, advert } => accept(&key, &advert, configured.generation()),
    }
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

#[inline(always)]
fn discard(key: &RouterKey, rejection: &Rejection, source: IpAddr) -> u32 {
    let Some(router) = Router::find(key) else { return XDP_PASS };
    router.count(rejection.reject);
    if rejection.reject.is_mismatch() {
        router.refuse(rejection, source);
    }
    verdict(&router)
}

#[inline(always)]
fn accept(key: &RouterKey, advert: &Advert, generation: u32) -> u32 {
    let Some(router) = Router::find(key) else { return XDP_PASS };
    if advert::take_in(&router, key.family, advert, generation).is_none() {
        return XDP_PASS;
    }
    verdict(&router)
}

/// What becomes of a frame that was for us.
#[inline(always)]
fn verdict(router: &Router) -> u32 {
    if router.passes_on() { XDP_PASS } else { XDP_DROP }
}

#[cfg(feature = "debug-log")]
#[inline(always)]
fn log(ctx: &XdpContext, rejection: &Rejection) {
    let Rejection { reject, got, wanted } = *rejection;
    // Its name would be a string of one length or another, and all that follows be verified for each.
    let check = reject as u8;
    aya_log_ebpf::debug!(ctx, "discarded by check {} of Reject::ALL: got {}, wanted {}", check, got, wanted);
}

#[cfg(not(feature = "debug-log"))]
#[inline(always)]
fn log(_: &XdpContext, _: &Rejection) {}

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
