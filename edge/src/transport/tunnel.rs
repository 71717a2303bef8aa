//! RTMP through HTTP: the session's side of a tunnel.
//!
//! A [`Line`] joins the session's task to the requests of its player, whichever connections these come on. The rules are
//! [`Conversation`]'s; here they get a lock, wakers and time. The session is pulled: [`Tunnel::try_write`] takes from it only while a
//! request waits for an answer, so what a player does not ask for stays in the session, where it is bounded and charged. The lock is held
//! for moving slices and small copies, never across a wait or a wake-up.

use std::future::{Future, poll_fn};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::Transport;
use crate::budget::{Budget, Charge, Pressure};
use crate::http::tunnel::conversation::{Answers, Conversation, Ended, Issue, Limits, Outcome};
use crate::http::tunnel::flight::Flight;
use crate::http::tunnel::path::{Id, Kind};
use crate::http::tunnel::reply::{Refusal, Reply};
use crate::rtmp::chunk::Batch;

/// What a session takes without any queue: its task, its state, and entries in tables. (Its connections are charged where they are.)
const LINE_BYTES: u64 = 8 << 10;

/// What a request is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The polling byte alone.
    Byte(u8),
    /// An answer with data.
    Data(Flight),
    /// A 4xx.
    Refused(Refusal),
}

type Waiter = oneshot::Sender<Told>;

struct Inner {
    conversation: Conversation<Waiter>,
    /// The session, waiting for input, and for a request.
    reader: Option<Waker>,
    writer: Option<Waker>,
    charge: Charge,
}

/// One tunnelled session, as its requests see it.
pub(crate) struct Line {
    id: Id,
    inner: Mutex<Inner>,
    budget: Arc<Budget>,
    idle: Duration,
    /// Fired when the session is no longer to be found.
    gone: CancellationToken,
}

impl std::fmt::Debug for Line {
    /// The id is a secret between the player and us.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    pub(crate) fn new(id: Id, limits: Limits, idle: Duration, budget: Arc<Budget>) -> Arc<Self> {
        let inner = Inner {
            conversation: Conversation::new(limits, Instant::now()),
            reader: None,
            writer: None,
            charge: Charge::new(&budget.queues, LINE_BYTES),
        };
        Arc::new(Self { id, inner: Mutex::new(inner), budget, idle, gone: CancellationToken::new() })
    }

    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// Fired when the session is no longer to be found.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Does something to the conversation, and then what follows from it: wakes the session, answers requests.
    fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Inner, &mut Answers<Waiter>) -> T) -> T {
        let mut answers = Answers::new();
        let (done, wakers) = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let done = act(&mut inner, &mut answers);
            let own = LINE_BYTES + inner.conversation.own_bytes() as u64;
            inner.charge.set_in_steps(own);
            let reader = inner.conversation.is_readable().then(|| inner.reader.take()).flatten();
            let writer = inner.conversation.is_writable().then(|| inner.writer.take()).flatten();
            (done, [reader, writer])
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
        for (waiter, outcome) in answers {
            let told = match outcome {
                Outcome::Reply(Reply::Byte(byte), _) => Told::Byte(byte),
                Outcome::Reply(Reply::Data(data), issue) => {
                    Told::Data(Flight::new(data, issue, self.clone()))
                }
                Outcome::Refused(refusal) => Told::Refused(refusal),
            };
            // Where nobody waits any more, the flight tells the conversation as it is dropped.
            let _ = waiter.send(told);
        }
        done
    }

    /// A send or idle: waits for its answer.
    pub(crate) async fn exchange(self: &Arc<Self>, number: u64, kind: Kind, body: &[u8]) -> Told {
        let (waiter, mut told) = oneshot::channel();
        let now = Instant::now();
        self.with(|inner, answers| {
            inner.conversation.arrive(number, kind, body, waiter, now, answers);
        });
        loop {
            match tokio::time::timeout(self.idle, &mut told).await {
                Ok(told) => return told.unwrap_or(Told::Refused(Refusal::Ended)),
                // One that is held for a missing number goes on waiting: look ends that.
                Err(_) => self.with(|inner, answers| inner.conversation.give_up(number, answers)),
            }
        }
    }

    /// The player closes the session.
    pub(crate) fn hang_up(self: &Arc<Self>) {
        self.with(|inner, answers| inner.conversation.hang_up(Instant::now(), answers));
    }

    /// Why it ended, and when; `None` while it lasts.
    pub(crate) fn ended(&self) -> Option<(Ended, Instant)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).conversation.ended()
    }

    /// Looks whether it has waited too long for something; then as [`ended`](Self::ended).
    pub(crate) fn look(self: &Arc<Self>, now: Instant) -> Option<(Ended, Instant)> {
        self.with(|inner, answers| {
            inner.conversation.look(now, answers);
            inner.conversation.ended()
        })
    }

    /// Whether there is nothing left to say to the player.
    pub(crate) fn is_told(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).conversation.is_told()
    }

    /// Whether no request has come since it was opened.
    pub(crate) fn is_untouched(&self) -> bool {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).conversation.is_untouched()
    }

    /// An answer is being taken, or a body is coming.
    pub(crate) fn touch(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.conversation.touch(Instant::now());
    }

    /// An answer did not leave entirely.
    pub(crate) fn lose(self: &Arc<Self>, issue: Issue) {
        self.with(|inner, answers| inner.conversation.lose(issue, Instant::now(), answers));
    }

    fn poll_readable(self: &Arc<Self>, cx: &Context<'_>) -> Poll<()> {
        self.with(|inner, answers| {
            if inner.conversation.is_readable() {
                return Poll::Ready(());
            }
            inner.conversation.settle(answers);
            keep(&mut inner.reader, cx);
            Poll::Pending
        })
    }

    fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.conversation.is_writable() {
            return Poll::Ready(());
        }
        keep(&mut inner.writer, cx);
        Poll::Pending
    }
}

fn keep(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

/// A tunnel as a session's transport.
pub struct Tunnel {
    line: Arc<Line>,
}

impl Tunnel {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line }
    }

    fn end(&self) {
        self.line.with(|inner, answers| {
            inner.conversation.end(Ended::Over, Instant::now(), answers);
        });
    }
}

impl Transport for Tunnel {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(|cx| self.line.poll_readable(cx).map(Ok))
    }

    fn writable(&self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(|cx| self.line.poll_writable(cx).map(Ok))
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.line.with(|inner, _| inner.conversation.read(buffer))
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        // What is kept for a repeat must not pin blocks while memory is short.
        let detached = self.line.budget.pressure() >= Pressure::High;
        self.line.with(|inner, answers| {
            inner.conversation.drop_waiting(Waiter::is_closed);
            inner.conversation.write(batch, detached, &self.line.budget.queues, answers)
        })
    }

    async fn close(&mut self) {
        self.end();
    }
}

impl Drop for Tunnel {
    /// Also where the session panicked.
    fn drop(&mut self) {
        self.end();
    }
}
