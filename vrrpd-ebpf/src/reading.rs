//! Reading a frame so that the verifier can follow, for frames in any memory.

use core::arch::asm;

use vrrpd_common::wire::vrrp::{MAX_ADDRESSES, MAX_TRAILING};

/// Maximum offset of an octet of an advert: Ethernet with a tag, IPv6, 255 addresses, and a trailer.
pub const MAX_OFFSET: usize = 18 + 40 + 8 + MAX_ADDRESSES * 16 + MAX_TRAILING;

/// A checked offset in a frame; `None` if it is beyond every advert.
#[inline(always)]
pub fn checked(at: usize) -> Option<usize> {
    let offset: usize;
    // SAFETY: a copy of a register. Opaque to the compiler, so it keeps the comparison below in each iteration of a
    // loop, and the verifier sees the end of every loop over a frame.
    unsafe { asm!("{} = {}", out(reg) offset, in(reg) at, options(pure, nomem, nostack)) };
    if offset > MAX_OFFSET { None } else { Some(offset) }
}

/// The number in network byte order at an address, in one load. The compiler would use four loads for unaligned
/// addresses.
///
/// # Safety
/// All four octets must be readable.
#[inline(always)]
pub unsafe fn u32_from(from: usize) -> u32 {
    let number: u64;
    // SAFETY: all four exist.
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
