//! The sealed segments that wait for control, oldest first.
//!
//! The writer puts them here and takes the oldest away when the spool is at its bound; the shipper sees the oldest until it has been told to
//! forget it. Only the writer touches the files themselves.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::access_log::SegmentId;
use tokio::sync::Notify;

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) id: SegmentId,
    pub(crate) path: PathBuf,
    /// `None`: it was found at start, and nobody has looked yet.
    pub(crate) records: Option<u64>,
    pub(crate) bytes: u64,
    /// Time of its earliest event; when the file was last written, of one found at start.
    pub(crate) first_ms: u64,
}

#[derive(Debug, Default)]
struct State {
    sealed: VecDeque<Sealed>,
    bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    state: Mutex<State>,
    more: Notify,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the youngest there.
    pub(crate) fn push(&self, sealed: Sealed) {
        let mut state = self.lock();
        state.bytes += sealed.bytes;
        state.sealed.push_back(sealed);
        drop(state);
        self.more.notify_one();
    }

    /// Takes the oldest away.
    pub(crate) fn pop(&self) -> Option<Sealed> {
        let mut state = self.lock();
        let sealed = state.sealed.pop_front()?;
        state.bytes -= sealed.bytes;
        Some(sealed)
    }

    /// Takes this one away, if it is there.
    pub(crate) fn take(&self, id: &SegmentId) -> Option<Sealed> {
        let mut state = self.lock();
        let at = state.sealed.iter().position(|sealed| sealed.id == *id)?;
        let sealed = state.sealed.remove(at)?;
        state.bytes -= sealed.bytes;
        Some(sealed)
    }

    /// Whether this one is there.
    pub(crate) fn has(&self, id: &SegmentId) -> bool {
        self.lock().sealed.iter().any(|sealed| sealed.id == *id)
    }

    /// The oldest.
    pub(crate) fn first(&self) -> Option<Sealed> {
        self.lock().sealed.front().cloned()
    }

    /// The oldest, waited for. For one waiter at a time.
    pub(crate) async fn wait(&self) -> Sealed {
        loop {
            if let Some(sealed) = self.first() {
                return sealed;
            }
            self.more.notified().await;
        }
    }

    /// Segments and their bytes.
    pub(crate) fn held(&self) -> (usize, u64) {
        let state = self.lock();
        (state.sealed.len(), state.bytes)
    }
}
