//! A stream whose patience ends: a client that takes nothing of its answer for too long is let go.
//!
//! It also ends politely: after the last byte it reads on for a moment, so that a client that is still sending gets the answer instead of a
//! reset that would throw it away.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How long the other side is listened to after the end.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of it that are thrown away.
const LINGER_BYTES: usize = 4 << 20;

/// See the [module](self).
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Set while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    end: End,
}

enum End {
    Open,
    Said { until: Pin<Box<Sleep>>, left: usize },
    Over,
}

impl<S> Patient<S> {
    /// `stream`, whose writes may wait for `limit`.
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, stalled: None, end: End::Open }
    }

    /// Passes on how a write went, and counts the time that it doesn't go at all.
    fn judged<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judged(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judged(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.judged(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let own = &mut *self;
        loop {
            match &mut own.end {
                End::Open => {
                    let outcome = Pin::new(&mut own.stream).poll_shutdown(cx);
                    ready!(own.judged(cx, outcome))?;
                    let until = Box::pin(sleep_until(Instant::now() + LINGER));
                    own.end = End::Said { until, left: LINGER_BYTES };
                }
                End::Said { until, left } => {
                    let mut buffer = [0; 8192];
                    let mut buffer = ReadBuf::new(&mut buffer);
                    let over = match Pin::new(&mut own.stream).poll_read(cx, &mut buffer) {
                        Poll::Ready(Ok(())) => {
                            *left = left.saturating_sub(buffer.filled().len());
                            buffer.filled().is_empty() || *left == 0
                        }
                        Poll::Ready(Err(_)) => true,
                        Poll::Pending => {
                            ready!(until.as_mut().poll(cx));
                            true
                        }
                    };
                    if over {
                        own.end = End::Over;
                    }
                }
                End::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_let_go_and_one_that_takes_its_time_is_not() {
        let (near, mut far) = duplex(16);
        let mut patient = Patient::new(near, Duration::from_millis(200));
        let slow = tokio::spawn(async move {
            let mut taken = [0; 16];
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                far.read_exact(&mut taken).await.unwrap();
            }
            far
        });
        patient.write_all(&[1; 80]).await.unwrap();
        let far = slow.await.unwrap();
        let error = patient.write_all(&[2; 80]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }

    #[tokio::test]
    async fn what_a_client_still_sends_at_the_end_is_taken_until_it_ends_too() {
        let (near, mut far) = duplex(16);
        let mut patient = Patient::new(near, Duration::from_secs(60));
        patient.write_all(b"answer").await.unwrap();
        let client = tokio::spawn(async move {
            far.write_all(&[0; 500]).await.unwrap();
            let mut answer = String::new();
            far.read_to_string(&mut answer).await.unwrap();
            answer
        });
        patient.shutdown().await.unwrap();
        assert_eq!(client.await.unwrap(), "answer");
    }
}
