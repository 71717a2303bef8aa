//! What a process finds in the folder when it starts, and how it makes a spool of it again.
//!
//! The earlier process may have died at any line, and so may this one in the middle of the repair; so each act leaves a folder that the same
//! repair understands:
//!
//! 1. a part is cut back to its last whole record, and sealed; one that holds nothing is removed;
//! 2. the journal's sessions, and the records that its mark has not passed, tell which sessions were open;
//! 3. what is missing of them is written as records, like any others, to a part that is sealed as well: where this stops half-way, the next
//!    repair finds some of them in 2 and writes the rest;
//! 4. the journal is written anew: nothing is open.
//!
//! Where segments that the mark has not passed are gone (a full disk can do that, and people), nobody knows which sessions ended in them.
//! Then nothing is written for the sessions that the journal had open: a missing DISCONNECT is better than a second one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::access_log::frame::Kind;
use proto::access_log::{Frames, Segment, SegmentId};
use proto::v1::{AccessRecord, SegmentHeader};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::SpoolError;
use super::config::SpoolConfig;
use super::disk::{Disk, Found};
use super::folder::{self, Epochs, Stage};
use super::journal::{self, Journal, Kept, Mark};
use super::part::Part;
use super::queue::Event;
use super::sessions::Sessions;
use super::shelf::Sealed;
use super::writer::{Shared, Writer};

/// A segment's file.
#[derive(Debug)]
struct File {
    id: SegmentId,
    stage: Stage,
    bytes: u64,
    modified_ms: u64,
}

/// A part, as far as it is good.
#[derive(Debug, Default)]
pub(crate) struct Good {
    pub(crate) bytes: u64,
    /// Each with its payload.
    pub(crate) records: Vec<(AccessRecord, Bytes)>,
    pub(crate) footed: bool,
    pub(crate) torn: bool,
}

/// Reads a part up to its last whole record. What is no segment of this name has nothing good.
pub(crate) fn read_part(file: &Bytes, id: &SegmentId) -> Good {
    let mut good = Good { torn: !file.is_empty(), ..Good::default() };
    let mut frames = Frames::new(file.clone());
    let header = frames.next().and_then(Result::ok).filter(|frame| frame.kind == Kind::Header);
    let header = header.and_then(|frame| SegmentHeader::decode(frame.payload).ok());
    if header.as_ref().and_then(SegmentId::of).as_ref() != Some(id) {
        return good;
    }
    good.bytes = frames.good_bytes() as u64;
    while let Some(Ok(frame)) = frames.next() {
        match frame.kind {
            Kind::Record => {
                let Ok(record) = AccessRecord::decode(frame.payload.clone()) else { break };
                good.records.push((record, frame.payload));
            }
            Kind::Footer => {
                good.footed = Segment::open(file.slice(..frames.good_bytes())).is_ok();
                if !good.footed {
                    break;
                }
            }
            Kind::Header | Kind::Private => break,
        }
        good.bytes = frames.good_bytes() as u64;
        if good.footed {
            break;
        }
    }
    good.torn = good.bytes < file.len() as u64;
    good
}

/// Opens the spool in `folder`, which is ours alone.
pub(crate) fn recover(
    config: SpoolConfig,
    disk: Arc<dyn Disk>,
    folder: &Path,
    edge_id: &str,
    shared: Shared,
) -> Result<Writer, SpoolError> {
    let now = Instant::now();
    let failed = |source| SpoolError::Io { path: folder.into(), source };
    let found = disk.list(folder).map_err(failed)?;
    for file in found.iter().filter(|file| file.name.ends_with(".new")) {
        disk.remove(&folder.join(&file.name)).map_err(failed)?;
    }
    let mut kept = match disk.read(&Journal::path(folder)) {
        Ok(bytes) => journal::decode(bytes.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Kept::default(),
        Err(source) => return Err(failed(source)),
    };
    if kept.damaged {
        // What it said last is not known: which numbers were used, who has gone since.
        tracing::error!(folder = %folder.display(), "the journal of open sessions is damaged: a new epoch begins");
        kept = Kept::default();
    }
    let epochs = epochs(&*disk, folder, edge_id, &found, kept.mark.as_ref())?;
    let files = files(found, edge_id, &epochs);
    let epoch = epochs.0.last().cloned().unwrap_or_default();
    // A mark at the very beginning of a segment says nothing of it.
    let marked = kept
        .mark
        .as_ref()
        .filter(|mark| mark.epoch == epoch)
        .map_or(0, |mark| mark.number - u64::from(mark.number > 0 && !mark.whole && mark.records == 0));
    let numbers = files.iter().filter(|file| file.id.epoch == epoch).map(|file| file.id.number);
    let last = numbers.max().unwrap_or(0).max(marked);
    let mark = kept.mark.clone().unwrap_or(Mark { epoch: epoch.clone(), number: 0, records: 0, whole: true });
    let mut writer = Writer {
        disk,
        folder: folder.into(),
        next: SegmentId { edge_id: edge_id.into(), epoch, number: last + 1 },
        part: None,
        sessions: Sessions::default(),
        journal: Journal::new(folder, mark),
        shared,
        emptied: Vec::new(),
        paused: None,
        journal_due: now,
        show_due: now,
        told: None,
        frames: BytesMut::new(),
        ends: Vec::new(),
        config,
    };
    let mut replay = Replay { sessions: kept.sessions, mark: kept.mark, expected: None };
    for file in files {
        writer.take_over(file, &mut replay, now).map_err(failed)?;
    }
    writer.sessions = replay.sessions;
    writer.end_open_sessions(now);
    writer.seal(now);
    writer.keep_within_bound(now);
    writer.save(now, true);
    writer.show();
    Ok(writer)
}

/// The folder's epochs, the last of which goes on: the one it had, if the journal can tell how far its numbers went.
fn epochs(
    disk: &dyn Disk,
    folder: &Path,
    edge_id: &str,
    found: &[Found],
    mark: Option<&Mark>,
) -> Result<Epochs, SpoolError> {
    let known = Epochs::read(disk, folder, edge_id)?;
    let mut epochs = known.clone();
    epochs.0.retain(|epoch| {
        known.0.last() == Some(epoch)
            || found.iter().any(|file| folder::parse(&file.name).is_some_and(|(of, ..)| of == *epoch))
    });
    match mark {
        Some(mark) if epochs.0.last() == Some(&mark.epoch) => {}
        Some(mark) if epochs.0.is_empty() => epochs.0.push(mark.epoch.clone()),
        _ => epochs.0.push(folder::draw_epoch()),
    }
    if epochs != known {
        let path = || folder.join("epochs");
        epochs.write(disk, folder, edge_id).map_err(|source| SpoolError::Io { path: path(), source })?;
    }
    Ok(epochs)
}

/// The segments' files in the order in which they were begun.
fn files(found: Vec<Found>, edge_id: &str, epochs: &Epochs) -> Vec<File> {
    let file = |found: Found| {
        let (epoch, number, stage) = folder::parse(&found.name)?;
        let id = SegmentId { edge_id: edge_id.into(), epoch, number };
        Some(File { id, stage, bytes: found.bytes, modified_ms: found.modified_ms })
    };
    let mut files: Vec<File> = found.into_iter().filter_map(file).collect();
    // A sealed one comes before the part it was rescued from.
    let order = |file: &File| {
        let id = &file.id;
        (epochs.rank(&id.epoch), id.epoch.clone(), id.number, file.stage == Stage::Part)
    };
    files.sort_by_cached_key(order);
    files
}

/// Sessions, as records are read on from the journal's mark.
struct Replay {
    sessions: Sessions,
    mark: Option<Mark>,
    // The next segment, if none is missing.
    expected: Option<(String, u64)>,
}

impl Replay {
    /// Records of a segment that the mark has passed; `None`: all of them, and no more is to be known of it.
    fn passed(&self, id: &SegmentId) -> Option<u64> {
        match &self.mark {
            Some(mark) if mark.epoch != id.epoch => None,
            Some(mark) if id.number < mark.number || (id.number == mark.number && mark.whole) => None,
            Some(mark) if id.number == mark.number => Some(mark.records),
            _ => Some(0),
        }
    }

    /// Takes note that the next records are a segment's.
    fn reach(&mut self, id: &SegmentId) {
        let first = self.mark.as_ref().map(|mark| (mark.epoch.clone(), mark.number + u64::from(mark.whole)));
        let expected = self.expected.take().or(first);
        if expected.is_some_and(|(epoch, number)| epoch == id.epoch && number != id.number)
            && self.sessions.len() > 0
        {
            tracing::warn!(segment = %id, sessions = self.sessions.len(), "segments before this one are gone: sessions open before them stay so");
            self.sessions = Sessions::default();
        }
        self.expected = Some((id.epoch.clone(), id.number + 1));
    }

    fn records<'a>(&mut self, id: &SegmentId, records: impl Iterator<Item = (&'a AccessRecord, &'a Bytes)>) {
        let Some(passed) = self.passed(id) else { return };
        self.reach(id);
        for (record, payload) in records.skip(usize::try_from(passed).unwrap_or(usize::MAX)) {
            self.sessions.apply(record, Some(payload));
        }
    }
}

impl Writer {
    /// Makes of a file what a spool has: nothing, a segment on the shelf, or nothing but its number.
    fn take_over(&mut self, file: File, replay: &mut Replay, now: Instant) -> io::Result<()> {
        match file.stage {
            Stage::Damaged => Ok(()),
            Stage::Sealed if file.bytes == 0 => {
                self.emptied.push(file.id);
                Ok(())
            }
            Stage::Sealed => {
                if replay.passed(&file.id).is_some() {
                    self.replay_sealed(&file, replay);
                }
                self.shelve(&file, None);
                Ok(())
            }
            Stage::Part => self.finish_part(file, replay, now),
        }
    }

    fn replay_sealed(&self, file: &File, replay: &mut Replay) {
        let path = folder::sealed_path(&self.folder, &file.id);
        let segment = self.disk.read(&path).map_err(|e| e.to_string());
        let segment = segment.and_then(|bytes| Segment::open(bytes.into()).map_err(|e| e.to_string()));
        let records: Vec<AccessRecord> = match segment {
            Ok(segment) => segment.records().map_while(Result::ok).map(|(record, _)| record).collect(),
            // It will be set aside when its turn to be shipped comes; what ended in it is written again.
            Err(reason) => {
                tracing::warn!(segment = %file.id, reason, "a sealed segment can't be read");
                Vec::new()
            }
        };
        let payloads: Vec<Bytes> = records.iter().map(|record| record.encode_to_vec().into()).collect();
        replay.records(&file.id, records.iter().zip(&payloads));
    }

    fn shelve(&self, file: &File, records: Option<u64>) {
        self.shared.shelf.push(Sealed {
            path: folder::sealed_path(&self.folder, &file.id),
            id: file.id.clone(),
            records,
            bytes: file.bytes,
            first_ms: file.modified_ms,
        });
    }

    fn finish_part(&mut self, file: File, replay: &mut Replay, now: Instant) -> io::Result<()> {
        let path = folder::part_path(&self.folder, &file.id);
        if self.shared.shelf.has(&file.id) {
            // It was rescued under its sealed name.
            return self.disk.remove(&path);
        }
        let bytes = Bytes::from(self.disk.read(&path)?);
        let good = read_part(&bytes, &file.id);
        if good.torn {
            self.shared.metrics.torn_tails.inc();
            let cut = bytes.len() as u64 - good.bytes;
            tracing::warn!(segment = %file.id, bytes = cut, "the end of a segment is torn and cut off");
        }
        if good.records.is_empty() {
            self.disk.remove(&path)?;
            // Nobody has seen its number: left out, it would look like a segment that is gone.
            let id = &file.id;
            let is_last = self.next.epoch == id.epoch && self.next.number == id.number + 1;
            if is_last && !self.journal.covers(&id.epoch, id.number) {
                self.next = file.id;
            }
            return Ok(());
        }
        replay.records(&file.id, good.records.iter().map(|(record, payload)| (record, payload)));
        let records: Vec<AccessRecord> = good.records.into_iter().map(|(record, _)| record).collect();
        let first_ms = records.iter().map(|record| record.time_ms).min().unwrap_or(0);
        let mut bytes = good.bytes;
        if good.footed {
            self.disk.append(&path)?.cut(bytes)?;
        } else {
            let id = file.id.clone();
            let mut part = Part::resume(&*self.disk, &self.folder, id, bytes, &records, now)?;
            if let Err(short) = part.foot(now) {
                return Err(short.into());
            }
            part.sync(&*self.disk)?;
            bytes = part.bytes();
        }
        self.disk.rename(&path, &folder::sealed_path(&self.folder, &file.id))?;
        self.disk.sync_folder(&self.folder)?;
        self.shelve(&File { bytes, modified_ms: first_ms, ..file }, Some(records.len() as u64));
        Ok(())
    }

    /// Writes what is missing of the sessions that nobody will end any more.
    fn end_open_sessions(&mut self, now: Instant) {
        let missing = self.sessions.missing();
        if missing.is_empty() {
            return;
        }
        tracing::info!(
            sessions = self.sessions.len(),
            events = missing.len(),
            "sessions that an earlier process left open are ended"
        );
        let count = missing.len() as u64;
        // Nobody waits for these.
        let event = |record| Event { record, written: oneshot::channel().0 };
        self.write(&mut missing.into_iter().map(event).collect(), now);
        self.shared.metrics.recovered.inc_by(count);
    }
}
