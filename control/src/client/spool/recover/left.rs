//! A part that an earlier process left, as far as it is good.
//!
//! A process that is killed leaves a torn end: what it was writing, which nobody was told to stand. A power cut may leave more than that: blocks
//! that were never written read as zeros, and ones behind them may be there. And a disk may give back other bytes than it took. So the
//! part is read past what is bad, every record that verifies is kept, and what must have stood between them is counted.

use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use proto::access_log::frame::Kind;
use proto::access_log::{Segment, SegmentId};
use proto::v1::{AccessRecord, SegmentHeader};

use crate::client::spool::salvage::{Piece, Salvage, count_records, footer_records};

/// A record of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    /// It.
    pub(crate) record: AccessRecord,
    /// As it stands there.
    pub(crate) payload: Bytes,
    /// Where its frame begins.
    pub(crate) at: u64,
}

/// A part that holds records.
#[derive(Debug)]
pub(crate) struct Left {
    /// Its file.
    pub(crate) path: PathBuf,
    /// Its name, if it has its footer; else it gets another.
    pub(crate) id: SegmentId,
    /// Its length without a torn end.
    pub(crate) bytes: u64,
    /// Those that are good.
    pub(crate) records: Vec<Held>,
    /// It has its footer: the name is for good.
    pub(crate) footed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Good {
    /// Up to the end of the last good frame.
    pub(crate) bytes: u64,
    /// In the order in which they were written.
    pub(crate) records: Vec<Held>,
    /// It is whole, to its footer.
    pub(crate) footed: bool,
    /// What stands at its end is no frame.
    pub(crate) torn: bool,
    /// Records that stood before others which are good, as far as they can be counted.
    pub(crate) lost: u64,
}

/// Reads a part. Of one that says that it is another segment nothing is good.
pub(crate) fn read_part(file: &Bytes, id: &SegmentId) -> Good {
    let mut good = Good { torn: !file.is_empty(), ..Good::default() };
    let mut is_whole = true;
    let mut untold = 0;
    for piece in Salvage::new(file.clone()) {
        let (at, frame, end) = match piece {
            Piece::Frame { at, frame, end } => (at, frame, end),
            // What stands first is the header: the file's name says the same.
            Piece::Bad { at, .. } => {
                untold += u64::from(at > 0);
                is_whole = false;
                continue;
            }
        };
        match frame.kind {
            Kind::Header if at == 0 => {
                let header = SegmentHeader::decode(frame.payload).ok();
                if header.as_ref().and_then(SegmentId::of).as_ref() != Some(id) {
                    good.lost = count_records(file.clone());
                    return good;
                }
            }
            Kind::Record => match AccessRecord::decode(frame.payload.clone()) {
                Ok(record) => {
                    good.lost += std::mem::take(&mut untold);
                    good.records.push(Held { record, payload: frame.payload, at: at as u64 });
                }
                Err(_) => {
                    untold += 1;
                    is_whole = false;
                    continue;
                }
            },
            // Found within what was damaged, with more behind it: a viewer's text may look like one, and must not end the rest.
            Kind::Footer if !is_whole && end < file.len() => {
                untold += 1;
                continue;
            }
            Kind::Footer => {
                let told = footer_records(&frame).unwrap_or_default();
                good.lost = good.lost.max(told.saturating_sub(good.records.len() as u64));
                good.footed = is_whole && Segment::open(file.slice(..end)).is_ok();
                good.bytes = end as u64;
                break;
            }
            Kind::Header | Kind::Private => {
                untold += 1;
                is_whole = false;
                continue;
            }
        }
        good.bytes = end as u64;
    }
    good.torn = good.bytes < file.len() as u64;
    good
}

/// The records of a segment that is whole.
pub(crate) fn records(file: Bytes) -> Vec<Held> {
    let record = |piece| match piece {
        Piece::Frame { at, frame, .. } if frame.kind == Kind::Record => {
            let record = AccessRecord::decode(frame.payload.clone()).ok()?;
            Some(Held { record, payload: frame.payload, at: at as u64 })
        }
        _ => None,
    };
    Salvage::new(file).filter_map(record).collect()
}
