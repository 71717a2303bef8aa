//! libFuzzer on `penstock::fuzzing::log_spool`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::log_spool(data));
