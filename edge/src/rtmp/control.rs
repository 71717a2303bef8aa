//! Control messages, types 1 to 6: chunk sizes, acknowledgements and user control events.
//!
//! Those we send are put together by `rml_rtmp`: on chunk stream 2, message stream 0, timestamp 0, always with a full
//! header, so that they need no state and mix with [`super::chunk::ChunkWriter`]'s messages between any two of them. All
//! are shorter than the smallest chunk size in use. Those we receive are read here, because `rml_rtmp` refuses events it
//! does not know, and SWF verification answers must not end a session.
//!
//! Reading never fails: what is too short or unknown is [`None`] or [`UserControl::Other`].

use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::{PeerBandwidthLimitType, RtmpMessage, UserControlEventType};
use rml_rtmp::time::RtmpTimestamp;

use super::chunk::Batch;
use super::message::{Message, type_id};

/// Type 1: our chunks carry this many bytes from now on. [`super::chunk::ChunkWriter::set_chunk_size`] says and applies it.
pub(super) fn set_chunk_size(bytes: u32, out: &mut Batch) {
    send(RtmpMessage::SetChunkSize { size: bytes }, out);
}

/// Type 3: we have received this many bytes, modulo 2^32.
pub fn acknowledgement(bytes: u32, out: &mut Batch) {
    send(RtmpMessage::Acknowledgement { sequence_number: bytes }, out);
}

/// Type 5: acknowledge whenever this many bytes have arrived.
pub fn window_ack_size(bytes: u32, out: &mut Batch) {
    send(RtmpMessage::WindowAcknowledgement { size: bytes }, out);
}

/// Type 6, limit 2 (dynamic), which is what FMS sends.
pub fn set_peer_bandwidth(bytes: u32, out: &mut Batch) {
    send(RtmpMessage::SetPeerBandwidth { size: bytes, limit_type: PeerBandwidthLimitType::Dynamic }, out);
}

/// Event 0: the stream is usable; stream 0 is the connection.
pub fn stream_begin(stream_id: u32, out: &mut Batch) {
    stream_event(UserControlEventType::StreamBegin, stream_id, out);
}

/// Event 1: playback on the stream is over or interrupted.
pub fn stream_eof(stream_id: u32, out: &mut Batch) {
    stream_event(UserControlEventType::StreamEof, stream_id, out);
}

/// Event 4: the stream is a recorded one.
pub fn stream_is_recorded(stream_id: u32, out: &mut Batch) {
    stream_event(UserControlEventType::StreamIsRecorded, stream_id, out);
}

/// Event 31: a whole client buffer has been sent, and nothing follows until it has played.
pub fn buffer_empty(stream_id: u32, out: &mut Batch) {
    stream_event(UserControlEventType::BufferEmpty, stream_id, out);
}

/// Event 32: sending goes on after event 31.
pub fn buffer_ready(stream_id: u32, out: &mut Batch) {
    stream_event(UserControlEventType::BufferReady, stream_id, out);
}

/// Event 6: are you there? The client answers with event 7 and the same number.
pub fn ping_request(timestamp_ms: u32, out: &mut Batch) {
    send(
        RtmpMessage::UserControl {
            event_type: UserControlEventType::PingRequest,
            stream_id: None,
            buffer_length: None,
            timestamp: Some(RtmpTimestamp::new(timestamp_ms)),
        },
        out,
    );
}

/// Event 26: which SWF file are you? The last byte is the version of the question; librtmp refuses later ones.
pub fn swf_verify_request(out: &mut Batch) {
    // rml_rtmp doesn't know the event: chunk stream 2, time 0, three bytes, user control, stream 0.
    out.push_raw(&[2, 0, 0, 0, 0, 0, 3, type_id::USER_CONTROL, 0, 0, 0, 0, 0, 26, 1]);
}

/// Event 7: the answer to a client's ping.
pub fn ping_response(timestamp_ms: u32, out: &mut Batch) {
    send(
        RtmpMessage::UserControl {
            event_type: UserControlEventType::PingResponse,
            stream_id: None,
            buffer_length: None,
            timestamp: Some(RtmpTimestamp::new(timestamp_ms)),
        },
        out,
    );
}

fn stream_event(event_type: UserControlEventType, stream_id: u32, out: &mut Batch) {
    send(
        RtmpMessage::UserControl {
            event_type,
            stream_id: Some(stream_id),
            buffer_length: None,
            timestamp: None,
        },
        out,
    );
}

fn send(message: RtmpMessage, out: &mut Batch) {
    // A fresh serializer each time: uncompressed headers refer to nothing that was sent before.
    let packet = message
        .into_message_payload(RtmpTimestamp::new(0), 0)
        .map_err(|error| error.to_string())
        .and_then(|payload| {
            ChunkSerializer::new().serialize(&payload, true, false).map_err(|error| error.to_string())
        });
    match packet {
        Ok(packet) => out.push_raw(&packet.bytes),
        // Every message above has all the fields its type needs and fits one chunk, so this says a dependency changed.
        Err(error) => tracing::error!(%error, "control message could not be serialized"),
    }
}

/// A control message from a client, other than those the chunk reader applies itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Type 3: the client has received this many bytes, modulo 2^32.
    Acknowledgement(u32),
    /// Type 4.
    User(UserControl),
    /// Type 5: the client wants an acknowledgement each time it has sent this many bytes.
    WindowAckSize(u32),
    /// Type 6: the client wants no more than this many bytes outstanding; the limit type follows.
    SetPeerBandwidth(u32, u8),
}

/// A user control event from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserControl {
    /// Event 3: how much the client buffers. It may come before `play`, then on stream 0, and at any time later.
    SetBufferLength {
        /// Message stream.
        stream: u32,
        /// Milliseconds.
        ms: u32,
    },
    /// Event 6.
    PingRequest(u32),
    /// Event 7.
    PingResponse(u32),
    /// Event 27: an answer to SWF verification, asked for or not.
    SwfVerifyResponse,
    /// Any other event, or one too short to have its fields.
    Other(u16),
}

impl Control {
    /// Reads a message of type 3 to 6; `None` for other types and for bodies too short to mean anything.
    pub fn parse(message: &Message) -> Option<Self> {
        let body = &message.payload[..];
        match message.type_id {
            type_id::ACKNOWLEDGEMENT => Some(Self::Acknowledgement(u32_at(body, 0)?)),
            type_id::USER_CONTROL => Some(Self::User(UserControl::parse(body)?)),
            type_id::WINDOW_ACK_SIZE => Some(Self::WindowAckSize(u32_at(body, 0)?)),
            type_id::SET_PEER_BANDWIDTH => {
                Some(Self::SetPeerBandwidth(u32_at(body, 0)?, body.get(4).copied().unwrap_or(2)))
            }
            _ => None,
        }
    }
}

impl UserControl {
    /// Reads the body of a type-4 message; `None` if it has no event number.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let event = u16::from_be_bytes(body.get(..2)?.try_into().ok()?);
        let known = match event {
            3 => {
                u32_at(body, 2).zip(u32_at(body, 6)).map(|(stream, ms)| Self::SetBufferLength { stream, ms })
            }
            6 => u32_at(body, 2).map(Self::PingRequest),
            7 => u32_at(body, 2).map(Self::PingResponse),
            27 => Some(Self::SwfVerifyResponse),
            _ => None,
        };
        Some(known.unwrap_or(Self::Other(event)))
    }
}

fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use bytes::{Buf, Bytes};

    use super::*;

    fn sent(write: impl FnOnce(&mut Batch)) -> Vec<u8> {
        let mut out = Batch::new();
        write(&mut out);
        out.copy_to_bytes(out.remaining()).to_vec()
    }

    fn on_the_wire(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 0, body.len() as u8, kind, 0, 0, 0, 0];
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn control_messages_have_full_headers_on_chunk_stream_2() {
        assert_eq!(sent(|out| set_chunk_size(4096, out)), on_the_wire(1, &[0, 0, 0x10, 0]));
        assert_eq!(sent(|out| acknowledgement(7, out)), on_the_wire(3, &[0, 0, 0, 7]));
        assert_eq!(sent(|out| window_ack_size(2_500_000, out)), on_the_wire(5, &[0, 0x26, 0x25, 0xA0]));
        assert_eq!(sent(|out| set_peer_bandwidth(2_500_000, out)), on_the_wire(6, &[0, 0x26, 0x25, 0xA0, 2]));
    }

    #[test]
    fn the_question_for_a_swf_has_a_version() {
        assert_eq!(sent(swf_verify_request), on_the_wire(4, &[0, 26, 1]));
    }

    #[test]
    fn user_control_events_carry_their_number_and_stream() {
        for (event, write) in [
            (0, stream_begin as fn(u32, &mut Batch)),
            (1, stream_eof),
            (4, stream_is_recorded),
            (6, ping_request),
            (7, ping_response),
            (31, buffer_empty),
            (32, buffer_ready),
        ] {
            assert_eq!(
                sent(|out| write(0x0102, out)),
                on_the_wire(4, &[0, event, 0, 0, 1, 2]),
                "event {event}"
            );
        }
    }

    #[test]
    fn known_events_are_read_and_unknown_ones_survive() {
        let buffer = [0, 3, 0, 0, 0, 1, 0x02, 0x25, 0x51, 0x00];
        assert_eq!(
            UserControl::parse(&buffer),
            Some(UserControl::SetBufferLength { stream: 1, ms: 36_000_000 })
        );
        assert_eq!(UserControl::parse(&buffer[..9]), Some(UserControl::Other(3)));
        assert_eq!(UserControl::parse(&[0, 27, 1, 1, 0]), Some(UserControl::SwfVerifyResponse));
        assert_eq!(UserControl::parse(&[0, 26, 1]), Some(UserControl::Other(26)));
        assert_eq!(UserControl::parse(&[0, 99]), Some(UserControl::Other(99)));
        assert_eq!(UserControl::parse(&[0, 7, 0, 0, 0, 5]), Some(UserControl::PingResponse(5)));
        assert_eq!(UserControl::parse(&[0]), None);
    }

    #[test]
    fn control_messages_are_told_by_type() {
        let message = |type_id, payload: &'static [u8]| Message {
            timestamp: 0,
            type_id,
            stream_id: 0,
            payload: Bytes::from_static(payload),
        };
        assert_eq!(Control::parse(&message(3, &[0, 0, 1, 0])), Some(Control::Acknowledgement(256)));
        assert_eq!(Control::parse(&message(5, &[0, 0, 1, 0])), Some(Control::WindowAckSize(256)));
        assert_eq!(Control::parse(&message(6, &[0, 0, 1, 0, 1])), Some(Control::SetPeerBandwidth(256, 1)));
        assert_eq!(Control::parse(&message(5, &[0, 0, 1])), None);
        assert_eq!(Control::parse(&message(20, &[0, 0, 1, 0])), None);
    }
}
