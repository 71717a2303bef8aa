//! Segments that stand in staging, and of which the ledger has forgotten that they do.
//!
//! An edge ships number N after N-1 was acknowledged, so when N comes the ledger has N-1, or the mark is over it. Where neither is so, either the
//! edge gave N-1 up (its spool was full; there may be an object of it all the same, of a control that died), or the store has lost what was
//! written last: an older snapshot of etcd was put back, or a new store begun over the same staging. Then what was acknowledged stands in
//! staging alone, and the mark, once N is delivered, would be above it: the sweeper would take it for what is delivered and delete it.
//!
//! So before N is entered, what staging has of the epoch below N and above the mark is entered, in the order of the numbers, by the same
//! rules as if its edge had shipped it again ([`admitted`]). What is no such segment is left where it is, told, and holds up nothing: it never was
//! acknowledged. Whoever dies on the way has entered the first of them; the edge repeats N, and the rest follows.

use proto::access_log::SegmentId;
use proto::v1::LogMark;

use super::{ATTEMPTS, Stage, StageError, admitted};
use crate::access_log::ledger::{self, Known};
use crate::access_log::sweep;
use crate::store::StoreError;

/// Keys listed at a time.
const PAGE: usize = 100;

impl Stage {
    /// Enters what stands of the epoch between `mark` and `id`, if the ledger lacks the number before `id`.
    pub(super) async fn join(&self, id: &SegmentId, mark: &LogMark) -> Result<(), StageError> {
        let before = id.number - 1;
        let of = |number| SegmentId { number, ..id.clone() };
        if before <= mark.number || self.store.get(&ledger::segment_key(&of(before))).await?.is_some() {
            return Ok(());
        }
        let (mut after, until) =
            (ledger::object_key(&self.prefix, &of(mark.number)), ledger::object_key(&self.prefix, id));
        let folder = format!("{}{}/{}-", self.prefix, id.edge_id, id.epoch);
        loop {
            let page = self.bucket.list(&folder, &after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (key, _) in page {
                if key >= until {
                    return Ok(());
                }
                if let Some(id) = key.strip_prefix(&self.prefix).and_then(sweep::segment_of) {
                    self.rejoin(&id, &key).await?;
                }
            }
        }
    }

    /// Enters segment `id`, which staging has at `key`, unless the ledger has it or its mark is above it.
    async fn rejoin(&self, id: &SegmentId, key: &str) -> Result<(), StageError> {
        let (document_key, mark_key) = (ledger::segment_key(id), ledger::mark_key(&id.edge_id, &id.epoch));
        if self.store.get(&document_key).await?.is_some() {
            return Ok(());
        }
        let Some(file) = self.bucket.get(key).await? else { return Ok(()) };
        let bytes = file.len() as u64;
        let read = tokio::task::spawn_blocking(move || admitted(file)).await;
        let read = read.map_err(|broken| StageError::Unverified(broken.to_string()))?;
        let read = read.and_then(|segment| match segment.id == *id {
            true => Ok(self.document(&segment, bytes)),
            false => Err(format!("it is segment {}", segment.id)),
        });
        let document = match read {
            Ok(document) => document,
            Err(reason) => {
                tracing::error!(%key, %reason, "an object in staging that nobody entered is no segment: it is left alone");
                return Ok(());
            }
        };
        for _ in 0..ATTEMPTS {
            let mark: Known<LogMark> = ledger::read(&*self.store, &mark_key).await?;
            if id.number <= mark.document.number || self.store.get(&document_key).await?.is_some() {
                return Ok(());
            }
            match self.store.commit(ledger::enter(id, &document, &mark)).await {
                Ok(_) => {
                    self.metrics.rejoined.inc();
                    tracing::warn!(segment = %id, "a segment that the store has forgotten stood in staging: it was entered again");
                    return Ok(());
                }
                Err(StoreError::Conflict { .. }) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict { key: document_key }.into())
    }
}
