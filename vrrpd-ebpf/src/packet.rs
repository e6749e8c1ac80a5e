//! A frame in packet memory, as [`Octets`].

use core::arch::asm;

use aya_ebpf::programs::XdpContext;
use vrrpd_common::octets::Octets;
use vrrpd_common::wire::vrrp::{MAX_ADDRESSES, MAX_TRAILING};

/// No octet of an advert is as far from the frame's start: Ethernet with a tag, IPv6, 255 addresses, and what may follow.
const MAX_OFFSET: usize = 18 + 40 + 8 + MAX_ADDRESSES * 16 + MAX_TRAILING;

/// A frame while the program runs on it.
pub struct Packet {
    start: usize,
    end: usize,
}

impl Packet {
    /// The frame of a context.
    #[inline(always)]
    pub fn of(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end() }
    }

    /// The address of the `N` octets from `at` on; `None` unless all of them are there.
    #[inline(always)]
    fn locate<const N: usize>(&self, at: usize) -> Option<usize> {
        let offset: usize;
        // SAFETY: a copy. The compiler knows nothing of it, so it leaves the comparison below in each turn of a loop, and
        // the verifier sees the end of every loop over a frame.
        unsafe { asm!("{} = {}", out(reg) offset, in(reg) at, options(pure, nomem, nostack)) };
        if offset > MAX_OFFSET {
            return None;
        }
        let (from, to): (usize, usize);
        // SAFETY: additions. In the compiler's own words `from + 1 > end` would become `from >= end`, from which the
        // verifier learns nothing.
        unsafe {
            asm!(
                "{from} += {offset}",
                "{to} = {from}",
                "{to} += {n}",
                from = inout(reg) self.start => from,
                offset = in(reg) offset,
                to = out(reg) to,
                n = const N,
                options(pure, nomem, nostack),
            );
        }
        if to > self.end { None } else { Some(from) }
    }
}

impl Octets for Packet {
    #[inline(always)]
    fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline(always)]
    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let from = self.locate::<N>(at)?;
        // SAFETY: all of them are there.
        Some(unsafe { (from as *const [u8; N]).read() })
    }

    #[inline(always)]
    fn u32_at(&self, at: usize) -> Option<u32> {
        let from = self.locate::<4>(at)?;
        let number: u64;
        // SAFETY: all four are there. The compiler takes four loads, since it has to think of machines that cannot read
        // numbers from odd places; the kernel's verifier knows the machine.
        unsafe {
            asm!(
                "{number} = *(u32 *)({from} + 0)",
                from = in(reg) from,
                number = out(reg) number,
                options(pure, readonly, nostack),
            );
        }
        Some(u32::from_be(number as u32))
    }
}
