//! Both ends of the way of access logs, in one process: the edge's spool and its shipping, and control's merger.
//!
//! They start in any order, since each waits for the other, and stop in one: when the last session has ended, the spool is sealed and shipped, then
//! the merger delivers whatever its age; all of it within [`Pace::drain_ms`]. What is not delivered by then, or is refused by its bucket,
//! lies in the spool or in the staging bucket: it is said so in the log, and the next start goes on with it. A process that is killed comes
//! out the same, but for the saying.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use control::access_log::bucket::Bucket;
use control::access_log::bucket::place::{Keys, Places, Secret};
use control::access_log::bucket::s3::{Clients, S3Buckets};
use control::access_log::config::LogsConfig;
use control::access_log::merge::{MergeConfig, Merger};
use control::client::spool::{EventLog, Spool};
use control::store::Store;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Pace, STAGING_BUCKET};
use crate::identity::Identity;

/// How long a request to the endpoint may take: it is on the same machine.
const REQUEST: Duration = Duration::from_secs(20);
/// How often the spool is looked at while it is emptied.
const LOOK: Duration = Duration::from_millis(20);
/// Memory for staged segments, and for files being built: one person's viewers, not a region's.
const MERGE_BYTES: u64 = 64 << 20;
