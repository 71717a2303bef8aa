//! libFuzzer on `edge::fuzzing::chunks`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::chunks(data));
