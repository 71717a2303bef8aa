//! libFuzzer on `edge::fuzzing::id3`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::id3(data));
