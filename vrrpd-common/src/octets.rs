//! Bounds-checked access to the octets of a frame.
//!
//! The parser runs on a slice in user space and on packet memory in the kernel, where the verifier requires each load
//! to be compared with the end of the packet. The parser uses this trait only.

/// Octets that can be read in pieces of constant size.
pub trait Octets {
    /// Number of octets.
    fn len(&self) -> usize;

    /// Whether there is no octet at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `N` octets starting at `at`; `None` unless all of them exist.
    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// The octet at `at`.
    #[inline(always)]
    fn u8_at(&self, at: usize) -> Option<u8> {
        let [octet] = self.get(at)?;
        Some(octet)
    }

    /// The 16-bit number at `at`, in network order.
    #[inline(always)]
    fn u16_at(&self, at: usize) -> Option<u16> {
        self.get(at).map(u16::from_be_bytes)
    }

    /// The 32-bit number at `at`, in network order.
    #[inline(always)]
    fn u32_at(&self, at: usize) -> Option<u32> {
        self.get(at).map(u32::from_be_bytes)
    }
}

impl Octets for [u8] {
    fn len(&self) -> usize {
        self.len()
    }

    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}
