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
    /// Time of its earliest event; of one found at start that nobody has looked at, when the file was last written.
    pub(crate) first_ms: u64,
}

#[derive(Debug, Default)]
struct State {
    sealed: VecDeque<Sealed>,
    bytes: u64,
    // The one that is being handed over: control may have it by now.
    lent: Option<SegmentId>,
}

impl State {
    fn remove(&mut self, at: usize) -> Option<Sealed> {
        let sealed = self.sealed.remove(at)?;
        self.bytes -= sealed.bytes;
        self.lent.take_if(|lent| *lent == sealed.id);
        Some(sealed)
    }
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
        self.lock().remove(0)
    }

    /// Takes the oldest away that is not [lent](Self::lend): what control may have by now would be counted as lost and come out all the same.
    /// The one that is lent, if there is no other.
    pub(crate) fn give_up(&self) -> Option<Sealed> {
        let mut state = self.lock();
        let at = state.sealed.iter().position(|sealed| state.lent.as_ref() != Some(&sealed.id)).unwrap_or(0);
        state.remove(at)
    }

    /// Notes that a segment, which was read and holds this, is about to be handed over; false if it is gone.
    pub(crate) fn lend(&self, id: &SegmentId, records: u64, first_ms: u64) -> bool {
        let mut state = self.lock();
        let Some(sealed) = state.sealed.iter_mut().find(|sealed| sealed.id == *id) else { return false };
        (sealed.records, sealed.first_ms) = (Some(records), first_ms);
        state.lent = Some(id.clone());
        true
    }

    /// It was not handed over, and nobody is about to do so for now.
    pub(crate) fn release(&self, id: &SegmentId) {
        let mut state = self.lock();
        state.lent.take_if(|lent| lent == id);
    }

    /// Takes this one away, if it is there.
    pub(crate) fn take(&self, id: &SegmentId) -> Option<Sealed> {
        let mut state = self.lock();
        let at = state.sealed.iter().position(|sealed| sealed.id == *id)?;
        state.remove(at)
    }

    /// Whether this one is there.
    pub(crate) fn has(&self, id: &SegmentId) -> bool {
        self.lock().sealed.iter().any(|sealed| sealed.id == *id)
    }

    /// The oldest.
    pub(crate) fn first(&self) -> Option<Sealed> {
        self.lock().sealed.front().cloned()
    }

    /// Time of the earliest event of all.
    pub(crate) fn first_ms(&self) -> Option<u64> {
        self.lock().sealed.iter().map(|sealed| sealed.first_ms).min()
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
