//! Plain TCP: vectored writes straight from cached blocks.
//!
//! `TCP_NOTSENT_LOWAT` keeps the kernel from queueing megabytes for a viewer: a seek must not wait behind them, and ten thousand stalled
//! viewers must not cost gigabytes of socket buffers.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::Transport;
use crate::rtmp::chunk::Batch;

/// Slices a write takes at most; Linux's IOV_MAX is 1024, and more than this gains nothing.
const SLICES: usize = 128;
/// Unsent bytes the kernel may hold.
const NOTSENT_LOWAT_BYTES: u32 = 256 << 10;

/// A TCP connection, with bytes already read from it (by whoever told the protocol apart).
pub struct Tcp {
    stream: TcpStream,
    early: BytesMut,
}

impl Tcp {
    /// Takes over `stream`; `early` is what was read from it so far.
    pub fn new(stream: TcpStream, early: BytesMut) -> Self {
        tune(&stream);
        Self { stream, early }
    }
}

/// Sets what every viewer's socket wants. All three are optimisations: a socket that refuses one still works.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(std::time::Duration::from_secs(60));
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES);
}

impl Transport for Tcp {
    async fn readable(&self) -> io::Result<()> {
        if !self.early.is_empty() {
            return Ok(());
        }
        // Unlike `TcpStream::readable`, this keeps one waker in place instead of queueing and unqueueing under a lock at each wait.
        poll_fn(|cx| self.stream.poll_read_ready(cx)).await
    }

    async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.stream.poll_write_ready(cx)).await
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            buffer.extend_from_slice(&early);
            return Ok(early.len());
        }
        buffer.reserve(4096);
        self.stream.try_read_buf(buffer)
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = batch.io_slices(&mut slices);
        let written = self.stream.try_write_vectored(&slices[..count])?;
        batch.advance(written);
        Ok(written)
    }

    async fn close(&mut self) {
        let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write);
    }
}
