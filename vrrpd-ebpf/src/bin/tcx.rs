//! The classifier: what the XDP program does, on the hook `tcx`. It consumes nothing, so the programs behind
//! it, macvlan links, bridges and sockets see every packet; it knows of a packet's VLAN tag, which drivers take out of frames;
//! and forwarding costs nothing that can be measured.
//!
//! It shares the code for adverts, timers and commands with the XDP program.
#![no_std]
#![no_main]
// Inline assembly for atomic operations, which the language does not have for this target.
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
#[path = "../object.rs"]
mod object;
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
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use vrrpd_common::classify::{classify_ipv4, classify_ipv6};
use vrrpd_common::wire::ethernet::{self, EthernetRepr};

use crate::judge::note;
use crate::router::Configured;
use crate::skb::Frame;

/// `TCX_NEXT`: continue with the next program.
const NEXT: i32 = TC_ACT_UNSPEC;

/// Entry for each packet that the interface receives.
#[classifier]
pub fn vrrpd(ctx: TcContext) -> i32 {
    if let Some(frame) = skb::vrrp(&ctx) {
        read(&ctx, &frame);
    }
    NEXT
}

/// Classifies a packet and records the result.
#[inline(always)]
fn read(ctx: &TcContext, frame: &Frame) -> Option<()> {
    let configured = Configured::new(skb::interface_of(ctx), true);
    let (link, at) = EthernetRepr::parse(frame)?;
    match link.ethertype {
        ethernet::TYPE_IPV4 => note(ctx, classify_ipv4(frame, &link, at, &configured), &configured, 0, |_| 0),
        ethernet::TYPE_IPV6 => note(ctx, classify_ipv6(frame, &link, at, &configured), &configured, 0, |_| 0),
        _ => return None,
    };
    Some(())
}
