//! libFuzzer on `edge::fuzzing::amf0`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::amf0(data));
