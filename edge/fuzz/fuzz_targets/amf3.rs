//! libFuzzer on `edge::fuzzing::amf3`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::amf3(data));
