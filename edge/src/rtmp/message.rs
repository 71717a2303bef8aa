//! One RTMP message: what chunks are assembled into.
//!
//! A message is plain data and can't fail; what its payload means is [`super::command`]'s and [`super::control`]'s matter.

use bytes::Bytes;

/// A whole message as a peer sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds, modulo 2^32; deltas have been added up.
    pub timestamp: u32,
    /// One of [`type_id`], or something this edge ignores.
    pub type_id: u8,
    /// The message stream it belongs to; 0 is the connection itself.
    pub stream_id: u32,
    /// The body.
    pub payload: Bytes,
}

/// Message types (RTMP specification 1.0, sections 5.4 and 7.1).
pub mod type_id {
    /// Set Chunk Size; applied by the chunk reader.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort; applied by the chunk reader.
    pub const ABORT: u8 = 2;
    /// Acknowledgement: bytes received so far.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User control event.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3 clothing.
    pub const DATA_AMF3: u8 = 15;
    /// Command in AMF3 clothing: a zero byte, then AMF0 values.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data: a name and values (`onMetaData` and the like).
    pub const DATA: u8 = 18;
    /// Command.
    pub const COMMAND: u8 = 20;
    /// Aggregate: FLV tags in one message.
    pub const AGGREGATE: u8 = 22;
}
