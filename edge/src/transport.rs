//! How a session's bytes travel: readiness and non-blocking reads and writes.
//!
//! Sessions are *pulled*: a session owns its queue of outgoing bytes, and the transport takes from it when the peer can take. Waiting and
//! moving bytes are separate calls, so a session can wait for "readable or writable" at once without splitting the
//! transport, and dropping a wait loses nothing. Transports compose: [`encrypted`] puts RTMPE's cipher around any other.

use std::future::Future;
use std::io;

use bytes::BytesMut;

use crate::rtmp::chunk::Batch;

pub mod encrypted;
pub mod tcp;
pub mod tls;
pub mod tunnel;

/// What a transport has taken out of a session's batch and not passed on yet. It is queued as much as what is in the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes to send.
    pub len_bytes: usize,
    /// Bytes of memory that takes.
    pub own_bytes: usize,
}

/// A byte stream to one viewer.
pub trait Transport: Send {
    /// Waits until [`try_read`](Self::try_read) may bring something. Cancel-safe.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits until [`try_write`](Self::try_write) may take something. Cancel-safe.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Reads what is there into `buffer`: `Ok(0)` is the end of the stream, `WouldBlock` means nothing is there now.
    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Writes from the front of `batch`, which it shortens by what it took. `WouldBlock` when nothing can be taken now.
    ///
    /// One that holds bytes itself ([`held`](Self::held)) writes those first, is called while there are any even if `batch` is empty, and
    /// says how many bytes left it; it may shorten `batch` by more than that, and also when nothing could leave.
    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize>;

    /// What it holds: nothing, if it passes everything on at once.
    fn held(&self) -> Held {
        Held::default()
    }

    /// Tells the peer that no more comes.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}
