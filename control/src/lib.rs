//! # Control: what a cluster knows, and who belongs to it
//!
//! The truth is a set of documents in a [store]: distributions, orders to forget, members. Every control replica keeps a
//! [mirror] of them, made from one full list and a watch, and [publishes](publish) it to edges and shields as a snapshot
//! and changes. Nodes [register](membership) through any replica; the live shields make the shield map. The node's side of
//! all this is [client], which edges and shields link without the service.
//!
//! From an operator's file to a viewer's edge:
//!
//! 1. [declare] validates the file whole and writes what differs by compare-and-set ([documents]);
//! 2. the store's watch brings the change to each replica's [mirror], which makes it the next revision;
//! 3. [publish] sends it to each subscriber, or a paged snapshot to one that has been away too long;
//! 4. [client::subscribe] checks that it follows what is known, publishes a new catalogue, saves it;
//! 5. the next heartbeat reports the revision applied, and which documents of it were refused;
//! 6. [lifecycle] raises the floor once all have it: Deployed, but for what a node refuses.
//!
//! Beside the file, operators and tools use the CloudFront [api] and the [console], both behind one [door]; [accounts] own what they make,
//! [seal] keeps secrets closed at rest, [lending] is what the operator gives accounts, [shields] how orders to
//! forget reach shields, [backup] takes the config out and puts it back, [platform] gets keys from where the process runs, [settings] is the file, [service] joins all of it.
//!
//! The other way round come access events: an edge [spools](client::spool) and [ships](client::ship) them, and [access_log] makes of them files in
//! customers' buckets, each record once.
//!
//! A store that is away stops changes, not service: replicas keep publishing what they have mirrored, nodes keep serving
//! what they last knew, and events wait on edges' disks.

pub mod client;

#[cfg(feature = "server")]
pub mod access_log;
#[cfg(feature = "server")]
pub mod accounts;
#[cfg(feature = "server")]
pub mod api;
#[cfg(feature = "server")]
pub mod backup;
#[cfg(feature = "server")]
pub mod console;
#[cfg(feature = "server")]
pub mod declare;
#[cfg(feature = "server")]
pub mod documents;
#[cfg(feature = "server")]
pub mod door;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "server")]
pub mod lending;
#[cfg(feature = "server")]
pub mod lifecycle;
#[cfg(feature = "server")]
pub mod membership;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
pub mod mirror;
#[cfg(feature = "platform")]
pub mod platform;
#[cfg(feature = "server")]
pub mod publish;
#[cfg(feature = "server")]
pub mod seal;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod settings;
#[cfg(feature = "server")]
pub mod shields;
#[cfg(feature = "server")]
pub mod store;

#[cfg(feature = "server")]
pub use declare::{Applied, DeclaredSet};
#[cfg(feature = "server")]
pub use service::{Control, ControlConfig};
