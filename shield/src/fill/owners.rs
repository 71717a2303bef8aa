//! The step before the GET: what other shields have cached of a run is taken from them.
//!
//! See [`crate::client::handover`] for who is asked and why. What comes is put into blocks as an origin's body is; what
//! does not come is left to the GET, which starts at the first missing byte. Nothing here fails a fill.

use std::sync::atomic::Ordering;

use proto::range::{ByteRange, segment_of};
use proto::v1::Priority;
use tokio::time::timeout;

use super::fetch::{Progress, Run};
use crate::client::handover::Owners;

impl Run {
    /// Takes what others have, for as long as they may take over it. Ends with the run visible to those who ask this shield
    /// for its cache.
    pub(super) async fn ask_owners(&mut self, progress: &mut Progress, priority: Priority) {
        if let Some(owners) = self.owners.clone() {
            // What has come when time is up stays.
            let _ = timeout(owners.wait(), self.take_from(&owners, progress, priority)).await;
        }
        self.asking.store(false, Ordering::Release);
    }

    async fn take_from(&mut self, owners: &Owners, progress: &mut Progress, priority: Priority) {
        for owner in owners.of(&self.version.object, segment_of(progress.at)) {
            let wanted = ByteRange::new(progress.at, progress.end);
            let Some(mut cached) = owners.read(&owner, &self.version, wanted, priority).await else {
                self.metrics.owner_asks.with_label_values(&["not-cached"]).inc();
                continue;
            };
            self.metrics.owner_asks.with_label_values(&["cached"]).inc();
            let object = cached.object();
            progress.end = progress.end.min(object.0);
            progress.object.get_or_insert(object);
            while let Some(slice) = cached.next().await {
                self.metrics.owner_bytes.inc_by(slice.len() as u64);
                self.take(progress, slice);
            }
            if progress.at >= progress.end {
                return;
            }
        }
    }
}
