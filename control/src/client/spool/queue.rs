//! The way from session tasks to the writer's thread: bounded, and never a wait for whoever puts something in.
//!
//! One lock guards a vector that the writer takes whole, so a thousand events cost it one wakeup and one lock. Ends of sessions have a
//! quarter of room of their own past the bound: an edge that is too busy for its disk should not leave sessions open for ever.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::access_log::SegmentId;
use proto::v1::{AccessEvent, AccessRecord};
use tokio::sync::oneshot;

use super::log::{DropReason, Outcome};

/// Sessions whose byte counts may wait, times `queue_events`; more are not told, only less current after a crash.
const PROGRESS_SHARE: usize = 4;

/// What an event takes beside its texts, roughly, in bytes.
const EVENT_BYTES: usize = 600;

/// An event on its way.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) record: AccessRecord,
    pub(crate) written: oneshot::Sender<Outcome>,
}

/// What else the writer does, in order with the events put in before.
#[derive(Debug)]
pub(crate) enum Order {
    /// Seal what is open; the answer comes once that stands, or can't be done now (false).
    Seal(oneshot::Sender<bool>),
    /// A segment was acknowledged.
    Forget(SegmentId),
    /// A segment can't be used, and with it so many events, for this reason.
    SetAside(SegmentId, u64, DropReason),
}

/// How far a session had come, last we heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) time_ms: u64,
    pub(crate) sc_bytes: u64,
}

/// What the writer gets at a time. Progress is about sessions as of the end of the events.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) events: Vec<Event>,
    pub(crate) progress: HashMap<String, Progress>,
    /// Sessions whose end found no room.
    pub(crate) ended: Vec<String>,
    pub(crate) orders: Vec<Order>,
    /// Nothing more will come.
    pub(crate) closed: bool,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.orders.is_empty() && self.ended.is_empty() && !self.closed
    }
}

#[derive(Debug, Default)]
struct State {
    taken: Taken,
    bytes: usize,
    waiting: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    events_max: usize,
    bytes_max: usize,
}

impl Queue {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { state: Mutex::default(), wake: Condvar::new(), events_max, bytes_max }
    }

    /// A panic elsewhere leaves nothing half done under this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        // Nobody waits, nobody need be called: a busy writer costs the sessions no system call.
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        if waiting {
            self.wake.notify_one();
        }
    }

    /// Puts an event in, or says why not.
    pub(crate) fn put(&self, event: Event) -> Result<(), DropReason> {
        let bytes = weight(&event.record);
        let is_end = event.record.event == AccessEvent::Disconnect as i32;
        let ending = is_end || event.record.event == AccessEvent::Stop as i32;
        let share = |most: usize| if ending { most + most / 4 } else { most };
        let mut state = self.lock();
        if state.taken.closed {
            return Err(DropReason::Closed);
        }
        let fits =
            state.taken.events.len() < share(self.events_max) && state.bytes + bytes <= share(self.bytes_max);
        if fits {
            state.bytes += bytes;
            state.taken.events.push(event);
        } else if is_end && state.taken.ended.len() < self.events_max {
            state.taken.ended.push(event.record.client_id);
        }
        self.wake(state);
        if fits { Ok(()) } else { Err(DropReason::QueueFull) }
    }

    /// Notes how far a session has come. Wakes nobody: the writer looks when it saves such counts.
    pub(crate) fn progress(&self, client_id: &str, progress: Progress) {
        let mut state = self.lock();
        let most = self.events_max.saturating_mul(PROGRESS_SHARE);
        if let Some(known) = state.taken.progress.get_mut(client_id) {
            known.time_ms = known.time_ms.max(progress.time_ms);
            known.sc_bytes = known.sc_bytes.max(progress.sc_bytes);
        } else if state.taken.progress.len() < most && !state.taken.closed {
            state.taken.progress.insert(client_id.to_owned(), progress);
        }
    }

    /// Puts an order in; false once closed. There are few: one a segment.
    pub(crate) fn order(&self, order: Order) -> bool {
        let mut state = self.lock();
        if state.taken.closed {
            return false;
        }
        state.taken.orders.push(order);
        self.wake(state);
        true
    }

    /// No more comes in; the writer gets what is there.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.taken.closed = true;
        self.wake(state);
    }

    /// Events waiting.
    pub(crate) fn len(&self) -> usize {
        self.lock().taken.events.len()
    }

    /// Time of the event that waits longest, of those that are to be written.
    pub(crate) fn first_ms(&self) -> Option<u64> {
        let state = self.lock();
        let first = state.taken.events.iter().find(|event| event.record.target.is_some());
        first.map(|event| event.record.time_ms)
    }

    /// Takes all that is there, waiting for something at most `patience` (nothing: for ever). `room` is kept for what comes next.
    pub(crate) fn take(&self, patience: Option<Duration>, room: Vec<Event>) -> Taken {
        let mut state = self.lock();
        if state.taken.is_empty() && patience != Some(Duration::ZERO) {
            state.waiting = true;
            state = match patience {
                Some(patience) => {
                    let woken = self.wake.wait_timeout(state, patience);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting = false;
        }
        let closed = state.taken.closed;
        state.bytes = 0;
        std::mem::replace(&mut state.taken, Taken { events: room, closed, ..Taken::default() })
    }
}

/// What a record takes in memory, roughly.
fn weight(record: &AccessRecord) -> usize {
    let texts = [
        &record.client_ip,
        &record.uri_stem,
        &record.uri_query,
        &record.referrer,
        &record.page_url,
        &record.user_agent,
        &record.stream_name,
        &record.stream_query,
    ];
    EVENT_BYTES + texts.iter().map(|text| text.len()).sum::<usize>()
}
