//! What a send or idle is answered with, kept so that it can be said again.

use std::sync::Arc;

use bytes::Bytes;

use crate::budget::{Account, Charge};
use crate::rtmp::chunk::Batch;

/// An answer's body.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The polling byte alone.
    Byte(u8),
    /// The polling byte and RTMP bytes.
    Data(Arc<Data>),
}

/// The body of an answer with data: the one that is on its way and the one that is kept are the same.
#[derive(Debug)]
pub(crate) struct Data {
    /// Slices; the first begins with the polling byte.
    pub(crate) parts: Vec<Bytes>,
    pub(crate) len_bytes: usize,
    _charge: Charge,
}

impl Data {
    /// Takes up to `most_bytes` from `batch`; how many. What is copied is charged to `account`.
    pub(crate) fn take(
        batch: &mut Batch,
        polling_byte: u8,
        most_bytes: usize,
        detached: bool,
        account: &Arc<Account>,
    ) -> (Arc<Self>, usize) {
        let mut parts = Vec::new();
        let (taken, copied) = batch.take_parts(polling_byte, most_bytes, detached, &mut parts);
        let own = parts.capacity() * size_of::<Bytes>() + copied;
        let data = Self { parts, len_bytes: taken + 1, _charge: Charge::new(account, own as u64) };
        (Arc::new(data), taken)
    }
}

/// Why a request gets a 4xx, or the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A sequence number too far ahead.
    Jump,
    /// More bytes than are held for a session.
    Flood,
    /// The same number again and again.
    Replays,
    /// A number that never came.
    Gap,
    /// An answer did not arrive and was not asked for again: bytes are missing.
    Lost,
    /// The session has ended.
    Ended,
    /// No session has that id, or none any more.
    Unknown,
    /// Too many such ids.
    Guesses,
    /// No room for more sessions.
    Full,
    /// No room for more sessions of this address.
    FullAddress,
    /// No memory for more sessions.
    Memory,
    /// The edge is shutting down.
    Closing,
    /// A path, a length or a coding that isn't of the protocol.
    Request,
    /// No Content-Length.
    Length,
    /// A body over the limit.
    Body,
    /// A body that didn't come.
    Slow,
    /// A method other than POST.
    Method,
}

impl Refusal {
    /// Its HTTP status, its label in metrics, and a sentence for people.
    pub(crate) fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Jump => (400, "tunnel_sequence", "the sequence number is too far ahead"),
            Self::Flood => (429, "tunnel_input", "more was sent than the session has taken"),
            Self::Replays => (429, "tunnel_replays", "the answer was asked for too often"),
            Self::Gap => (410, "tunnel_gap", "a request never came; the session has ended"),
            Self::Lost => (410, "tunnel_lost", "an answer was lost; the session has ended"),
            Self::Ended => (404, "tunnel_ended", "the session has ended"),
            Self::Unknown => (404, "tunnel_unknown", "there is no such session here; open a new one"),
            Self::Guesses => (429, "tunnel_guesses", "too many requests for sessions that don't exist"),
            Self::Full => (503, "tunnel_sessions", "the server has no room for more sessions"),
            Self::FullAddress => (503, "tunnel_sessions_per_address", "too many sessions from this address"),
            Self::Memory => (503, "memory", "the server has no memory left for more sessions"),
            Self::Closing => (503, "draining", "the server is shutting down; try again to reach another"),
            Self::Request => (400, "tunnel_request", "not a request of a tunnel"),
            Self::Length => (411, "tunnel_length", "a Content-Length is needed"),
            Self::Body => (413, "tunnel_body", "the body is too large"),
            Self::Slow => (408, "tunnel_slow", "the body did not come in time"),
            Self::Method => (405, "tunnel_method", "a tunnel takes POST only"),
        }
    }
}
