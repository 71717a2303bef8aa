//! Tests of `rtmp/chunk/writer`.

use std::io::IoSlice;

use super::*;

fn out(csid: u32, timestamp: u32, stream_id: u32, payload: &[Bytes]) -> OutMessage<'_> {
    OutMessage { csid, timestamp, type_id: 9, stream_id, head: &[], payload }
}

/// The first header's bytes of each message, given messages of one byte.
fn headers(messages: &[(u32, u32, u32)]) -> Vec<Vec<u8>> {
    let mut writer = ChunkWriter::new();
    messages
        .iter()
        .map(|(csid, timestamp, stream_id)| {
            let mut batch = Batch::new();
            writer
                .write(&mut batch, out(*csid, *timestamp, *stream_id, &[Bytes::from_static(b"x")]))
                .unwrap();
            let mut bytes = sent(batch);
            assert_eq!(bytes.pop(), Some(b'x'));
            bytes
        })
        .collect()
}

#[test]
fn headers_are_full_at_first_and_short_after() {
    assert_eq!(
        headers(&[(7, 10, 1), (7, 50, 1), (7, 50, 1), (6, 50, 1)]),
        [
            full(7, 10, 1, 9, 1),
            vec![0x47, 0, 0, 40, 0, 0, 1, 9],
            vec![0x47, 0, 0, 0, 0, 0, 1, 9],
            full(6, 50, 1, 9, 1)
        ]
    );
}

#[test]
fn statement_40_jumps_take_full_headers() {
    let far = 0x0123_4567;
    assert_eq!(
        headers(&[
            (7, 500, 1),
            (7, 499, 1),
            (7, 499 + 0xFF_FFFE, 1),
            (7, 0, 1),
            (7, far, 1),
            (7, far + 5, 1)
        ]),
        [
            full(7, 500, 1, 9, 1),
            full(7, 499, 1, 9, 1),
            vec![0x47, 0xFF, 0xFF, 0xFE, 0, 0, 1, 9],
            full(7, 0, 1, 9, 1),
            full(7, far, 1, 9, 1),
            vec![0x47, 0, 0, 5, 0, 0, 1, 9],
        ]
    );
    assert_eq!(headers(&[(7, 0, 1), (7, 0xFF_FFFF, 1)])[1], full(7, 0xFF_FFFF, 1, 9, 1));
}

#[test]
fn another_stream_takes_a_full_header() {
    assert_eq!(headers(&[(7, 5, 1), (7, 6, 2)])[1], full(7, 6, 1, 9, 2));
}

#[test]
fn statement_40_extended_timestamps_are_repeated_on_every_chunk() {
    let mut writer = ChunkWriter::new();
    let mut batch = Batch::new();
    writer.write(&mut batch, out(7, 0x0100_0001, 1, &[vec![3; 300].into()])).unwrap();
    let mut expected = full(7, 0x0100_0001, 300, 9, 1);
    expected.extend_from_slice(&[3; 128]);
    expected.extend_from_slice(&[0xC7, 1, 0, 0, 1]);
    expected.extend_from_slice(&[3; 128]);
    expected.extend_from_slice(&[0xC7, 1, 0, 0, 1]);
    expected.extend_from_slice(&[3; 44]);
    assert_eq!(sent(batch), expected);

    // A short header after it has no extended field, and so its continuations have none.
    let mut batch = Batch::new();
    writer.write(&mut batch, out(7, 0x0100_0002, 1, &[vec![3; 129].into()])).unwrap();
    let mut expected = vec![0x47, 0, 0, 1, 0, 0, 129, 9];
    expected.extend_from_slice(&[3; 128]);
    expected.extend_from_slice(&[0xC7, 3]);
    assert_eq!(sent(batch), expected);
}

#[test]
fn messages_that_fill_chunks_exactly_have_no_empty_chunk() {
    for (len, chunks) in [(0, 1), (127, 1), (128, 1), (129, 2), (256, 2), (257, 3)] {
        let mut batch = Batch::new();
        ChunkWriter::new().write(&mut batch, out(7, 0, 1, &[vec![3; len].into()])).unwrap();
        assert_eq!(batch.len_bytes(), 12 + len + chunks - 1, "{len} bytes");
    }
}

#[test]
fn head_and_slices_share_chunks() {
    let mut writer = ChunkWriter::new();
    let mut batch = Batch::new();
    let payload = [Bytes::from(vec![1; 100]), Bytes::new(), Bytes::from(vec![2; 100])];
    let message = OutMessage { head: &[9; 5], ..out(7, 0, 1, &payload) };
    writer.write(&mut batch, message).unwrap();
    let mut expected = full(7, 0, 205, 9, 1);
    expected.extend_from_slice(&[9; 5]);
    expected.extend_from_slice(&[1; 100]);
    expected.extend_from_slice(&[2; 23]);
    expected.push(0xC7);
    expected.extend_from_slice(&[2; 77]);
    assert_eq!(sent(batch), expected);
}

#[test]
fn large_slices_are_referenced_in_place() {
    let block = Bytes::from(vec![7; 100_000]);
    let mut writer = ChunkWriter::new();
    let mut batch = Batch::new();
    writer.set_chunk_size(4096, &mut batch);
    writer.write(&mut batch, out(7, 0, 1, &[block.slice(10..20_010)])).unwrap();
    let mut slices = [IoSlice::new(&[]); 64];
    let count = batch.io_slices(&mut slices);
    let inside = slices[..count].iter().filter(|slice| block.as_ptr_range().contains(&slice.as_ptr()));
    assert_eq!(inside.map(|slice| slice.len()).sum::<usize>(), 20_000);
    assert_eq!(count, 10);
}

#[test]
fn what_cannot_be_sent_is_refused_and_changes_nothing() {
    let mut writer = ChunkWriter::new();
    let mut batch = Batch::new();
    let huge = vec![Bytes::from(vec![0; 1 << 20]); 16];
    assert_eq!(writer.write(&mut batch, out(7, 0, 1, &huge)), Err(ChunkError::MessageTooLong(1 << 24)));
    for csid in [0, 1, csid::CONTROL, 65_600] {
        assert_eq!(writer.write(&mut batch, out(csid, 0, 1, &[])), Err(ChunkError::ChunkStreamId(csid)));
    }
    assert!(batch.is_empty());
    writer.write(&mut batch, out(7, 5, 1, &[])).unwrap();
    assert_eq!(sent(batch), full(7, 5, 0, 9, 1));
}

#[test]
fn chunk_sizes_are_clamped_and_announced() {
    let mut writer = ChunkWriter::new();
    assert_eq!(writer.chunk_size(), 128);
    let mut batch = Batch::new();
    writer.set_chunk_size(0, &mut batch);
    assert_eq!(writer.chunk_size(), 128);
    writer.set_chunk_size(u32::MAX, &mut batch);
    assert_eq!(writer.chunk_size(), 0xFF_FFFF);
    let mut expected = full(2, 0, 4, 1, 0);
    expected.extend_from_slice(&[0, 0, 0, 128]);
    expected.extend(full(2, 0, 4, 1, 0));
    expected.extend_from_slice(&[0, 0xFF, 0xFF, 0xFF]);
    assert_eq!(sent(batch), expected);
}

#[test]
fn a_forgotten_chunk_stream_starts_anew() {
    let mut writer = ChunkWriter::new();
    let mut batch = Batch::new();
    writer.write(&mut batch, out(7, 5, 1, &[])).unwrap();
    writer.forget(7);
    writer.forget(8);
    let mut batch = Batch::new();
    writer.write(&mut batch, out(7, 6, 1, &[])).unwrap();
    assert_eq!(sent(batch), full(7, 6, 0, 9, 1));
}

#[test]
fn a_body_is_written_like_its_bytes_and_stays_where_it_lies() {
    let long = Bytes::from((0..9000u32).map(|n| n as u8).collect::<Vec<u8>>());
    let whole = [&b"head"[..], &long, b"tail", &long[..10]].concat();
    for chunk_size in [128, 4096, 65_536] {
        let mut body = Batch::new();
        body.push_raw(b"head");
        body.push_bytes(long.clone());
        body.push_raw(b"tail");
        body.push_bytes(long.slice(..10));
        let (mut as_body, mut as_bytes) = (Batch::new(), Batch::new());
        let (mut one, mut other) = (ChunkWriter::new(), ChunkWriter::new());
        one.set_chunk_size(chunk_size, &mut as_body);
        other.set_chunk_size(chunk_size, &mut as_bytes);
        one.write_body(&mut as_body, out(7, 40, 1, &[]), &mut body).unwrap();
        other.write(&mut as_bytes, out(7, 40, 1, &[Bytes::from(whole.clone())])).unwrap();
        assert!(body.is_empty());
        assert_eq!(as_body.is_detached(), chunk_size == 128, "long parts are shared: {chunk_size}");
        assert_eq!(sent(as_body), sent(as_bytes), "{chunk_size}");
    }
}
