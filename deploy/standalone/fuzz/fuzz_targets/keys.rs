//! libFuzzer on `penstock::fuzzing::keys`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::keys(data));
