//! What a process finds in the folder when it starts, and how it makes a spool of it again.
//!
//! Each process draws an epoch of its own. A folder may be copied, or come back as it was some days ago, and both it and its double go on:
//! had they the numbers of one epoch in common, control would take the segments of one for repeats of the other's. So an epoch goes on only in
//! what is sealed, and the same in each copy; records of a part come out under the new epoch.
//!
//! The earlier process may have died at any line, and so may this one in the middle of the repair; so each act leaves a folder that the same
//! repair understands:
//!
//! 1. the journal's sessions, and the records that its mark has not passed, tell which sessions are open: so far nothing is changed;
//! 2. the new epoch is listed, then the journal is written anew, of the new epoch: it has passed all that is there, and the numbers that the
//!    parts' records are about to get;
//! 3. a part is replaced by a sealed segment of its whole records, in one step and under its old name, and then gets its new name; one that
//!    has its footer keeps its number, one that holds nothing is removed;
//! 4. what is missing of the open sessions is written as records, like any others, to a part that is sealed as well: where this stops half-way,
//!    the next repair finds some of them in 1 and writes the rest;
//! 5. the journal is brought up to date: nothing is open.
//!
//! Where segments that the mark has not passed are gone (a full disk can do that, and people), nobody knows which sessions ended in them.
//! Then nothing is written for the sessions that the journal had open: a missing DISCONNECT is better than a second one. That something is gone shows
//! in the numbers of those that are there, and in the name that is left of the youngest one gone: a journal whose end is bad, and which
//! therefore has an older mark, is as good as any while all that came after is still there.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proto::access_log::frame::{Kind, put};
use proto::access_log::{Segment, SegmentId, SegmentWriter};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::SpoolError;
use super::config::SpoolConfig;
use super::disk::{Disk, Found, is_full, replace};
use super::folder::{self, Epochs, FileState};
use super::journal::{self, Journal, Kept, Mark};
use super::log::DropReason;
use super::queue::Event;
use super::salvage::count_records;
use super::sessions::Sessions;
use super::shelf::Sealed;
use super::writer::{Shared, Writer};
use left::{Good, Held, Left, read_part};

pub(crate) mod left;

/// A segment's file.
#[derive(Debug)]
struct File {
    id: SegmentId,
    state: FileState,
    bytes: u64,
    modified_ms: u64,
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
    let kept = match disk.read(&Journal::path(folder)) {
        Ok(bytes) => journal::decode(bytes.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Kept::default(),
        Err(source) => return Err(failed(source)),
    };
    if kept.torn {
        tracing::warn!(folder = %folder.display(), "the journal of open sessions has no good end: it is used up to there");
    }
    let epochs = epochs(Epochs::read(&*disk, folder, edge_id)?, &found, kept.mark.as_ref());
    let files = files(found, edge_id, &epochs);
    let epoch = epochs.0.last().cloned().unwrap_or_default();
    let none = Mark { epoch: epoch.clone(), number: 0, records: 0, whole: true, bytes: 0 };
    let mark = kept.mark.clone().unwrap_or(none);
    let mut writer = Writer {
        disk,
        folder: folder.into(),
        next: SegmentId { edge_id: edge_id.into(), epoch, number: 1 },
        part: None,
        sessions: Sessions::default(),
        journal: Journal::new(folder, mark),
        shared,
        lock: None,
        emptied: Vec::new(),
        gone: None,
        paused: None,
        began: now,
        beat: now,
        journal_synced: now,
        journal_due: now,
        show_due: now,
        told: None,
        frames: BytesMut::new(),
        ends: Vec::new(),
        config,
    };
    let is_gone = |file: &File| file.state == FileState::Gone;
    let gone: Vec<SegmentId> =
        files.iter().filter(|file| is_gone(file)).map(|file| file.id.clone()).collect();
    let (sessions, mark) = (kept.sessions, kept.mark);
    let is_sealed = |file: &&File| file.state == FileState::Sealed;
    let taken = files.iter().filter(is_sealed).map(|file| file.id.clone()).collect();
    let mut replay = Replay { sessions, mark, epochs: epochs.clone(), expected: None, gone, taken };
    let mut parts = Vec::new();
    for file in files {
        parts.extend(writer.take_over(file, &mut replay).map_err(failed)?);
    }
    replay.sessions.outlive();
    writer.sessions = replay.sessions;
    match writer.make_fit(|writer| epochs.write(&*writer.disk, &writer.folder, edge_id)) {
        Ok(()) => {}
        // An edge whose disk is full of other things starts all the same; the journal's mark will tell of the epoch.
        Err(error) if is_full(&error) && parts.is_empty() => writer.failed("epochs", &error),
        Err(source) => return Err(SpoolError::Io { path: folder.join("epochs"), source }),
    }
    writer.next.number += parts.iter().filter(|part| !part.footed).count() as u64;
    // The journal must not outlive the records it has passed: a process that was killed has left some to the system only.
    writer.sync_left(&parts).map_err(failed)?;
    match writer.make_fit(Writer::begin_journal) {
        Ok(()) => writer.forget_gone(&replay.gone),
        Err(error) if parts.is_empty() => writer.failed("journal", &error),
        Err(error) => return Err(failed(error)),
    }
    let mut number = 1;
    for part in &parts {
        writer.make_fit(|writer| writer.seal_left(part, number)).map_err(failed)?;
        number += u64::from(!part.footed);
    }
    writer.end_open_sessions(now);
    writer.seal(now);
    writer.keep_within_bound(now);
    writer.save(now, true);
    writer.show();
    Ok(writer)
}

/// The epochs that something is left of, and a new one, which is this process's.
fn epochs(mut epochs: Epochs, found: &[Found], mark: Option<&Mark>) -> Epochs {
    if let Some(mark) = mark
        && !epochs.0.contains(&mark.epoch)
    {
        // Its list is gone: nothing is younger than what the journal speaks of.
        epochs.0.push(mark.epoch.clone());
    }
    epochs.0.retain(|epoch| {
        mark.is_some_and(|mark| mark.epoch == *epoch)
            || found.iter().any(|file| folder::parse(&file.name).is_some_and(|(of, ..)| of == *epoch))
    });
    epochs.0.push(folder::draw_epoch());
    epochs
}

/// The segments' files in the order in which they were begun.
fn files(found: Vec<Found>, edge_id: &str, epochs: &Epochs) -> Vec<File> {
    let file = |found: Found| {
        let (epoch, number, state) = folder::parse(&found.name)?;
        let id = SegmentId { edge_id: edge_id.into(), epoch, number };
        Some(File { id, state, bytes: found.bytes, modified_ms: found.modified_ms })
    };
    let mut files: Vec<File> = found.into_iter().filter_map(file).collect();
    // A sealed one comes before the part it was rescued from.
    let order = |file: &File| {
        let id = &file.id;
        (epochs.rank(&id.epoch), id.epoch.clone(), id.number, file.state == FileState::Part)
    };
    files.sort_by_cached_key(order);
    files
}

/// Sessions, as records are read on from the journal's mark.
struct Replay {
    sessions: Sessions,
    mark: Option<Mark>,
    epochs: Epochs,
    // The next segment, if none is missing.
    expected: Option<(String, u64)>,
    // Their names are there, they are not.
    gone: Vec<SegmentId>,
    // Names that sealed segments have or had, or are about to get.
    taken: HashSet<SegmentId>,
}

impl Replay {
    /// Bytes of a segment that the mark has passed; `None`: all of them, and no more is to be known of it.
    fn passed(&self, id: &SegmentId) -> Option<u64> {
        let Some(mark) = &self.mark else { return Some(0) };
        if mark.epoch != id.epoch {
            // Of a process that began after the mark was made, and could not make one.
            return (self.epochs.rank(&id.epoch) > self.epochs.rank(&mark.epoch)).then_some(0);
        }
        match id.number.cmp(&mark.number) {
            Ordering::Less => None,
            Ordering::Equal => (!mark.whole).then_some(mark.bytes),
            Ordering::Greater => Some(0),
        }
    }

    /// Whether the process that wrote a segment was done with it.
    fn is_over(&self, id: &SegmentId) -> bool {
        let is_passed =
            self.mark.as_ref().is_some_and(|mark| mark.epoch == id.epoch) && self.passed(id).is_none();
        is_passed || self.gone.iter().any(|gone| gone.epoch == id.epoch && gone.number >= id.number)
    }

    /// Records of a part that are known to have stood, and are not among those that are good now.
    fn lost(&self, id: &SegmentId, good: &[Held]) -> u64 {
        let is_its = |mark: &&Mark| mark.epoch == id.epoch && mark.number == id.number && !mark.whole;
        let Some(mark) = self.mark.as_ref().filter(is_its) else { return 0 };
        let still = good.iter().filter(|held| held.at < mark.bytes).count() as u64;
        mark.records.saturating_sub(still)
    }

    /// A segment that can't be read any more, because it was shipped or given up.
    fn miss(&mut self, id: &SegmentId) {
        if self.passed(id).is_some() {
            self.forget_sessions(id);
            self.expected = Some((id.epoch.clone(), id.number + 1));
        }
    }

    fn forget_sessions(&mut self, id: &SegmentId) {
        if self.sessions.len() > 0 {
            tracing::warn!(segment = %id, sessions = self.sessions.len(), "segments up to this one are gone: sessions open before them stay so");
            self.sessions.clear();
        }
    }

    /// Takes note that the next records are a segment's.
    fn reach(&mut self, id: &SegmentId) {
        let first = self.mark.as_ref().map(|mark| (mark.epoch.clone(), mark.number + u64::from(mark.whole)));
        let expected = self.expected.take().or(first);
        if expected.is_some_and(|(epoch, number)| id.number != if epoch == id.epoch { number } else { 1 }) {
            self.forget_sessions(id);
        }
        self.expected = Some((id.epoch.clone(), id.number + 1));
    }

    fn records(&mut self, id: &SegmentId, records: &[Held]) {
        let Some(passed) = self.passed(id) else { return };
        self.reach(id);
        for held in records.iter().filter(|held| held.at >= passed) {
            self.sessions.apply(&held.record, Some(&held.payload));
        }
    }
}

impl Writer {
    /// Reads a file, and puts what is sealed on the shelf; gives a part that is still to be sealed.
    fn take_over(&mut self, file: File, replay: &mut Replay) -> io::Result<Option<Left>> {
        match file.state {
            FileState::Damaged => Ok(None),
            FileState::Gone => {
                replay.miss(&file.id);
                Ok(None)
            }
            FileState::Sealed if file.bytes == 0 => {
                self.emptied.push(file.id);
                Ok(None)
            }
            FileState::Sealed => {
                if replay.passed(&file.id).is_some() {
                    self.replay_sealed(&file, replay);
                }
                let path = folder::sealed_path(&self.folder, &file.id);
                let File { id, bytes, modified_ms: first_ms, .. } = file;
                self.shared.shelf.push(Sealed { path, id, records: None, bytes, first_ms });
                Ok(None)
            }
            FileState::Part => self.read_left(&file, replay),
        }
    }

    fn replay_sealed(&self, file: &File, replay: &mut Replay) {
        let path = folder::sealed_path(&self.folder, &file.id);
        let segment = self.disk.read(&path).map_err(|e| e.to_string());
        let whole = segment.map(Bytes::from).and_then(|bytes| {
            let opened = Segment::open(bytes.clone());
            opened.map(|_| bytes).map_err(|e| e.to_string())
        });
        let records = match whole {
            Ok(bytes) => left::records(bytes),
            // It will be set aside when its turn to be shipped comes; what ended in it is written again.
            Err(reason) => {
                tracing::warn!(segment = %file.id, reason, "a sealed segment can't be read");
                Vec::new()
            }
        };
        replay.records(&file.id, &records);
    }

    fn read_left(&self, file: &File, replay: &mut Replay) -> io::Result<Option<Left>> {
        let path = folder::part_path(&self.folder, &file.id);
        if self.shared.shelf.has(&file.id) {
            // It was rescued under its sealed name.
            return self.disk.remove(&path).map(|()| None);
        }
        let bytes = Bytes::from(self.disk.read(&path)?);
        // A repair that was cut short between a part's new content and its new name.
        let renamed = Segment::open(bytes.clone()).ok().map(|segment| segment.id);
        let id = renamed.filter(|id| id.edge_id == file.id.edge_id).unwrap_or(file.id.clone());
        let Good { bytes: good, records, footed, torn, lost } = read_part(&bytes, &id);
        if torn {
            self.shared.metrics.torn_tails.inc();
            let cut = bytes.len() as u64 - good;
            tracing::warn!(segment = %id, bytes = cut, "the end of a segment is torn and cut off");
        }
        let lost = lost.max(replay.lost(&id, &records));
        if records.is_empty() && lost == 0 {
            return self.disk.remove(&path).map(|()| None);
        }
        let aside = folder::damaged_path(&self.folder, &file.id);
        if id == file.id && (replay.is_over(&id) || self.emptied.contains(&id)) {
            // It was rescued, and shipped since, or counted as lost, by a process that could not remove it: nobody should get it twice.
            tracing::warn!(segment = %id, "a part that is done with is still there and set aside");
            return self.disk.rename(&path, &aside).map(|()| None);
        }
        if (footed || id != file.id) && !replay.taken.insert(id.clone()) {
            // No process leaves that. Somebody may have put an old copy back, which must not take the place of what has the name.
            tracing::warn!(part = %file.id, segment = %id, "a part that says it is a segment that is there is set aside");
            return self.disk.rename(&path, &aside).map(|()| None);
        }
        if lost > 0 {
            tracing::error!(segment = %id, lost, kept = records.len(), "a segment that was being written is damaged: what verifies is kept");
            self.shared.drops.count(DropReason::Damaged, lost);
        }
        if records.is_empty() {
            return self.disk.rename(&path, &aside).map(|()| None);
        }
        replay.records(&id, &records);
        Ok(Some(Left { path, id, bytes: good, records, footed }))
    }

    /// Waits until the parts that were read are on the medium, with their names.
    fn sync_left(&self, parts: &[Left]) -> io::Result<()> {
        for part in parts {
            self.disk.append(&part.path)?.sync()?;
        }
        if parts.is_empty() { Ok(()) } else { self.disk.sync_folder(&self.folder) }
    }

    /// The journal that stands now is this process's: what others have given away is no matter to it.
    fn forget_gone(&mut self, gone: &[SegmentId]) {
        for id in gone {
            if let Err(error) = self.disk.remove(&folder::gone_path(&self.folder, id)) {
                self.failed("remove", &error);
            }
        }
    }

    /// Writes the journal of this process's epoch, as of the numbers given away already.
    fn begin_journal(&mut self) -> io::Result<()> {
        let disk = Arc::clone(&self.disk);
        let mark = self.mark();
        self.journal.save(&*disk, &mut self.sessions, mark, true)
    }

    /// Seals a part that an earlier process left: under its own name if it has a footer, else as number `number` of this process's.
    fn seal_left(&mut self, left: &Left, number: u64) -> io::Result<()> {
        let (id, bytes) = if left.footed {
            let mut file = self.disk.append(&left.path)?;
            file.cut(left.bytes)?;
            file.sync()?;
            (left.id.clone(), left.bytes)
        } else {
            let id = SegmentId { number, ..self.next.clone() };
            let mut out = BytesMut::new();
            let mut writer = SegmentWriter::new(id.clone(), &mut out);
            for held in &left.records {
                put(Kind::Record, &held.payload, &mut out);
                writer.count(&held.record, held.payload.len());
            }
            writer.seal(&mut out);
            replace(&*self.disk, &self.folder, &left.path, &out)?;
            tracing::info!(part = %left.id, segment = %id, records = left.records.len(), "what an earlier process left is sealed");
            (id, out.len() as u64)
        };
        let path = folder::sealed_path(&self.folder, &id);
        self.disk.rename(&left.path, &path)?;
        self.disk.sync_folder(&self.folder)?;
        let first_ms = left.records.iter().map(|held| held.record.time_ms).min().unwrap_or(0);
        self.shared.shelf.push(Sealed {
            path,
            id,
            records: Some(left.records.len() as u64),
            bytes,
            first_ms,
        });
        Ok(())
    }

    /// Does what needs room, for which the oldest segments are given up. Their names stay until the journal has passed them.
    fn make_fit(&mut self, mut act: impl FnMut(&mut Self) -> io::Result<()>) -> io::Result<()> {
        loop {
            match act(self) {
                Err(error) if is_full(&error) => {
                    let Some(oldest) = self.shared.shelf.pop() else { return Err(error) };
                    let bytes = self.disk.read(&oldest.path).unwrap_or_default();
                    self.shared.drops.count(DropReason::DiskFull, count_records(bytes.into()));
                    if let Err(error) = self.disk.append(&oldest.path).and_then(|mut file| file.cut(0)) {
                        self.failed("empty", &error);
                    }
                    self.emptied.push(oldest.id);
                }
                done => return done,
            }
        }
    }

    /// Writes what is missing of the sessions that nobody will end any more.
    fn end_open_sessions(&mut self, now: Instant) {
        let missing = self.sessions.missing();
        if missing.is_empty() {
            return self.sessions.end_all();
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
        // Those of distributions whose logging was off by then, too: no record is due, and nobody else would ever end them.
        self.sessions.end_all();
    }
}
