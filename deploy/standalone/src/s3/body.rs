//! An object's bytes on their way out: pieces read at their offset, one ahead of the connection.
//!
//! Each piece is read where blocking is allowed, and the file is looked at again afterwards: if it isn't the version
//! promised in the headers any more, the body ends in an error, which the client sees as a response cut short.

use std::fs::File;
use std::io::{Error, Result};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{FutureExt, Stream};
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::task::JoinHandle;

use super::metrics::Metrics;
use super::version::Version;

/// Bytes read at a time: large enough that the system call and the hop between threads cost little, small enough that two a
/// connection don't matter.
const PIECE_BYTES: u64 = 512 << 10;

/// A range of one version of a file.
pub(crate) struct FileBody {
    file: Arc<File>,
    version: Version,
    /// Where the next piece starts that hasn't been asked for.
    next: u64,
    end: u64,
    /// Bytes not yet given out.
    remaining: u64,
    reading: Option<JoinHandle<Result<Bytes>>>,
    metrics: Metrics,
}

impl FileBody {
    /// Bytes `start..end` of an open file, which must lie within it.
    pub(crate) fn new(file: File, version: Version, (start, end): (u64, u64), metrics: Metrics) -> Self {
        Self {
            file: Arc::new(file),
            version,
            next: start,
            end,
            remaining: end - start,
            reading: None,
            metrics,
        }
    }

    fn read_next(&mut self) {
        if self.next >= self.end {
            return;
        }
        let (file, version, offset) = (Arc::clone(&self.file), self.version, self.next);
        let length = PIECE_BYTES.min(self.end - offset);
        self.next += length;
        self.reading = Some(tokio::task::spawn_blocking(move || read(&file, &version, offset, length)));
    }
}

fn read(file: &File, version: &Version, offset: u64, length: u64) -> Result<Bytes> {
    let mut piece = vec![0; length as usize];
    let read = file.read_exact_at(&mut piece, offset);
    // A short read of a file cut meanwhile is reported as the change it is.
    if Version::of(&file.metadata()?) != *version {
        return Err(Error::other("the file changed while it was being read"));
    }
    read.map(|()| Bytes::from(piece))
}

impl Stream for FileBody {
    type Item = std::result::Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.reading.is_none() {
            self.read_next();
        }
        let Some(reading) = self.reading.as_mut() else { return Poll::Ready(None) };
        let Poll::Ready(done) = reading.poll_unpin(cx) else { return Poll::Pending };
        self.reading = None;
        match done.unwrap_or_else(|error| Err(Error::other(error))) {
            Ok(piece) => {
                self.remaining -= piece.len() as u64;
                self.metrics.sent_bytes.inc_by(piece.len() as u64);
                self.read_next();
                Poll::Ready(Some(Ok(piece)))
            }
            Err(error) => {
                tracing::warn!(%error, offset = self.end - self.remaining, "s3: response cut short");
                self.metrics.broken_bodies.inc();
                self.next = self.end;
                Poll::Ready(Some(Err(Box::new(error))))
            }
        }
    }
}

impl ByteStream for FileBody {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.remaining as usize)
    }
}
