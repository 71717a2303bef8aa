//! Which sessions are open, by their events: what a next process would have to write the ends of.
//!
//! A session costs the bytes of its last CONNECT or PLAY as they stand in the segment, one play more for each further stream, where its records go,
//! and a few numbers.
//!
//! Their ends go where the newest record went: the bucket may have been changed since the CONNECT, and be gone. They are of the time at which
//! the process is last known to have lived, for until then each session that is open was there: see [`Sessions::lives_at`].

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use proto::v1::{AccessEvent, AccessRecord, LogTarget};

use super::journal::{OpenSession, Play, SessionProgress, Step, Steps};
use super::queue::Progress;

/// Streams of a session that are followed: an edge allows no more (`edge.max_streams`).
pub const PLAYS_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
struct Session {
    // An encoded record: what the DISCONNECT will look like.
    about: Bytes,
    // By stream: the encoded PLAY.
    plays: Vec<(u32, Bytes)>,
    // Where the newest record goes, which is where `about` goes.
    target: Option<LogTarget>,
    time_ms: u64,
    sc_bytes: u64,
    // How long the process had lived when these two were right.
    as_of_ms: u64,
    // Its distribution is not logged any more: no record is due.
    off: bool,
    // It stands among the unsaved.
    listed: bool,
    // More than its numbers is unsaved.
    whole: bool,
    // The journal has it.
    known: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: HashMap<String, Session>,
    // Those the journal has nothing of, or less than there is; some are closed by now.
    unsaved: Vec<String>,
    // Closed, and the journal has them open.
    closed: Vec<String>,
    lived_ms: u64,
}

impl Sessions {
    /// The process lives, and has for so long; what is taken in from now on is as of now.
    pub(crate) fn lives_at(&mut self, lived: Duration) {
        self.lived_ms = self.lived_ms.max(u64::try_from(lived.as_millis()).unwrap_or(u64::MAX));
    }

    /// How long it is known to have lived, in ms.
    pub(crate) fn lived_ms(&self) -> u64 {
        self.lived_ms
    }

    /// The process is dead: what it left open lasted as long as it is known to have lived. Another one's life begins.
    pub(crate) fn outlive(&mut self) {
        for session in self.open.values_mut() {
            let lasted_ms = self.lived_ms.saturating_sub(session.as_of_ms);
            session.time_ms = session.time_ms.saturating_add(lasted_ms);
            session.as_of_ms = 0;
        }
        self.lived_ms = 0;
    }

    /// Sessions open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Nothing is known of any: not who has gone.
    pub(crate) fn clear(&mut self) {
        *self = Self { lived_ms: self.lived_ms, ..Self::default() };
    }

    /// Whether the journal has all of it.
    pub(crate) fn is_saved(&self) -> bool {
        self.unsaved.is_empty() && self.closed.is_empty()
    }

    /// Takes in an event that stands, or (without `payload`) one that need not.
    pub(crate) fn apply(&mut self, record: &AccessRecord, payload: Option<&[u8]>) {
        // A rejected connect and a failed play leave nothing open; a request is over.
        if record.client_id.is_empty() || !record.status.is_empty() || record.web.is_some() {
            return;
        }
        let event = AccessEvent::try_from(record.event).unwrap_or_default();
        if event == AccessEvent::Disconnect {
            return self.end(&record.client_id);
        }
        let is_new = !self.open.contains_key(&record.client_id);
        if is_new && payload.is_none() {
            return;
        }
        if is_new {
            self.open.insert(record.client_id.clone(), Session::default());
        }
        let Some(session) = self.open.get_mut(&record.client_id) else { return };
        session.time_ms = session.time_ms.max(record.time_ms);
        session.sc_bytes = session.sc_bytes.max(record.sc_bytes);
        session.as_of_ms = self.lived_ms;
        let plays = event == AccessEvent::Play
            // Logging began while it played.
            || (is_new && event != AccessEvent::Stop && !record.stream_name.is_empty());
        let off = payload.is_none();
        let mut whole = is_new || session.off != off;
        session.off = off;
        if plays || event == AccessEvent::Stop {
            session.plays.retain(|(stream, _)| *stream != record.stream_id);
            whole = true;
        }
        let moves = !off && session.target != record.target;
        if moves {
            session.target.clone_from(&record.target);
        }
        if let Some(payload) = payload
            && (plays || is_new || moves)
        {
            let bytes = Bytes::copy_from_slice(payload);
            if plays && session.plays.len() < PLAYS_MAX {
                session.plays.push((record.stream_id, bytes.clone()));
            }
            session.about = bytes;
            whole = true;
        }
        Self::touch(&mut self.unsaved, &record.client_id, session, whole);
    }

    /// Takes in how far a session has come; one that isn't open is none of ours.
    pub(crate) fn progress(&mut self, client_id: &str, progress: Progress) {
        let Some(session) = self.open.get_mut(client_id) else { return };
        if progress.time_ms > session.time_ms || progress.sc_bytes > session.sc_bytes {
            session.time_ms = session.time_ms.max(progress.time_ms);
            session.sc_bytes = session.sc_bytes.max(progress.sc_bytes);
            session.as_of_ms = self.lived_ms;
            Self::touch(&mut self.unsaved, client_id, session, false);
        }
    }

    /// A session is over, whether or not its DISCONNECT stands.
    pub(crate) fn end(&mut self, client_id: &str) {
        if self.open.remove(client_id).is_some_and(|session| session.known) {
            self.closed.push(client_id.to_owned());
        }
    }

    /// All of them are over: what was due has been written.
    pub(crate) fn end_all(&mut self) {
        let open: Vec<String> = self.open.keys().cloned().collect();
        open.iter().for_each(|client_id| self.end(client_id));
    }

    fn touch(unsaved: &mut Vec<String>, client_id: &str, session: &mut Session, whole: bool) {
        session.whole |= whole;
        if !session.listed {
            session.listed = true;
            unsaved.push(client_id.to_owned());
        }
    }

    /// What the journal lacks; from now on it counts as saved.
    pub(crate) fn changes(&mut self, steps: &mut Steps) {
        for client_id in self.closed.drain(..) {
            steps.closed(client_id);
        }
        for client_id in self.unsaved.drain(..) {
            let Some(session) = self.open.get_mut(&client_id).filter(|session| session.listed) else {
                continue;
            };
            session.listed = false;
            if std::mem::take(&mut session.whole) || !session.known {
                session.known = true;
                steps.open(session.saved(client_id));
            } else {
                let Session { time_ms, sc_bytes, as_of_ms, .. } = *session;
                steps.progress(SessionProgress { client_id, time_ms, sc_bytes, as_of_ms });
            }
        }
    }

    /// All of it, for a new journal; from now on it counts as saved.
    pub(crate) fn all(&mut self, steps: &mut Steps) {
        self.closed.clear();
        self.unsaved.clear();
        for (client_id, session) in &mut self.open {
            (session.listed, session.whole, session.known) = (false, false, true);
            steps.open(session.saved(client_id.clone()));
        }
    }

    /// Takes in what a journal says.
    pub(crate) fn restore(&mut self, step: Step) {
        for client_id in step.closed {
            self.open.remove(&client_id);
        }
        self.lived_ms = self.lived_ms.max(step.lived_ms);
        for saved in step.open {
            // It was encoded by us and lay under a checksum.
            let about = AccessRecord::decode(saved.about.clone()).unwrap_or_default();
            let session = Session {
                about: saved.about,
                target: about.target,
                plays: saved.plays.into_iter().map(|play| (play.stream_id, play.record)).collect(),
                time_ms: saved.time_ms,
                sc_bytes: saved.sc_bytes,
                as_of_ms: saved.as_of_ms,
                off: saved.off,
                known: true,
                ..Session::default()
            };
            self.open.insert(saved.client_id, session);
        }
        for progress in step.progress {
            if let Some(session) = self.open.get_mut(&progress.client_id) {
                session.time_ms = session.time_ms.max(progress.time_ms);
                session.sc_bytes = session.sc_bytes.max(progress.sc_bytes);
                session.as_of_ms = session.as_of_ms.max(progress.as_of_ms);
            }
        }
    }

    /// The STOPs and DISCONNECTs that are due if nobody is there to send more, with what is known last, in order of time.
    pub(crate) fn missing(&self) -> Vec<AccessRecord> {
        let mut sessions: Vec<_> = self.open.iter().filter(|(_, session)| !session.off).collect();
        sessions.sort_by_key(|(client_id, session)| (session.time_ms, *client_id));
        let mut missing = Vec::new();
        for (client_id, session) in sessions {
            let ended = |template: &Bytes, event: AccessEvent| {
                let record = AccessRecord::decode(template.clone()).ok()?;
                let (event, target, client_id) = (event.into(), session.target.clone(), client_id.clone());
                let Session { time_ms, sc_bytes, .. } = *session;
                Some(AccessRecord { event, time_ms, sc_bytes, client_id, target, ..record })
            };
            missing.extend(session.plays.iter().filter_map(|(_, play)| ended(play, AccessEvent::Stop)));
            missing.extend(ended(&session.about, AccessEvent::Disconnect).map(without_stream));
        }
        missing
    }
}

impl Session {
    fn saved(&self, client_id: String) -> OpenSession {
        OpenSession {
            client_id,
            about: self.about.clone(),
            plays: self
                .plays
                .iter()
                .map(|(stream_id, r)| Play { stream_id: *stream_id, record: r.clone() })
                .collect(),
            time_ms: self.time_ms,
            sc_bytes: self.sc_bytes,
            off: self.off,
            as_of_ms: self.as_of_ms,
        }
    }
}

fn without_stream(record: AccessRecord) -> AccessRecord {
    AccessRecord {
        stream_name: String::new(),
        stream_query: String::new(),
        file_ext: String::new(),
        stream_id: 0,
        ..record
    }
}

#[cfg(test)]
mod tests;
