//! libFuzzer on `edge::fuzzing::tunnel`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::tunnel(data));
