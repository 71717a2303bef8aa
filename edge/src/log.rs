//! The edge's side of access logs: what a session's events are written to, and what all sessions say alike.
//!
//! A session records its own events (`session::record`); this is where they go. An [`EventSink`] takes a record at once, without ever making
//! its caller wait, and answers with a [`Written`]: a future that ends when the record is as safe as the log promises, or was dropped, or is so late that
//! nobody is to wait any longer. The session holds its outgoing bytes back until then, so an event counts before its viewer sees what it
//! brought about. The log bounds that wait (`logs.spool.wait_ms`) and counts who went on without; playing never stops for a disk.
//!
//! # What is recorded
//!
//! | event | when | `time`, `sc-bytes` as of |
//! |---|---|---|
//! | `connect` | a connect is accepted | the connect |
//! | `play` | a play has found its file: the first, or the next of a playlist; a play2 whose file takes over; a seek back into a film that had ended | the command; for a playlist's item its turn; for a play2 the change of files; for a seek the seek |
//! | `pause` | a film that plays is paused; a second pause on end is none | the command, or the start of a film that was paused before it was open |
//! | `unpause` | a paused film goes on, and its viewer is told so | that |
//! | `seek` | a seek has found its place (what a storm of seeks skips, and what is refused or fails, isn't one) | that |
//! | `stop` | the end of the film is announced, or its stream is closed, deleted, stopped, played anew, switched to another file, or ends with its connection | that |
//! | `disconnect` | the connection ends, however it does | its end |
//!
//! Each play has one stop, each connect one disconnect. Between a play's stop and the next play nothing of that stream is recorded: who pauses a
//! film whose end was announced pauses what its own player still holds. With `log.rejected`, a rejected connect and a play that failed are
//! a `connect` and a `play` whose status is the code their viewer got; these have no disconnect and no stop.
//!
//! `sc-bytes` are the RTMP bytes of the connection that its transport has taken so far: the handshake, chunk headers, everything. What
//! carries them is not counted: TCP, TLS records, HTTP heads and polling bytes of a tunnel, what a tunnel sends twice. Nothing is sent after
//! the disconnect's. A viewer that breaks its connection off may not have received the last of them.
//!
//! Time is the wall time of the session's connect and what has elapsed since, so a clock that is set disorders no session. Only where the two have
//! come more than a day apart, or the connect is from before 2009 (the edge was started before its clock was set), the session goes on by the
//! clock's time, unless that is from before 2009 itself. Control takes every record into the hour it says. Each event goes to what the distribution's logging says when it happens (off: nowhere); of a distribution that was deleted, to what it said last.

use std::sync::{Arc, OnceLock};

use control::client::spool::EventLog;
use futures::future::{BoxFuture, FutureExt};
use proto::v1::AccessRecord;

pub mod memory;

/// Ends once a record is written, or was dropped, or is late: within the bound that its sink sets. Records of one sink are written in their order.
pub type Written = BoxFuture<'static, ()>;

/// Takes the events of every session of an edge.
pub trait EventSink: Send + Sync {
    /// Takes `record`; never waits. One without a target is not to be kept: it only tells that its connection goes on, or has ended.
    fn record(&self, record: AccessRecord) -> Written;

    /// The open connection `client_id` has been sent so many bytes by then: what its last records say should the edge be killed.
    fn progress(&self, client_id: &str, time_ms: u64, sc_bytes: u64);
}

impl EventSink for EventLog {
    fn record(&self, record: AccessRecord) -> Written {
        // Whatever became of it, the viewer is not to wait any more.
        EventLog::record(self, record).map(|_| ()).boxed()
    }

    fn progress(&self, client_id: &str, time_ms: u64, sc_bytes: u64) {
        EventLog::progress(self, client_id, time_ms, sc_bytes);
    }
}

/// Where an edge's events go: nowhere until it is told.
#[derive(Default)]
pub struct Log {
    sink: OnceLock<Arc<dyn EventSink>>,
}

impl Log {
    /// From now on events go to `sink`. The first sink stays; whether this is it.
    pub fn to(&self, sink: Arc<dyn EventSink>) -> bool {
        self.sink.set(sink).is_ok()
    }

    /// What takes them.
    pub(crate) fn sink(&self) -> Option<&dyn EventSink> {
        self.sink.get().map(AsRef::as_ref)
    }
}

/// `text`, cut at the end of a character so that it has at most `limit_bytes`; whether it was.
pub(crate) fn clip(text: &str, limit_bytes: usize) -> (&str, bool) {
    if text.len() <= limit_bytes {
        return (text, false);
    }
    let end = (0..=limit_bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (&text[..end], true)
}

/// A connect string without and with only its query. What follows `#` and who is named before `@` are left out: the one is the player's own
/// matter, the other may hold a password.
pub(crate) fn stem_and_query(tc_url: &str) -> (String, &str) {
    let (stem, query) = tc_url.split_once('?').unwrap_or((tc_url, ""));
    let (stem, query) = match stem.split_once('#') {
        Some((stem, _)) => (stem, ""),
        None => (stem, query),
    };
    let stem = stem.trim();
    let Some((scheme, rest)) = stem.split_once("://") else { return (stem.to_owned(), query) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => (format!("{scheme}://{host}{path}"), query),
        None => (stem.to_owned(), query),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connect_string_is_taken_apart_at_its_first_question_mark() {
        for (tc_url, stem, query) in [
            ("rtmp://s1.example/cfx/st", "rtmp://s1.example/cfx/st", ""),
            ("RTMPT://S1.example:80/cfx/st?a=1?b&c", "RTMPT://S1.example:80/cfx/st", "a=1?b&c"),
            ("rtmp://who:secret@h/cfx/st/?k=u@v", "rtmp://h/cfx/st/", "k=u@v"),
            ("rtmp://h/cfx/st#part?x", "rtmp://h/cfx/st", ""),
            ("rtmp://[::1]:1935/a@b", "rtmp://[::1]:1935/a@b", ""),
            ("no-url", "no-url", ""),
            ("", "", ""),
        ] {
            assert_eq!(stem_and_query(tc_url), (stem.to_owned(), query), "{tc_url}");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_the_end_of_a_character() {
        assert_eq!(clip("film", 4), ("film", false));
        assert_eq!(clip("film", 3), ("fil", true));
        assert_eq!(clip("日本", 5), ("日", true));
        assert_eq!(clip("日本", 2), ("", true));
    }

    #[test]
    fn the_first_sink_stays() {
        let log = Log::default();
        assert!(log.sink().is_none());
        assert!(log.to(Arc::new(memory::MemorySink::default())));
        assert!(!log.to(Arc::new(memory::MemorySink::default())));
        assert!(log.sink().is_some());
    }
}
