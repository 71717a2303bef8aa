//! libFuzzer on `penstock::fuzzing::declared`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::declared(data));
