//! The content of a log file: the group's records of the listed segments, by time.
//!
//! The order is that of the records' times, and among equal times that of the list and of the segment; so it follows from the list alone, and
//! any replica writes the same bytes. Segments that the ledger has given up ([`super::loss`]) are left out: the bytes follow from the list and from that.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use prost::Message;
use proto::access_log::SegmentId;
use proto::v1::{AccessRecord, LogFile};
use tokio::sync::SemaphorePermit;

use super::loss::{self, Missing};
use super::segments::{Parsed, SegmentLoss, on_its_own_thread};
use crate::access_log::bucket::BucketError;
use crate::access_log::format;
use crate::access_log::ledger::{self, Group};
use crate::access_log::merge::{PERMIT_BYTES, Shared};

/// A file as it goes into the bucket.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) records: u64,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum SourceLoss {
    /// Staging does not answer.
    Away(BucketError),
    /// All of this should be in staging and isn't, or not as it was.
    Lost(Vec<Missing>),
    /// The records were read, and no file can be made of them: a fault of ours.
    Unwritable(String),
}

/// Segments asked for at a time by one file; over all files there is a bound too.
const READS: usize = 4;

/// The key in staging, without staging's prefix, of a file that is held there: below the id that the store has when it is put there, and the group's
/// name, by which the sweeper finds who holds it. A store that finds an older one's files is so never taken for the one that knows of them.
pub(crate) fn held_key(store_id: &str, group: &Group, key: &str) -> String {
    format!("{HELD}{store_id}/{}/{}", group.name(), name_of(key))
}

/// In staging, before what is held. A segment of an edge that had this name would be one folder higher.
pub(crate) const HELD: &str = "held/";

/// The file's name without its folder.
pub(crate) fn name_of(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Room in memory for what is read of `file` and what is made of it; waited for.
pub(super) async fn room<'a>(shared: &'a Shared, file: &LogFile) -> Option<SemaphorePermit<'a>> {
    let permits = (2 * file.bytes / PERMIT_BYTES).clamp(1, shared.permits());
    // Never closed.
    shared.memory.acquire_many(u32::try_from(permits).unwrap_or(u32::MAX)).await.ok()
}

/// Reads `file` of `group`: from what is held, or from its segments.
pub(crate) async fn read(
    shared: &Shared,
    group: &Group,
    file: &LogFile,
    is_held: bool,
) -> Result<Body, SourceLoss> {
    let _room = room(shared, file).await;
    if is_held {
        let key = format!("{}{}", shared.prefix, file.held_key);
        let bytes = shared.staging.get(&key).await.map_err(SourceLoss::Away)?;
        let lost = |reason, text| SourceLoss::Lost(vec![Missing { segment: None, reason, text }]);
        let bytes = bytes.ok_or_else(|| lost("lost", format!("the held file {key} is gone from staging")))?;
        // A late upload of somebody who had read more of the list, before segments of it were given up, may stand over what was held: no worse.
        let most = file.bytes.max(file.records);
        let Some(records) = records_in(&bytes, most).await.filter(|records| *records >= file.records) else {
            return Err(lost("damaged", format!("the held file {key} in staging is damaged")));
        };
        return Ok(Body { bytes, records });
    }
    let ids = file.segments.iter().filter(|header| !loss::is_given_up(file, header));
    let mut reads = Vec::with_capacity(file.segments.len());
    for id in ids.filter_map(SegmentId::of) {
        reads.push(segment(shared, id));
    }
    // In the order of the list.
    let mut reads = futures::stream::iter(reads).buffered(READS);
    let (mut gathered, mut missing) = (Gathered::default(), Vec::new());
    while let Some((id, read)) = reads.next().await {
        let parsed = match read {
            Ok(parsed) => parsed,
            Err(SegmentLoss::Staging(error)) => return Err(SourceLoss::Away(error)),
            // The others are asked for all the same: all that is missing is to be known at once.
            Err(loss) => {
                let reason = if matches!(loss, SegmentLoss::Gone(_)) { "lost" } else { "damaged" };
                missing.push(Missing { segment: Some(id), reason, text: loss.to_string() });
                continue;
            }
        };
        if missing.is_empty() {
            parsed.records(group).iter().for_each(|(time_ms, record)| gathered.add(*time_ms, record));
        }
    }
    if !missing.is_empty() {
        return Err(SourceLoss::Lost(missing));
    }
    let written = on_its_own_thread(gathered.bytes.len(), move || gathered.write());
    written.await.map_err(SourceLoss::Unwritable)
}

async fn segment(shared: &Shared, id: SegmentId) -> (SegmentId, Result<Arc<Parsed>, SegmentLoss>) {
    let key = ledger::object_key(&shared.prefix, &id);
    let parsed = shared.segments.get(&id, &*shared.staging, &key).await;
    (id, parsed)
}

/// The records in a log file that can have `most`; `None`: it is none, or a damaged one.
pub(super) async fn records_in(file: &Bytes, most: u64) -> Option<u64> {
    let file = file.clone();
    // It is packed, and a customer may have put anything there: a few bytes can be many.
    let counted =
        on_its_own_thread(file.len().saturating_mul(64), move || Ok(format::count::records(&file, most)));
    counted.await.ok().flatten()
}

/// Encoded records, copied so that no whole segment stays in memory for a few of them.
#[derive(Debug, Default)]
struct Gathered {
    bytes: BytesMut,
    /// Of each its time and where it ends.
    ends: Vec<(u64, usize)>,
}

impl Gathered {
    fn add(&mut self, time_ms: u64, record: &Bytes) {
        self.bytes.extend_from_slice(record);
        self.ends.push((time_ms, self.bytes.len()));
    }

    fn write(self) -> Result<Body, String> {
        let bytes = self.bytes.freeze();
        let mut start = 0;
        let mut records: Vec<(u64, Bytes)> = Vec::with_capacity(self.ends.len());
        for (time_ms, end) in self.ends {
            records.push((time_ms, bytes.slice(start..end)));
            start = end;
        }
        // Stable.
        records.sort_by_key(|(time_ms, _)| *time_ms);
        let mut file = format::LogFile::new();
        for (_, record) in records {
            file.put(&AccessRecord::decode(record).map_err(|e| e.to_string())?);
        }
        let records = file.records();
        Ok(Body { bytes: file.finish(), records })
    }
}
