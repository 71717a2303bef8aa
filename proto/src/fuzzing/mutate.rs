//! Seeded mutations: what a stable compiler can do of a fuzzer's work.
//!
//! Nothing guides them but the corpus, so they are made for files and wire formats: fields that say lengths and counts are overwritten
//! with the values that break such things, pieces are cut, repeated and spliced between inputs, and the format's own words inserted.

/// A small generator of its own, so that a failure repeats wherever the tests run (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..count`; 0 if `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.number() % count.max(1) as u64) as usize
    }
}

/// Makes new inputs from known ones.
#[derive(Clone, Debug)]
pub struct Mutator<'a> {
    /// What is mutated; may be empty.
    pub seeds: &'a [Vec<u8>],
    /// What the format calls things.
    pub words: &'a [&'a [u8]],
    /// Longest input made.
    pub max_bytes: usize,
}

impl Mutator<'_> {
    /// The input of `seed`: always the same one.
    pub fn input(&self, seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        let mut bytes = self.seed(&mut random).to_vec();
        // Few changes mostly: an input that is broken everywhere is refused at its first byte.
        for _ in 0..1 << random.below(4) {
            self.mutate(&mut bytes, &mut random);
        }
        bytes.truncate(self.max_bytes);
        bytes
    }

    fn seed(&self, random: &mut Random) -> &[u8] {
        self.seeds.get(random.below(self.seeds.len())).map_or(&[], Vec::as_slice)
    }

    fn mutate(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(bytes.len());
        let magnitude = random.below(7);
        let len = random.below(1 << magnitude).max(1);
        let piece =
            |bytes: &[u8], at: usize| bytes[at.min(bytes.len())..(at + len).min(bytes.len())].to_vec();
        match random.below(13) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.number() as u8;
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add([1, 255, 16, 128][random.below(4)]);
                }
            }
            // Lies about lengths and counts.
            3..=5 => self.lie(bytes, at, random),
            6 => {
                let noise: Vec<u8> = (0..len).map(|_| random.number() as u8).collect();
                bytes.splice(at..at, noise);
            }
            7 => {
                let end = (at + len).min(bytes.len());
                bytes.drain(at..end);
            }
            8 => {
                let copy = piece(bytes, random.below(bytes.len()));
                bytes.splice(at..at, copy);
            }
            9 => {
                let copy = piece(bytes, random.below(bytes.len()));
                let end = (at + copy.len()).min(bytes.len());
                bytes.splice(at..end, copy);
            }
            10 => {
                let other = self.seed(random);
                let from = random.below(other.len());
                if random.below(2) == 0 {
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                } else {
                    bytes.splice(at..at, piece(other, from));
                }
            }
            11 => {
                let word = self.words.get(random.below(self.words.len())).copied().unwrap_or_default();
                let end = if random.below(2) == 0 { at } else { (at + word.len()).min(bytes.len()) };
                bytes.splice(at..end, word.iter().copied());
            }
            _ => bytes.truncate(at),
        }
    }

    /// Overwrites a field of one to eight bytes with a value that such fields should not have.
    fn lie(&self, bytes: &mut [u8], at: usize, random: &mut Random) {
        let width = [1, 2, 3, 4, 4, 8][random.below(6)];
        let Some(field) = bytes.get_mut(at..at + width) else { return };
        let old = field.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let all = u64::MAX >> (64 - 8 * width as u32);
        let value = match random.below(10) {
            0 => 0,
            1 => 1,
            2 => all,
            3 => all >> 1,
            4 => (all >> 1) + 1,
            5 => old.wrapping_add(1),
            6 => old.wrapping_sub(1),
            7 => old << random.below(8),
            8 => random.number() >> random.below(64),
            _ => old.wrapping_add(random.number() % 64).wrapping_sub(32),
        };
        field.copy_from_slice(&value.to_be_bytes()[8 - width..]);
        if random.below(8) == 0 {
            field.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_input_and_seeds_differ() {
        let seeds = vec![b"a length of 4: abcd".to_vec(), Vec::new()];
        let mutator = Mutator { seeds: &seeds, words: &[b"word"], max_bytes: 64 };
        let inputs: Vec<_> = (0..2000).map(|seed| mutator.input(seed)).collect();
        assert_eq!(inputs, (0..2000).map(|seed| mutator.input(seed)).collect::<Vec<_>>());
        assert!(inputs.iter().all(|input| input.len() <= 64));
        let distinct: std::collections::HashSet<_> = inputs.iter().collect();
        assert!(distinct.len() > 1000, "{}", distinct.len());
        let nothing = Mutator { seeds: &[], words: &[], max_bytes: 64 };
        assert!((0..2000).any(|seed| !nothing.input(seed).is_empty()));
    }
}
