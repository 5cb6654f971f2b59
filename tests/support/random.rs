//! A seeded generator: the same seed gives the same run, and the seed is printed.

/// Xorshift64*: small, repeatable, good enough to choose victims and moments.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Makes a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// Makes a generator from `PROC_TEST_SEED`, or from the clock, and prints the seed.
    pub fn announced(suite: &str) -> (Self, u64) {
        let given = std::env::var("PROC_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let clock = || {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.map_or(1, |d| u64::from(d.subsec_nanos()) ^ d.as_secs())
        };
        let seed = given.unwrap_or_else(clock);
        println!("{suite}: PROC_TEST_SEED={seed}");
        (Self::new(seed), seed)
    }

    /// Returns the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}
