//! One tunnelled session's requests and answers, without I/O: order, polling byte, replay, what is held and what waits.
//!
//! Requests carry numbers and may arrive over several connections, so out of order; answers are read in the order of the numbers.
//!
//! * The next number is *taken*: its bytes go to the session, and the request waits for an answer. A newer one that is taken ends that wait
//!   with an empty answer, so at most one request waits, always the newest.
//! * An early number is *held* until what is missing before it has come, within a window and for a while; then the session ends.
//! * The newest number again, on another connection, is a repeat: it gets the same answer, or takes over the wait for one.
//! * An older number gets the polling byte.
//!
//! Each answer is kept until the next number is taken, because by that the player says it has the answer; if we know it hasn't (its
//! connection broke while the answer was written), bytes are missing and the session ends.
//!
//! The first number is 0, as librtmp and ffmpeg count, or 1 if that is what comes with the first bytes of a handshake, or if 0 doesn't come.
//!
//! `W` is whoever waits for an answer. Every `W` passed in comes back with an [`Outcome`], once. Time is told, never asked.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::ladder::Ladder;
use super::path::Kind;
use super::reply::{Data, Refusal, Reply};
use crate::budget::Account;
use crate::config::tunnel::TunnelConfig;
use crate::rtmp::chunk::Batch;

/// What bounds a conversation.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) window: u64,
    pub(crate) input_bytes: usize,
    pub(crate) response_bytes: usize,
    pub(crate) replays: u32,
    pub(crate) gap: Duration,
    pub(crate) session: Duration,
}

impl From<&TunnelConfig> for Limits {
    fn from(config: &TunnelConfig) -> Self {
        Self {
            window: config.window,
            input_bytes: config.input_bytes,
            response_bytes: config.response_bytes,
            replays: config.replays,
            gap: Duration::from_millis(config.gap_ms),
            session: Duration::from_millis(config.session_ms),
        }
    }
}

/// What a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// An answer, and which: the number and how often it was given before. What is known of its arrival is told by that.
    Reply(Reply, Issue),
    /// A 4xx.
    Refused(Refusal),
}

/// One giving of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) number: u64,
    pub(crate) copy: u32,
}

/// Who gets what.
pub(crate) type Answers<W> = SmallVec<[(W, Outcome); 2]>;

/// Why a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The session was served to its end, or its player closed it.
    Over,
    /// No request came for too long.
    Expired,
    /// A request never came.
    Gap,
    /// An answer was lost.
    Lost,
}

struct Waiting<W> {
    number: u64,
    kind: Kind,
    waiter: W,
}

struct Early<W> {
    kind: Kind,
    body: Box<[u8]>,
    waiter: W,
}

/// The newest answer.
struct Last {
    issue: Issue,
    reply: Reply,
    lost: bool,
}

/// See the module.
pub(crate) struct Conversation<W> {
    limits: Limits,
    /// The number that is taken next.
    next: u64,
    /// Whether any was taken.
    based: bool,
    early: BTreeMap<u64, Early<W>>,
    early_bytes: usize,
    gap_since: Option<Instant>,
    waiting: Option<Waiting<W>>,
    last: Option<Last>,
    /// The giving of data before that; it may still be on its way.
    before: Option<Issue>,
    ladder: Ladder,
    input: BytesMut,
    /// The session has looked at all input and waits for more.
    settled: bool,
    ended: Option<(Ended, Instant)>,
    /// The player knows of the end.
    told: bool,
    heard: Instant,
}

impl<W> Conversation<W> {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            next: 0,
            based: false,
            early: BTreeMap::new(),
            early_bytes: 0,
            gap_since: None,
            waiting: None,
            last: None,
            before: None,
            ladder: Ladder::default(),
            input: BytesMut::new(),
            settled: false,
            ended: None,
            told: false,
            heard: now,
        }
    }

    /// A request has come.
    pub(crate) fn arrive(
        &mut self,
        number: u64,
        kind: Kind,
        body: &[u8],
        waiter: W,
        now: Instant,
        answers: &mut Answers<W>,
    ) {
        let newest = self.based && number + 1 == self.next;
        if self.ended.is_some() {
            let outcome = match self.ended {
                Some((Ended::Over, _)) if newest && !self.told && self.last.is_some() => self.repeat(),
                _ => self.farewell(),
            };
            answers.push((waiter, outcome));
            return;
        }
        self.heard = now;
        let body = if kind == Kind::Send { body } else { &[] };
        if !self.based && number == 1 && begins_handshake(body) && !self.early.contains_key(&1) {
            self.next = 1;
        }
        if newest {
            match &mut self.waiting {
                Some(waiting) => {
                    // The connection of the one that waits is dead, or will be.
                    let before = std::mem::replace(&mut waiting.waiter, waiter);
                    answers.push((before, self.idle_byte(number)));
                }
                None => {
                    let outcome = self.repeat();
                    answers.push((waiter, outcome));
                }
            }
        } else if number < self.next {
            answers.push((waiter, self.idle_byte(number)));
        } else if self.input.len() + self.early_bytes + body.len() > self.limits.input_bytes {
            answers.push((waiter, Outcome::Refused(Refusal::Flood)));
        } else if number == self.next {
            self.take(kind, body, waiter, answers);
            self.take_early(now, answers);
        } else if number - self.next > self.limits.window {
            answers.push((waiter, Outcome::Refused(Refusal::Jump)));
        } else if let Some(held) = self.early.get_mut(&number) {
            let before = std::mem::replace(&mut held.waiter, waiter);
            answers.push((before, self.idle_byte(number)));
        } else {
            self.gap_since.get_or_insert(now);
            self.early_bytes += body.len();
            self.early.insert(number, Early { kind, body: body.into(), waiter });
        }
    }

    /// The request of the next number is this one.
    fn take(&mut self, kind: Kind, body: &[u8], waiter: W, answers: &mut Answers<W>) {
        let data = self.last.take_if(|last| matches!(last.reply, Reply::Data(_)));
        if data.as_ref().is_some_and(|last| last.lost) {
            self.waiting = Some(Waiting { number: self.next, kind, waiter });
            self.end(Ended::Lost, self.heard, answers);
            return;
        }
        if let Some(older) = self.waiting.take() {
            let outcome = self.empty(older.number);
            answers.push((older.waiter, outcome));
        }
        self.before = data.map(|last| last.issue).or(self.before);
        self.last = None;
        if !body.is_empty() {
            self.input.extend_from_slice(body);
            self.settled = false;
        }
        // An empty send brings nothing the session could answer.
        let kind = if body.is_empty() { Kind::Idle } else { kind };
        self.waiting = Some(Waiting { number: self.next, kind, waiter });
        self.next += 1;
        self.based = true;
    }

    /// What was held and is no longer early.
    fn take_early(&mut self, now: Instant, answers: &mut Answers<W>) {
        while self.ended.is_none()
            && let Some(early) = self.early.remove(&self.next)
        {
            self.early_bytes -= early.body.len();
            self.take(early.kind, &early.body, early.waiter, answers);
        }
        self.gap_since = (!self.early.is_empty()).then_some(now);
    }

    /// The newest answer again.
    fn repeat(&mut self) -> Outcome {
        let Some(last) = &mut self.last else {
            // The one that waited was answered by an end.
            return Outcome::Refused(Refusal::Ended);
        };
        if last.issue.copy >= self.limits.replays {
            return Outcome::Refused(Refusal::Replays);
        }
        last.issue.copy += 1;
        last.lost = false;
        Outcome::Reply(last.reply.clone(), last.issue)
    }

    /// The polling byte, and nothing else changes.
    fn idle_byte(&self, number: u64) -> Outcome {
        Outcome::Reply(Reply::Byte(self.ladder.now()), Issue { number, copy: 0 })
    }

    /// An empty answer to `number`, the newest.
    fn empty(&mut self, number: u64) -> Outcome {
        let (reply, issue) = (Reply::Byte(self.ladder.empty()), Issue { number, copy: 0 });
        self.last = Some(Last { issue, reply: reply.clone(), lost: false });
        Outcome::Reply(reply, issue)
    }

    /// The request that waits does so no more if it is `gone` (its connection broke): nothing is taken from the session for it.
    pub(crate) fn drop_waiting(&mut self, gone: impl FnOnce(&W) -> bool) {
        if let Some(waiting) = self.waiting.take_if(|waiting| gone(&waiting.waiter)) {
            let issue = Issue { number: waiting.number, copy: 0 };
            self.last = Some(Last { issue, reply: Reply::Byte(self.ladder.now()), lost: false });
        }
    }

    /// Whether a request waits for data.
    pub(crate) fn is_writable(&self) -> bool {
        self.waiting.is_some() || self.ended.is_some()
    }

    /// Answers the request that waits with what `batch` holds, up to the size of a response. How many bytes were taken; `WouldBlock` while
    /// no request waits.
    pub(crate) fn write(
        &mut self,
        batch: &mut Batch,
        detached: bool,
        account: &Arc<Account>,
        answers: &mut Answers<W>,
    ) -> io::Result<usize> {
        if self.ended.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Some(waiting) = self.waiting.take() else { return Err(io::ErrorKind::WouldBlock.into()) };
        let byte = self.ladder.data();
        let (data, taken) = Data::take(batch, byte, self.limits.response_bytes, detached, account);
        let (reply, issue) = (Reply::Data(data), Issue { number: waiting.number, copy: 0 });
        self.last = Some(Last { issue, reply: reply.clone(), lost: false });
        answers.push((waiting.waiter, Outcome::Reply(reply, issue)));
        Ok(taken)
    }

    /// Whether there is input, or its end.
    pub(crate) fn is_readable(&self) -> bool {
        !self.input.is_empty() || self.ended.is_some()
    }

    /// Moves the input to `buffer`: how many bytes; 0 at its end; `WouldBlock` while there is none.
    pub(crate) fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if !self.input.is_empty() {
            let input = std::mem::take(&mut self.input);
            buffer.extend_from_slice(&input);
            return Ok(input.len());
        }
        match self.ended {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some((Ended::Over | Ended::Expired, _)) => Ok(0),
            Some((Ended::Gap, _)) => Err(io::Error::other("a request of the tunnel never came")),
            Some((Ended::Lost, _)) => Err(io::Error::other("an answer of the tunnel was lost")),
        }
    }

    /// The session has acted on all input and waits: a send that got no data from that is answered.
    pub(crate) fn settle(&mut self, answers: &mut Answers<W>) {
        if !std::mem::replace(&mut self.settled, true)
            && let Some(waiting) = self.waiting.take_if(|waiting| waiting.kind == Kind::Send)
        {
            let outcome = self.empty(waiting.number);
            answers.push((waiting.waiter, outcome));
        }
    }

    /// The request `number` has waited long enough.
    pub(crate) fn give_up(&mut self, number: u64, answers: &mut Answers<W>) {
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.number == number) {
            let outcome = self.empty(waiting.number);
            answers.push((waiting.waiter, outcome));
        }
    }

    /// An answer with data did not leave entirely.
    pub(crate) fn lose(&mut self, issue: Issue, now: Instant, answers: &mut Answers<W>) {
        match &mut self.last {
            Some(last) if last.issue.number == issue.number => last.lost |= last.issue == issue,
            _ if self.before == Some(issue) && self.ended.is_none() => self.end(Ended::Lost, now, answers),
            // Given again since, or too old to know whether the player has it.
            _ => {}
        }
    }

    /// The player takes an answer: it is there.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Ends a conversation that has waited too long for a request, or for the one that is missing.
    pub(crate) fn look(&mut self, now: Instant, answers: &mut Answers<W>) {
        if self.ended.is_some() {
            return;
        }
        if now >= self.heard + self.limits.session {
            return self.end(Ended::Expired, now, answers);
        }
        if self.gap_since.is_some_and(|since| now >= since + self.limits.gap) {
            if !self.based && self.early.contains_key(&1) {
                self.next = 1;
                self.take_early(now, answers);
            } else {
                self.end(Ended::Gap, now, answers);
            }
        }
    }

    /// The player closes the session.
    pub(crate) fn hang_up(&mut self, now: Instant, answers: &mut Answers<W>) {
        self.end(Ended::Over, now, answers);
        self.told = true;
    }

    /// Ends it for that reason, unless it has ended.
    pub(crate) fn end(&mut self, reason: Ended, now: Instant, answers: &mut Answers<W>) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some((reason, now));
        if let Some(waiting) = self.waiting.take() {
            let outcome = self.farewell();
            answers.push((waiting.waiter, outcome));
        }
        for (_, early) in std::mem::take(&mut self.early) {
            let outcome = self.farewell();
            answers.push((early.waiter, outcome));
        }
        (self.early_bytes, self.gap_since) = (0, None);
        if matches!(reason, Ended::Gap | Ended::Lost) {
            self.input = BytesMut::new();
        }
    }

    /// What a request gets after the end: once the polling byte that says so, then a 4xx.
    fn farewell(&mut self) -> Outcome {
        match self.ended {
            Some((Ended::Over, _)) if !std::mem::replace(&mut self.told, true) => {
                Outcome::Reply(Reply::Byte(0), Issue { number: self.next, copy: 0 })
            }
            Some((Ended::Gap, _)) => Outcome::Refused(Refusal::Gap),
            Some((Ended::Lost, _)) => Outcome::Refused(Refusal::Lost),
            _ => Outcome::Refused(Refusal::Ended),
        }
    }

    /// Why it ended, and when; `None` while it lasts.
    pub(crate) fn ended(&self) -> Option<(Ended, Instant)> {
        self.ended
    }

    /// Whether it has ended and there is nothing left to say to its player.
    pub(crate) fn is_told(&self) -> bool {
        self.ended.is_some_and(|(reason, _)| reason != Ended::Over || self.told)
    }

    /// Whether no request has come.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.based && self.early.is_empty()
    }

    /// Bytes of memory held, answers with data apart.
    pub(crate) fn own_bytes(&self) -> usize {
        self.input.capacity() + self.early_bytes + self.early.len() * 128
    }

    /// How many requests are held for what is missing before them, and how many bytes are held in all.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.early.len(), self.early_bytes + self.input.len())
    }

    /// The bytes of those requests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    /// The number that is taken next.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

/// Whether `body` can be the first bytes of a session.
fn begins_handshake(body: &[u8]) -> bool {
    matches!(body.first(), Some(3 | 6 | 8 | 9))
}

#[cfg(test)]
mod tests;
