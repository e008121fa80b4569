//! Chance that is the same on every machine: SplitMix64, seeded by the demo's seed and what it is drawn for.
//!
//! A library's generator may change its stream with its version; this one is the clinic's history and may not.

/// A stream of pseudo-random numbers.
#[derive(Debug, Clone)]
pub(super) struct Chance {
    state: u64,
}

impl Chance {
    /// The stream of `subject` number `index`: streams of different subjects do not depend on each other.
    pub(super) fn of(seed: u64, subject: &str, index: u64) -> Self {
        let mut chance = Self { state: seed ^ stable_hash(subject.as_bytes()).rotate_left(17) };
        chance.state = chance.next() ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93);
        chance.next();
        chance
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low).unsigned_abs() + 1) as i64
    }

    /// True in `percent` of a hundred draws.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A version 4 UUID.
    pub(super) fn uuid(&mut self) -> String {
        let high = (self.next() & !0xf000) | 0x4000;
        let low = (self.next() & !(0b11 << 62)) | (0b10 << 62);
        let text = format!("{high:016x}{low:016x}");
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }

    /// This many digits.
    pub(super) fn digits(&mut self, count: u32) -> String {
        format!("{:0width$}", self.below(10_u64.pow(count)), width = count as usize)
    }
}

/// FNV-1a: the same for the same bytes, for ever.
pub(super) fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
