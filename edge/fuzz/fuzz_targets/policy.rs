//! libFuzzer on `edge::fuzzing::policy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::policy(data));
