//! libFuzzer on `penstock::fuzzing::api_xml`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock::fuzzing::api_xml(data));
