//! Dynamic streaming: the film goes on in another file, at another bitrate (`switch`), or another film takes its place (`swap`).
//!
//! `switch` looks for the other file beside the one that plays ([`Transition`]). When it is found, and the place in it, NetStream.Play.Transition
//! says so; the old file is sent up to that place, the keyframe of the new one there; codec headers precede it and
//! TransitionComplete follows it. Times and pace go on: both files are the same film. What is sent is never taken back, so the place is
//! a keyframe past everything sent, and [`FAST_SWITCH_MS`] past where the viewer is (or at the `offset` asked for, or after it).
//!
//! A seek or an unpause meanwhile goes into the old file and moves the place; later ones go into the new file. Near the end there may be
//! no keyframe left: then the files change when all of the old one is sent, so that players that wait for TransitionComplete get it.
//!
//! `swap` puts another film in the place of the one that plays, or of one in the playlist, once that could be opened.
//!
//! What fails before the files change is answered with NetStream.Play.Failed (NetStream.Failed for what may not be read, and for want of memory),
//! and the old file goes on; afterwards the new file is the one that plays, and what fails ends the stream as in any play.

use tokio::time::Instant;
use tracing::{info, warn};

use super::Session;
use super::authorise::Granted;
use super::opening::{self, Ready};
use super::stream::{PlayRequest, Playing, State};
use super::transition::{Aim, Found, Incoming, Looked, Stage, Transition, find, look};
use crate::media::MediaError;
use crate::object::ReadError;
use crate::rtmp::amf::Value;
use crate::rtmp::reply;

/// How far past the viewer a switch takes place at the earliest, unless it is told where.
const FAST_SWITCH_MS: u64 = 3000;
/// With no more than this left to send, files may change at the end.
const NEAR_END_MS: u64 = 15_000;

/// Where in the stream a switch may take place at the earliest. `None`: the viewer is past the offset it asked for.
fn switch_point(playing: &Playing, paused: bool, offset_ms: Option<u64>) -> Option<u64> {
    let playhead_ms = playing.playhead_ms(Instant::now(), paused);
    let begun = u64::from(playing.playback.first_media.is_some());
    let unsent_ms = playing.playback.newest_ms.saturating_add(begun);
    let wanted_ms = offset_ms.unwrap_or(playhead_ms.saturating_add(FAST_SWITCH_MS));
    (wanted_ms >= playhead_ms).then(|| wanted_ms.max(unsent_ms))
}

impl Session {
    /// Begins to look for another file, instead of what was looked for before.
    pub(super) fn start_transition(&mut self, stream_id: u32, request: PlayRequest, aim: Aim) {
        let name = request.name.display.clone();
        if let Err(refusal) = self.shared.admit_play(false) {
            self.refuse_for_want_of_room(stream_id, &name, refusal);
            return;
        }
        let queued = matches!(&aim, Aim::ReplaceQueued { old } if self.is_queued(stream_id, old));
        let Some(stream) = self.stream(stream_id) else { return };
        match (&stream.state, &aim) {
            (_, Aim::ReplaceQueued { .. }) if !queued => {
                self.refuse_transition(stream_id, &name, "the old name is not in the playlist");
                return;
            }
            (State::Idle, Aim::Switch { .. } | Aim::Replace) => {
                self.refuse_transition(stream_id, &name, "nothing plays");
                return;
            }
            // Nothing is sent yet: the other is simply what is opened.
            (State::Waiting(old, _), Aim::Switch { .. }) => {
                let request = PlayRequest { name: request.name, ..old.clone() };
                self.open(stream_id, request);
                return;
            }
            (State::Opening(old) | State::Waiting(old, _), Aim::Replace) => {
                let request = PlayRequest { reset: old.reset, base_ms: old.base_ms, ..request };
                self.open(stream_id, request);
                return;
            }
            _ => {}
        }
        stream.transition = Some(Box::new(Transition::new(request, aim)));
        self.begin_transition(stream_id);
    }

    /// The stream waits for a name that isn't there: a switch that was to follow its play is what is opened instead.
    pub(super) fn begin_waiting(&mut self, stream_id: u32) {
        let Some(stream) = self.stream(stream_id) else { return };
        if let Some(transition) =
            stream.transition.take_if(|transition| matches!(transition.aim, Aim::Switch { .. }))
        {
            self.start_transition(stream_id, transition.request, transition.aim);
        }
    }

    /// Looks for what the stream's transition asks for; a switch waits until the stream itself plays.
    pub(super) fn begin_transition(&mut self, stream_id: u32) {
        let Some(stream) = self.stream(stream_id) else { return };
        let Some(mut transition) = stream.transition.take() else { return };
        if matches!(transition.aim, Aim::Switch { .. }) && stream.playing().is_none() {
            stream.transition = Some(transition);
            return;
        }
        let origin = match self.authorise(&transition.request.name) {
            Ok(Granted { name, origin }) => {
                transition.request.name = name;
                origin
            }
            Err(denial) => {
                let name = transition.request.name.display.clone();
                self.refuse_transition_with(stream_id, "NetStream.Failed", &name, &denial.to_string());
                return;
            }
        };
        let library = self.shared.library.clone();
        let request = transition.request.clone();
        let turn = self.next_turn();
        let Some(stream) = self.stream(stream_id) else { return };
        let paused = stream.paused;
        match (&stream.state, &transition.aim) {
            (State::Playing(playing), &Aim::Switch { offset_ms }) => {
                let Some(point_ms) = switch_point(playing, paused, offset_ms) else {
                    self.refuse_transition(stream_id, &request.name.display, "the offset has passed");
                    return;
                };
                let file_ms = playing.playback.file_time(point_ms);
                transition.stage =
                    Stage::Looking(Box::pin(look(library, origin, request.name.clone(), file_ms, turn)));
            }
            _ => {
                let (start_ms, seconds) = (request.start_ms(), request.seconds);
                transition.stage = Stage::Looking(Box::pin(async move {
                    if let Some(turn) = turn {
                        tokio::time::sleep_until(turn).await;
                    }
                    opening::open_at(library, origin, request.name, start_ms, seconds)
                        .await
                        .map(Found::Opened)
                }));
            }
        }
        stream.transition = Some(transition);
    }

    /// The stream is at another place now, and so is where a switch is to be.
    pub(super) fn move_transition(&mut self, stream_id: u32) {
        let Some(stream) = self.stream(stream_id) else { return };
        let Some(mut transition) = stream.transition.take() else { return };
        let Aim::Switch { offset_ms } = &mut transition.aim else {
            stream.transition = Some(transition);
            return;
        };
        let State::Playing(playing) = &stream.state else { return };
        // An offset that was jumped over has become "as soon as possible".
        let playhead_ms = playing.playhead_ms(Instant::now(), stream.paused);
        *offset_ms = offset_ms.filter(|offset_ms| *offset_ms >= playhead_ms);
        match std::mem::replace(&mut transition.stage, Stage::Early) {
            Stage::Waits { incoming, .. } => {
                stream.transition = Some(transition);
                self.look_again(stream_id, incoming);
            }
            Stage::Early | Stage::Looking(_) => {
                stream.transition = Some(transition);
                self.begin_transition(stream_id);
            }
        }
    }

    /// Looks for another place in a file that is open.
    fn look_again(&mut self, stream_id: u32, incoming: Box<Incoming>) {
        let Some(stream) = self.stream(stream_id) else { return };
        let (State::Playing(playing), Some(transition)) = (&stream.state, &mut stream.transition) else {
            return;
        };
        let Aim::Switch { offset_ms } = transition.aim else { return };
        let offset_ms = offset_ms.map(|offset_ms| offset_ms.max(playing.playback.newest_ms));
        let Some(point_ms) = switch_point(playing, stream.paused, offset_ms) else { return };
        let file_ms = playing.playback.file_time(point_ms);
        transition.stage = Stage::Looking(Box::pin(find(incoming.media, incoming.reader, file_ms)));
    }

    pub(super) fn on_looked(&mut self, stream_id: u32, looked: Looked) {
        let Some(transition) = self.stream(stream_id).and_then(|stream| stream.transition.take()) else {
            return;
        };
        let name = transition.request.name.display.clone();
        match looked {
            Ok(Found::Place(incoming)) => self.on_place(stream_id, transition, incoming),
            Ok(Found::Opened(ready)) => match &transition.aim {
                Aim::ReplaceQueued { old } => {
                    if self.replace_queued(stream_id, old, transition.request.clone()) {
                        self.announce(stream_id, &name);
                    } else {
                        self.refuse_transition(stream_id, &name, "the old name has left the playlist");
                    }
                }
                _ => self.replace(stream_id, transition.request, ready),
            },
            Err(MediaError::Read(ReadError::Forbidden(object))) => {
                self.refuse_transition_with(
                    stream_id,
                    "NetStream.Failed",
                    &name,
                    &format!("{object}: forbidden"),
                );
            }
            Err(error) => self.refuse_transition(stream_id, &name, &error.to_string()),
        }
    }

    /// The other file is open, and its place found.
    fn on_place(&mut self, stream_id: u32, mut transition: Box<Transition>, mut incoming: Box<Incoming>) {
        let config = &self.shared.config;
        let (ahead_seconds, ahead_bytes) = (config.read_ahead_seconds, config.read_ahead_viewer_bytes);
        let Some(index) = self.streams.iter().position(|stream| stream.id == stream_id) else { return };
        let name = transition.request.name.display.clone();
        let State::Playing(playing) = &self.streams[index].state else { return };
        let playback = &playing.playback;
        if playing.over || playback.is_one_frame() {
            (incoming.first, incoming.then) = (None, None);
        }
        let sent = playing.is_sent();
        let left_ms = playback.end_ms().saturating_sub(playback.newest_ms);
        let at_ms = incoming.first.as_ref().map(|first| playback.stream_time(first));
        if at_ms.is_none() && !sent && left_ms > NEAR_END_MS {
            self.refuse_transition(stream_id, &name, "it has no keyframe there");
            return;
        }
        if at_ms.is_some_and(|at_ms| at_ms <= playback.newest_ms) && playback.first_media.is_some() {
            transition.note_overtaken();
            self.streams[index].transition = Some(transition);
            self.look_again(stream_id, incoming);
            return;
        }
        if let Some(first) = &incoming.first {
            incoming.reader.set_pace(incoming.media.bytes_per_second, ahead_seconds, ahead_bytes);
            incoming.reader.jump(first.offset);
            incoming.reader.advance(first.offset);
        }
        let announced = std::mem::replace(&mut transition.announced, true);
        transition.stage = Stage::Waits { at_ms: at_ms.unwrap_or(u64::MAX), incoming };
        self.streams[index].transition = Some(transition);
        if !announced {
            self.announce(stream_id, &name);
        }
        if sent {
            self.take_over(index);
        }
    }

    /// The other file is what is sent from now on.
    pub(super) fn take_over(&mut self, index: usize) {
        let session = self.id.clone();
        let stream = &mut self.streams[index];
        let stream_id = stream.id;
        let (Some(transition), State::Playing(playing)) = (stream.transition.take(), &mut stream.state)
        else {
            return;
        };
        let Stage::Waits { incoming, .. } = transition.stage else { return };
        let (name, goes_on) = (transition.request.name, incoming.first.is_some());
        info!(session, stream = stream_id, old = playing.request.name.display, name = name.display, goes_on,
            key = %incoming.reader.info().id.object.key, at_ms = playing.playback.newest_ms,
            after_ms = transition.request.asked.elapsed().as_millis() as u64, "switched");
        self.shared.metrics.switches.inc();
        let container = incoming.media.container;
        playing.playback.take_over(*incoming, name.display.clone());
        playing.request.name = name.clone();
        if goes_on {
            (playing.begins, playing.end_due, playing.sleeps_until) = (true, None, None);
        } else {
            playing.playback.tell_takeover(&mut self.out, stream_id);
        }
        self.record_switch(stream_id, &name, container);
    }

    /// Another film begins where the one that plays has been sent to.
    fn replace(&mut self, stream_id: u32, request: PlayRequest, ready: Ready) {
        let name = request.name.display.clone();
        if let Err(refusal) = self.shared.admit_play(true) {
            self.refuse_for_want_of_room(stream_id, &name, refusal);
            return;
        }
        let Some(playing) = self.stream(stream_id).and_then(|stream| stream.playing()) else {
            self.refuse_transition(stream_id, &name, "nothing plays");
            return;
        };
        let base_ms = playing.playback.newest_ms;
        self.announce(stream_id, &name);
        self.leave_file(stream_id);
        self.start_playing(stream_id, PlayRequest { reset: false, base_ms, ..request }, ready);
    }

    fn announce(&mut self, stream_id: u32, name: &str) {
        let reason = [("reason", Value::from("NetStream.Transition.Success"))];
        let text = format!("Transitioning to {name}.");
        let status =
            reply::status("status", "NetStream.Play.Transition", &text, Some(name), &self.id, &reason);
        self.out.command(stream_id, status);
    }

    /// What was asked for can't be done; what plays goes on.
    pub(super) fn refuse_transition(&mut self, stream_id: u32, name: &str, why: &str) {
        self.refuse_transition_with(stream_id, "NetStream.Play.Failed", name, why);
    }

    fn refuse_transition_with(&mut self, stream_id: u32, code: &str, name: &str, why: &str) {
        warn!(session = self.id, stream = stream_id, name, code, reason = why, "no transition");
        self.shared.metrics.play_errors.with_label_values(&[code]).inc();
        let text = format!("Failed to play {name} (stream ID: {stream_id}).");
        self.status(stream_id, "error", code, &text, name);
    }
}
