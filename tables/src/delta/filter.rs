//! A filter of keys: tells of a key that it was not seen, or that it may have been.
//!
//! Its size is fixed. The more keys it was given, the more others it takes for seen; whoever asks then looks into the
//! table, which costs time and changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use super::snapshot::DataFile;

/// 1 MiB: a million keys, of which one in fifty others is taken for seen.
const BITS: u64 = 1 << 23;
/// Bits that a key sets.
const PROBES: u64 = 5;

/// Keys that were seen, and the files that they were taken from.
#[derive(Debug, Default)]
pub(crate) struct KeyFilter {
    bits: Vec<u64>,
    /// Paths of files whose keys are in.
    absorbed: HashSet<String>,
    keys: u64,
    /// Grows whenever a key is added: what was asked before may be answered otherwise then.
    pub(crate) generation: u64,
}

impl KeyFilter {
    pub(crate) fn insert(&mut self, hash: u64) {
        if self.bits.is_empty() {
            self.bits = vec![0; (BITS / 64) as usize];
        }
        for bit in probes(hash) {
            self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        self.keys += 1;
        self.generation += 1;
    }

    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        !self.bits.is_empty() && probes(hash).all(|bit| self.bits[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }

    /// Whether it was given no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Whether it takes so many others for seen that it were better begun anew.
    pub(crate) fn is_full(&self) -> bool {
        self.keys > BITS / 6
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.absorbed.contains(path)
    }

    pub(crate) fn absorb(&mut self, path: &str, hashes: impl IntoIterator<Item = u64>) {
        for hash in hashes {
            self.insert(hash);
        }
        self.absorbed.insert(path.to_owned());
    }

    /// Forgets the names of files that are gone, when they are many; their keys stay. `newer` files are not in the list yet.
    pub(crate) fn forget_files(&mut self, there: &[Arc<DataFile>], newer: usize) {
        if self.absorbed.len() > 2 * (there.len() + newer) + 64 {
            let there: HashSet<&str> = there.iter().map(|file| file.path.as_str()).collect();
            self.absorbed.retain(|path| there.contains(path.as_str()));
        }
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::default() };
    }
}

/// FNV's low bits are weak: the hash is mixed first (the finaliser of splitmix64).
fn probes(hash: u64) -> impl Iterator<Item = u64> {
    let mut mixed = hash;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let (first, step) = (mixed >> 32, (mixed & 0xffff_ffff) | 1);
    (0..PROBES).map(move |probe| first.wrapping_add(probe.wrapping_mul(step)) % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_of_others_few_are() {
        let mut filter = KeyFilter::default();
        assert!(!filter.may_contain(7));
        let key = |n: u64| n.wrapping_mul(0x0000_0100_0000_01b3) ^ 0xcbf2_9ce4_8422_2325;
        (0..200_000).for_each(|n| filter.insert(key(n)));
        assert!((0..200_000).all(|n| filter.may_contain(key(n))));
        let wrong = (200_000..300_000).filter(|n| filter.may_contain(key(*n))).count();
        assert!(wrong < 1_000, "{wrong} of 100000");
        filter.clear();
        assert!(!filter.may_contain(key(3)));
    }
}
