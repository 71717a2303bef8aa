//! The run that needs no libFuzzer: corpus, regressions, seeded mutations, in an ordinary test.
//!
//! An input that breaks its target is written to the system's folder for temporary files and printed, so that it can be moved to
//! `fuzz/regressions/TARGET/`, where every later run tries it first. `PENSTOCK_FUZZ_INPUT=FILE` runs that file alone.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use super::Mutator;

/// Longest input that mutations make.
const INPUT_BYTES: usize = 16 << 10;

/// One target's run.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The target's name: that of its folders, and what its mutations are seeded by.
    pub name: &'a str,
    /// The `fuzz` folder that holds `corpus/NAME` and `regressions/NAME`.
    pub folder: &'a Path,
    /// What the format calls things; [`Mutator::words`].
    pub words: &'a [&'a [u8]],
    /// Mutated inputs, times `PENSTOCK_TEST_SCALE` (1 if that isn't set).
    pub rounds: u64,
    /// The target.
    pub target: fn(&[u8]),
}

impl Run<'_> {
    /// Tries every input; the first that breaks the target is reported, and its panic goes on. Panics as well if there is no corpus: a
    /// folder that was moved must not turn the test into nothing.
    pub fn run(&self) {
        if let Some(path) = std::env::var_os("PENSTOCK_FUZZ_INPUT") {
            match fs::read(&path) {
                Ok(bytes) => return self.attempt(&bytes, &path.to_string_lossy()),
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
        let mut seeds = read(&self.folder.join("corpus").join(self.name));
        assert!(!seeds.is_empty(), "{}: no corpus in {}", self.name, self.folder.display());
        seeds.extend(read(&self.folder.join("regressions").join(self.name)));
        for (path, bytes) in &seeds {
            self.attempt(bytes, path);
        }
        let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
        let mutator = Mutator { seeds: &seeds, words: self.words, max_bytes: INPUT_BYTES };
        for round in 0..self.rounds * scale() {
            let bytes = mutator.input(fnv(self.name.as_bytes()) ^ round);
            self.attempt(&bytes, &format!("round {round}"));
        }
    }

    fn attempt(&self, bytes: &[u8], origin: &str) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| (self.target)(bytes))) else { return };
        let folder = std::env::temp_dir().join("penstock-fuzz");
        let path = folder.join(format!("{}-{:016x}", self.name, fnv(bytes)));
        let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, bytes));
        eprintln!("fuzz target {} is broken by {origin}, {} bytes", self.name, bytes.len());
        match kept {
            Ok(()) => eprintln!("kept as {}; move it to fuzz/regressions/{}/", path.display(), self.name),
            Err(error) => eprintln!("it could not be kept as {}: {error}", path.display()),
        }
        eprintln!("hex: {}", hex::encode(&bytes[..bytes.len().min(4096)]));
        resume_unwind(panic);
    }
}

/// The files of a folder with their names, in order of name; nothing if there is no such folder.
fn read(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            Some((path.display().to_string(), fs::read(path).ok()?))
        })
        .collect();
    files.sort();
    files
}

fn scale() -> u64 {
    std::env::var("PENSTOCK_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// FNV-1a: names inputs and seeds runs the same way everywhere.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
