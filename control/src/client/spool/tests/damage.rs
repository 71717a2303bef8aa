//! Bytes that are not what was written: what verifies is kept, what doesn't is counted, and no session is ended twice for it.

use std::fs;

use bytes::{Bytes, BytesMut};
use proto::access_log::frame::{FRAME_HEADER_BYTES, Kind, put_message};
use proto::access_log::{SegmentId, SegmentWriter};
use proto::v1::AccessEvent::{Connect, Disconnect, Play, Stop};
use proto::v1::{AccessRecord, SegmentFooter};

use super::events::event;
use super::faults::{Bench, visits};
use crate::client::spool::folder::{part_path, sealed_path};
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
fn a_part_that_says_it_is_a_segment_that_is_there_takes_nobodys_place() {
    let mut bench = Bench::new(|_| {});
    bench.write(visits(0, 2));
    assert!(bench.writer.seal(bench.now));
    let sealed = bench.writer.shared.shelf.first().unwrap();
    let whole = fs::read(&sealed.path).unwrap();
    let free = SegmentId { epoch: "z".repeat(16), number: 1, ..sealed.id.clone() };
    // Old parts, sealed but for their names, put back by somebody: three of them with two names.
    let mut parts = Vec::new();
    for (number, says) in [(1, &sealed.id), (2, &free), (3, &free)] {
        let named = SegmentId { epoch: "0".repeat(16), number, ..says.clone() };
        let mut part = BytesMut::new();
        let mut writer = SegmentWriter::new(says.clone(), &mut part);
        visits(10 * number, 1).iter().for_each(|record| writer.put(record, &mut part));
        writer.seal(&mut part);
        fs::write(part_path(bench.dir.path(), &named), &part).unwrap();
        parts.push(part.to_vec());
    }
    bench.restart();
    assert_eq!(fs::read(&sealed.path).unwrap(), whole);
    assert_eq!(fs::read(sealed_path(bench.dir.path(), &free)).unwrap(), parts[1]);
    let aside = bench.files().into_iter().filter(|name| name.ends_with(".damaged"));
    let aside: Vec<_> = aside.map(|name| fs::read(bench.dir.path().join(name)).unwrap()).collect();
    assert_eq!(aside, [&parts[0][..], &parts[2]]);
    let mut shipped = bench.shipped();
    shipped.sort_unstable();
    assert_eq!(shipped, [0, 1, 2, 3, 40, 41], "each once");
}

#[test]
fn a_part_whose_segment_was_given_up_does_not_come_out_and_takes_nobodys_place() {
    for is_footed in [false, true] {
        let mut bench = Bench::new(|_| {});
        bench.write(visits(0, 2));
        bench.save();
        let path = bench.writer.part.as_ref().unwrap().path().to_owned();
        let (begun, journal_path) = (fs::read(&path).unwrap(), bench.dir.path().join("sessions"));
        let journal = fs::read(&journal_path).unwrap();
        assert!(bench.writer.seal(bench.now));
        // A rescue left the part, then there was no room for the journal when the segment went.
        let sealed = bench.writer.shared.shelf.first().unwrap();
        fs::write(&path, if is_footed { fs::read(&sealed.path).unwrap() } else { begun }).unwrap();
        fs::write(&sealed.path, "").unwrap();
        fs::write(&journal_path, journal).unwrap();
        bench.restart();
        assert_eq!(bench.shipped(), [0; 0]);
        let ends = |end: &str| bench.files().iter().filter(|name| name.ends_with(end)).count();
        assert_eq!((ends(".part"), ends(".seg"), ends(".damaged")), (0, 0, 1), "{:?}", bench.files());
    }
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
