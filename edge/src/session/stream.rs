//! One stream of a connection (createStream): what it plays, and what it waits for.
//!
//! A stream is in one of four states and has at most one slow operation under way (opening, repositioning, fetching bytes), a future
//! that owns what it works on. A newer command replaces it, which drops the future: nothing to undo. Beside it there is at most one
//! [`Transition`], which looks for another file while this one plays on.
//!
//! ```text
//! Idle ─play─▶ Opening ─found─▶ Playing ─end─▶ Playing, `over` (the file stays open for a seek back)
//!                │  ▲
//!      missing, -2   └─ again after waiting_poll_ms
//!                ▼  │
//!              Waiting
//! ```

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use super::names::StreamName;
use super::opening::Ready;
use super::playback::{Extent, Playback};
use super::record::Moment;
use super::transition::{Looked, Transition};
use crate::media::{Cursor, MediaError};
use crate::metrics::Counted;
use crate::object::ObjectReader;
use crate::object::reader::Fetched;

/// Which kind of stream a play asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// -2: live, else recorded, else wait in silence.
    Any,
    /// -1: live only: an on-demand edge waits in silence.
    LiveOnly,
    /// A recorded file from so many ms.
    Recorded(u64),
}

/// A play command, understood.
#[derive(Clone, Debug)]
pub(crate) struct PlayRequest {
    pub(crate) name: Arc<StreamName>,
    pub(crate) start: Start,
    pub(crate) extent: Extent,
    /// Ends what plays and empties the playlist; else it joins the playlist.
    pub(crate) reset: bool,
    pub(crate) unpaced: bool,
    /// Times came in seconds, as play2 has them; see [`fit`](super::opening::fit).
    pub(crate) seconds: bool,
    /// Time goes on where it was on another connection: times are the file's own.
    pub(crate) resumes: bool,
    /// Time of the stream at which it begins: 0, or the end of the playlist's item before it.
    pub(crate) base_ms: u64,
    pub(crate) asked: Instant,
    /// When its turn came, and what had been sent by then: what the log says of it.
    pub(crate) moment: Option<Moment>,
}

impl PlayRequest {
    pub(crate) fn start_ms(&self) -> u64 {
        match self.start {
            Start::Recorded(ms) => ms,
            Start::Any | Start::LiveOnly => 0,
        }
    }
}

/// What a stream is doing.
pub(crate) enum State {
    Idle,
    Opening(PlayRequest),
    /// A silent play of a name that isn't there; looked up again at this time (`None`: never, live only).
    Waiting(PlayRequest, Option<Instant>),
    Playing(Box<Playing>),
}

/// A file on a stream.
pub(crate) struct Playing {
    pub(crate) _counted: Counted,
    pub(crate) request: PlayRequest,
    pub(crate) playback: Playback,
    /// Metadata and headers still have to be sent before media.
    pub(crate) begins: bool,
    /// When the end is to be announced, once the last sample is out.
    pub(crate) end_due: Option<Instant>,
    /// The end was announced; only a seek makes it play again.
    pub(crate) over: bool,
    /// Nothing to send before this time.
    pub(crate) sleeps_until: Option<Instant>,
    /// When the fetch under way began.
    pub(crate) waits_since: Option<Instant>,
    /// Where the viewer said it was when it paused.
    pub(crate) paused_at_ms: Option<u64>,
    /// Since when its viewer has not had in time what it was sent.
    pub(crate) late_since: Option<Instant>,
}

impl Playing {
    /// Where the viewer is in what it has been sent, as far as the server can tell.
    pub(crate) fn playhead_ms(&self, now: Instant, paused: bool) -> u64 {
        let sent_ms = self.playback.newest_ms;
        let at_ms = if paused { self.paused_at_ms } else { self.playback.clock_ms(now) };
        at_ms.map_or(sent_ms, |ms| ms.min(sent_ms))
    }

    /// Whether the last sample is out.
    pub(crate) fn is_sent(&self) -> bool {
        self.over || self.end_due.is_some()
    }
}

/// Why a cursor is repositioned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reposition {
    Seek { ms: f64 },
    Unpause { ms: u64 },
}

/// A seek that came too soon after the last one: the latest such waits for its turn. Meanwhile the last one goes on, so that a storm of seeks shows
/// the places it passes, as a thumb dragged along a time line should.
pub(crate) struct Later {
    pub(crate) ms: f64,
    pub(crate) target_ms: u64,
    turn: Pin<Box<Sleep>>,
}

impl Later {
    pub(crate) fn new(ms: f64, target_ms: u64, turn: Instant) -> Self {
        Self { ms, target_ms, turn: Box::pin(sleep_until(turn)) }
    }
}

/// What a slow operation brought.
pub(crate) enum Done {
    /// It is the turn of the stream's [`Later`].
    Turn,
    Opened(Result<Ready, MediaError>),
    Repositioned(Reposition, u64, Result<(Cursor, ObjectReader), MediaError>),
    Fetched(Fetched),
    /// What a transition looked for.
    Looked(Looked),
}

/// One stream of a connection.
pub(crate) struct Stream {
    pub(crate) id: u32,
    /// The client's buffer, as its last SetBufferLength said.
    pub(crate) buffer_ms: u64,
    pub(crate) state: State,
    pub(crate) playlist: VecDeque<PlayRequest>,
    /// A seek that came before the file was open.
    pub(crate) early_seek_ms: Option<f64>,
    pub(crate) audio: bool,
    pub(crate) video: bool,
    pub(crate) paused: bool,
    /// What is looking for its place, and whose notification is still owed.
    pub(crate) pending: Option<Reposition>,
    pub(crate) later: Option<Later>,
    /// Another file that is to take over.
    pub(crate) transition: Option<Box<Transition>>,
    pub(crate) op: Option<BoxFuture<'static, Done>>,
}

impl Stream {
    pub(crate) fn new(id: u32, buffer_ms: u64) -> Self {
        Self {
            id,
            buffer_ms,
            state: State::Idle,
            playlist: VecDeque::new(),
            early_seek_ms: None,
            audio: true,
            video: true,
            paused: false,
            pending: None,
            later: None,
            transition: None,
            op: None,
        }
    }

    /// Drives the operation under way, and the clock of the seek that waits.
    pub(crate) fn poll_op(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        if let Some(op) = &mut self.op
            && let Poll::Ready(done) = op.as_mut().poll(cx)
        {
            self.op = None;
            return Poll::Ready(done);
        }
        if let Some(transition) = &mut self.transition
            && let Poll::Ready(looked) = transition.poll(cx)
        {
            return Poll::Ready(Done::Looked(looked));
        }
        match &mut self.later {
            Some(later) => later.turn.as_mut().poll(cx).map(|()| Done::Turn),
            None => Poll::Pending,
        }
    }

    /// Forgets what the stream was looking for.
    pub(crate) fn give_up(&mut self) {
        (self.op, self.pending, self.later, self.transition) = (None, None, None, None);
    }

    /// What plays, if a file is open.
    pub(crate) fn playing(&mut self) -> Option<&mut Playing> {
        match &mut self.state {
            State::Playing(playing) => Some(playing),
            _ => None,
        }
    }
}

/// The next slow operation of any stream that is done.
pub(super) async fn next_done(streams: &mut [Stream]) -> (u32, Done) {
    poll_fn(|cx| {
        for stream in streams.iter_mut() {
            if let Poll::Ready(done) = stream.poll_op(cx) {
                return Poll::Ready((stream.id, done));
            }
        }
        Poll::Pending
    })
    .await
}
