//! Both ends of the way of access logs, in one process: the edge's spool and its shipping, and control's merger.
//!
//! They start in any order, since each waits for the other, and stop in one: when the last session has ended, the spool is sealed and shipped, then
//! the merger delivers whatever its age; all of it within [`Pace::drain_ms`]. What is not delivered by then, or is refused by its bucket,
//! lies in the spool or in the staging bucket: it is said so in the log, and the next start goes on with it. A process that is killed comes
//! out the same, but for the saying.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use control::access_log::bucket::Bucket;
use control::access_log::bucket::place::{Keys, Places, Secret};
use control::access_log::bucket::s3::{Clients, S3Buckets};
use control::access_log::config::LogsConfig;
use control::access_log::merge::Merger;
use control::client::logs::EdgeLogs;
use control::store::Store;
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Pace, STAGING_BUCKET};
use crate::identity::Identity;

/// How long a request to the endpoint may take: it is on the same machine.
const REQUEST: Duration = Duration::from_secs(20);
/// What the merger may take once it is told to stop.
const MERGER_STOP: Duration = Duration::from_secs(1);
/// How long staging may take to lose what has been delivered, beyond the delivery.
const STAGING_CLEARED: Duration = Duration::from_secs(1);
/// How long it may take to say what is left.
const STAGING_ASKED: Duration = Duration::from_secs(1);
/// How often staging is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Staged objects counted at the end; more are as many.
const STAGED_SEEN: usize = 1000;
/// Memory for staged segments, and for files being built: one person's viewers, not a region's.
const MERGE_BYTES: u64 = 64 << 20;

/// Control's end: where it stages, and where it finds the buckets that distributions name.
pub struct Buckets {
    staging: Arc<dyn Bucket>,
    delivery: Arc<S3Buckets>,
}

impl Buckets {
    /// Those of the endpoint at `s3`, an `http://` URL, opened by the data folder's own key.
    pub fn at(s3: &str, identity: &Identity) -> anyhow::Result<Self> {
        let keys = Keys::Given {
            access_key_id: identity.access_key_id.clone(),
            secret: Secret::Text(identity.secret_access_key.clone()),
        };
        let places = Places {
            endpoint: Some(s3.to_owned()),
            region: "us-east-1".into(),
            ca_file: None,
            keys,
            hosts: std::collections::BTreeMap::default(),
        };
        let clients = Clients::new(REQUEST);
        let staging = clients.open(places.named(STAGING_BUCKET, None)).context("the staging bucket")?;
        Ok(Self { staging: Arc::new(staging), delivery: Arc::new(S3Buckets::new(places, clients)) })
    }

    /// What a replica of control is told.
    pub fn config(&self, pace: &Pace) -> LogsConfig {
        LogsConfig {
            file_age: Duration::from_secs(pace.file_age_seconds),
            file_bytes: pace.file_bytes,
            merge_bytes: MERGE_BYTES,
            ..LogsConfig::new(self.staging.clone(), self.delivery.clone())
        }
    }
}

/// The way of access logs while it is open.
pub struct Delivery {
    edge: EdgeLogs,
    merger: Merger,
    merging: JoinHandle<()>,
    stop_merging: CancellationToken,
    staging: Arc<dyn Bucket>,
    within: Duration,
}

impl Delivery {
    /// Starts merging what control has staged of what `edge` hands over.
    pub fn start(
        edge: EdgeLogs,
        buckets: Buckets,
        store: Store,
        pace: &Pace,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let merger = buckets.config(pace).merger(store, proto::clock::system(), registry)?;
        let staging = buckets.staging;
        let stop_merging = CancellationToken::new();
        let merging = tokio::spawn({
            let (merger, stop) = (merger.clone(), stop_merging.clone());
            async move { merger.run(stop).await }
        });
        let within = Duration::from_millis(pace.drain_ms);
        Ok(Self { edge, merger, merging, stop_merging, staging, within })
    }

    /// Delivers what there is, in the time given for it or until `hurry`, and ends. To be called when no session is left, while control and the
    /// S3 endpoint still serve.
    pub async fn finish(self, hurry: impl Future<Output = ()>) {
        let Self { mut edge, merger, merging, stop_merging, staging, within } = self;
        let until = Instant::now() + within;
        let orderly = async {
            edge.hand_over().await;
            merger.flush().await;
            // What stands in files goes from staging a moment after the ledger knows.
            let cleared = (Instant::now() + STAGING_CLEARED).min(until);
            while Instant::now() < cleared
                && staging.list("", "", 1).await.is_ok_and(|found| !found.is_empty())
            {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            _ = timeout_at(until, orderly) => {}
            () = hurry => {}
        }
        let in_spool = edge.segments_left();
        edge.close().await;
        let staged = match timeout(STAGING_ASKED, staging.list("", "", STAGED_SEEN)).await {
            Ok(Ok(found)) => found.len().to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the staging bucket doesn't answer".into(),
        };
        stop_merging.cancel();
        // It ends by itself, unless a bucket doesn't answer; it doesn't panic.
        let aborting = merging.abort_handle();
        if timeout(MERGER_STOP, merging).await.is_err() {
            aborting.abort();
        }
        if in_spool == 0 && staged == "0" {
            tracing::info!("access logs are delivered");
        } else {
            tracing::warn!(
                spooled_segments = in_spool,
                staged_objects = staged,
                "access logs are left undelivered: they wait for the next start"
            );
        }
    }
}
