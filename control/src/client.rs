//! What edges and shields link of control: the node's side of config, membership and telemetry.
//!
//! * [`node`]: joins a cluster: keeps the catalogue and the shield map current, and the lease alive;
//! * [`catalogue`]: the distributions of one revision, as a node looks them up;
//! * [`subscribe`]: the task that follows control and never runs backwards;
//! * [`last_known_good`]: the file a node starts from while control is away;
//! * [`heartbeat`]: the task that renews the lease;
//! * [`spool`]: the access events of an edge, on its disk;
//! * [`ship`]: the task that hands them over to control;
//! * [`logs`]: both, as an edge opens and ends them;
//! * [`dial`]: how connections are opened;
//! * [`credentials`]: tokens and certificates, by which processes know each other;
//! * [`admin`]: the operator's calls, and channels to control;
//! * [`stop`]: SIGTERM and SIGINT;
//! * [`descriptors`]: the limit of open files;
//! * [`telemetry`]: logs, `/healthz`, `/readyz`, `/metrics`;
//! * [`tls`]: certificates in files, followed as they change;
//! * [`config`]: YAML files, environment variables and tokens.
//!
//! Control being away is not an error here: a node that has once known a catalogue keeps serving by it.

mod backoff;
mod metrics;

pub mod admin;
pub mod catalogue;
pub mod config;
pub mod credentials;
pub mod descriptors;
pub mod dial;
pub mod heartbeat;
pub mod last_known_good;
pub mod logs;
pub mod node;
pub mod ship;
pub mod spool;
pub mod stop;
pub mod subscribe;
pub mod telemetry;
pub mod tls;

pub use catalogue::{Catalogue, OriginEntry};
pub use credentials::Credentials;
pub use dial::Dialer;
pub use node::{Node, NodeConfig, Orders};
pub use proto::v1::{NodeRole, NodeState, Revision, ShieldMap, ShieldNode};
pub use stop::StopSignal;
