//! What a player knows, and what it makes of a message.

use std::sync::Arc;

use tests::wire::chunk::Message;
use tokio::time::Instant;

use super::super::film::{self, Film, Mark};
use super::super::library::Library;
use super::super::plan::Watcher;
use super::{Heard, outline};

/// What must come next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// No media: nothing plays, or it is paused.
    Nothing,
    /// The keyframe for this place of the film, in ms.
    Entry(u32),
    /// The sample of this index.
    Sample(usize),
}

/// A player's state.
pub(super) struct Player {
    library: Library,
    film: u16,
    newest: Arc<Film>,
    /// The version that this play began with.
    pinned: Option<Arc<Film>>,
    expected: Expected,
    /// What a Notify that is still to come will make of `expected`.
    awaited: Option<(&'static str, Expected)>,
    /// Where play began, in ms of the film: times on the wire count from there.
    origin_ms: u32,
    /// The film's time of the newest sample.
    at_ms: u32,
    /// When this window's first sample came, and its time.
    window: Option<(Instant, u32)>,
    unpaced: bool,
    complete: bool,
    last: String,
    /// A sample has come since somebody set this to false.
    pub(super) flowing: bool,
    pub(super) bytes: u64,
    pub(super) samples: u64,
    pub(super) late_ms: u64,
    pub(super) errors: Vec<String>,
}

impl Player {
    pub(super) fn new(watcher: &Watcher, library: &Library) -> Self {
        let newest = library.newest(watcher.film);
        Self {
            library: library.clone(),
            film: newest.spec.id,
            newest,
            pinned: None,
            expected: Expected::Nothing,
            awaited: None,
            origin_ms: 0,
            at_ms: 0,
            window: None,
            unpaced: watcher.unpaced,
            complete: false,
            last: "nothing".into(),
            flowing: false,
            bytes: 0,
            samples: 0,
            late_ms: 0,
            errors: Vec::new(),
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.newest.spec.key
    }

    pub(super) fn bucket(&self) -> usize {
        self.newest.spec.bucket
    }

    pub(super) fn duration_ms(&self) -> u32 {
        self.newest.duration_ms()
    }

    /// Where it stands, for diagnosis.
    pub(super) fn place(&self) -> String {
        let version = self.pinned.as_ref().map(|film| film.version);
        format!(
            "film {} version {version:?}, {} ms, expecting {:?}, awaiting {:?}, {} samples seen",
            self.film, self.at_ms, self.expected, self.awaited, self.samples
        )
    }

    /// The last thing heard that was not media.
    pub(super) fn last_words(&self) -> String {
        format!("after {}", self.last)
    }

    /// The newest sample's place in the film, in ms.
    pub(super) fn position_ms(&self) -> u32 {
        self.at_ms
    }

    /// A play from `from_ms` is about to be sent.
    pub(super) fn plays(&mut self, from_ms: u32) {
        (self.pinned, self.window, self.awaited, self.complete) = (None, None, None, false);
        (self.origin_ms, self.at_ms) = (from_ms, from_ms);
        self.expected = Expected::Entry(from_ms);
    }

    /// A seek to `ms` of the film is about to be sent; gives its argument.
    pub(super) fn seeks(&mut self, ms: u32) -> u32 {
        let ms = ms.max(self.origin_ms);
        self.awaited = Some(("NetStream.Seek.Notify", Expected::Entry(ms)));
        ms - self.origin_ms
    }

    /// A pause is about to be sent; gives its argument.
    pub(super) fn pauses(&mut self) -> u32 {
        self.awaited = Some(("NetStream.Pause.Notify", Expected::Nothing));
        self.at_ms.saturating_sub(self.origin_ms)
    }

    /// An unpause is about to be sent; gives its argument.
    pub(super) fn resumes(&mut self) -> u32 {
        let ms = self.at_ms.max(self.origin_ms);
        self.awaited = Some(("NetStream.Unpause.Notify", Expected::Entry(ms)));
        ms - self.origin_ms
    }

    /// Takes a message; an error is a broken invariant.
    pub(super) fn hear(&mut self, message: &Message) -> Result<Heard, String> {
        if message.is_media() {
            return self.media(message);
        }
        if let Some((name, values)) = message.data() {
            let complete = |v: &tests::wire::amf::Value| v.field("code") == "NetStream.Play.Complete";
            self.complete |= name == "onPlayStatus" && values.iter().any(complete);
            return Ok(Heard::Nothing);
        }
        let Some(status) = message.status() else {
            if message.command().is_some_and(|c| c.name == "close") {
                return Err(format!("the edge says close, {}", self.last_words()));
            }
            return Ok(Heard::Nothing);
        };
        self.last = outline(message);
        let code = status.field("code");
        if status.field("level") == "error" {
            self.errors.push(code.to_owned());
            (self.expected, self.awaited, self.window) = (Expected::Nothing, None, None);
            return Ok(Heard::Refused(code.to_owned()));
        }
        if let Some((_, expected)) = self.awaited.take_if(|(awaited, _)| *awaited == code) {
            (self.expected, self.window) = (expected, None);
        }
        if code == "NetStream.Play.Stop" {
            return self.stopped().map(|()| Heard::Finished);
        }
        Ok(Heard::Nothing)
    }

    fn stopped(&self) -> Result<(), String> {
        if !self.complete {
            return Err("Play.Stop without Play.Complete before it".into());
        }
        let last = self.pinned.as_ref().map(|film| film.samples.len());
        match self.expected {
            Expected::Sample(next) if Some(next) == last => Ok(()),
            other => Err(format!("the end was announced, but {other:?} of {last:?} is still to come")),
        }
    }

    fn media(&mut self, message: &Message) -> Result<Heard, String> {
        let (kind, body) = (message.type_id, &message.payload[..]);
        self.bytes += body.len() as u64;
        if film::is_header(kind, body) {
            return self.header(kind, body).map(|()| Heard::Nothing);
        }
        let mark = film::mark_of(kind, body).ok_or("a sample too short for its mark")?;
        let film = self.version_of(mark)?;
        let index = mark.index as usize;
        let sample = film.samples.get(index).ok_or("a sample past the film's end")?;
        if sample.kind != kind || film.body(index) != body {
            return Err(format!("sample {index} has bytes that are not its own"));
        }
        match self.expected {
            Expected::Nothing => return Err(format!("sample {index} came while paused or stopped")),
            Expected::Sample(next) if next != index => {
                return Err(format!("sample {index} came where {next} belongs"));
            }
            Expected::Entry(ms) if film.entry(ms) != index => {
                return Err(format!("play from {ms} ms began at sample {index}, not {}", film.entry(ms)));
            }
            _ => {}
        }
        let time_ms = sample.time_ms.saturating_sub(self.origin_ms);
        if message.timestamp != time_ms {
            return Err(format!("sample {index} has time {}, not {time_ms}", message.timestamp));
        }
        self.expected = Expected::Sample(index + 1);
        self.at_ms = sample.time_ms;
        self.samples += 1;
        self.flowing |= self.awaited.is_none();
        if !self.unpaced {
            let now = Instant::now();
            let (opened, first_ms) = *self.window.get_or_insert((now, sample.time_ms));
            let due = u64::from(sample.time_ms.saturating_sub(first_ms));
            self.late_ms =
                self.late_ms.max((now.duration_since(opened).as_millis() as u64).saturating_sub(due));
        }
        Ok(Heard::Media)
    }

    fn header(&self, kind: u8, body: &[u8]) -> Result<(), String> {
        let which = usize::from(kind == 8);
        let fits = |film: &Arc<Film>| film.headers[which] == body;
        let right = match &self.pinned {
            Some(film) => fits(film),
            None => self.library.versions(self.film).iter().any(fits),
        };
        if right { Ok(()) } else { Err("a codec configuration of another film or version".into()) }
    }

    /// The version a sample claims to be of; the same for a whole play.
    fn version_of(&mut self, mark: Mark) -> Result<Arc<Film>, String> {
        if mark.film != self.film {
            return Err(format!("a sample of film {}, not {}", mark.film, self.film));
        }
        if let Some(pinned) = &self.pinned {
            if pinned.version == mark.version {
                return Ok(pinned.clone());
            }
            return Err(format!("a sample of version {} after version {}", mark.version, pinned.version));
        }
        let versions = self.library.versions(self.film);
        let film =
            versions.iter().find(|film| film.version == mark.version).ok_or("a version that never was")?;
        self.pinned = Some(film.clone());
        Ok(film.clone())
    }
}
