//! What a replica needs to take and deliver access logs. Without it a replica answers edges that it takes none, and they keep their spools.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::bucket::{Bucket, Buckets};

/// See the fields; `logs:` of the settings, opened.
#[derive(Clone)]
pub struct LogsConfig {
    /// The operator's staging bucket.
    pub staging: Arc<dyn Bucket>,
    /// Before every key in it; empty, or with a slash at its end.
    pub staging_prefix: String,
    /// Opens the buckets that logs are delivered to.
    pub delivery: Arc<dyn Buckets>,
    /// Segments taken at a time; each holds up to 16 MiB twice.
    pub ships: usize,
    /// How long a segment may take from its first byte to the acknowledgement.
    pub ship_timeout: Duration,
    /// A group's records are delivered this long after the first of them was staged, at the latest.
    pub file_age: Duration,
    /// And as soon as there are so many bytes of them.
    pub file_bytes: u64,
}

impl LogsConfig {
    /// The defaults, with these buckets.
    pub fn new(staging: Arc<dyn Bucket>, delivery: Arc<dyn Buckets>) -> Self {
        Self {
            staging,
            staging_prefix: String::new(),
            delivery,
            ships: 8,
            ship_timeout: Duration::from_secs(60),
            file_age: Duration::from_secs(300),
            file_bytes: 64 << 20,
        }
    }
}

impl fmt::Debug for LogsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogsConfig")
            .field("staging_prefix", &self.staging_prefix)
            .field("ships", &self.ships)
            .field("file_age", &self.file_age)
            .field("file_bytes", &self.file_bytes)
            .finish_non_exhaustive()
    }
}
