//! A frame in packet memory, as [`Octets`].

use core::arch::asm;

use vrrpd_common::octets::Octets;

use crate::reading::{checked, u32_from};

/// A frame while the program runs on it.
pub struct Packet {
    start: usize,
    end: usize,
}

impl Packet {
    /// The octets between these addresses, from the program's context.
    #[inline(always)]
    pub const fn between(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The address of the `N` octets starting at `at`; `None` unless all of them exist.
    #[inline(always)]
    fn locate<const N: usize>(&self, at: usize) -> Option<usize> {
        let offset = checked(at)?;
        let (from, to): (usize, usize);
        // SAFETY: only additions. The compiler would turn `from + 1 > end` into `from >= end`, from which the verifier
        // learns nothing.
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
        // SAFETY: all of them exist.
        Some(unsafe { (from as *const [u8; N]).read() })
    }

    #[inline(always)]
    fn u32_at(&self, at: usize) -> Option<u32> {
        let from = self.locate::<4>(at)?;
        // SAFETY: all four exist.
        Some(unsafe { u32_from(from) })
    }
}
