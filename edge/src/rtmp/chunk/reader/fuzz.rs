//! Fuzz target: chunks from a client.

use bytes::{Buf, Bytes, BytesMut};
use proto::fuzzing::Input;

use super::{ChunkReader, ReaderLimits};
use crate::fuzzing::pieces;
use crate::rtmp::Message;
use crate::rtmp::chunk::{Batch, ChunkError, ChunkWriter, INITIAL_CHUNK_SIZE, OutMessage};
use crate::rtmp::message::type_id;

/// Longest chunk header: 3 bytes of chunk stream, 11 of message header, 4 of extended timestamp.
const HEADER_BYTES: usize = 18;

/// What a reader made of the bytes.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    messages: Vec<Message>,
    skipped: u64,
    error: Option<ChunkError>,
}

fn read<'a>(deliveries: impl Iterator<Item = &'a [u8]>, limits: ReaderLimits) -> Outcome {
    let mut reader = ChunkReader::new(limits);
    let mut input = BytesMut::new();
    let mut outcome = Outcome::default();
    for piece in deliveries {
        input.extend_from_slice(piece);
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => {
                    assert!(message.payload.len() <= limits.message_bytes);
                    outcome.messages.push(message);
                }
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
            check_memory(&reader);
        }
        check_memory(&reader);
        outcome.skipped = reader.skipped();
        if outcome.error.is_some() {
            break;
        }
        assert!(input.len() < HEADER_BYTES, "{} bytes are left unread", input.len());
    }
    outcome
}

/// What is held is what is counted, and within the limits.
fn check_memory(reader: &ChunkReader) {
    let kept = || reader.streams.values().filter_map(|stream| stream.assembly.as_ref()?.kept.as_ref());
    let held: usize = kept().map(BytesMut::len).sum();
    assert_eq!(held, reader.in_flight_bytes);
    assert!(held <= reader.limits.in_flight_bytes);
    assert!(reader.streams.len() <= reader.limits.chunk_streams);
    let room: usize = kept().map(BytesMut::capacity).sum();
    assert!(room <= 2 * held + 64 * reader.limits.chunk_streams, "{room} bytes of room for {held}");
}

/// The first byte chooses how the bytes arrive, the second the limits; the rest is what the client sends.
pub fn chunks(data: &[u8]) {
    let mut choices = Input::new(data);
    let (seed, limits) = (choices.u8(), choices.u8());
    let limits = match limits % 4 {
        0 => ReaderLimits::default(),
        1 => ReaderLimits { message_bytes: 300, chunk_streams: 8, in_flight_bytes: 600 },
        2 => ReaderLimits { message_bytes: 4096, chunk_streams: 3, in_flight_bytes: 500 },
        _ => ReaderLimits { message_bytes: 0, chunk_streams: 2, in_flight_bytes: 0 },
    };
    let sent = choices.rest();
    let outcome = read(std::iter::once(sent), limits);
    assert_eq!(outcome, read(pieces(sent, seed), limits), "how bytes arrive makes a difference");
    assert_eq!(outcome, read(sent.chunks(1), limits), "one byte at a time makes a difference");
    assert!(outcome.messages.len() + outcome.skipped as usize <= sent.len());
    for message in &outcome.messages {
        assert!(!matches!(message.type_id, type_id::SET_CHUNK_SIZE | type_id::ABORT));
    }
    say_again(&outcome.messages, u32::from(seed) * 17 + INITIAL_CHUNK_SIZE);
}

/// What was read can be written and reads the same.
fn say_again(messages: &[Message], chunk_size: u32) {
    let (mut out, mut writer) = (Batch::new(), ChunkWriter::new());
    writer.set_chunk_size(chunk_size, &mut out);
    for message in messages {
        let (head, rest) = message.payload.split_at(message.payload.len().min(5));
        let written = OutMessage {
            csid: 3 + message.stream_id % 40,
            timestamp: message.timestamp,
            type_id: message.type_id,
            stream_id: message.stream_id,
            head,
            payload: &[Bytes::copy_from_slice(rest)],
        };
        assert_eq!(writer.write(&mut out, written), Ok(()));
    }
    let bytes = out.copy_to_bytes(out.remaining());
    let limits = ReaderLimits { message_bytes: 1 << 20, chunk_streams: 64, in_flight_bytes: 1 << 20 };
    let again = read(std::iter::once(&bytes[..]), limits);
    assert_eq!(again, Outcome { messages: messages.to_vec(), ..Outcome::default() });
}
