//! Tests of `rtmp/chunk/reader`.

use super::*;

#[test]
fn short_headers_inherit_from_the_last_message() {
    let mut bytes = full(8, 100, 2, 20, 1);
    bytes.extend_from_slice(b"ab");
    bytes.extend_from_slice(&[0x48, 0, 0, 5, 0, 0, 3, 18]);
    bytes.extend_from_slice(b"cde");
    bytes.extend_from_slice(&[0x88, 0, 0, 7]);
    bytes.extend_from_slice(b"fgh");
    bytes.extend_from_slice(&[0xC8]);
    bytes.extend_from_slice(b"ijk");
    assert_eq!(
        read(bytes).unwrap(),
        [
            message(100, 20, 1, "ab"),
            message(105, 18, 1, "cde"),
            message(112, 18, 1, "fgh"),
            message(119, 18, 1, "ijk")
        ]
    );
}

#[test]
fn a_wrapped_negative_delta_wraps() {
    let mut bytes = full(8, 1000, 1, 20, 1);
    bytes.extend_from_slice(b"a");
    bytes.extend_from_slice(&[0x48, 0xFF, 0xFF, 0xFF, 0, 0, 1, 20, 0xFF, 0xFF, 0xFF, 0x66]);
    bytes.extend_from_slice(b"b");
    assert_eq!(read(bytes).unwrap()[1], message(1000 - 154, 20, 1, "b"));
}

#[test]
fn a_stream_may_begin_with_a_header_without_stream_id() {
    let bytes = [0x48, 0, 0, 5, 0, 0, 1, 20, b'x'];
    assert_eq!(read(bytes).unwrap(), [message(5, 20, 0, "x")]);
}

#[test]
fn a_stream_cannot_begin_without_a_length() {
    assert_eq!(read([0x88, 0, 0, 5]), Err(ChunkError::NoMessageHeader(8)));
    assert_eq!(read([0xC3]), Err(ChunkError::NoMessageHeader(3)));
}

#[test]
fn chunk_stream_ids_take_one_to_three_bytes() {
    let mut bytes = Vec::new();
    for basic in [&[0x3F][..], &[0x00, 0], &[0x00, 255], &[0x01, 0, 1], &[0x01, 255, 255]] {
        bytes.extend_from_slice(basic);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 200, 20, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[9; 128]);
    }
    for basic in [&[0xFF][..], &[0xC0, 0], &[0xC0, 255], &[0xC1, 0, 1], &[0xC1, 255, 255]] {
        bytes.extend_from_slice(basic);
        bytes.extend_from_slice(&[9; 72]);
    }
    assert_eq!(read(bytes).unwrap(), vec![message(0, 20, 0, vec![9; 200]); 5]);
}

#[test]
fn chunk_streams_interleave() {
    let mut bytes = full(3, 10, 300, 20, 0);
    bytes.extend_from_slice(&[1; 128]);
    bytes.extend(full(8, 20, 150, 18, 1));
    bytes.extend_from_slice(&[2; 128]);
    bytes.push(0xC3);
    bytes.extend_from_slice(&[1; 128]);
    bytes.push(0xC8);
    bytes.extend_from_slice(&[2; 22]);
    bytes.push(0xC3);
    bytes.extend_from_slice(&[1; 44]);
    assert_eq!(read(bytes).unwrap(), [message(20, 18, 1, vec![2; 150]), message(10, 20, 0, vec![1; 300])]);
}

#[test]
fn extended_timestamps_may_or_may_not_be_repeated() {
    for repeated in [true, false] {
        let mut bytes = full(3, 0x0100_0000, 300, 20, 0);
        for (index, len) in [128, 128, 44].into_iter().enumerate() {
            if index > 0 {
                bytes.push(0xC3);
                if repeated {
                    bytes.extend_from_slice(&0x0100_0000_u32.to_be_bytes());
                }
            }
            bytes.extend(vec![5; len]);
        }
        assert_eq!(read(bytes).unwrap(), [message(0x0100_0000, 20, 0, vec![5; 300])], "repeated: {repeated}");
    }
}

#[test]
fn a_last_chunk_shorter_than_an_extended_timestamp_is_not_waited_for() {
    let mut bytes = full(3, 0x0100_0000, 129, 20, 0);
    bytes.extend_from_slice(&[5; 128]);
    bytes.extend_from_slice(&[0xC3, 5]);
    assert_eq!(read(bytes).unwrap().len(), 1);
}

#[test]
fn a_header_repeated_in_mid_message_continues_it() {
    let mut bytes = full(3, 7, 150, 20, 0);
    bytes.extend_from_slice(&[5; 128]);
    bytes.extend(full(3, 7, 150, 20, 0));
    bytes.extend_from_slice(&[6; 22]);
    assert_eq!(read(bytes).unwrap(), [message(7, 20, 0, [vec![5; 128], vec![6; 22]].concat())]);
}

#[test]
fn another_header_in_mid_message_begins_anew() {
    let mut bytes = full(3, 7, 150, 20, 0);
    bytes.extend_from_slice(&[5; 128]);
    bytes.extend(full(3, 8, 2, 20, 0));
    bytes.extend_from_slice(b"ok");
    assert_eq!(read(bytes).unwrap(), [message(8, 20, 0, "ok")]);
}

#[test]
fn set_chunk_size_applies_from_the_next_chunk_on() {
    let mut bytes = full(3, 0, 300, 20, 0);
    bytes.extend_from_slice(&[1; 128]);
    bytes.extend(full(2, 0, 4, type_id::SET_CHUNK_SIZE, 0));
    bytes.extend_from_slice(&4096_u32.to_be_bytes());
    bytes.push(0xC3);
    bytes.extend_from_slice(&[1; 172]);
    assert_eq!(read(bytes).unwrap(), [message(0, 20, 0, vec![1; 300])]);
}

#[test]
fn absurd_chunk_sizes_are_clamped() {
    // 0 counts as 1; the highest bit does not count.
    for size in [0_u32, 0x8000_0000, 1] {
        let mut bytes = full(2, 0, 4, type_id::SET_CHUNK_SIZE, 0);
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend(full(3, 0, 3, 20, 0));
        bytes.extend_from_slice(&[b'a', 0xC3, b'b', 0xC3, b'c']);
        assert_eq!(read(bytes).unwrap(), [message(0, 20, 0, "abc")], "size {size:#x}");
    }
    let mut bytes = full(2, 0, 4, type_id::SET_CHUNK_SIZE, 0);
    bytes.extend_from_slice(&0x7FFF_FFFF_u32.to_be_bytes());
    bytes.extend(full(3, 0, 60_000, 20, 0));
    bytes.extend_from_slice(&[4; 60_000]);
    assert_eq!(read(bytes).unwrap(), [message(0, 20, 0, vec![4; 60_000])]);
}

#[test]
fn abort_drops_the_unfinished_message() {
    let mut bytes = full(3, 0, 300, 20, 0);
    bytes.extend_from_slice(&[1; 128]);
    bytes.extend(full(2, 0, 4, type_id::ABORT, 0));
    bytes.extend_from_slice(&3_u32.to_be_bytes());
    bytes.push(0xC3);
    bytes.extend_from_slice(&[2; 128]);
    bytes.push(0xC3);
    bytes.extend_from_slice(&[2; 128]);
    bytes.push(0xC3);
    bytes.extend_from_slice(&[2; 44]);
    assert_eq!(read(bytes).unwrap(), [message(0, 20, 0, vec![2; 300])]);
}

#[test]
fn aborts_of_nothing_and_short_control_messages_are_harmless() {
    let mut bytes = Vec::new();
    for (kind, body) in [
        (type_id::ABORT, &[0, 0, 0, 99][..]),
        (type_id::ABORT, &[0, 0, 0, 2]),
        (type_id::ABORT, &[1]),
        (type_id::SET_CHUNK_SIZE, &[]),
        (type_id::SET_CHUNK_SIZE, &[0, 1]),
    ] {
        bytes.extend(full(2, 0, body.len(), kind, 0));
        bytes.extend_from_slice(body);
    }
    bytes.extend(full(3, 0, 2, 20, 0));
    bytes.extend_from_slice(b"ok");
    assert_eq!(read(bytes).unwrap(), [message(0, 20, 0, "ok")]);
}

#[test]
fn empty_messages_are_messages() {
    let mut bytes = full(3, 4, 0, 8, 1);
    bytes.push(0xC3);
    bytes.extend(full(3, 9, 1, 20, 0));
    bytes.push(b'x');
    assert_eq!(read(bytes).unwrap(), [message(4, 8, 1, ""), message(8, 8, 1, ""), message(9, 20, 0, "x")]);
}
