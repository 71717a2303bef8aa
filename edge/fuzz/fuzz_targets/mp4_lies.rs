//! libFuzzer on `edge::fuzzing::mp4_lies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::mp4_lies(data));
