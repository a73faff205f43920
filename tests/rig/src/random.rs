//! Numbers that look random and come again for the same seed.

/// xorshift64*, good enough to choose sizes, moments and operations.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // The multiplication spreads neighbouring seeds; zero would stay zero for ever.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// A number of `least..=most`, each magnitude as likely as any other.
    pub fn magnitude(&mut self, least: usize, most: usize) -> usize {
        let (low, high) = ((least.max(1) as f64).ln(), (most.max(1) as f64).ln());
        let part = (self.number() >> 11) as f64 / (1u64 << 53) as f64;
        ((low + (high - low) * part).exp() as usize).clamp(least, most)
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}
