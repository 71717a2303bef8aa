//! libFuzzer on `penstock::fuzzing::log_segments`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::log_segments(data));
