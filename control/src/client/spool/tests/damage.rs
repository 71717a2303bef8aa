//! Bytes that are not what was written: what verifies is kept, what doesn't is counted, and no session is ended twice for it.

use std::fs;

use bytes::{Bytes, BytesMut};
use proto::access_log::frame::{FRAME_HEADER_BYTES, Kind, put_message};
use proto::v1::AccessEvent::{Connect, Disconnect, Play, Stop};
use proto::v1::{AccessRecord, SegmentFooter};

use super::events::event;
use super::faults::{Bench, visits};
use crate::client::spool::log::DropReason;
use crate::client::spool::salvage::{Piece, Salvage};

fn brief(records: &[AccessRecord]) -> Vec<(proto::v1::AccessEvent, u64)> {
    records.iter().map(|record| (record.event(), record.sc_bytes)).collect()
}

/// Where `text` stands, once, in `bytes`.
fn find(bytes: &[u8], text: &str) -> usize {
    let places: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    assert_eq!(places.len(), 1, "{text}");
    places[0]
}

/// What is done to a file's bytes.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn a_journal_whose_tail_is_zeros_or_worse_is_as_good_as_one_that_is_cut_there() {
    let tails: [Damage<'_>; 4] = [
        &|journal| journal.extend([0; 700]),
        &|journal| journal.extend([0x5a; 700]),
        // The last step was written in part.
        &|journal| {
            let last = journal.len() - 9;
            journal[last..].fill(0);
            journal.extend([0; 4096]);
        },
        // There is a hole, and behind it what was written later.
        &|journal| {
            let whole = journal.clone();
            journal.extend([0; 64]);
            journal.extend(whole);
        },
    ];
    for (at, tail) in tails.iter().enumerate() {
        let mut bench = Bench::new(|_| {});
        bench.write([event(1, 0, Connect), event(1, 1, Play)]);
        assert_eq!(bench.shipped().len(), 2);
        // The last step says nothing that matters.
        bench.save();
        let path = bench.dir.path().join("sessions");
        let mut journal = fs::read(&path).unwrap();
        tail(&mut journal);
        fs::write(&path, journal).unwrap();
        bench.restart();
        bench.shipped();
        let ends = brief(&bench.control.records[2..]);
        assert_eq!(ends, [(Stop, 100), (Disconnect, 100)], "tail {at}");
    }
}

#[test]
fn a_journal_that_has_lost_its_end_ends_no_session_that_ended_in_segments_that_are_gone() {
    let mut bench = Bench::new(|_| {});
    bench.write([event(1, 0, Connect)]);
    bench.shipped();
    let path = bench.dir.path().join("sessions");
    let journal = fs::read(&path).unwrap();
    for n in 1..4 {
        bench.write([event(n, 2 * n - 1, Disconnect), event(n + 1, 2 * n, Connect)]);
        bench.shipped();
    }
    // Nothing that is left has a number.
    let gone = bench.files().into_iter().filter(|name| name.ends_with(".gone")).count();
    assert_eq!(gone, 1, "{:?}", bench.files());
    fs::write(&path, journal).unwrap();
    bench.restart();
    bench.shipped();
    let ends = bench.control.records.iter().filter(|r| r.event() == Disconnect).count();
    assert_eq!(ends, 3, "that of the last session can't be known");
    assert!(!bench.files().iter().any(|name| name.ends_with(".gone")), "{:?}", bench.files());
}

#[test]
fn a_record_that_is_damaged_in_mid_part_is_counted_and_costs_none_behind_it() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 5)).iter().all(|o| o.stands()));
    let path = bench.writer.part.as_ref().unwrap().path().to_owned();
    let mut bytes = fs::read(&path).unwrap();
    let at = find(&bytes, "n=2");
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    bench.restart();
    assert_eq!(bench.dropped(DropReason::Damaged), 1);
    assert_eq!(bench.writer.shared.metrics.torn_tails.get(), 0);
    assert_eq!(bench.shipped(), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn records_in_a_hole_are_counted_by_what_the_journal_knows() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 5)).iter().all(|o| o.stands()));
    let path = bench.writer.part.as_ref().unwrap().path().to_owned();
    bench.save();
    let mut bytes = fs::read(&path).unwrap();
    // Within the second record to within the fifth.
    let (from, to) = (find(&bytes, "n=1") - 60, find(&bytes, "n=4"));
    bytes[from..to].fill(0);
    fs::write(&path, &bytes).unwrap();
    bench.restart();
    assert_eq!(bench.dropped(DropReason::Damaged), 4);
    // The journal knows that the first session ended: its end is one of those that are lost and counted.
    assert_eq!(bench.shipped(), [0, 5, 6, 7, 8, 9]);
}

#[test]
fn a_tail_that_reads_as_zeros_is_torn_and_what_stood_there_is_counted() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 3)).iter().all(|o| o.stands()));
    let path = bench.writer.part.as_ref().unwrap().path().to_owned();
    bench.save();
    let mut bytes = fs::read(&path).unwrap();
    let from = find(&bytes, "n=5");
    bytes[from..].fill(0);
    fs::write(&path, &bytes).unwrap();
    bench.restart();
    assert_eq!(bench.writer.shared.metrics.torn_tails.get(), 1);
    assert_eq!(bench.dropped(DropReason::Damaged), 1);
    assert_eq!(bench.shipped(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_viewer_s_text_that_looks_like_the_end_of_a_segment_ends_nothing() {
    let mut forged = BytesMut::new();
    put_message(Kind::Footer, &SegmentFooter { records: 1_000_000, ..Default::default() }, &mut forged);
    let mut records: Vec<_> = visits(0, 5);
    let room = "F".repeat(forged.len());
    records[2].uri_query = format!("n=2&{room}");
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(records).iter().all(|o| o.stands()));
    let path = bench.writer.part.as_ref().unwrap().path().to_owned();
    let mut bytes = fs::read(&path).unwrap();
    let at = find(&bytes, &room);
    bytes[at..at + forged.len()].copy_from_slice(&forged);
    // The block in which the record's frame begins reads as zeros after a power cut.
    let frames: Vec<usize> = Salvage::new(Bytes::from(fs::read(&path).unwrap()))
        .map(|piece| match piece {
            Piece::Frame { at, .. } | Piece::Bad { at, .. } => at,
        })
        .collect();
    bytes[frames[3]..frames[3] + FRAME_HEADER_BYTES].fill(0);
    fs::write(&path, bytes).unwrap();
    bench.restart();
    assert!((1..=3).contains(&bench.dropped(DropReason::Damaged)), "{}", bench.dropped(DropReason::Damaged));
    assert_eq!(bench.shipped(), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
}
