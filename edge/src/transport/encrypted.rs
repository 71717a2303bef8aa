//! RTMPE's cipher around any transport: TCP, TLS, a tunnel. So RTMPTE needs no code of its own.
//!
//! Until it has keys it hands everything through. From then on, what is read is decrypted where it lies; what is sent is copied out of the session's
//! batch, because that refers to blocks which other viewers share, into a small buffer of its own and encrypted there. A byte
//! enters that buffer once and leaves it only by being sent: the keystream can't be turned back. So what is in it counts
//! as queued ([`Transport::held`]) although the batch no longer has it.
//!
//! The buffer is there only while it has something in it. It fails as the transport inside does.

use std::io;

use bytes::BytesMut;

use super::{Held, Transport};
use crate::rtmp::chunk::Batch;
use crate::rtmp::handshake::cipher::Cipher;

/// A transport whose bytes are encrypted once it has been told the keys.
pub struct Encrypted<T> {
    inner: T,
    ciphering: Option<Box<Ciphering>>,
}

/// What encrypting takes.
pub struct Ciphering {
    /// For what is sent.
    pub send: Cipher,
    /// For what is read.
    pub receive: Cipher,
    /// So many bytes of the session's batch still leave as they are: the end of the handshake.
    pub plain_bytes: usize,
    /// Encrypted bytes that may wait to be sent.
    pub buffer_bytes: usize,
    /// Encrypted bytes that wait to be sent.
    pub buffer: Batch,
}

impl<T> Encrypted<T> {
    /// `inner`, not encrypted yet.
    pub fn new(inner: T) -> Self {
        Self { inner, ciphering: None }
    }

    /// From here on everything is encrypted.
    pub fn encrypt(&mut self, ciphering: Box<Ciphering>) {
        self.ciphering = Some(ciphering);
    }

    /// The transport inside.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl Ciphering {
    /// Takes as much out of `batch` as there is room for.
    fn fill(&mut self, batch: &mut Batch) {
        let taken = self.buffer.take_copied(batch, self.buffer_bytes);
        let plain = self.plain_bytes.min(taken.len());
        self.plain_bytes -= plain;
        self.send.apply(&mut taken[plain..]);
    }
}

impl<T: Transport> Transport for Encrypted<T> {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.inner.readable()
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.inner.writable()
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let from = buffer.len();
        let count = self.inner.try_read(buffer)?;
        if let Some(ciphering) = &mut self.ciphering {
            ciphering.receive.apply(&mut buffer[from..]);
        }
        Ok(count)
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let Some(ciphering) = &mut self.ciphering else { return self.inner.try_write(batch) };
        if ciphering.buffer.is_empty() {
            ciphering.fill(batch);
        }
        let written = self.inner.try_write(&mut ciphering.buffer)?;
        ciphering.buffer.shrink();
        Ok(written)
    }

    fn held(&self) -> Held {
        let inner = self.inner.held();
        match &self.ciphering {
            None => inner,
            Some(ciphering) => Held {
                len_bytes: inner.len_bytes + ciphering.buffer.len_bytes(),
                own_bytes: inner.own_bytes + ciphering.buffer.own_bytes(),
            },
        }
    }

    fn close(&mut self) -> impl Future<Output = ()> + Send {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests;
