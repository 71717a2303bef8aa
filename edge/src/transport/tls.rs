//! TLS over TCP: what RTMPS sessions send and receive on.
//!
//! Everything sent is copied once, into records, and everything received once, out of them. The copy is small: a session's batch stays where
//! it is, and rustls is given no more than [`BUFFER_BYTES`] of it at a time, after all it was given before has left. So a viewer that takes
//! nothing costs its session's queue, as over plain TCP, and one buffer.
//!
//! That buffer may wait for the socket when the session has nothing left to send and waits for its viewer only. So
//! [`readable`](Transport::readable) also ends when the socket takes bytes again, and a read begins with what waits to be written.
//!
//! Fails as TCP does, and with `InvalidData` when the peer's records can't be trusted; the peer is sent the alert then. A peer that closes its
//! connection without saying so first has closed all the same: RTMP has its own ends of streams, and many players just go.

use std::future::poll_fn;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use super::Transport;
use super::tcp::tune;
use crate::budget::{Account, Charge};
use crate::rtmp::chunk::Batch;
use crate::tls::accept::Stream;

/// Bytes of records that may wait for the socket: four of the largest, one system call.
pub const BUFFER_BYTES: usize = 64 << 10;
/// What a TLS connection takes beside its buffer: keys, state, and a record on its way in.
pub const CONNECTION_BYTES: u64 = 24 << 10;
/// Slices given to the cipher at a time.
const SLICES: usize = 64;
/// Reads from the socket until somebody else has a turn, where they bring records but nothing in them.
const READS: usize = 8;
/// How long the goodbye may take to leave.
const GOODBYE: Duration = Duration::from_secs(1);

/// A TLS connection after its handshake, with bytes already read from inside it.
pub struct Tls {
    stream: TcpStream,
    tls: ServerConnection,
    early: BytesMut,
    /// The connection may hold bytes for us that came before it was ours.
    unread: bool,
    /// For bytes that wait in the buffer.
    charge: Charge,
}

/// The socket as rustls wants it: it never waits.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl Tls {
    /// Takes over `stream`; `early` is what was read from inside it so far. What it holds is charged to `queues`.
    pub fn new(stream: Stream, early: BytesMut, queues: &Arc<Account>) -> Self {
        let (rewind, mut tls) = stream.into_inner();
        let (stream, before) = rewind.into_inner();
        tune(&stream);
        tls.set_buffer_limit(Some(BUFFER_BYTES));
        // The handshake has read all there was before it; were it not so, nothing may be lost.
        let mut before = before.reader();
        while before.get_ref().has_remaining() && tls.read_tls(&mut before).is_ok_and(|read| read > 0) {
            if tls.process_new_packets().is_err() {
                break;
            }
        }
        Self { stream, tls, early, unread: true, charge: Charge::new(queues, 0) }
    }

    /// Sends what waits in the buffer. `WouldBlock` when some of it still waits.
    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut Socket(&self.stream))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.charge.set_in_steps(0);
        Ok(())
    }

    /// Moves what has been deciphered to `buffer`. 0 is the end of the stream, `WouldBlock` means there is nothing now.
    fn take(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut taken = 0;
        let mut reader = self.tls.reader();
        loop {
            let len = match reader.fill_buf() {
                Ok(chunk) => {
                    buffer.extend_from_slice(chunk);
                    chunk.len()
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Err(error) if would_block(&error) && taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
            };
            if len == 0 {
                return Ok(taken);
            }
            reader.consume(len);
            taken += len;
        }
    }
}

impl Transport for Tls {
    async fn readable(&self) -> io::Result<()> {
        if !self.early.is_empty() || self.unread {
            return Ok(());
        }
        poll_fn(|cx| {
            if self.tls.wants_write()
                && let Poll::Ready(ready) = self.stream.poll_write_ready(cx)
            {
                return Poll::Ready(ready);
            }
            self.stream.poll_read_ready(cx)
        })
        .await
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
        self.unread = false;
        match self.flush() {
            Err(error) if !would_block(&error) => return Err(error),
            _ => {}
        }
        for _ in 0..READS {
            match self.take(buffer) {
                Err(error) if would_block(&error) => {}
                taken => return taken,
            }
            // The end of the socket's stream is one of the reader's, told by the next turn.
            self.tls.read_tls(&mut Socket(&self.stream))?;
            if let Err(error) = self.tls.process_new_packets() {
                let _ = self.flush();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        self.take(buffer)
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        self.flush()?;
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = batch.io_slices(&mut slices);
        let taken = self.tls.writer().write_vectored(&slices[..count])?;
        batch.advance(taken);
        match self.flush() {
            Err(error) if would_block(&error) => self.charge.set_in_steps(taken as u64),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        Ok(taken)
    }

    async fn close(&mut self) {
        self.tls.send_close_notify();
        let _ = timeout(GOODBYE, async {
            while self.flush().is_err_and(|error| would_block(&error)) {
                self.writable().await?;
            }
            Ok::<_, io::Error>(())
        })
        .await;
        let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests;
