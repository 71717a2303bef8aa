//! Clients that mean harm, or are broken enough to look like it.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

#[test]
fn statement_40_a_16_mb_claim_is_read_over_without_being_kept() {
    let mut reader = ChunkReader::new(ReaderLimits::default());
    let mut input = BytesMut::from(&full(4, 0, MAX_MESSAGE_BYTES, 9, 1)[..]);
    let mut left = MAX_MESSAGE_BYTES;
    while left > 0 {
        let len = left.min(128);
        input.extend_from_slice(&[0; 128][..len]);
        left -= len;
        assert_eq!(reader.read(&mut input), Ok(None));
        assert!(input.is_empty());
        if left > 0 {
            input.extend_from_slice(&[0xC4]);
        }
    }
    assert_eq!(reader.skipped(), 1);

    let mut next = full(3, 0, 2, 20, 0);
    next.extend_from_slice(b"ok");
    assert_eq!(read_by(&mut reader, next, usize::MAX).unwrap(), [message(0, 20, 0, "ok")]);
}

#[test]
fn the_cap_is_inclusive() {
    let limits = ReaderLimits { message_bytes: 10, ..ReaderLimits::default() };
    let mut reader = ChunkReader::new(limits);
    let mut bytes = full(3, 0, 10, 20, 0);
    bytes.extend_from_slice(&[1; 10]);
    bytes.extend(full(3, 0, 11, 20, 0));
    bytes.extend_from_slice(&[2; 11]);
    assert_eq!(read_by(&mut reader, bytes, 3).unwrap(), [message(0, 20, 0, vec![1; 10])]);
    assert_eq!(reader.skipped(), 1);
}

#[test]
fn unfinished_messages_together_are_capped() {
    let limits = ReaderLimits { in_flight_bytes: 1000, ..ReaderLimits::default() };
    let mut reader = ChunkReader::new(limits);
    let mut bytes = Vec::new();
    for csid in 10..30 {
        bytes.extend(full(csid, 0, 200, 20, 0));
        bytes.extend_from_slice(&[csid; 128]);
    }
    assert_eq!(read_by(&mut reader, &bytes, 50).unwrap(), []);
    assert!(reader.skipped() >= 12, "{}", reader.skipped());

    // Those that were within the cap can still be finished, and then there is room again.
    let mut rest = Vec::new();
    for csid in 10..30 {
        rest.push(0xC0 | csid);
        rest.extend_from_slice(&[csid; 72]);
    }
    let finished = read_by(&mut reader, rest, usize::MAX).unwrap();
    assert_eq!(finished.len() as u64, 20 - reader.skipped());
    assert_eq!(read_by(&mut reader, [full(9, 0, 100, 20, 0), vec![1; 100]].concat(), 7).unwrap().len(), 1);
}

#[test]
fn chunk_streams_are_capped() {
    let mut reader = ChunkReader::new(ReaderLimits::default());
    let mut input = BytesMut::new();
    for csid in 64..65_599_u32 {
        input.extend_from_slice(&[0x01, (csid - 64) as u8, ((csid - 64) >> 8) as u8]);
        input.extend_from_slice(&full(0, 0, 0, 20, 0)[1..]);
        match reader.read(&mut input) {
            Ok(_) => assert!(csid < 64 + 64),
            Err(error) => {
                assert_eq!(error, ChunkError::TooManyChunkStreams(64));
                assert_eq!(csid, 64 + 64);
                return;
            }
        }
    }
    panic!("65 thousand chunk streams were accepted");
}

/// Messages of all kinds, as a base for mutations.
fn conversation(random: &mut StdRng) -> Vec<u8> {
    let mut out = Batch::new();
    let mut writer = ChunkWriter::new();
    for _ in 0..8 {
        if random.random_bool(0.2) {
            writer.set_chunk_size(random.random_range(128..300), &mut out);
        }
        let payload = [Bytes::from(vec![random.random(); random.random_range(0..400)])];
        let message = OutMessage {
            csid: random.random_range(3..70),
            timestamp: if random.random_bool(0.3) { random.random() } else { random.random_range(0..100) },
            type_id: random.random_range(0..24),
            stream_id: random.random_range(0..3),
            head: b"head",
            payload: &payload,
        };
        writer.write(&mut out, message).unwrap();
    }
    sent(out)
}

/// Seeded, so that a failure repeats. Nothing may panic, and what is held stays within the limits.
#[test]
fn mutated_conversations_never_panic() {
    let mut random = StdRng::seed_from_u64(40);
    for _ in 0..10_000 {
        let mut bytes = conversation(&mut random);
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes[at] = random.random(),
                1 => bytes.truncate(at.max(1)),
                2 => bytes[at] ^= 1 << random.random_range(0..8),
                _ => {
                    let piece = bytes[at..(at + 20).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        let limits = ReaderLimits { message_bytes: 300, chunk_streams: 8, in_flight_bytes: 600 };
        let step = random.random_range(1..200);
        let mut slow = ChunkReader::new(limits);
        let mut fast = ChunkReader::new(limits);
        let messages = read_by(&mut slow, &bytes, step);
        if let Ok(messages) = &messages {
            assert!(messages.iter().all(|message| message.payload.len() <= 300));
        }
        // Where nothing is skipped for want of room, pace makes no difference.
        let at_once = read_by(&mut fast, &bytes, usize::MAX);
        if slow.skipped() == 0 && fast.skipped() == 0 {
            assert_eq!(messages, at_once);
        }
    }
}
