//! Reading a frame in a way that the verifier can follow, wherever the frame is.

use core::arch::asm;

use vrrpd_common::wire::vrrp::{MAX_ADDRESSES, MAX_TRAILING};

/// No octet of an advert is as far from the frame's start: Ethernet with a tag, IPv6, 255 addresses, and what may follow.
pub const MAX_OFFSET: usize = 18 + 40 + 8 + MAX_ADDRESSES * 16 + MAX_TRAILING;

/// A place in a frame; `None` if no octet of an advert is that far from its start.
#[inline(always)]
pub fn checked(at: usize) -> Option<usize> {
    let offset: usize;
    // SAFETY: a copy. The compiler knows nothing of it, so it leaves the comparison below in each turn of a loop, and
    // the verifier sees the end of every loop over a frame.
    unsafe { asm!("{} = {}", out(reg) offset, in(reg) at, options(pure, nomem, nostack)) };
    if offset > MAX_OFFSET { None } else { Some(offset) }
}

/// The number in network order at an address, in one load. The compiler takes four, since it has to think of machines that
/// cannot read numbers from odd places; the kernel's verifier knows the machine.
///
/// # Safety
/// All four octets can be read.
#[inline(always)]
pub unsafe fn u32_from(from: usize) -> u32 {
    let number: u64;
    // SAFETY: all four are there.
    unsafe {
        asm!(
            "{number} = *(u32 *)({from} + 0)",
            from = in(reg) from,
            number = out(reg) number,
            options(pure, readonly, nostack),
        );
    }
    u32::from_be(number as u32)
}
