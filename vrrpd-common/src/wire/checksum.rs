//! The Internet checksum (RFC 1071): the complement of the ones' complement sum of 16-bit words.
//!
//! Only arithmetic; the formats define which octets are covered. The loop has a constant bound, as the kernel's
//! verifier requires.

use crate::octets::Octets;

/// Maximum number of octets of a [`Sum::of`]: a VRRP message with 255 IPv6 addresses and eight octets to spare.
pub const MAX_OCTETS: usize = 4096;

/// The sum of correct data with their checksum, or with an unused checksum field of zero.
const ALL_ONES: u16 = 0xffff;

/// An unfinished ones' complement sum. 32-bit words are added directly and folded at the end (RFC 1071 §2 (C)); 64 bits
/// would overflow after 2³² words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// The sum of the `len` octets of `octets` starting at `at`; an odd last octet counts as the high half of a word
    /// (RFC 1071 §1). `None` if they do not all exist, or are more than [`MAX_OCTETS`].
    #[inline(always)]
    pub fn of<O: Octets + ?Sized>(octets: &O, at: usize, len: usize) -> Option<Self> {
        if len > MAX_OCTETS {
            return None;
        }
        let mut sum = Self::ZERO;
        let mut done = 0;
        for _ in 0..MAX_OCTETS / 4 {
            if done + 4 > len {
                break;
            }
            sum = sum.plus_u32(octets.u32_at(at + done)?);
            done += 4;
        }
        if len & 2 != 0 {
            sum = sum.plus_u16(octets.u16_at(at + done)?);
            done += 2;
        }
        if len & 1 != 0 {
            sum = sum.plus_u16(u16::from(octets.u8_at(at + done)?) << 8);
        }
        Some(sum)
    }

    /// With one more word.
    #[inline(always)]
    #[must_use]
    pub const fn plus_u16(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// With two more words.
    #[inline(always)]
    #[must_use]
    pub const fn plus_u32(self, words: u32) -> Self {
        Self(self.0 + words as u64)
    }

    /// With the octets of an array, whose length is a multiple of four.
    #[inline(always)]
    #[must_use]
    pub fn plus_octets<const N: usize>(self, octets: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(4), "whole words only") };
        let (words, _) = octets.as_chunks();
        words.iter().fold(self, |sum, word| sum.plus_u32(u32::from_be_bytes(*word)))
    }

    /// With everything in `other`.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Without a word that was added as the low half of [`Sum::plus_u32`] or by [`Sum::plus_u16`].
    #[inline(always)]
    #[must_use]
    pub const fn without_u16(self, word: u16) -> Self {
        Self(self.0.saturating_sub(word as u64))
    }

    /// The checksum, if the checksum field itself counted as zero.
    #[inline(always)]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether the data, checksum field included, is undamaged.
    #[inline(always)]
    pub const fn is_valid(self) -> bool {
        self.fold() == ALL_ONES
    }

    /// The 16-bit ones' complement sum.
    #[inline(always)]
    const fn fold(self) -> u16 {
        // Each step adds the carries back in; after four nothing is left above 16 bits.
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let [.., high, low] = sum.to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The definition of RFC 1071 §1, word by word.
    fn by_the_book(octets: &[u8]) -> u16 {
        let mut sum = 0_u64;
        for pair in octets.chunks(2) {
            let word = match *pair {
                [high, low] => u16::from_be_bytes([high, low]),
                [high] => u16::from_be_bytes([high, 0]),
                _ => 0,
            };
            sum += u64::from(word);
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        u16::try_from(sum).expect("folded at each step")
    }

    #[test]
    fn the_sum_of_the_example_is_that_of_the_example() {
        // RFC 1071 §3
        let octets: &[u8] = &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(octets, 0, 8).map(Sum::checksum), Some(!0xddf2));
    }

    #[test]
    fn octets_that_are_not_there_have_no_sum() {
        let octets: &[u8] = &[0; 7];
        assert_eq!(Sum::of(octets, 0, 7), Some(Sum::ZERO));
        assert_eq!(Sum::of(octets, 0, 8), None);
        assert_eq!(Sum::of(octets, 6, 2), None);
        assert_eq!(Sum::of(&[0_u8; MAX_OCTETS + 1][..], 0, MAX_OCTETS), Some(Sum::ZERO));
        assert_eq!(Sum::of(&[0_u8; MAX_OCTETS + 1][..], 0, MAX_OCTETS + 1), None);
    }

    #[test]
    fn carries_of_the_largest_sum_are_all_added_back() {
        assert_eq!(Sum(u64::MAX).fold(), ALL_ONES);
        assert_eq!(Sum(0xffff_ffff_0000_0001).fold(), 1);
        assert_eq!(Sum(0x0001_0000_ffff_ffff).fold(), 1);
    }

    proptest! {
        #[test]
        fn any_octets_sum_up_as_by_the_book(octets: Vec<u8>) {
            let sum = Sum::of(&octets[..], 0, octets.len()).expect("all there");
            let book = by_the_book(&octets);
            // 0 and 0xffff are the two zeros of ones' complement; the order of folding decides which one results.
            prop_assert_eq!(u32::from(sum.fold()) % 0xffff, u32::from(book) % 0xffff);
            prop_assert_eq!(sum.fold() == 0, octets.iter().all(|octet| *octet == 0));
        }
    }
}
