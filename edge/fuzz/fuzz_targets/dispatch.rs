//! libFuzzer on `edge::fuzzing::dispatch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edge::fuzzing::dispatch(data));
