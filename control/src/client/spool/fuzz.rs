//! Fuzz target: a spool's folder as a process finds it, with a journal, parts, segments and a list of epochs of any content.
//!
//! All of these lie under checksums, so the input is choices from which files are made ([`proto::access_log::fuzz`](proto::fuzzing)), as they should
//! be or not quite. The folder is opened twice, as by two processes of which the first dies at once.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prometheus::Registry;
use prost::Message;
use proto::access_log::frame::{FRAME_HEADER_BYTES, Kind, put, put_message};
use proto::access_log::{Frames, Segment, SegmentId, SegmentWriter};
use proto::fuzzing::{Input, access_record, damaged, segment_file, segment_id};
use proto::v1::AccessRecord;
use tokio::time::Instant;

use super::config::SpoolConfig;
use super::drops::Drops;
use super::folder::{self, Epochs, FileState};
use super::journal::{self, Mark, OpenSession, Play, SessionProgress, Step, Steps};
use super::log::Pulse;
use super::metrics::SpoolMetrics;
use super::recover::left::read_part;
use super::recover::recover;
use super::salvage::{Piece, Salvage};
use super::writer::Shared;
use super::{SpoolError, journal::Journal};
use disk::MemoryDisk;

const EDGE: &str = "edge-1";
const FOLDER: &str = "/spool";
/// Files of a folder at most, beside the journal and the list of epochs.
const FILES: usize = 6;

/// What can be read of a journal and of a part is the same when it is said again, and all of it good; nothing good is left out of a part that is
/// damaged. Whatever lies in a folder, opening it succeeds or says that it is another edge's; leaves no part behind and no session open;
/// touches no segment that was whole; loses no record of a part that is good; and the next process finds nothing to do.
pub fn log_spool(data: &[u8]) {
    let mut choices = Input::new(data);
    match choices.below(4) {
        0 => journal(any_or(&mut choices, journal_file)),
        1 => {
            let id = segment_id(&mut choices);
            part(&any_or(&mut choices, |choices| segment_file(choices, &id)), &id);
        }
        _ => folder(&mut choices),
    }
}

/// The rest of the input as it is, or what is made from it.
fn any_or(choices: &mut Input<'_>, make: impl FnOnce(&mut Input<'_>) -> Bytes) -> Bytes {
    if choices.u8() > 240 { Bytes::copy_from_slice(choices.rest()) } else { make(choices) }
}

fn encoded(choices: &mut Input<'_>) -> Bytes {
    if choices.u8() > 220 {
        Bytes::copy_from_slice(choices.short())
    } else {
        access_record(choices).encode_to_vec().into()
    }
}

fn journal_file(choices: &mut Input<'_>) -> Bytes {
    let mut file = BytesMut::new();
    for _ in 0..choices.below(12) {
        let mut step = Step::default();
        let id = |choices: &mut Input<'_>| (*choices.choose(&["a", "b", "c", ""])).to_owned();
        for _ in 0..choices.below(4) {
            match choices.below(4) {
                0 => step.closed.push(id(choices)),
                1 => step.progress.push(SessionProgress {
                    client_id: id(choices),
                    time_ms: choices.u64(),
                    sc_bytes: choices.u64(),
                    as_of_ms: choices.u16().into(),
                }),
                _ => {
                    let (client_id, about) = (id(choices), encoded(choices));
                    let play = |choices: &mut Input<'_>| Play {
                        stream_id: choices.below(3) as u32,
                        record: encoded(choices),
                    };
                    let plays = (0..choices.below(3)).map(|_| play(choices)).collect();
                    let (time_ms, sc_bytes, off) = (choices.u64(), choices.u64(), choices.u8() > 200);
                    let as_of_ms = choices.u16().into();
                    step.open.push(OpenSession { client_id, about, plays, time_ms, sc_bytes, off, as_of_ms });
                }
            }
        }
        if choices.u8() < 200 {
            let SegmentId { epoch, number, .. } = segment_id(choices);
            let (records, whole) = (choices.below(4) as u64, choices.coin());
            step.mark = Some(Mark { epoch, number, records, whole, bytes: choices.below(2000) as u64 });
            step.lived_ms = if choices.u8() > 250 { choices.u64() } else { choices.u16().into() };
        }
        match choices.below(24) {
            0 => put(Kind::Private, choices.short(), &mut file),
            1 => put_message(Kind::Record, &step, &mut file),
            _ => put_message(Kind::Private, &step, &mut file),
        }
    }
    damaged(choices, file)
}

fn journal(file: Bytes) {
    let mut kept = journal::decode(file);
    let Some(mark) = kept.mark else {
        return assert_eq!(kept.sessions.len(), 0, "sessions of a step that has no end");
    };
    let (open, missing, lived_ms) = (kept.sessions.len(), kept.sessions.missing(), kept.sessions.lived_ms());
    let mut steps = Steps::default();
    kept.sessions.all(&mut steps);
    let mut again = journal::decode(steps.end(mark.clone(), lived_ms));
    assert!(!again.torn);
    assert_eq!((again.mark, again.sessions.len()), (Some(mark), open));
    assert_eq!((again.sessions.missing(), again.sessions.lived_ms()), (missing, lived_ms));
    kept.sessions.outlive();
    again.sessions.outlive();
    assert_eq!(again.sessions.missing(), kept.sessions.missing(), "when the process is dead");
    kept.sessions.end_all();
    assert_eq!((kept.sessions.len(), kept.sessions.missing()), (0, Vec::new()));
}

fn part(file: &Bytes, id: &SegmentId) {
    let good = read_part(file, id);
    assert_eq!(good.torn, good.bytes < file.len() as u64);
    let kept = file.slice(..usize::try_from(good.bytes).unwrap_or(usize::MAX));
    if !Salvage::new(kept.clone()).any(|piece| matches!(piece, Piece::Bad { .. })) {
        // (The length in a bad frame may happen to lead to the end of what is kept.)
        let again = read_part(&kept, id);
        assert!(!again.torn && again.bytes == good.bytes && again.footed == good.footed);
        assert!(again.records == good.records);
    }
    let mut end = 0;
    for held in &good.records {
        let at = usize::try_from(held.at).unwrap_or(usize::MAX);
        assert!(at >= end, "records overlap");
        end = at + FRAME_HEADER_BYTES + held.payload.len();
        assert_eq!(file.get(at + FRAME_HEADER_BYTES..end), Some(&held.payload[..]));
        assert_eq!(AccessRecord::decode(held.payload.clone()).as_ref(), Ok(&held.record));
    }
    assert!(end <= kept.len());
    // What one reads who stops at the first bad frame.
    let plain: Vec<Bytes> = Frames::new(kept.clone())
        .map_while(Result::ok)
        .filter(|frame| frame.kind == Kind::Record && AccessRecord::decode(frame.payload.clone()).is_ok())
        .map(|frame| frame.payload)
        .collect();
    let payloads: Vec<Bytes> = good.records.iter().map(|held| held.payload.clone()).collect();
    assert!(payloads.starts_with(&plain), "a good record is left out");
    assert!(!good.footed || Segment::open(kept).is_ok_and(|segment| segment.id == *id));
    // As it is sealed in the end.
    let mut sealed = BytesMut::new();
    let mut writer = SegmentWriter::new(id.clone(), &mut sealed);
    for held in &good.records {
        put(Kind::Record, &held.payload, &mut sealed);
        writer.count(&held.record, held.payload.len());
    }
    writer.seal(&mut sealed);
    let sealed = Segment::verify(sealed.freeze())
        .unwrap_or_else(|error| panic!("what is good can't be sealed: {error}"));
    assert_eq!(sealed.footer.records, good.records.len() as u64);
}

fn folder(choices: &mut Input<'_>) {
    let (disk, at) = (MemoryDisk::default(), Path::new(FOLDER));
    if choices.u8() < 200 {
        disk.put(Journal::path(at), any_or(choices, journal_file).to_vec());
    }
    if choices.u8() < 200 {
        let owner = if choices.u8() > 250 { "edge-2" } else { EDGE };
        let listed = (0..choices.below(4)).map(|_| segment_id(choices).epoch).collect();
        Epochs(listed).write(&disk, at, owner).unwrap_or_else(|error| panic!("{error}"));
    }
    for _ in 0..choices.below(FILES) {
        let id = segment_id(choices);
        let (path, is_empty) = match choices.below(16) {
            0..=6 => (folder::part_path(at, &id), choices.u8() > 240),
            7..=11 => (folder::sealed_path(at, &id), choices.u8() > 200),
            12 => (folder::gone_path(at, &id), true),
            13 => (folder::damaged_path(at, &id), false),
            _ => (
                at.join(*choices.choose(&["sessions.new", "x", "0-1.part", "abcdefgh01234567-1.seg"])),
                false,
            ),
        };
        let content =
            if is_empty { Bytes::new() } else { any_or(choices, |choices| segment_file(choices, &id)) };
        disk.put(path, content.to_vec());
    }
    let (before, due) = (whole(&disk), good_of_parts(&disk));
    if !open(&disk) {
        return;
    }
    let first = disk.files();
    let is_left = |name: &str, bytes: &[u8]| match folder::parse(name) {
        Some((_, _, state)) => match state {
            FileState::Part | FileState::Gone => true,
            FileState::Sealed => bytes.is_empty(),
            FileState::Damaged => false,
        },
        None => name.ends_with(".new"),
    };
    let left: Vec<_> = first.iter().filter(|(name, bytes)| is_left(name, bytes)).collect();
    assert_eq!(left, [], "left behind");
    let after = whole(&disk);
    assert!(
        before.iter().all(|(name, bytes)| after.get(name) == Some(bytes)),
        "a whole segment is gone or another"
    );
    let stand = payloads(&first);
    let lost = due.iter().find(|payload| !stand.contains(*payload));
    assert_eq!(lost, None, "a record of a part is neither sealed nor set aside");
    assert!(open(&disk), "the same folder is another edge's now");
    let segments = |files: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        files.into_iter().filter(|(name, _)| name.ends_with(".seg") || name.ends_with(".damaged")).collect()
    };
    assert_eq!(segments(disk.files()), segments(first), "the next process did it again");
}

/// The good records of the parts, but those of parts whose number a sealed segment has, which were rescued.
fn good_of_parts(disk: &MemoryDisk) -> Vec<Bytes> {
    let files = disk.files();
    let is_sealed = |id: &SegmentId| {
        let path = folder::sealed_path(Path::new(""), id);
        files.get(path.to_str().unwrap_or_default()).is_some_and(|bytes| !bytes.is_empty())
    };
    let mut due = Vec::new();
    for (name, bytes) in &files {
        let Some((epoch, number, FileState::Part)) = folder::parse(name) else { continue };
        let file = Bytes::copy_from_slice(bytes);
        let named = SegmentId { edge_id: EDGE.into(), epoch, number };
        let said = Segment::open(file.clone()).ok().map(|segment| segment.id);
        let id = said.unwrap_or_else(|| named.clone());
        if !is_sealed(&named) && !is_sealed(&id) {
            due.extend(read_part(&file, &id).records.into_iter().map(|held| held.payload));
        }
    }
    due
}

/// The records of all segments that are sealed or set aside.
fn payloads(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<Bytes> {
    let kept = |name: &str| name.ends_with(".seg") || name.ends_with(".damaged");
    let pieces = files.iter().filter(|(name, _)| kept(name));
    let pieces = pieces.flat_map(|(_, bytes)| Salvage::new(Bytes::copy_from_slice(bytes)));
    let record = |piece| match piece {
        Piece::Frame { frame, .. } if frame.kind == Kind::Record => Some(frame.payload),
        _ => None,
    };
    pieces.filter_map(record).collect()
}

/// The sealed segments that are what they should be.
fn whole(disk: &MemoryDisk) -> BTreeMap<String, Vec<u8>> {
    let is_whole = |name: &str, bytes: &[u8]| {
        let found = Segment::verify(Bytes::copy_from_slice(bytes))
            .ok()
            .map(|segment| (segment.id.epoch, segment.id.number));
        found.is_some() && folder::parse(name).map(|(epoch, number, _)| (epoch, number)) == found
    };
    disk.files().into_iter().filter(|(name, bytes)| name.ends_with(".seg") && is_whole(name, bytes)).collect()
}

/// Opens the folder as a process does, which dies then. False: it is another edge's.
fn open(disk: &MemoryDisk) -> bool {
    let metrics = SpoolMetrics::new(&Registry::new()).unwrap_or_else(|error| panic!("{error}"));
    let shared = Shared {
        shelf: Arc::default(),
        drops: Arc::new(Drops::new(metrics.clone())),
        pulse: Arc::new(Pulse::new()),
        metrics,
        lag: Arc::default(),
    };
    let config = SpoolConfig { folder: Some(FOLDER.into()), ..SpoolConfig::default() };
    match recover(config, Arc::new(disk.clone()), Path::new(FOLDER), EDGE, shared) {
        Ok(mut writer) => {
            assert_eq!(writer.sessions.len(), 0, "sessions of a process that is dead are open still");
            // What its first second would do, too.
            writer.tick(Instant::now());
            true
        }
        Err(SpoolError::OtherEdge { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}
