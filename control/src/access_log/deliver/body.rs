//! The content of a log file: the group's records of the listed segments, by time.
//!
//! The order is that of the records' times, and among equal times that of the list and of the segment; so it follows from the list alone, and
//! any replica writes the same bytes.

use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::access_log::SegmentId;
use proto::v1::{AccessRecord, LogFile};

use super::segments::{SegmentLoss, on_its_own_thread};
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
    /// Something that should be in staging isn't, or not as it was: for the metric's label, and for people.
    Lost(&'static str, String),
}

impl From<SegmentLoss> for SourceLoss {
    fn from(loss: SegmentLoss) -> Self {
        let text = loss.to_string();
        match loss {
            SegmentLoss::Staging(error) => Self::Away(error),
            SegmentLoss::Gone(_) => Self::Lost("lost", text),
            SegmentLoss::Damaged(..) => Self::Lost("damaged", text),
        }
    }
}

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

/// Reads `file` of `group`: from what is held, or from its segments.
pub(crate) async fn read(
    shared: &Shared,
    group: &Group,
    file: &LogFile,
    is_held: bool,
) -> Result<Body, SourceLoss> {
    // What is read and what is made of it.
    let permits = (2 * file.bytes / PERMIT_BYTES).clamp(1, shared.permits());
    let _room = shared.memory.acquire_many(u32::try_from(permits).unwrap_or(u32::MAX)).await;
    if is_held {
        let key = format!("{}{}", shared.prefix, file.held_key);
        let bytes = shared.staging.get(&key).await.map_err(SourceLoss::Away)?;
        let lost = || SourceLoss::Lost("lost", format!("the held file {key} is gone from staging"));
        return Ok(Body { bytes: bytes.ok_or_else(lost)?, records: file.records });
    }
    let mut gathered = Gathered::default();
    for header in &file.segments {
        let Some(id) = SegmentId::of(header) else { continue };
        let key = ledger::object_key(&shared.prefix, &id);
        let parsed = shared.segments.get(&id, &*shared.staging, &key).await?;
        parsed.records(group).iter().for_each(|(time_ms, record)| gathered.add(*time_ms, record));
    }
    let written = on_its_own_thread(gathered.bytes.len(), move || gathered.write());
    written.await.map_err(|text| SourceLoss::Lost("damaged", text))
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
