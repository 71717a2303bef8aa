//! gRPC messages that carry blocks, without copying the blocks.
//!
//! tonic's own codec copies every message twice: into one buffer before it is sent, out of the connection's frames when it
//! arrives. For blocks of 1 MiB these two copies are 40 % of what the link costs. Here a message leaves as two pieces, its
//! [`head`] and the block itself, and [`Messages`] hands a block out as the very slice of the connection's buffer it arrived in.
//!
//! On the wire it is plain gRPC and plain protobuf, so either end may be anything else that speaks them: the head is the
//! gRPC prefix and the fields, `data` last (the order of fields is the writer's choice), cut off before its bytes. A reader
//! must not count on how messages fall into frames: a block that comes in several pieces, from another
//! writer or through a nearly used-up window, is put together with one copy.
//!
//! Failing: a message longer than the reader's limit, a compressed one (never asked for) and one that isn't protobuf
//! end the stream with a status, as they do in tonic.

use std::collections::VecDeque;
use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;

use crate::v1::ReadResponse;

/// gRPC's prefix of each message: whether it is compressed (one byte), and its length (four, big-endian).
const PREFIX_BYTES: usize = 5;
/// The number of [`ReadResponse::data`] in `shield.proto`.
const DATA_FIELD: u32 = 2;

/// Everything of `message` that goes before the bytes of its `data`: send this, then the data.
///
/// Only a message without data is complete with its head. Blocks are far below the 4 GiB a prefix can say.
pub fn head(message: &ReadResponse) -> Bytes {
    let fields = ReadResponse {
        offset: message.offset,
        data: Bytes::new(),
        version: message.version.clone(),
        size_bytes: message.size_bytes,
        content_type: message.content_type.clone(),
    };
    // Room for the prefix, and a key and a length before the data.
    let mut head = BytesMut::with_capacity(PREFIX_BYTES + fields.encoded_len() + 16);
    head.put_bytes(0, PREFIX_BYTES);
    head.put_slice(&fields.encode_to_vec());
    if !message.data.is_empty() {
        encode_key(DATA_FIELD, WireType::LengthDelimited, &mut head);
        encode_varint(message.data.len() as u64, &mut head);
    }
    let len = head.len() - PREFIX_BYTES + message.data.len();
    head[1..PREFIX_BYTES].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    head.freeze()
}

/// A whole message with its prefix, for messages too small to care.
pub fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + len);
    out.put_u8(0);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    let written = message.encode(&mut out);
    debug_assert!(written.is_ok(), "encoding fails for lack of room alone, and this buffer grows");
    out.freeze()
}

/// Reads messages from the pieces a connection delivers.
#[derive(Debug)]
pub struct Messages<M> {
    pieces: Pieces,
    /// The length of the message being waited for, once its prefix is here.
    len: Option<usize>,
    limit_bytes: usize,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Messages<M> {
    /// A reader of messages of at most `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self { pieces: Pieces::default(), len: None, limit_bytes, message: PhantomData }
    }

    /// Takes the next piece of the stream.
    pub fn push(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }

    /// The next message, if all of it is here.
    pub fn take(&mut self) -> Result<Option<M>, Status> {
        let len = match self.len {
            Some(len) => len,
            None if self.pieces.remaining() < PREFIX_BYTES => return Ok(None),
            None => {
                let compressed = self.pieces.get_u8();
                let len = self.pieces.get_u32() as usize;
                if compressed != 0 {
                    return Err(Status::internal(format!("a message with compression flag {compressed}")));
                }
                if len > self.limit_bytes {
                    let text = format!("a message of {len} bytes, the limit is {}", self.limit_bytes);
                    return Err(Status::out_of_range(text));
                }
                *self.len.insert(len)
            }
        };
        if self.pieces.remaining() < len {
            return Ok(None);
        }
        self.len = None;
        let after = self.pieces.remaining() - len;
        let message = M::decode((&mut self.pieces).take(len))
            .map_err(|e| Status::internal(format!("a message that can't be read: {e}")))?;
        debug_assert_eq!(self.pieces.remaining(), after, "a decoder reads to the end");
        Ok(Some(message))
    }

    /// Whether the stream may end here: nothing of a further message has come.
    pub fn is_between_messages(&self) -> bool {
        self.len.is_none() && !self.pieces.has_remaining()
    }
}

/// Pieces read as one, of which a run of bytes within one piece is taken without a copy.
#[derive(Debug, Default)]
struct Pieces {
    /// None of them empty.
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "advanced by {count} of {} bytes", self.len);
        self.len -= count;
        while let Some(front) = self.pieces.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        assert!(len <= self.len, "asked for {len} of {} bytes", self.len);
        match self.pieces.front_mut() {
            Some(front) if front.len() == len => {
                self.len -= len;
                self.pieces.pop_front().unwrap_or_default()
            }
            Some(front) if front.len() > len => {
                self.len -= len;
                front.split_to(len)
            }
            _ => {
                let mut copy = BytesMut::with_capacity(len);
                copy.put(self.take(len));
                copy.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn response(data: Bytes) -> ReadResponse {
        ReadResponse {
            offset: 5 << 20,
            data,
            version: "\"etag\"".into(),
            size_bytes: 1 << 40,
            content_type: "video/mp4".into(),
        }
    }

    fn ours(message: &ReadResponse) -> Bytes {
        [head(message), message.data.clone()].concat().into()
    }

    #[test]
    fn what_we_send_any_reader_of_protobuf_reads() {
        for data in [Bytes::new(), Bytes::from_static(b"x"), Bytes::from(vec![7; 1 << 20])] {
            for message in [response(data.clone()), ReadResponse { data, ..Default::default() }] {
                let sent = ours(&message);
                assert_eq!(sent[0], 0);
                assert_eq!(sent[1..5], (sent.len() as u32 - 5).to_be_bytes());
                assert_eq!(ReadResponse::decode(&sent[5..]).unwrap(), message);
                assert_eq!(sent.len(), framed(&message).len());
            }
        }
    }

    #[test]
    fn a_block_in_a_piece_of_its_own_is_not_copied() {
        let message = response(Bytes::from(vec![7; 1 << 20]));
        let mut messages = Messages::<ReadResponse>::new(4 << 20);
        messages.push(head(&message));
        assert!(messages.take().unwrap().is_none());
        assert!(!messages.is_between_messages());
        messages.push(message.data.clone());
        let read = messages.take().unwrap().unwrap();
        assert_eq!(read, message);
        assert_eq!(read.data.as_ptr(), message.data.as_ptr());
        assert!(messages.is_between_messages() && messages.take().unwrap().is_none());
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        for (bytes, code) in [
            (&[1, 0, 0, 0, 0][..], tonic::Code::Internal),
            (&[0, 0, 0, 0, 101], tonic::Code::OutOfRange),
            (&[0, 255, 255, 255, 255], tonic::Code::OutOfRange),
            (&[0, 0, 0, 0, 2, 0x12, 9], tonic::Code::Internal),
            (&[0, 0, 0, 0, 1, 0xff], tonic::Code::Internal),
        ] {
            let mut messages = Messages::<ReadResponse>::new(100);
            messages.push(Bytes::from_static(bytes));
            assert_eq!(messages.take().unwrap_err().code(), code, "{bytes:?}");
        }
    }

    proptest! {
        /// Either writer, cut anywhere: the same messages come out.
        #[test]
        fn however_a_stream_is_cut_the_same_messages_come_out(
            lens in proptest::collection::vec((0_usize..3_000, any::<bool>()), 1..6),
            cuts in proptest::collection::vec(1_usize..1_500, 1..30),
        ) {
            let sent: Vec<_> =
                lens.iter().map(|(len, _)| response((0..*len).map(|i| i as u8).collect())).collect();
            let mut wire = BytesMut::new();
            for (message, (_, by_prost)) in sent.iter().zip(&lens) {
                wire.put(if *by_prost { framed(message) } else { ours(message) });
            }
            let mut wire = wire.freeze();
            let mut messages = Messages::<ReadResponse>::new(1 << 20);
            let mut got = Vec::new();
            for cut in cuts.iter().cycle() {
                messages.push(wire.split_to((*cut).min(wire.len())));
                while let Some(message) = messages.take().unwrap() {
                    got.push(message);
                }
                if wire.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, sent);
            prop_assert!(messages.is_between_messages());
        }
    }
}
