//! libFuzzer on `edge::fuzzing::mp3`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::mp3(data));
