//! The client's end: what it sends and when, and how much it takes.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::rtmp::chunk::Batch;
use crate::transport::Transport;

/// Turns of a session's loop that a script may cost. A script's films last seconds and are sent a tick at a time.
const TURNS: usize = 100_000;
/// Most that one write takes.
const WRITE_BYTES: usize = 64 << 10;

/// What a client does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Does nothing.
    Wait(Duration),
    /// From now on takes so many bytes at a time; 0: none.
    Take(usize),
    /// The edge is told to stop.
    Shutdown,
    /// Closes.
    Close,
}

/// A transport that plays a script.
pub(super) struct Wire {
    state: Mutex<State>,
    shutdown: CancellationToken,
    turns: AtomicUsize,
    /// What the session has sent.
    pub(super) sent: Vec<u8>,
    /// The longest its queue was.
    pub(super) longest_queue: usize,
}

struct State {
    acts: VecDeque<Act>,
    /// When the wait at the front is over.
    until: Option<Instant>,
    take: usize,
}

impl Wire {
    pub(super) fn new(acts: VecDeque<Act>, shutdown: CancellationToken) -> Self {
        let state = Mutex::new(State { acts, until: None, take: WRITE_BYTES });
        Self { state, shutdown, turns: AtomicUsize::new(0), sent: Vec::new(), longest_queue: 0 }
    }

    /// Whether the client stopped taking bytes.
    pub(super) fn blocked(&self) -> bool {
        self.lock().take == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self) {
        let turns = self.turns.fetch_add(1, Ordering::Relaxed);
        assert!(turns < TURNS, "the session spins");
    }

    /// Plays on until there is something to read (true) or to wait for.
    fn play(&self) -> Result<(), Option<Instant>> {
        let mut state = self.lock();
        loop {
            match state.acts.front() {
                Some(Act::Send(_) | Act::Close) => return Ok(()),
                Some(&Act::Wait(time)) => {
                    let until = *state.until.get_or_insert_with(|| Instant::now() + time);
                    if until > Instant::now() {
                        return Err(Some(until));
                    }
                    state.until = None;
                }
                Some(&Act::Take(bytes)) => state.take = bytes.min(WRITE_BYTES),
                Some(Act::Shutdown) => self.shutdown.cancel(),
                None => return Err(None),
            }
            state.acts.pop_front();
        }
    }

    async fn wait(until: Option<Instant>) {
        match until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

impl Transport for Wire {
    async fn readable(&self) -> io::Result<()> {
        self.turn();
        while let Err(until) = self.play() {
            Self::wait(until).await;
        }
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        self.turn();
        while self.blocked() {
            // A client may begin to read again by itself; what it sends next must wait until it is read from.
            match self.play() {
                Ok(()) => Self::wait(None).await,
                Err(until) if self.blocked() => Self::wait(until).await,
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.turn();
        let mut state = self.lock();
        match state.acts.pop_front() {
            Some(Act::Send(bytes)) => {
                buffer.extend_from_slice(&bytes);
                Ok(bytes.len())
            }
            Some(Act::Close) => {
                state.acts.push_front(Act::Close);
                Ok(0)
            }
            other => {
                state.acts.extend(other);
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        self.turn();
        self.longest_queue = self.longest_queue.max(batch.len_bytes());
        let take = self.lock().take.min(batch.len_bytes());
        if take == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = batch.copy_to_bytes(take);
        self.sent.extend_from_slice(&bytes);
        Ok(take)
    }

    async fn close(&mut self) {}
}
