//! A connection whose first bytes were already read: they are read again before the rest. And one that ends gently.
//!
//! A peer that is refused may still be sending. If we closed then, the kernel would answer what comes with a reset, and the peer might
//! never see why it was refused. So the end is said, and what still comes is thrown away for a moment.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Sleep, sleep};

/// How long a connection that has ended is read from, at most, and how much.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// `inner`, preceded by `early`.
pub struct Rewind<S> {
    inner: S,
    early: Bytes,
    /// Once the end was said: how much may still be thrown away, and until when.
    lingers: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<S> Rewind<S> {
    pub(crate) fn new(inner: S, early: Bytes) -> Self {
        Self { inner, early, lingers: None }
    }

    /// The connection.
    pub(crate) fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The connection, and what was not read again yet.
    pub(crate) fn into_inner(self) -> (S, Bytes) {
        (self.inner, self.early)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..count]);
        self.early.advance(count);
        if self.early.is_empty() {
            self.early = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingers.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        let (left, end) = this.lingers.get_or_insert_with(|| (LINGER_BYTES, Box::pin(sleep(LINGER))));
        let mut scratch = [0; 4096];
        while *left > 0 && end.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *left = left.saturating_sub(buffer.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_end_is_said_first_and_what_still_comes_is_thrown_away_for_a_while() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let mut ours = Rewind::new(ours, Bytes::from_static(b"early"));
        let mut early = [0; 5];
        ours.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"early");
        ours.write_all(b"no").await.unwrap();
        let ends = tokio::spawn(async move { ours.shutdown().await });
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"no");
        assert!(!ends.is_finished());
        theirs.write_all(&[0; 8192]).await.unwrap();
        // Silence ends it as well as an end does.
        ends.await.unwrap().unwrap();
        assert!(theirs.write_all(&[0; 8192]).await.is_err());
    }
}
