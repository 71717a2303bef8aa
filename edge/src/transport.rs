//! How a session's bytes travel: readiness and non-blocking reads and writes.
//!
//! Sessions are *pulled*: a session owns its queue of outgoing bytes, and the transport takes from it when the peer can take. Waiting and
//! moving bytes are separate calls, so a session can wait for "readable or writable" at once without splitting the
//! transport, and dropping a wait loses nothing. TCP is here; the tunnel and the ciphers compose behind the same trait.

use std::future::Future;
use std::io;

use bytes::BytesMut;

use crate::rtmp::chunk::Batch;

pub mod tcp;
pub mod tunnel;

/// A byte stream to one viewer.
pub trait Transport: Send {
    /// Waits until [`try_read`](Self::try_read) may bring something. Cancel-safe.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits until [`try_write`](Self::try_write) may take something. Cancel-safe.
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Reads what is there into `buffer`: `Ok(0)` is the end of the stream, `WouldBlock` means nothing is there now.
    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Writes from the front of `batch`, which it shortens by what it took. `WouldBlock` when nothing can be taken now.
    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize>;

    /// Tells the peer that no more comes.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}
