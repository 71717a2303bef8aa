//! Fuzz target: segments of access events, as an edge finds them on its disk and control gets them from edges.
//!
//! Frames lie under checksums that no mutation hits, so most inputs are choices from which frames are made, with checksums that are right; then
//! the file is cut or a byte of it changed.

use bytes::{Bytes, BytesMut};

use super::frame::{Frames, Kind, put, put_message};
use super::{Segment, SegmentId, SegmentWriter};
use crate::fuzzing::Input;
use crate::v1::{AccessRecord, LogTarget, SegmentFooter, WebFields};

/// Frames of a file at most.
const FRAMES: usize = 64;

/// A segment's name: few, so that files meet.
pub fn segment_id(choices: &mut Input<'_>) -> SegmentId {
    let epoch = *choices.choose(&["0000000000000000", "abcdefgh01234567", "zzzzzzzzzzzzzzzz"]);
    SegmentId { edge_id: "edge-1".into(), epoch: epoch.into(), number: 1 + choices.below(4) as u64 }
}

/// A record of one of few sessions, distributions and hours.
pub fn access_record(choices: &mut Input<'_>) -> AccessRecord {
    let target = |bucket: &str| LogTarget { bucket_host: bucket.into(), ..LogTarget::default() };
    AccessRecord {
        time_ms: 1_800_000_000_000 + u64::from(choices.u16()) * 100_000,
        event: choices.below(10) as i32,
        client_id: (*choices.choose(&["a", "b", "c", ""])).into(),
        distribution_id: (*choices.choose(&["E1", "E2"])).into(),
        target: choices.choose(&[Some("x"), Some("x"), Some("y"), None]).map(target),
        status: (*choices.choose(&["", "", "", "NetConnection.Connect.Rejected"])).into(),
        stream_name: (*choices.choose(&["film", ""])).into(),
        stream_id: choices.below(3) as u32,
        sc_bytes: choices.u16().into(),
        web: (choices.u8() > 240).then(WebFields::default),
        ..AccessRecord::default()
    }
}

/// The file of a segment, mostly of this name, and mostly as an edge writes one; `data` says where not.
pub fn segment_file(choices: &mut Input<'_>, id: &SegmentId) -> Bytes {
    let mut file = BytesMut::new();
    let id = if choices.u8() > 220 { segment_id(choices) } else { id.clone() };
    let mut writer = SegmentWriter::new(id.clone(), &mut file);
    let mut seals = true;
    for _ in 0..choices.below(FRAMES) {
        match choices.below(16) {
            0..=11 => writer.put(&access_record(choices), &mut file),
            12 => put(Kind::Record, choices.short(), &mut file),
            13 => put_message(Kind::Header, &id.header(), &mut file),
            14 => put(Kind::Private, choices.short(), &mut file),
            _ => {
                let records = choices.u8().into();
                put_message(Kind::Footer, &SegmentFooter { records, index: Vec::new() }, &mut file);
                seals = choices.coin();
            }
        }
    }
    if seals && choices.u8() < 160 {
        writer.seal(&mut file);
    }
    damaged(choices, file)
}

/// A file as a dying process or a bad disk leaves it, or as it is.
pub fn damaged(choices: &mut Input<'_>, mut file: BytesMut) -> Bytes {
    match choices.below(6) {
        0 => {
            let cut = choices.below(file.len() + 1);
            file.truncate(cut);
        }
        1 => change(choices, &mut file),
        2 => file.extend_from_slice(choices.short()),
        _ => {}
    }
    file.freeze()
}

/// Makes a byte another, if there is one.
fn change(choices: &mut Input<'_>, file: &mut [u8]) {
    let at = choices.below(file.len());
    if let Some(byte) = file.get_mut(at) {
        *byte ^= choices.u8().max(1);
    }
}

/// Frames are given up to the first that isn't whole, and are the file's bytes; what is a whole segment counts what it holds, can be said again, and
/// isn't one any more when it is cut or a byte is changed.
pub fn log_segments(data: &[u8]) {
    let mut choices = Input::new(data);
    let mut own = choices.clone();
    let file = if choices.coin() {
        Bytes::copy_from_slice(choices.rest())
    } else {
        let id = segment_id(&mut choices);
        segment_file(&mut choices, &id)
    };
    frames(&file);
    segment(&file, &mut own);
}

fn frames(file: &Bytes) {
    let (mut frames, mut again, mut error) = (Frames::new(file.clone()), BytesMut::new(), None);
    while let Some(frame) = frames.next() {
        assert_eq!(error, None, "something follows an error");
        match frame {
            Ok(frame) => put(frame.kind, &frame.payload, &mut again),
            Err(bad) => {
                assert_eq!(bad.good_bytes(), again.len());
                error = Some(bad);
            }
        }
        assert_eq!(frames.good_bytes(), again.len());
    }
    assert!(file.starts_with(&again), "the frames are not the file's");
    assert_eq!(error.is_none(), again.len() == file.len());
}

fn segment(file: &Bytes, choices: &mut Input<'_>) {
    let opened = Segment::open(file.clone());
    let whole = match (Segment::verify(file.clone()), opened) {
        (Ok(whole), Ok(opened)) => {
            assert_eq!((&whole.id, &whole.footer), (&opened.id, &opened.footer));
            whole
        }
        (Ok(_), Err(error)) => panic!("whole, and yet: {error}"),
        (Err(error), Err(first)) => return assert_eq!(error, first),
        (Err(_), Ok(_)) => return,
    };
    let records = records(&whole);
    assert_eq!(records.len() as u64, whole.footer.records);
    assert_eq!(whole.footer.index.iter().map(|entry| entry.records).sum::<u64>(), whole.footer.records);

    let mut again = BytesMut::new();
    let mut writer = SegmentWriter::new(whole.id.clone(), &mut again);
    records.iter().for_each(|record| writer.put(record, &mut again));
    writer.seal(&mut again);
    let again = Segment::verify(again.freeze()).unwrap_or_else(|error| panic!("said again: {error}"));
    assert!(again.id == whole.id && self::records(&again) == records);

    let cut = choices.below(file.len());
    assert!(Segment::open(file.slice(..cut)).is_err(), "whole at {cut} of {} bytes", file.len());
    let mut changed = file.to_vec();
    change(choices, &mut changed);
    assert!(Segment::open(changed.into()).is_err(), "whole with another byte");
}

fn records(segment: &Segment) -> Vec<AccessRecord> {
    let record = |record: Result<(AccessRecord, usize), _>| match record {
        Ok((record, _)) => record,
        Err(error) => panic!("a record of a whole segment: {error}"),
    };
    segment.records().map(record).collect()
}
