//! Segments: who wrote one, what is in it, and whether it is whole.

use std::collections::HashMap;
use std::fmt;

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::frame::{self, Frame, FrameError, Frames, Kind};
use super::hour_of;
use crate::token::is_node_id;
use crate::v1::{AccessRecord, LogTarget, SegmentEntry, SegmentFooter, SegmentHeader};

/// Characters of an epoch.
pub const EPOCH_CHARS: usize = 16;

/// The name of a segment. Orders by edge, epoch, number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId {
    /// The edge's node id.
    pub edge_id: String,
    /// The spool it is of: 16 of `[0-9a-z]`.
    pub epoch: String,
    /// Its place in the spool, from 1.
    pub number: u64,
}

impl SegmentId {
    /// The id of a header, if it is one that may be used as a name in stores and buckets.
    pub fn of(header: &SegmentHeader) -> Option<Self> {
        let epoch = &header.epoch;
        let is_epoch =
            epoch.len() == EPOCH_CHARS && epoch.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let usable = is_node_id(&header.edge_id) && is_epoch && header.number > 0;
        // Dots alone are a path, not a name.
        let usable = usable && !header.edge_id.bytes().all(|b| b == b'.');
        usable.then(|| Self { edge_id: header.edge_id.clone(), epoch: epoch.clone(), number: header.number })
    }

    /// As it goes into headers and documents.
    pub fn header(&self) -> SegmentHeader {
        SegmentHeader { edge_id: self.edge_id.clone(), epoch: self.epoch.clone(), number: self.number }
    }
}

/// `EDGE/EPOCH/NUMBER`, the number with 20 digits, so that names sort as numbers do.
impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{:020}", self.edge_id, self.epoch, self.number)
    }
}

/// Why bytes are no sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// A frame is cut off or damaged.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It has no header, or one that names no segment.
    #[error("there is no valid header")]
    Header,
    /// It does not end with its footer.
    #[error("there is no footer: it was never sealed")]
    NotSealed,
    /// The frame that begins here has no business where it is, or can't be decoded.
    #[error("the frame at byte {at} is not what belongs there")]
    Unexpected {
        /// Where it begins.
        at: usize,
    },
    /// The footer tells of other records than there are.
    #[error("the footer does not match the records")]
    Footer,
}

/// Builds the bytes of a segment, and the index for its footer. Owners write the bytes it yields as they come.
#[derive(Debug)]
pub struct SegmentWriter {
    id: SegmentId,
    records: u64,
    index: HashMap<u64, Vec<SegmentEntry>>,
}

/// A hash by which entries are found without cloning their strings for each record.
fn hash_of(distribution_id: &str, hour: u32, target: Option<&LogTarget>) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (distribution_id, hour).hash(&mut hasher);
    target.map(|t| (&t.bucket_host, &t.prefix, &t.account)).hash(&mut hasher);
    hasher.finish()
}

impl SegmentWriter {
    /// A new segment: its header frame is appended to `out`.
    pub fn new(id: SegmentId, out: &mut BytesMut) -> Self {
        frame::put_message(Kind::Header, &id.header(), out);
        Self { id, records: 0, index: HashMap::new() }
    }

    /// Goes on with a segment whose frames were `records` so far.
    pub fn resume<'a>(id: SegmentId, records: impl IntoIterator<Item = &'a AccessRecord>) -> Self {
        let mut writer = Self { id, records: 0, index: HashMap::new() };
        for record in records {
            writer.count(record, record.encoded_len());
        }
        writer
    }

    /// Its name.
    pub fn id(&self) -> &SegmentId {
        &self.id
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Appends a record's frame to `out`.
    pub fn put(&mut self, record: &AccessRecord, out: &mut BytesMut) {
        let before = out.len();
        frame::put_message(Kind::Record, record, out);
        self.count(record, out.len() - before - frame::FRAME_HEADER_BYTES);
    }

    /// Distributions, hours and targets so far: entries that the footer will have.
    pub fn groups(&self) -> usize {
        self.index.values().map(Vec::len).sum()
    }

    /// Counts a record whose frame its owner has written otherwise; its payload has `bytes`.
    pub fn count(&mut self, record: &AccessRecord, bytes: usize) {
        self.records += 1;
        let hour = hour_of(record.time_ms);
        let slot =
            self.index.entry(hash_of(&record.distribution_id, hour, record.target.as_ref())).or_default();
        let same = |e: &&mut SegmentEntry| {
            e.distribution_id == record.distribution_id && e.hour == hour && e.target == record.target
        };
        match slot.iter_mut().find(same) {
            Some(entry) => {
                entry.records += 1;
                entry.bytes += bytes as u64;
                entry.first_ms = entry.first_ms.min(record.time_ms);
            }
            None => slot.push(SegmentEntry {
                distribution_id: record.distribution_id.clone(),
                hour,
                target: record.target.clone(),
                records: 1,
                bytes: bytes as u64,
                first_ms: record.time_ms,
            }),
        }
    }

    /// Appends the footer frame to `out`: sealed.
    pub fn seal(self, out: &mut BytesMut) {
        let index = self.index.into_values().flatten().collect();
        frame::put_message(Kind::Footer, &SegmentFooter { records: self.records, index }, out);
    }
}

/// A sealed segment that was read and found whole.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its name.
    pub id: SegmentId,
    /// What its footer says; it was held against the records.
    pub footer: SegmentFooter,
    frames: Frames,
}

impl Segment {
    /// Reads `file` and checks every frame, and the footer against the records.
    ///
    /// # Errors
    /// When `file` is anything but one sealed segment.
    pub fn verify(file: Bytes) -> Result<Self, SegmentError> {
        let segment = Self::open(file)?;
        let told = &segment.footer.index;
        // What a footer may say is bounded by its frame; what records may say is not. So they are counted under the entries there are.
        let mut places: HashMap<u64, Vec<usize>> = HashMap::with_capacity(told.len());
        for (at, entry) in told.iter().enumerate() {
            let place = places.entry(hash_of(&entry.distribution_id, entry.hour, entry.target.as_ref()));
            place.or_default().push(at);
        }
        let mut counted = vec![(0, 0, u64::MAX); told.len()];
        for record in segment.records() {
            let (record, bytes) = record?;
            let hour = hour_of(record.time_ms);
            let hash = hash_of(&record.distribution_id, hour, record.target.as_ref());
            let is_its = |at: &&usize| {
                let entry = &told[**at];
                entry.distribution_id == record.distribution_id
                    && entry.hour == hour
                    && entry.target == record.target
            };
            let at = places.get(&hash).and_then(|places| places.iter().find(is_its));
            let (records, sum, first_ms) = &mut counted[*at.ok_or(SegmentError::Footer)?];
            *records += 1;
            *sum += bytes as u64;
            *first_ms = record.time_ms.min(*first_ms);
        }
        let matches =
            told.iter().zip(counted).all(|(e, counted)| (e.records, e.bytes, e.first_ms) == counted);
        // (One that is there twice has counted nothing the second time.)
        if matches { Ok(segment) } else { Err(SegmentError::Footer) }
    }

    /// Reads `file` and checks every frame's checksum and place, but decodes no record.
    ///
    /// # Errors
    /// When `file` is not one header, records, and one footer at its end.
    pub fn open(file: Bytes) -> Result<Self, SegmentError> {
        let mut frames = Frames::new(file);
        let header = match frames.next() {
            Some(Ok(Frame { kind: Kind::Header, payload })) => SegmentHeader::decode(payload).ok(),
            Some(Err(error)) => return Err(error.into()),
            _ => None,
        };
        let id = header.as_ref().and_then(SegmentId::of).ok_or(SegmentError::Header)?;
        let rest = frames.clone();
        let (mut records, mut footer) = (0, None);
        loop {
            let at = frames.good_bytes();
            let Some(frame) = frames.next() else { break };
            let frame = frame?;
            match frame.kind {
                Kind::Record if footer.is_none() => records += 1,
                Kind::Footer if footer.is_none() => {
                    let decoded = SegmentFooter::decode(frame.payload);
                    footer = Some(decoded.map_err(|_| SegmentError::Unexpected { at })?);
                }
                _ => return Err(SegmentError::Unexpected { at }),
            }
        }
        let footer = footer.ok_or(SegmentError::NotSealed)?;
        if footer.records != records {
            return Err(SegmentError::Footer);
        }
        Ok(Self { id, footer, frames: rest })
    }

    /// Its records, in the order in which they were written, each with the bytes of its payload.
    pub fn records(&self) -> impl Iterator<Item = Result<(AccessRecord, usize), SegmentError>> + use<> {
        let mut frames = self.frames.clone();
        std::iter::from_fn(move || {
            let at = frames.good_bytes();
            let frame = match frames.next()? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(error.into())),
            };
            if frame.kind != Kind::Record {
                return None;
            }
            let bytes = frame.payload.len();
            let record = AccessRecord::decode(frame.payload);
            Some(record.map(|r| (r, bytes)).map_err(|_| SegmentError::Unexpected { at }))
        })
    }
}
