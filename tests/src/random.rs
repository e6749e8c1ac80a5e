//! Pseudo-random frames: valid ones with changes and mostly corrected checksums, so that they pass the first checks,
//! and some random ones.

use crate::AdvertFrame;
use crate::corpus::{self, ip_header, repair_header, repair_message, right_ones, tagged, with_options};
use crate::program::{MAX_FRAME, MIN_FRAME};

/// Pseudo-random numbers (splitmix64, public domain, Sebastiano Vigna).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub const fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// A number of 64 bits.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Any octet.
    pub const fn octet(&mut self) -> u8 {
        self.number().to_be_bytes()[0]
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("64 bits");
        usize::try_from(self.number() % end).expect("below a usize")
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these values.
    pub fn one_of<'a, T>(&mut self, them: &'a [T]) -> &'a T {
        &them[self.below(them.len())]
    }
}

/// A generator of frames.
#[derive(Clone, Debug)]
pub struct Frames {
    random: Random,
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Frames {
    /// A generator with this seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut small: Vec<_> = corpus::cases().into_iter().map(|case| case.frame).collect();
        // Valid ones, which are rare among the others.
        for _ in 0..40 {
            small.extend(right_ones().into_iter().map(|(_, frame)| frame));
        }
        let many = |advert: AdvertFrame, addresses| AdvertFrame { addresses, ..advert }.build();
        let ipv4 = || (0..255).map(corpus::address).collect();
        let ipv6 = || (0..corpus::most_ipv6_addresses()).map(corpus::address_v6).collect();
        let mut large = vec![
            many(corpus::v3(corpus::V3), ipv4()),
            many(corpus::v2_password(), ipv4()),
            many(corpus::v6(corpus::V6), ipv6()),
        ];
        small.retain(|frame| {
            let is_large = frame.len() > 256;
            if is_large {
                large.push(frame.clone());
            }
            !is_large
        });
        Self { random: Random::from_seed(seed), small, large }
    }

    /// The next frame, with a length suitable for a test run.
    pub fn frame(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        if random.once_in(50) {
            return noise(random);
        }
        let mut frame =
            if random.once_in(100) { random.one_of(&self.large) } else { random.one_of(&self.small) }.clone();
        for _ in 0..random.below(4) {
            mutate(random, &mut frame, &self.small);
        }
        if !random.once_in(3) {
            repair_header(&mut frame);
        }
        if !random.once_in(3) {
            repair_message(&mut frame, random.once_in(2));
        }
        frame.truncate(MAX_FRAME);
        while frame.len() < MIN_FRAME {
            frame.push(random.octet());
        }
        frame
    }
}

/// Random octets after an Ethernet header, possibly one of IPv4 or IPv6.
fn noise(random: &mut Random) -> Vec<u8> {
    let len = MIN_FRAME + random.below(120);
    let mut frame: Vec<u8> = (0..len).map(|_| random.octet()).collect();
    let ethertype = *random.one_of(&[[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00], [0x88, 0xa8], [0x12, 0x34]]);
    frame[12..14].copy_from_slice(&ethertype);
    frame
}

/// Makes one change.
fn mutate(random: &mut Random, frame: &mut Vec<u8>, others: &[Vec<u8>]) {
    let ip = ip_header(frame);
    let message =
        ip.map(|ip| if frame[ip] >> 4 == 4 { ip + usize::from(frame[ip] & 15) * 4 } else { ip + 40 });
    let len = frame.len();
    if len < MIN_FRAME {
        return;
    }
    // Mostly in the headers.
    let place = if random.once_in(3) { random.below(len) } else { 12 + random.below((len - 12).min(60)) };
    match (random.below(20), ip, message) {
        (0..=2, ..) => frame[place] = random.octet(),
        (3..=4, ..) => frame[place] ^= 1 << random.below(8),
        (5, ..) => frame[place] = *random.one_of(&[0, 1, 0x7f, 0x80, 0xff]),
        (6, ..) => frame.truncate(MIN_FRAME.max(random.below(len + 1))),
        (7, ..) => (0..random.below(40)).for_each(|_| frame.push(random.octet())),
        (8, ..) => {
            let protocol = *random.one_of(&[0x8100, 0x8100, 0x88a8]);
            let id = *random.one_of(&[0, 0, 1, corpus::VLAN, corpus::VLAN, 4094, 4095]);
            *frame = tagged(frame, protocol, id);
        }
        (9, ..) if len > 18 => drop(frame.drain(12..16)),
        (10, Some(ip), _) if frame[ip] >> 4 == 4 && frame[ip] & 15 < 12 => {
            let words = *random.one_of(&[1, 2, 3]);
            *frame = with_options(frame, words);
        }
        (11, Some(ip), _) => {
            // A slightly wrong length in the header.
            let low = if frame[ip] >> 4 == 4 { ip + 3 } else { ip + 5 };
            frame[low] = frame[low].wrapping_add(random.octet() & 31).wrapping_sub(16);
        }
        (12, Some(ip), _) => {
            // One of two source addresses, one of them above ours, or any.
            let low = if frame[ip] >> 4 == 4 { ip + 15 } else { ip + 23 };
            if low < len {
                frame[low] = *random.one_of(&[9, 77, 0x77, 200, 127, random.clone().octet()]);
            }
        }
        (13, Some(ip), _) if ip + 40 <= len && random.once_in(2) => {
            // An impossible source address, or one that may be a virtual address.
            let (place, any) =
                if frame[ip] >> 4 == 4 { (ip + 12, [127, 0, 0, 1]) } else { (ip + 8, [0xff, 2, 0, 0]) };
            let source =
                *random.one_of(&[[0; 4], [0xff; 4], [224, 0, 0, 18], [10, 1, 0, 0], [10, 1, 0, 1], any]);
            frame[place..place + 4].copy_from_slice(&source);
        }
        (14, ..) if random.once_in(2) => {
            let mac = *random.one_of(&[corpus::OWN_MAC, corpus::OLD_MAC, [2, 0, 0, 0, 0, 1], [0xff; 6]]);
            frame[..6].copy_from_slice(&mac);
        }
        (13.., _, Some(at)) if at + 8 <= len => {
            let any = random.octet();
            match random.below(7) {
                0 => frame[at + 1] = *random.one_of(&[51, 52, 53, 54, 255, 1, 0, any]),
                1..=3 => frame[at + 2] = *random.one_of(&[0, 1, 99, 100, 101, 150, 151, 255, any]),
                4 => frame[at + 4] = *random.one_of(&[0, 1, 2, 0xf0, any]),
                5 => frame[at + 5] = *random.one_of(&[0, 1, 2, 5, 100, any]),
                _ => frame[at + 3] = *random.one_of(&[0, 1, 2, 3, 20, 255, any]),
            }
        }
        _ => {
            // The end of another frame.
            let other = random.one_of(others);
            let at = random.below(len.min(other.len()));
            frame.truncate(at);
            frame.extend(&other[at..]);
        }
    }
}
