//! What fuzz targets share: choices taken from bytes, seeded mutations, and the run that needs no libFuzzer.
//!
//! A target is one function `fn(&[u8])` beside the parser it attacks: it feeds the bytes in and asserts what must hold whatever they are.
//! libFuzzer calls it where a nightly compiler is present (`edge/fuzz/run`); [`stable`] calls it in an ordinary test, over the target's
//! committed corpus, the inputs that once broke it, and seeded mutations of both.
//!
//! It stands in this crate, behind the feature `fuzzing`, because every crate that has a parser depends on this one. No product build has
//! the feature.

mod input;
mod mutate;
pub mod stable;

pub use input::Input;
pub use mutate::{Mutator, Random};

pub use crate::access_log::fuzz::{access_record, damaged, log_segments, segment_file, segment_id};
pub use crate::object::fuzz::keys;
pub use crate::range::fuzz::ranges;
