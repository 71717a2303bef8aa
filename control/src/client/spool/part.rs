//! The segment that is being written: the only file of a spool that has an unfinished end.
//!
//! Whatever goes wrong in a write, the file is cut back to its last whole frame before anything else is written, so a torn frame never
//! stands in the middle. Where even that fails, the part is *wrecked*: its good bytes are in memory's account only, see [`super::writer`].

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use proto::access_log::{SegmentId, SegmentWriter};
use proto::v1::AccessRecord;
use tokio::time::Instant;

use super::disk::{Disk, DiskFile, write_all};
use super::folder;

/// Distributions, hours and targets of a segment: its footer has to fit into a frame, and its index into a document of control's store.
const GROUPS_MAX: usize = 512;

/// Why a write fell short.
#[derive(Debug)]
pub(crate) enum Short {
    /// What stands is whole; the rest may be tried again.
    Failed(io::Error),
    /// The file's end is not known any more.
    Wrecked(io::Error),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Part {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    id: SegmentId,
    // Gone once the footer is made.
    writer: Option<SegmentWriter>,
    header: Bytes,
    footer: Option<Bytes>,
    footed: bool,
    records: u64,
    bytes: u64,
    since: Instant,
    first_ms: u64,
    unsynced: Option<Instant>,
    // The folder does not name it durably yet.
    unnamed: bool,
}

impl Part {
    /// A new segment. Its header is written with its first records.
    pub(crate) fn create(disk: &dyn Disk, folder: &Path, id: SegmentId, now: Instant) -> io::Result<Self> {
        let path = folder::part_path(folder, &id);
        let file = disk.create(&path)?;
        let mut header = BytesMut::new();
        let writer = SegmentWriter::new(id.clone(), &mut header);
        Ok(Self {
            file,
            path,
            id,
            writer: Some(writer),
            header: header.freeze(),
            footer: None,
            footed: false,
            records: 0,
            bytes: 0,
            since: now,
            first_ms: u64::MAX,
            unsynced: None,
            unnamed: true,
        })
    }

    /// Its name to be.
    pub(crate) fn id(&self) -> &SegmentId {
        &self.id
    }

    /// Where it stands while unsealed.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder still has it under its name.
    pub(crate) fn is_in_place(&self) -> bool {
        self.file.is_at(&self.path)
    }

    /// All of its bytes, whatever has become of its name.
    pub(crate) fn content(&self) -> io::Result<Vec<u8>> {
        self.file.content()
    }

    /// Records that stand in it.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Bytes that stand in it.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When it was begun.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Time of its earliest event, if it has any.
    pub(crate) fn first_ms(&self) -> Option<u64> {
        (self.records > 0).then_some(self.first_ms)
    }

    /// Since when there are bytes that a power cut would cost.
    pub(crate) fn unsynced(&self) -> Option<Instant> {
        self.unsynced
    }

    /// Whether it may take no more records, whatever its size.
    pub(crate) fn is_ending(&self) -> bool {
        self.writer.as_ref().is_none_or(|writer| writer.groups() >= GROUPS_MAX)
    }

    /// Writes record frames, which end at `ends` in `frames`. Gives how many of them stand, and what kept the others out.
    pub(crate) fn append(&mut self, frames: &[u8], ends: &[usize], now: Instant) -> (usize, Option<Short>) {
        let mut bytes = frames;
        let (together, head);
        if self.bytes == 0 {
            // Header and first records in one write: there is no segment without a record.
            head = self.header.len();
            together = [&self.header[..], frames].concat();
            bytes = &together;
        } else {
            head = 0;
        }
        self.unsynced.get_or_insert(now);
        let Err((done, error)) = write_all(&mut *self.file, bytes) else {
            self.bytes += bytes.len() as u64;
            return (ends.len(), None);
        };
        let whole = ends.partition_point(|end| head + end <= done);
        let kept = match whole {
            0 => 0,
            n => head + ends[n - 1],
        };
        match self.file.cut(self.bytes + kept as u64) {
            Ok(()) => {
                self.bytes += kept as u64;
                (whole, Some(Short::Failed(error)))
            }
            Err(worse) => (0, Some(Short::Wrecked(worse))),
        }
    }

    /// Counts a record that [`append`](Self::append) wrote, whose payload has `bytes`.
    pub(crate) fn count(&mut self, record: &AccessRecord, bytes: usize) {
        self.records += 1;
        self.first_ms = self.first_ms.min(record.time_ms);
        if let Some(writer) = &mut self.writer {
            writer.count(record, bytes);
        }
    }

    /// Waits until all of it is on the medium. What failed once is not asked for again: the system has forgotten it by then.
    pub(crate) fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.unsynced.take().is_some() {
            self.file.sync()?;
        }
        // A name is asked for until it stands: without it no event does.
        if self.unnamed {
            disk.sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
            self.unnamed = false;
        }
        Ok(())
    }

    /// Writes the footer, unless it stands. From the first attempt on no record can be written.
    pub(crate) fn foot(&mut self, now: Instant) -> Result<(), Short> {
        if self.footed {
            return Ok(());
        }
        let footer = self.footer();
        self.unsynced.get_or_insert(now);
        match write_all(&mut *self.file, &footer) {
            Ok(()) => {
                self.bytes += footer.len() as u64;
                self.footed = true;
                Ok(())
            }
            Err((_, error)) => Err(match self.file.cut(self.bytes) {
                Ok(()) => Short::Failed(error),
                Err(worse) => Short::Wrecked(worse),
            }),
        }
    }

    /// Whether the footer stands.
    pub(crate) fn is_footed(&self) -> bool {
        self.footed
    }

    /// The footer's frame.
    pub(crate) fn footer(&mut self) -> Bytes {
        if let Some(writer) = self.writer.take() {
            let mut out = BytesMut::new();
            writer.seal(&mut out);
            self.footer = Some(out.freeze());
        }
        self.footer.clone().unwrap_or_default()
    }
}
