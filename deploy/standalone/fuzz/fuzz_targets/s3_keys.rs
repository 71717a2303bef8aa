//! libFuzzer on `penstock::fuzzing::s3_keys`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::s3_keys(data));
