//! What a replica needs to take and deliver access logs. Without it a replica answers edges that it takes none, and they keep their spools.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use proto::clock::SharedClock;

use super::bucket::{Bucket, Buckets};
use super::merge::{MergeConfig, Merger};
use crate::store::Store;

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
    /// A file whose bucket has refused it for so long is given up.
    pub undeliverable: Duration,
    /// What staging has said for so long not to have any more, or has damaged, is lost: files are made without it,
    pub lost_after: Duration,
    /// if it has said so at least so many times.
    pub lost_answers: u32,
    /// What merging may hold of staged segments, and again of files being built.
    pub merge_bytes: u64,
    /// A Parquet file an hour beside the log files; `None`: none. Only a build with the feature `parquet` makes them.
    pub hourly: Option<HourlyConfig>,
}

/// How hourly Parquet files are made; see the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourlyConfig {
    /// How long after its end an hour's file is made: most late records have come by then.
    pub grace: Duration,
    /// A file that is larger goes on in another.
    pub part_bytes: usize,
}

impl Default for HourlyConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(15 * 60), part_bytes: 128 << 20 }
    }
}

impl LogsConfig {
    /// The defaults, with these buckets.
    pub fn new(staging: Arc<dyn Bucket>, delivery: Arc<dyn Buckets>) -> Self {
        Self {
            staging,
            staging_prefix: String::new(),
            delivery,
            ships: 8,
            ship_timeout: Duration::from_secs(45),
            file_age: Duration::from_secs(300),
            file_bytes: 64 << 20,
            undeliverable: Duration::from_secs(14 * 86_400),
            lost_after: Duration::from_secs(600),
            lost_answers: 5,
            merge_bytes: 128 << 20,
            hourly: None,
        }
    }

    /// The replica's merger over `store`; nothing runs yet.
    ///
    /// # Errors
    /// When the registry has its metrics already.
    pub fn merger(
        &self,
        store: Store,
        clock: SharedClock,
        registry: &Registry,
    ) -> Result<Merger, prometheus::Error> {
        let config = MergeConfig {
            file_age: self.file_age,
            file_bytes: self.file_bytes,
            undeliverable: self.undeliverable,
            lost_after: self.lost_after,
            lost_answers: self.lost_answers,
            cache_bytes: self.merge_bytes,
            memory_bytes: self.merge_bytes,
            hourly: self.hourly,
            ..MergeConfig::default()
        };
        let (staging, prefix) = (self.staging.clone(), self.staging_prefix.clone());
        Merger::new(store, staging, prefix, self.delivery.clone(), clock, config, registry)
    }
}

impl fmt::Debug for LogsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogsConfig")
            .field("staging_prefix", &self.staging_prefix)
            .field("ships", &self.ships)
            .field("file_age", &self.file_age)
            .field("file_bytes", &self.file_bytes)
            .field("hourly", &self.hourly)
            .finish_non_exhaustive()
    }
}
