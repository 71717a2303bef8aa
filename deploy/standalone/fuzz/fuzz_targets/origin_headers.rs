//! libFuzzer on `penstock::fuzzing::origin_headers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::origin_headers(data));
