//! Pseudo-random numbers that depend only on the seed (splitmix64, public domain, Sebastiano Vigna).

/// A generator.
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

    /// A number from `low` to `high`, inclusive.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(end).expect("64 bits")).expect("below a usize")
    }

    /// True with this probability in percent.
    pub const fn percent(&mut self, chance: u64) -> bool {
        self.number() % 100 < chance
    }

    /// One of these values.
    pub fn one_of<T: Copy>(&mut self, them: &[T]) -> T {
        them[self.below(them.len())]
    }
}
