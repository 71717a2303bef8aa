//! What a session records for its distribution's access log: see [`crate::log`] for what counts as which event.
//!
//! A [`Trail`] knows the plays that have no stop yet, so each gets one, however its stream ends, and it outlives a panic: the session's end records what is
//! missing, and so does its being dropped. It also holds what was recorded and isn't written yet. While there is any of that the session takes in and does
//! everything as ever, but sends nothing ([`Session::withheld`]).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, ready};

use futures::future::FutureExt;
use proto::access_log::is_plausible_ms;
use proto::clock::Clock;
use proto::v1::{AccessEvent, AccessRecord, Distribution, DistributionKind};
use rand::Rng;
use tokio::time::{Duration, Instant};

use super::connect::Hello;
use super::names::StreamName;
use super::{Session, Shared};
use crate::log::{Written, clip, stem_and_query};
use crate::media::Container;
use allowance::Allowance;

mod allowance;

/// How often the log is told an open connection's bytes, where there are more. With what it takes to save them, they are at most ten seconds old.
const PROGRESS: Duration = Duration::from_secs(8);
/// A session whose time has come so far apart from the wall clock goes on by the clock's.
const APART_MS: u64 = 24 * 3_600_000;
/// Unwritten records of a viewer that commands faster than the disk writes: with so many its commands are left unread.
const WAITED_FOR: usize = 64;

/// When something was asked for, and what the connection had been sent by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    at: Instant,
    sc_bytes: u64,
}

/// A play without a stop, as its records name it.
struct Play {
    stream_id: u32,
    name: String,
    query: String,
    file_ext: &'static str,
    paused: bool,
}

/// What is recorded of a connection.
struct Logged {
    /// What all its records say; their target is the newest that is known.
    common: AccessRecord,
    /// Its connect, by both kinds of time; or when it was set anew.
    since: Instant,
    since_ms: u64,
    plays: Vec<Play>,
    /// Whether the log knows of it.
    recorded: bool,
    /// The bytes the log knows of, and since when.
    told: (Instant, u64),
}

/// See the module.
#[derive(Default)]
pub(super) struct Trail {
    logged: Option<Box<Logged>>,
    /// Length of its texts: asked for at every turn of the session, changed at few.
    held_bytes: usize,
    /// There from the first event on; looked at at every turn too.
    allowance: Option<Allowance>,
    /// What isn't written yet, oldest first.
    unwritten: VecDeque<Written>,
    /// Since when the session has held its bytes back.
    withheld_since: Option<Instant>,
}

/// `film.mp4` as `film` where the extension is told beside it; a name as the viewer gave it otherwise, with the folders its app carried.
fn name_of(name: &StreamName, file_ext: &str) -> String {
    let full = name.bases().first().unwrap_or(&name.display);
    let bare = full.strip_suffix(file_ext).and_then(|bare| bare.strip_suffix('.'));
    bare.filter(|bare| !file_ext.is_empty() && !bare.is_empty() && !bare.ends_with('/'))
        .unwrap_or(full)
        .to_owned()
}

fn extension_of(container: Container) -> &'static str {
    match container {
        Container::Flv => "flv",
        Container::Mp4 => "mp4",
        // The tags of a song are the song's.
        Container::Mp3 | Container::Id3 => "mp3",
    }
}

/// A text that fits a field.
fn fitting(shared: &Shared, text: &str) -> String {
    let (text, cut) = clip(text, shared.config.log.field_bytes);
    shared.metrics.log_cut.inc_by(u64::from(cut));
    text.to_owned()
}

impl Play {
    fn of(shared: &Shared, stream_id: u32, name: &StreamName, file_ext: &'static str) -> Self {
        let query = name.query.as_deref().unwrap_or_default();
        Self {
            stream_id,
            name: fitting(shared, &name_of(name, file_ext)),
            query: fitting(shared, query),
            file_ext,
            paused: false,
        }
    }

    fn held_bytes(&self) -> usize {
        self.name.len() + self.query.len()
    }
}

impl Logged {
    fn held_bytes(&self) -> usize {
        let common = &self.common;
        let texts =
            [&common.uri_stem, &common.uri_query, &common.referrer, &common.page_url, &common.user_agent];
        texts.into_iter().map(String::len).chain(self.plays.iter().map(Play::held_bytes)).sum()
    }

    fn of(session: &Session, distribution: &Distribution, hello: &Hello) -> Box<Self> {
        let shared = &session.shared;
        let (stem, query) = stem_and_query(&hello.tc_url);
        // Some players put it behind the app only.
        let query =
            if query.is_empty() { hello.app.split_once('?').map_or("", |(_, query)| query) } else { query };
        let fit = |text: &str| fitting(shared, text);
        let now = Instant::now();
        Box::new(Self {
            common: AccessRecord {
                distribution_id: distribution.id.clone(),
                target: distribution.logging.clone(),
                edge_location: shared.config.log.edge_location.clone(),
                client_ip: session.peer.ip().to_canonical().to_string(),
                client_id: hex::encode(rand::rng().random::<[u8; 16]>()),
                uri_stem: fit(&stem),
                uri_query: fit(query),
                referrer: fit(&hello.swf_url),
                page_url: fit(&hello.page_url),
                user_agent: fit(&hello.flash_version),
                ..AccessRecord::default()
            },
            since: now,
            since_ms: shared.clock.now_ms(),
            plays: Vec::new(),
            recorded: false,
            told: (now, 0),
        })
    }

    /// The wall time of something that happened at `at`, until now: the connect's and what has elapsed since. Where the clock says now that it was
    /// not set then, or is a day away, the session goes on by the clock (unless it's the clock that isn't set).
    fn time_ms(&mut self, at: Instant, clock: &dyn Clock) -> u64 {
        let (now, clock_ms) = (Instant::now(), clock.now_ms());
        let now_ms = self.told_ms(now);
        let is_wrong = !is_plausible_ms(now_ms) || now_ms.abs_diff(clock_ms) > APART_MS;
        if is_wrong && is_plausible_ms(clock_ms) {
            (self.since, self.since_ms) = (now, clock_ms);
        }
        self.told_ms(at)
    }

    fn told_ms(&self, at: Instant) -> u64 {
        let ms = |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.since) {
            Some(elapsed) => self.since_ms.saturating_add(ms(elapsed)),
            None => self.since_ms.saturating_sub(ms(self.since.duration_since(at))),
        }
    }
}

impl Trail {
    /// Hands a record over, where its distribution has a log now. Where it has none any more, the log is told all the same, without a target: it keeps
    /// no record of that, and knows that the connection goes on or has ended.
    fn record(
        &mut self,
        shared: &Shared,
        event: AccessEvent,
        moment: Moment,
        play: Option<&Play>,
        status: &str,
    ) {
        let (Some(logged), Some(sink)) = (&mut self.logged, shared.log.sink()) else { return };
        // Of one that is deleted, what was known last.
        if let Some(document) = shared.catalogue.borrow().distributions.get(&logged.common.distribution_id) {
            logged.common.target.clone_from(&document.logging);
        }
        let is_kept = logged.common.target.is_some();
        if !(is_kept || logged.recorded && status.is_empty()) {
            return;
        }
        let mut record = AccessRecord {
            time_ms: logged.time_ms(moment.at, &*shared.clock),
            event: event.into(),
            sc_bytes: moment.sc_bytes,
            status: status.to_owned(),
            ..logged.common.clone()
        };
        if let Some(play) = play {
            record.stream_name.clone_from(&play.name);
            record.stream_query.clone_from(&play.query);
            play.file_ext.clone_into(&mut record.file_ext);
            record.stream_id = play.stream_id;
        }
        let now = Instant::now();
        logged.recorded |= status.is_empty();
        logged.told = (now, moment.sc_bytes.max(logged.told.1));
        let written = sink.record(record);
        if is_kept {
            self.withheld_since.get_or_insert(now);
            let fresh = || Allowance::new(shared.config.log.events_per_second, now);
            self.allowance.get_or_insert_with(fresh).spend(now);
            // What ends a session comes on top.
            if self.unwritten.len() >= 2 * WAITED_FOR {
                self.unwritten.pop_front();
            }
            self.unwritten.push_back(written);
        }
    }

    fn play(&mut self, stream_id: u32) -> Option<&mut Play> {
        self.logged.as_mut()?.plays.iter_mut().find(|play| play.stream_id == stream_id)
    }

    /// A play that has no stop yet is to have one now.
    fn take_play(&mut self, stream_id: u32) -> Option<Play> {
        let plays = &mut self.logged.as_mut()?.plays;
        let at = plays.iter().position(|play| play.stream_id == stream_id)?;
        let play = plays.remove(at);
        self.held_bytes -= play.held_bytes();
        Some(play)
    }

    /// All of them.
    fn take_plays(&mut self) -> Vec<Play> {
        let plays = self.logged.as_mut().map(|logged| std::mem::take(&mut logged.plays)).unwrap_or_default();
        self.held_bytes -= plays.iter().map(Play::held_bytes).sum::<usize>();
        plays
    }

    /// A play that is to have its stop later.
    fn keep_play(&mut self, play: Play) {
        if let Some(logged) = &mut self.logged {
            self.held_bytes += play.held_bytes();
            logged.plays.push(play);
        }
    }

    /// From now on this is recorded, or nothing.
    fn begin(&mut self, logged: Option<Box<Logged>>) {
        self.held_bytes = logged.as_ref().map_or(0, |logged| logged.held_bytes());
        self.logged = logged;
    }

    /// Until when the viewer's commands are to be left unread, because they make events faster than it may, or than they are written.
    pub(super) fn unread_until(&self) -> Option<Instant> {
        if self.unwritten.len() >= WAITED_FOR {
            // Woken by what is written before.
            return Some(Instant::now() + PROGRESS);
        }
        self.allowance.as_ref()?.spent_until()
    }

    /// Whether something isn't written yet.
    pub(super) fn withholds(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Memory held, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        debug_assert_eq!(self.held_bytes, self.logged.as_ref().map_or(0, |logged| logged.held_bytes()));
        self.held_bytes
    }
}

/// Waits until the oldest of what isn't written is, for ever if there is none.
pub(super) async fn written(trail: &mut Trail) {
    poll_fn(|cx| {
        let Some(written) = trail.unwritten.front_mut() else { return Poll::Pending };
        ready!(written.poll_unpin(cx));
        // A future that is done is not polled again.
        trail.unwritten.pop_front();
        Poll::Ready(())
    })
    .await
}

impl Session {
    /// Now, for a record.
    pub(super) fn moment(&self) -> Moment {
        Moment { at: Instant::now(), sc_bytes: self.sent_bytes }
    }

    fn record(&mut self, event: AccessEvent, moment: Moment, play: Option<&Play>, status: &str) {
        self.trail.record(&self.shared, event, moment, play, status);
    }

    /// The connect was accepted; gives the connection's id in the log.
    pub(super) fn record_connect(&mut self, distribution: &Distribution, hello: &Hello) -> String {
        let logged = Logged::of(self, distribution, hello);
        let client_id = logged.common.client_id.clone();
        self.trail.begin(Some(logged));
        self.record(AccessEvent::Connect, self.moment(), None, "");
        client_id
    }

    /// The connect to `distribution` was rejected: of no further consequence to the log.
    pub(super) fn record_rejection(&mut self, distribution: &Distribution, hello: &Hello, code: &str) {
        // A web distribution's log has other fields.
        if !self.shared.config.log.rejected || distribution.kind() != DistributionKind::Streaming {
            return;
        }
        self.trail.begin(Some(Logged::of(self, distribution, hello)));
        self.record(AccessEvent::Connect, self.moment(), None, code);
        self.trail.begin(None);
    }

    /// The play that was asked for at `moment` has found its file.
    pub(super) fn record_play(
        &mut self,
        stream_id: u32,
        name: &StreamName,
        container: Container,
        moment: Moment,
    ) {
        let play = Play::of(&self.shared, stream_id, name, extension_of(container));
        self.record_stop(stream_id);
        self.record(AccessEvent::Play, moment, Some(&play), "");
        self.trail.keep_play(play);
    }

    /// The play that was asked for at `moment` came to nothing.
    pub(super) fn record_failed_play(
        &mut self,
        stream_id: u32,
        name: &StreamName,
        code: &str,
        moment: Moment,
    ) {
        if self.shared.config.log.rejected {
            let play = Play::of(&self.shared, stream_id, name, "");
            self.record(AccessEvent::Play, moment, Some(&play), code);
        }
    }

    /// What a stream plays is over; of no effect where that was recorded before.
    pub(super) fn record_stop(&mut self, stream_id: u32) {
        if let Some(play) = self.trail.take_play(stream_id) {
            self.record(AccessEvent::Stop, self.moment(), Some(&play), "");
        }
    }

    /// Another file has taken over from the one that played.
    pub(super) fn record_switch(&mut self, stream_id: u32, name: &StreamName, container: Container) {
        // Where all was over, nothing begins with it either.
        let Some(paused) = self.trail.play(stream_id).map(|play| play.paused) else { return };
        self.record_play(stream_id, name, container, self.moment());
        if let Some(play) = self.trail.play(stream_id) {
            play.paused = paused;
        }
    }

    /// A seek has found its place. In a film that had ended it begins another play.
    pub(super) fn record_seek(&mut self, stream_id: u32, name: &StreamName, container: Container) {
        if self.trail.play(stream_id).is_none() {
            self.record_play(stream_id, name, container, self.moment());
        }
        self.record_within(AccessEvent::Seek, stream_id);
    }

    /// A stream was paused, or goes on; of no effect where it was so before.
    pub(super) fn record_pause(&mut self, stream_id: u32, paused: bool) {
        let Some(play) = self.trail.play(stream_id).filter(|play| play.paused != paused) else { return };
        play.paused = paused;
        self.record_within(if paused { AccessEvent::Pause } else { AccessEvent::Unpause }, stream_id);
    }

    /// Records something that happens to a play.
    fn record_within(&mut self, event: AccessEvent, stream_id: u32) {
        if let Some(play) = self.trail.take_play(stream_id) {
            self.record(event, self.moment(), Some(&play), "");
            self.trail.keep_play(play);
        }
    }

    /// The connection is over: its plays get their stops, and it its disconnect. Once.
    pub(super) fn record_disconnect(&mut self) {
        let plays = self.trail.take_plays();
        for play in &plays {
            self.record(AccessEvent::Stop, self.moment(), Some(play), "");
        }
        self.record(AccessEvent::Disconnect, self.moment(), None, "");
        self.trail.begin(None);
    }

    /// Whether nothing may be sent, because a record isn't written yet.
    pub(super) fn withheld(&mut self, now: Instant) -> bool {
        let Some(since) = self.trail.withheld_since else { return false };
        while let Some(written) = self.trail.unwritten.front_mut() {
            if written.now_or_never().is_none() {
                return true;
            }
            self.trail.unwritten.pop_front();
        }
        self.trail.withheld_since = None;
        self.shared.metrics.log_hold_seconds.observe(now.saturating_duration_since(since).as_secs_f64());
        false
    }

    /// Waits until everything recorded is written.
    pub(super) async fn settle_records(&mut self) {
        while self.withheld(Instant::now()) {
            written(&mut self.trail).await;
        }
    }

    /// Tells the log how much was sent, where that is long ago; when to do so next. No timer of its own: a session that sends wakes anyway.
    pub(super) fn report_progress(&mut self, now: Instant) -> Option<Instant> {
        let sent_bytes = self.sent_bytes;
        let logged =
            self.trail.logged.as_mut().filter(|logged| logged.recorded && logged.told.1 < sent_bytes)?;
        let due = logged.told.0 + PROGRESS;
        if due > now {
            return Some(due);
        }
        logged.told = (now, sent_bytes);
        let sink = self.shared.log.sink()?;
        let time_ms = logged.time_ms(now, &*self.shared.clock);
        sink.progress(&logged.common.client_id, time_ms, sent_bytes);
        None
    }
}

/// Whatever ends a session, also a task that is dropped in the middle of it.
impl Drop for Session {
    fn drop(&mut self) {
        self.record_disconnect();
    }
}

#[cfg(test)]
mod tests;
