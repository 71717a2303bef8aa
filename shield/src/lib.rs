//! # The shield: what stands between edges and S3
//!
//! An edge never asks S3. It asks the shield that is home to the bytes it needs, and a byte is fetched from S3 once for the
//! whole cluster, however many edges and viewers want it. This crate is both sides of that:
//!
//! * [`client`] is what an edge links (feature `client`): which shield is home ([`client::ring`]), connections to each
//!   (`channels`), moving on when one fails (`failover`, `breaker`), asking a second one when the first is late (`race`, `latency`),
//!   easing one in that returns (`ramp`), and, for shields themselves, who had a block before (`handover`).
//! * the rest (feature `server`) is the shield itself. A request goes down this path:
//!
//! ```text
//! service   Stat, Read, Purge over gRPC: a range becomes blocks, blocks become a stream of slices
//!           (reading, window), within one budget of bytes (budget), written without a copy (blocks)
//!   stat    what an object is (version, size), for how long that is believed; cached 404s and 403s
//!   fill    blocks that are missing: one fetch a block (coalesce), neighbours in one GET (runs),
//!           what other shields have taken from them first (owners), demand before read-ahead
//!           (schedule), bodies resumed (fetch), small objects checked (verify)
//!   cache   where blocks stay, keyed by origin, version and index
//!   origin  the bucket behind it: table (by id), endpoint (where), keys (as whom), s3 (the GET);
//!           memory and fault for tests
//!   follow  which origins there are, by which keys they are read, and what to forget, as control publishes it
//! ```
//!
//! Every byte belongs to one version: the ETag a viewer's session found at open goes along as If-Match with every GET, so a
//! session never mixes two versions, and a 412 tells the stat cache that its answer is old.
//!
//! Failing: an origin's failure goes to those who wait for these bytes and nobody else; a full queue says "overloaded"
//! rather than grow; a fill outlives whoever asked for it first.

#[cfg(feature = "server")]
pub mod cache;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
mod fill;
#[cfg(feature = "server")]
pub mod follow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
#[cfg(feature = "server")]
pub mod origin;
#[cfg(feature = "server")]
mod service;
#[cfg(feature = "server")]
mod shield;
#[cfg(feature = "server")]
mod stat;

#[cfg(feature = "server")]
pub use config::ShieldConfig;
#[cfg(feature = "server")]
pub use shield::{ServeError, Shield, StartError};
