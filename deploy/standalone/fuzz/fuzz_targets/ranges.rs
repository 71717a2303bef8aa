//! libFuzzer on `penstock::fuzzing::ranges`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::ranges(data));
