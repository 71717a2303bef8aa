//! libFuzzer on `edge::fuzzing::handshake_encrypted`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::handshake_encrypted(data));
