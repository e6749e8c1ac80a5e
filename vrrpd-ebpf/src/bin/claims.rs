//! The classifiers of an interface that owns virtual addresses, while a macvlan link on it has the virtual MAC address
//! (RFC 9568 §8.1.2, §8.2.2): frames sent by the interface that claim such an address get the virtual MAC address.
//! Answers arrive at the virtual MAC address, for the link only; they are delivered to the interface as well, since it
//! has asked.
#![no_std]
#![no_main]

#[path = "../object.rs"]
mod object;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::helpers::bpf_csum_diff;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::TcContext;

/// `PACKET_HOST` of `linux/if_packet.h`: for this machine.
const TO_US: u32 = 0;
const BROADCAST: [u8; 6] = [0xff; 6];

/// `ETH_P_ARP`, `ETH_P_IPV6` in network byte order, as the kernel stores them.
const ARP: u32 = 0x0806_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;
const REPLY: [u8; 2] = [0, 2];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Offsets in an untagged frame.
const SOURCE_MAC: usize = 6;
const PAYLOAD: usize = 14;
const SENDER_MAC: usize = PAYLOAD + 8;
const NEXT_HEADER: usize = PAYLOAD + 6;
const SOURCE: usize = PAYLOAD + 8;
const DESTINATION: usize = PAYLOAD + 24;
const MESSAGE: usize = PAYLOAD + 40;
const CHECKSUM: usize = MESSAGE + 2;
const TARGET: usize = MESSAGE + 8;
/// The first option of a neighbour solicitation or advertisement, where the kernel puts the link-layer address.
const OPTION: usize = MESSAGE + 24;

/// The virtual router MAC address, and two spare octets; the daemon sets it before the programs are loaded.
#[unsafe(no_mangle)]
static VIRTUAL_MAC: [u8; 8] = [0; 8];

/// The addresses; IPv4 ones as `::ffff:a.b.c.d`.
#[map]
static OWNED: HashMap<[u8; 16], u8> = HashMap::with_max_entries(256, 0);

/// Entry for each frame that the interface sends.
#[classifier]
pub fn claims_out(ctx: TcContext) -> i32 {
    // A frame that is too short claims nothing.
    let _ = correct(&ctx);
    TC_ACT_UNSPEC
}

/// Entry for each frame that the interface receives.
#[classifier]
pub fn claims_in(ctx: TcContext) -> i32 {
    if let Ok(true) = is_answer(&ctx) {
        // Delivered to the interface, and to the links on it.
        let _ = ctx.store(0, &BROADCAST, 0);
        let _ = ctx.skb.change_type(TO_US);
    }
    TC_ACT_UNSPEC
}

#[inline(always)]
fn correct(ctx: &TcContext) -> Result<(), i64> {
    let mac = virtual_mac();
    match untagged(ctx.skb.skb) {
        ARP => {
            let arp: [u8; 28] = ctx.load(PAYLOAD)?;
            let [.., s, e, n, d, _, _, _, _, _, _, _, _, _, _] = arp;
            if !is_owned(&mapped([s, e, n, d])) {
                return Ok(());
            }
            ctx.store(SENDER_MAC, &mac, 0)?;
        }
        IPV6 if ctx.load::<u8>(NEXT_HEADER)? == ICMPV6 => {
            let (claimed, kind) = match ctx.load::<u8>(MESSAGE)? {
                SOLICITATION => (ctx.load(SOURCE)?, 1),
                ADVERTISEMENT => (ctx.load(TARGET)?, 2),
                _ => return Ok(()),
            };
            if !is_owned(&claimed) {
                return Ok(());
            }
            correct_option(ctx, kind, mac)?;
        }
        _ => return Ok(()),
    }
    ctx.store(SOURCE_MAC, &mac, 0)
}

/// Writes the virtual MAC address into an option of this kind, if the message has one.
#[inline(always)]
fn correct_option(ctx: &TcContext, kind: u8, mac: [u8; 6]) -> Result<(), i64> {
    let Ok(mut before) = ctx.load::<[u8; 8]>(OPTION) else { return Ok(()) };
    let [found, length, ..] = before;
    if found != kind || length != 1 {
        return Ok(());
    }
    let [a, b, c, d, e, f] = mac;
    let mut after = [found, length, a, b, c, d, e, f];
    // SAFETY: both are eight octets on the stack.
    let difference = unsafe { bpf_csum_diff(before.as_mut_ptr().cast(), 8, after.as_mut_ptr().cast(), 8, 0) };
    let difference = u64::try_from(difference).map_err(|_| -1)?;
    ctx.store(OPTION, &after, 0)?;
    // Size 0: a difference, not a field.
    ctx.l4_csum_replace(CHECKSUM, 0, difference, 0)
}

/// Whether this is an answer sent to the virtual MAC address for a request of an owned address.
#[inline(always)]
fn is_answer(ctx: &TcContext) -> Result<bool, i64> {
    let (is_answer, to): (bool, [u8; 16]) = match untagged(ctx.skb.skb) {
        ARP => {
            let operation: [u8; 2] = ctx.load(PAYLOAD + 6)?;
            (operation == REPLY, mapped(ctx.load(PAYLOAD + 24)?))
        }
        IPV6 if ctx.load::<u8>(NEXT_HEADER)? == ICMPV6 => {
            (ctx.load::<u8>(MESSAGE)? == ADVERTISEMENT, ctx.load(DESTINATION)?)
        }
        _ => return Ok(false),
    };
    Ok(is_answer && ctx.load::<[u8; 6]>(0)? == virtual_mac() && is_owned(&to))
}

/// The protocol of a frame; 0 if it is tagged.
#[inline(always)]
fn untagged(skb: *const __sk_buff) -> u32 {
    // SAFETY: the kernel's context, which the program may read while it runs.
    unsafe { if (*skb).vlan_present == 0 { (*skb).protocol } else { 0 } }
}

#[inline(always)]
fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[inline(always)]
fn is_owned(address: &[u8; 16]) -> bool {
    // SAFETY: the pointer is not dereferenced.
    unsafe { OWNED.get(address).is_some() }
}

#[inline(always)]
fn virtual_mac() -> [u8; 6] {
    // SAFETY: a static of this program. Volatile, since the daemon changes the value before loading.
    let [a, b, c, d, e, f, _, _] = unsafe { core::ptr::read_volatile(&raw const VIRTUAL_MAC) };
    [a, b, c, d, e, f]
}
