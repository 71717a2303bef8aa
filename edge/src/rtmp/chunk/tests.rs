//! Tests of `rtmp/chunk`.

use bytes::{Buf, Bytes, BytesMut};

use super::*;
use crate::rtmp::message::{Message, type_id};

mod batch;
mod hostile;
mod interop;
mod reader;
mod round_trip;
mod writer;

/// Everything in a batch, as the peer would receive it.
fn sent(mut batch: Batch) -> Vec<u8> {
    batch.copy_to_bytes(batch.remaining()).to_vec()
}

/// Reads all messages, feeding `step` bytes at a time.
fn read_by(
    reader: &mut ChunkReader,
    bytes: impl AsRef<[u8]>,
    step: usize,
) -> Result<Vec<Message>, ChunkError> {
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for piece in bytes.as_ref().chunks(step) {
        input.extend_from_slice(piece);
        while let Some(message) = reader.read(&mut input)? {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// Reads all messages with a fresh reader, all at once and byte by byte, which must come to the same.
fn read(bytes: impl AsRef<[u8]>) -> Result<Vec<Message>, ChunkError> {
    let at_once = read_by(&mut ChunkReader::new(ReaderLimits::default()), &bytes, usize::MAX);
    let byte_by_byte = read_by(&mut ChunkReader::new(ReaderLimits::default()), &bytes, 1);
    assert_eq!(at_once, byte_by_byte);
    at_once
}

/// A message with a payload in one slice.
fn message(timestamp: u32, type_id: u8, stream_id: u32, payload: impl Into<Bytes>) -> Message {
    Message { timestamp, type_id, stream_id, payload: payload.into() }
}

/// A type-0 header.
fn full(csid: u8, timestamp: u32, len: usize, type_id: u8, stream_id: u8) -> Vec<u8> {
    let mut header = vec![csid];
    header.extend_from_slice(&timestamp.min(EXTENDED).to_be_bytes()[1..]);
    header.extend_from_slice(&(len as u32).to_be_bytes()[1..]);
    header.extend_from_slice(&[type_id, stream_id, 0, 0, 0]);
    if timestamp >= EXTENDED {
        header.extend_from_slice(&timestamp.to_be_bytes());
    }
    header
}
