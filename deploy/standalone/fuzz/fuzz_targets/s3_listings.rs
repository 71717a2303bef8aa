//! libFuzzer on `penstock::fuzzing::s3_listings`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::s3_listings(data));
