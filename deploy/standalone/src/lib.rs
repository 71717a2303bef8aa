//! Penstock standalone: the pieces that only the one-process deployment has.
//!
//! The binary joins them with the edge, shield and control crates; this library exists so that tests reach them too.

pub mod s3;
