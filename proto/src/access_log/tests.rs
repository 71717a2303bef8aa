//! Segments and frames: whole, cut, changed, out of place.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use prost::Message;

use super::frame::{Kind, PAYLOAD_BYTES_MAX, put, put_message};
use super::*;
use crate::v1::{AccessEvent, AccessRecord, LogTarget, SegmentHeader};

fn id(number: u64) -> SegmentId {
    SegmentId { edge_id: "edge-1".into(), epoch: "0123456789abcdef".into(), number }
}

fn record(n: u64) -> AccessRecord {
    AccessRecord {
        time_ms: 3_599_990 + 7 * n,
        event: AccessEvent::Play.into(),
        distribution_id: format!("E{:012}", n % 3),
        target: (!n.is_multiple_of(5)).then(|| LogTarget {
            bucket_host: "logs.s3.amazonaws.com".into(),
            prefix: format!("p{}", n % 2),
            ..Default::default()
        }),
        stream_name: format!("videos/{n}"),
        sc_bytes: n * 1000,
        ..Default::default()
    }
}

fn sealed(records: &[AccessRecord]) -> Bytes {
    let mut out = BytesMut::new();
    let mut writer = SegmentWriter::new(id(7), &mut out);
    for record in records {
        writer.put(record, &mut out);
    }
    writer.seal(&mut out);
    out.freeze()
}

#[test]
fn a_sealed_segment_gives_back_its_records_and_tells_what_is_in_it() {
    let records: Vec<_> = (0..100).map(record).collect();
    let segment = Segment::verify(sealed(&records)).unwrap();
    assert_eq!(segment.id, id(7));
    assert_eq!(segment.footer.records, 100);
    let read: Vec<_> = segment.records().map(|r| r.unwrap().0).collect();
    assert_eq!(read, records);
    // The hour ends within.
    assert!(
        segment.footer.index.iter().any(|e| e.hour == 0) && segment.footer.index.iter().any(|e| e.hour == 1)
    );
    assert_eq!(segment.footer.index.iter().map(|e| e.records).sum::<u64>(), 100);
    let bytes: usize = records.iter().map(Message::encoded_len).sum();
    assert_eq!(segment.footer.index.iter().map(|e| e.bytes).sum::<u64>(), bytes as u64);
}

#[test]
fn a_segment_can_be_gone_on_with_after_its_writer_died() {
    let records: Vec<_> = (0..20).map(record).collect();
    let mut out = BytesMut::new();
    let mut writer = SegmentWriter::new(id(7), &mut out);
    records[..12].iter().for_each(|r| writer.put(r, &mut out));
    let mut writer = SegmentWriter::resume(id(7), &records[..12]);
    records[12..].iter().for_each(|r| writer.put(r, &mut out));
    assert_eq!(writer.records(), 20);
    writer.seal(&mut out);
    let segment = Segment::verify(out.freeze()).unwrap();
    assert_eq!(segment.records().map(|r| r.unwrap().0).collect::<Vec<_>>(), records);
}

#[test]
fn whatever_is_cut_or_changed_is_noticed() {
    let whole = sealed(&(0..4).map(record).collect::<Vec<_>>());
    for length in 0..whole.len() {
        assert!(Segment::open(whole.slice(..length)).is_err(), "cut to {length}");
        let mut frames = Frames::new(whole.slice(..length));
        let end = frames.find_map(Result::err).map_or(length, FrameError::good_bytes);
        assert!(
            end <= length && Frames::new(whole.slice(..end)).all(|f| f.is_ok()),
            "good up to {end} of {length}"
        );
    }
    for at in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[at] ^= 0x20;
        assert!(Segment::verify(changed.into()).is_err(), "byte {at}");
    }
    let mut longer = whole.to_vec();
    longer.push(0);
    assert_eq!(Segment::open(longer.into()).unwrap_err(), FrameError::Cut { at: whole.len() }.into());
}

#[test]
fn a_footer_that_tells_of_other_records_is_refused_before_they_are_all_counted() {
    let told = |change: fn(&mut Vec<crate::v1::SegmentEntry>)| {
        let mut out = BytesMut::new();
        put_message(Kind::Header, &id(1).header(), &mut out);
        let mut index = Segment::verify(sealed(&[record(1), record(2)])).unwrap().footer.index;
        for n in [1, 2] {
            put_message(Kind::Record, &record(n), &mut out);
        }
        change(&mut index);
        put_message(Kind::Footer, &crate::v1::SegmentFooter { records: 2, index }, &mut out);
        Segment::verify(out.freeze()).map(drop)
    };
    assert_eq!(told(|_| ()), Ok(()));
    let changes: [fn(&mut Vec<crate::v1::SegmentEntry>); 7] = [
        Vec::clear,
        |index| index.truncate(1),
        |index| index.push(index[0].clone()),
        |index| index[0].records += 1,
        |index| index[0].bytes -= 1,
        |index| index[0].first_ms -= 1,
        |index| index[0].target = None,
    ];
    for (n, change) in changes.into_iter().enumerate() {
        assert_eq!(told(change), Err(SegmentError::Footer), "change {n}");
    }
}

#[test]
fn what_is_out_of_place_is_refused() {
    let header = id(1).header();
    let frames = |parts: &[(Kind, Vec<u8>)]| {
        let mut out = BytesMut::new();
        parts.iter().for_each(|(kind, payload)| put(*kind, payload, &mut out));
        Segment::verify(out.freeze()).unwrap_err()
    };
    let (head, body) = (header.encode_to_vec(), record(1).encode_to_vec());
    let foot = crate::v1::SegmentFooter::default().encode_to_vec();
    assert_eq!(frames(&[]), SegmentError::Header);
    assert_eq!(frames(&[(Kind::Record, body.clone())]), SegmentError::Header);
    assert_eq!(
        frames(&[(Kind::Header, head.clone()), (Kind::Record, body.clone())]),
        SegmentError::NotSealed
    );
    let told_less =
        frames(&[(Kind::Header, head.clone()), (Kind::Record, body.clone()), (Kind::Footer, foot.clone())]);
    assert_eq!(told_less, SegmentError::Footer);
    for kind in [Kind::Header, Kind::Record, Kind::Footer, Kind::Private] {
        let after =
            frames(&[(Kind::Header, head.clone()), (Kind::Footer, foot.clone()), (kind, body.clone())]);
        assert!(matches!(after, SegmentError::Unexpected { .. }), "{kind:?} after the footer");
    }
    let mut long = BytesMut::new();
    put(Kind::Record, &vec![0; PAYLOAD_BYTES_MAX + 1], &mut long);
    assert_eq!(Frames::new(long.freeze()).next(), Some(Err(FrameError::Damaged { at: 0 })));
}

#[test]
fn a_name_that_would_lead_elsewhere_is_none() {
    let good = SegmentHeader { edge_id: "edge-1".into(), epoch: "0123456789abcdef".into(), number: 1 };
    assert_eq!(SegmentId::of(&good).unwrap().to_string(), "edge-1/0123456789abcdef/00000000000000000001");
    for (edge_id, epoch, number) in [
        ("a/b", "0123456789abcdef", 1),
        ("..", "0123456789abcdef", 1),
        ("", "0123456789abcdef", 1),
        ("edge-1", "0123456789abcde", 1),
        ("edge-1", "../3456789abcdef", 1),
        ("edge-1", "0123456789ABCDEF", 1),
        ("edge-1", "0123456789abcdef", 0),
    ] {
        let header = SegmentHeader { edge_id: edge_id.into(), epoch: epoch.into(), number };
        assert_eq!(SegmentId::of(&header), None, "{header:?}");
    }
}

proptest! {
    #[test]
    fn frames_come_back_as_they_went(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let mut out = BytesMut::new();
        payloads.iter().for_each(|p| put(Kind::Private, p, &mut out));
        let read: Vec<Vec<u8>> = Frames::new(out.freeze()).map(|f| f.unwrap().payload.to_vec()).collect();
        prop_assert_eq!(read, payloads);
    }

    #[test]
    fn no_bytes_are_read_as_more_than_they_are(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let file = Bytes::from(bytes);
        let frames = Frames::new(file.clone());
        prop_assert!(frames.filter_map(Result::ok).map(|f| f.payload.len()).sum::<usize>() <= file.len());
        prop_assert!(Segment::verify(file).is_err());
    }

    #[test]
    fn a_message_is_framed_as_its_bytes_are(n in any::<u32>()) {
        let (mut whole, mut parts) = (BytesMut::new(), BytesMut::new());
        put_message(Kind::Record, &record(u64::from(n)), &mut whole);
        put(Kind::Record, &record(u64::from(n)).encode_to_vec(), &mut parts);
        prop_assert_eq!(whole, parts);
    }
}
