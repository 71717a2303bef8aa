//! libFuzzer on `edge::fuzzing::signed_name`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::signed_name(data));
