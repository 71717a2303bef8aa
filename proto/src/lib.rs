//! # What two processes must agree on
//!
//! Penstock's boxes (edge, shield, control) talk gRPC. This crate is the whole of what they have to agree on, and does
//! no I/O of its own beyond the generated stubs:
//!
//! * [`v1`]: the messages and services generated from `penstock/v1/*.proto`;
//! * [`message`]: messages that carry blocks, on the wire without a copy;
//! * [`access_log`]: the segments in which edges hand access events to control;
//! * [`clock`]: wall time, passed in;
//! * [`object`]: what a cached byte belongs to: an origin, a key, a version;
//! * [`purge`]: what orders to forget name;
//! * [`range`]: byte ranges, and how they fall into blocks, runs and ring segments;
//! * [`distribution`]: the documents edges act on, and when one is valid;
//! * [`status`]: the only mapping between Penstock's errors and `tonic::Status`, both ways;
//! * [`token`]: the node token that guards every gRPC port.
//!
//! Dependencies point one way: `proto ◀ control ◀ shield ◀ edge`.

pub mod access_log;
pub mod clock;
pub mod distribution;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod message;
pub mod object;
pub mod purge;
pub mod range;
pub mod status;
pub mod token;

/// Messages and services of version 1, generated from `penstock/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    tonic::include_proto!("penstock.v1");
}
