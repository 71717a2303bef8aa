//! `play` and what it brings about: opening, the order of replies, the flow of media, the end.
//!
//! Numbers on the wire are milliseconds, but GStreamer sends -2 where Flash sends -2000: of the negative ones, -1 and -1000 mean live only, any
//! other live-or-recorded. A missing file is an error only when a recorded one was asked for; else the viewer waits in silence, as
//! with FMS, and the name is looked up again from time to time.

use std::sync::Arc;

use tokio::time::{Duration, Instant};
use tracing::{info, warn};

use super::authorise::Granted;
use super::names::StreamName;
use super::opening::{self, Ready, fit};
use super::pacing;
use super::playback::{Extent, Filled, Place, Playback, Wanted};
use super::stream::{Done, PlayRequest, Playing, Start, State};
use super::transition::Transition;
use super::{Connection, Session};
use crate::admission::Refusal;
use crate::media::{Container, MediaError};
use crate::metrics::Counted;
use crate::object::ReadError;
use crate::rtmp::amf::Value;
use crate::rtmp::command::Command;
use crate::rtmp::{control, reply};

/// How long a name that isn't there is not looked up again while a transition is under way.
const MEANWHILE: Duration = Duration::from_millis(250);
/// JW Player shows this to its user; it has no case for NetStream.Play.Failed.
pub(super) const FAILED: &str = "NetStream.Failed";

impl Session {
    pub(super) fn on_play(&mut self, stream_id: u32, command: &Command) {
        let Some(connection) = self.connection() else { return };
        if self.stream(stream_id).is_none() {
            return;
        }
        let Some(name) = command.args.first().and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            // play(false) stops the stream.
            self.on_stop(stream_id);
            return;
        };
        let request = request(&connection, name, command);
        info!(session = self.id, stream = stream_id, name = request.name.display, start = ?request.start, extent = ?request.extent, "play");
        if request.reset {
            self.play(stream_id, request);
        } else {
            self.enqueue(stream_id, request, true);
        }
    }

    /// Plays `request` instead of what plays and waits.
    pub(super) fn play(&mut self, stream_id: u32, request: PlayRequest) {
        self.stop_stream(stream_id);
        if let Err(refusal) = self.shared.admit_play(false) {
            self.refuse_for_want_of_room(stream_id, &request.name.display, refusal);
            self.record_failed_play(stream_id, &request.name, FAILED, self.moment());
            return;
        }
        self.open(stream_id, request);
    }

    /// Tells the viewer that memory is short.
    pub(super) fn refuse_for_want_of_room(&mut self, stream_id: u32, name: &str, refusal: Refusal) {
        warn!(session = self.id, stream = stream_id, name, reason = refusal.text(), "play refused");
        self.shared.metrics.refused.with_label_values(&["play_memory"]).inc();
        self.shared.metrics.play_errors.with_label_values(&[FAILED]).inc();
        let text = format!("Failed to play {name}; {}.", refusal.text());
        self.status(stream_id, "error", FAILED, &text, name);
    }

    pub(super) fn on_stop(&mut self, stream_id: u32) {
        self.stop_stream(stream_id);
        control::stream_eof(stream_id, &mut self.out.batch);
        self.status(stream_id, "status", "NetStream.Play.Stop", "Stopped playing.", "");
    }

    pub(super) fn is_busy(&mut self, stream_id: u32) -> bool {
        match self.stream(stream_id).map(|stream| &stream.state) {
            Some(State::Playing(playing)) => !playing.over,
            Some(State::Opening(_) | State::Waiting(..)) => true,
            Some(State::Idle) | None => false,
        }
    }

    /// Starts opening what `request` names, or the next of the playlist that may be opened.
    pub(super) fn open(&mut self, stream_id: u32, mut request: PlayRequest) {
        self.leave_file(stream_id);
        let moment = *request.moment.get_or_insert(self.moment());
        let origin = loop {
            match self.authorise(&request.name) {
                Ok(Granted { name, origin }) => {
                    request.name = name;
                    break origin;
                }
                Err(denial) => {
                    self.deny(stream_id, &request.name, denial);
                    self.record_failed_play(stream_id, &request.name, FAILED, moment);
                    let Some(stream) = self.stream(stream_id) else { return };
                    // What was asked of this name dies with it.
                    (stream.early_seek_ms, stream.paused) = (None, false);
                    let Some(next) = stream.playlist.pop_front() else { return };
                    request = PlayRequest { base_ms: request.base_ms, moment: Some(moment), ..next };
                }
            }
        };
        let library = self.shared.library.clone();
        let Some(stream) = self.stream(stream_id) else { return };
        if request.start == Start::LiveOnly {
            stream.state = State::Waiting(request, None);
            return;
        }
        let opening =
            opening::open_at(library, origin, request.name.clone(), request.start_ms(), request.seconds);
        stream.op = Some(Box::pin(async move { Done::Opened(opening.await) }));
        stream.state = State::Opening(request);
    }

    pub(super) fn on_opened(&mut self, stream_id: u32, result: Result<Ready, MediaError>) {
        let poll = Duration::from_millis(self.shared.config.waiting_poll_ms);
        let admitted = self.shared.admit_play(true);
        let Some(stream) = self.stream(stream_id) else { return };
        let request = match std::mem::replace(&mut stream.state, State::Idle) {
            State::Opening(request) => request,
            other => {
                stream.state = other;
                return;
            }
        };
        match result {
            Ok(ready) => match admitted {
                Ok(()) => self.start_playing(stream_id, request, ready),
                Err(refusal) => {
                    (stream.early_seek_ms, stream.paused) = (None, false);
                    let name = request.name.display.clone();
                    self.refuse_for_want_of_room(stream_id, &name, refusal);
                    self.record_failed(stream_id, &request, FAILED);
                    self.play_next(stream_id, request.base_ms);
                }
            },
            Err(MediaError::Read(ReadError::NotFound(_))) if request.start == Start::Any => {
                stream.state = State::Waiting(request, Some(Instant::now() + poll));
                self.begin_waiting(stream_id);
            }
            Err(error) => {
                // What was asked of this name dies with it.
                (stream.early_seek_ms, stream.paused, stream.transition) = (None, false, None);
                let name = request.name.clone();
                let code = self.refuse(stream_id, &name, &error);
                self.record_failed(stream_id, &request, code);
                // A playlist goes on with its next item.
                self.play_next(stream_id, request.base_ms);
            }
        }
    }

    fn record_failed(&mut self, stream_id: u32, request: &PlayRequest, code: &str) {
        let moment = request.moment.unwrap_or_else(|| self.moment());
        self.record_failed_play(stream_id, &request.name, code, moment);
    }

    /// Tells the viewer why a name can't be played, or can't be played on; gives the code.
    fn refuse(&mut self, stream_id: u32, name: &StreamName, error: &MediaError) -> &'static str {
        let display = name.display.clone();
        let failed = format!("Failed to play {display} (stream ID: {stream_id}).");
        let (code, text) = match error {
            MediaError::Read(ReadError::NotFound(_)) => {
                ("NetStream.Play.StreamNotFound", format!("Failed to play {display}; stream not found."))
            }
            MediaError::StructureInvalid(_) => (
                "NetStream.Play.FileStructureInvalid",
                format!("Failed to play {display}; file structure is invalid."),
            ),
            MediaError::NoSupportedTrack(_) => (
                "NetStream.Play.NoSupportedTrackFound",
                format!("Failed to play {display}; no supported track found."),
            ),
            MediaError::Read(_) => (FAILED, failed),
        };
        warn!(
            session = self.id,
            stream = stream_id,
            name = name.display,
            code,
            reason = error.to_string(),
            "play failed"
        );
        self.shared.metrics.play_errors.with_label_values(&[code]).inc();
        self.status(stream_id, "error", code, &text, &display);
        code
    }

    /// FMS's order: recorded, chunk size, begin, Reset, Start, sample access, Data.Start; then metadata and headers with the first media.
    pub(super) fn start_playing(&mut self, stream_id: u32, request: PlayRequest, ready: Ready) {
        let shared = self.shared.clone();
        let config = &shared.config;
        let chunk_size = match self.connection().map_or(0, |c| c.distribution.chunk_size_bytes) {
            0 => config.chunk_size_bytes,
            own => own,
        };
        let display = request.name.display.clone();
        self.out.jump(stream_id);
        control::stream_is_recorded(stream_id, &mut self.out.batch);
        self.out.chunk_size(chunk_size);
        control::stream_begin(stream_id, &mut self.out.batch);
        if request.reset {
            let text = format!("Playing and resetting {display}.");
            self.status(stream_id, "status", "NetStream.Play.Reset", &text, &display);
        }
        self.status(
            stream_id,
            "status",
            "NetStream.Play.Start",
            &format!("Started playing {display}."),
            &display,
        );
        let Ready { media, mut reader, cursor, start_ms } = ready;
        // What resumes keeps the file's own times; all else counts from where it starts.
        let base_ms = request.base_ms;
        let (origin_ms, from_ms) = if request.resumes { (0, start_ms) } else { (start_ms, base_ms) };
        self.out.data(stream_id, from_ms as u32, self.sample_access());
        self.out.data(stream_id, from_ms as u32, reply::data_start());

        let container = match media.container {
            Container::Flv => "flv",
            Container::Mp4 => "mp4",
            Container::Mp3 => "mp3",
            Container::Id3 => "id3",
        };
        info!(session = self.id, stream = stream_id, name = request.name.display, key = %reader.info().id.object.key,
            version = %reader.info().id.version, container, duration_ms = media.duration_ms,
            opened_ms = request.asked.elapsed().as_millis() as u64, "playing");
        shared.metrics.plays.with_label_values(&[container]).inc();
        let moment = request.moment.unwrap_or_else(|| self.moment());
        self.record_play(stream_id, &request.name, media.container, moment);
        reader.set_pace(media.bytes_per_second, config.read_ahead_seconds, config.read_ahead_viewer_bytes);
        let extent = match request.extent {
            Extent::Ms(ms) if request.seconds && ms >= 1_000_000 => Extent::Ms(fit(ms, media.duration_ms)),
            other => other,
        };
        let extent = match extent {
            Extent::Ms(ms) if request.resumes => Extent::Ms(ms.saturating_add(start_ms)),
            other => other,
        };
        let place = Place { origin_ms, base_ms, from_ms };
        let playback =
            Playback::new(media, reader, cursor, place, extent, config.max_buffer_ms, request.unpaced);
        let Some(stream) = self.stream(stream_id) else { return };
        let early_pause = stream.paused;
        stream.state = State::Playing(Box::new(Playing {
            _counted: Counted::new(&shared.metrics.playing),
            request,
            playback,
            begins: true,
            end_due: None,
            over: false,
            sleeps_until: None,
            waits_since: None,
            paused_at_ms: None,
            late_since: None,
        }));
        let early_seek_ms = stream.early_seek_ms.take();
        if early_pause {
            self.record_pause(stream_id, true);
            control::stream_eof(stream_id, &mut self.out.batch);
            self.status(
                stream_id,
                "status",
                "NetStream.Pause.Notify",
                &format!("Pausing {display}."),
                &display,
            );
        }
        if let Some(ms) = early_seek_ms {
            self.seek_to(stream_id, ms);
        }
        self.begin_transition(stream_id);
    }

    /// `|RtmpSampleAccess`, as the distribution grants it.
    pub(super) fn sample_access(&self) -> bytes::Bytes {
        let granted = self
            .connection()
            .map(|c| (c.distribution.audio_sample_access, c.distribution.video_sample_access));
        let (audio, video) = granted.unwrap_or_default();
        reply::sample_access(audio, video)
    }

    /// Fills the batch from every stream; the time at which the next one has something to do. Who fills it to its limit is
    /// asked last the next time, so that streams share what the viewer takes.
    pub(super) fn fill_streams(&mut self, now: Instant) -> Option<Instant> {
        let mut wake: Option<Instant> = None;
        let (count, first) = (self.streams.len(), self.fill_first);
        for step in 0..count {
            let index = (first + step) % count;
            let before = self.out.batch.len_bytes();
            if let Some(at) = self.fill_stream(index, now) {
                wake = Some(wake.map_or(at, |w| w.min(at)));
            }
            let after = self.out.batch.len_bytes();
            if before < after && after >= self.batch_limit() {
                self.fill_first = (index + 1) % count;
            }
        }
        wake
    }

    fn fill_stream(&mut self, index: usize, now: Instant) -> Option<Instant> {
        let batch_bytes = self.batch_limit();
        let config = &self.shared.config;
        let stream = &mut self.streams[index];
        let stream_id = stream.id;
        if let State::Waiting(request, Some(at)) = &stream.state {
            // A new look-up would drop what is being looked for beside it.
            let at = if stream.transition.is_some() { (*at).max(now + MEANWHILE) } else { *at };
            if at > now {
                return Some(at);
            }
            let request = request.clone();
            self.open(stream_id, request);
            return None;
        }
        let wanted = Wanted {
            stream_id,
            buffer_ms: stream.buffer_ms,
            audio: stream.audio,
            video: stream.video,
            batch_bytes,
            until_ms: stream.transition.as_ref().and_then(|transition| transition.until_ms()),
        };
        let paused = stream.paused;
        let holds = |which: fn(&Transition) -> bool| stream.transition.as_deref().is_some_and(which);
        let (holds_end, holds_all) = (holds(Transition::holds_end), holds(Transition::holds_all));
        let State::Playing(playing) = &mut stream.state else { return None };
        if stream.op.is_some() || playing.over || holds_all {
            return None;
        }
        if let Some(at) = playing.sleeps_until.filter(|at| *at > now) {
            return Some(at);
        }
        playing.sleeps_until = None;
        if playing.end_due.is_none() && (!paused || playing.playback.wants_snapshot()) {
            if playing.begins {
                match playing.playback.begin(&mut self.out, wanted) {
                    Ok(None) => playing.begins = false,
                    Ok(Some((offset, len))) => {
                        self.fetch(index, offset, len, now);
                        return None;
                    }
                    Err(error) => return self.fail(index, &error),
                }
            }
            let first = playing.playback.first_media.is_none();
            let filled = playing.playback.fill(now, &mut self.out, wanted);
            self.out.flush_aggregate(stream_id);
            if first && playing.playback.first_media.is_some() {
                let elapsed = playing.request.asked.elapsed();
                self.shared.metrics.first_media_seconds.observe(elapsed.as_secs_f64());
            }
            match filled {
                Filled::Enough => {
                    self.more = true;
                    return None;
                }
                Filled::Snapshot => return None,
                Filled::At(due) => {
                    // A tick's worth at a time: fewer, larger writes.
                    playing.playback.reader.settle();
                    let bytes_per_second = playing.playback.media.bytes_per_second;
                    let at = due.max(now + pacing::tick(config, bytes_per_second, wanted.buffer_ms));
                    playing.sleeps_until = Some(at);
                    return Some(at);
                }
                Filled::Need { offset, len } => {
                    self.fetch(index, offset, len, now);
                    return None;
                }
                Filled::Reached => {
                    self.take_over(index);
                    return self.fill_stream(index, now);
                }
                Filled::Ended(at) => {
                    playing.end_due = Some(at);
                    if wanted.until_ms.is_some() {
                        self.take_over(index);
                        return self.fill_stream(index, now);
                    }
                }
                Filled::Failed(error) => return self.fail(index, &error),
            }
        }
        // By the buffer the viewer had announced when the last sample left.
        let due = playing.end_due.filter(|_| !paused && !holds_end)?;
        if due > now {
            return Some(due);
        }
        self.finish(index);
        None
    }

    fn fetch(&mut self, index: usize, offset: u64, len: u64, now: Instant) {
        let stream = &mut self.streams[index];
        let State::Playing(playing) = &mut stream.state else { return };
        playing.waits_since = Some(now);
        playing.playback.reader.overtaken();
        let fetch = playing.playback.reader.fetch(offset, len);
        // The blocks behind the missing one travel beside it, not after it.
        playing.playback.reader.advance(offset);
        stream.op = Some(Box::pin(async move { Done::Fetched(fetch.await) }));
    }

    pub(super) fn on_fetched(&mut self, stream_id: u32, fetched: crate::object::reader::Fetched) {
        let Some(index) = self.streams.iter().position(|stream| stream.id == stream_id) else { return };
        let metrics = self.shared.metrics.clone();
        let Some(playing) = self.streams[index].playing() else { return };
        if let Some(since) = playing.waits_since.take() {
            metrics.wait_seconds.observe(since.elapsed().as_secs_f64());
        }
        match fetched {
            Ok(blocks) => playing.playback.reader.admit(blocks),
            Err(error) => {
                self.fail(index, &MediaError::Read(error));
            }
        }
    }

    /// A file that can't be read on: a clear status, then nothing more of it.
    pub(super) fn fail(&mut self, index: usize, error: &MediaError) -> Option<Instant> {
        let stream = &mut self.streams[index];
        let stream_id = stream.id;
        let name: Arc<StreamName> = match &stream.state {
            State::Playing(playing) => playing.request.name.clone(),
            _ => return None,
        };
        let base_ms = stream.playing().map_or(0, |playing| playing.playback.newest_ms);
        let playlist = std::mem::take(&mut stream.playlist);
        self.refuse(stream_id, &name, error);
        self.stop_stream(stream_id);
        control::stream_eof(stream_id, &mut self.out.batch);
        self.streams[index].playlist = playlist;
        self.play_next(stream_id, base_ms);
        None
    }
}

/// Understands a play command's arguments.
fn request(connection: &Connection, name: &str, command: &Command) -> PlayRequest {
    let number = |index: usize| command.args.get(index).and_then(Value::as_number).filter(|n| !n.is_nan());
    let start = match number(1).unwrap_or(-2000.0) {
        n if n == -1.0 || n == -1000.0 => Start::LiveOnly,
        n if n < 0.0 => Start::Any,
        n => Start::Recorded(n as u64),
    };
    let extent = match number(2).unwrap_or(-1.0) {
        n if n < 0.0 => Extent::All,
        0.0 => Extent::OneFrame,
        n => Extent::Ms(n as u64),
    };
    // 0/false joins the playlist, 1/true flushes it; 2 and 3 are the same, delivered at once.
    let reset = match command.args.get(3) {
        Some(Value::Boolean(flag)) => u8::from(*flag),
        Some(Value::Number(n)) if (0.0..=3.0).contains(n) => *n as u8,
        _ => 1,
    };
    PlayRequest {
        name: Arc::new(StreamName::parse(&connection.folders, name)),
        start,
        extent,
        reset: reset % 2 == 1,
        unpaced: reset >= 2,
        seconds: false,
        resumes: false,
        base_ms: 0,
        asked: Instant::now(),
        moment: None,
    }
}
