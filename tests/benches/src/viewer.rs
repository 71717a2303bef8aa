//! One viewer: the commands it sends, what it waits for, what it makes of what comes.
//!
//! It has no socket: [`Viewer::feed`] takes received bytes, `out` holds what is to be sent. The order is a player's: handshake, connect,
//! createStream, SetBufferLength and play together; then media until the film ends or the driver seeks, pauses or leaves.
//! A server that says an error, or something that can't be followed, ends the session with a reason ([`Stage::Over`]).

use crate::amf;
use crate::chunk::{self, Message, Reader, Sink};
use crate::figures::Figures;
use crate::film::{Check, Film, Place, is_frame};
use crate::hello::{ANSWER_BYTES, Ciphers, Hello};
use crate::options::Options;
use crate::player::Player;

/// A buffer that servers take for a download, in ms: librtmp's.
const DOWNLOAD_MS: u32 = 36_000_000;

/// What all viewers share.
#[derive(Debug)]
pub struct Shared<'a> {
    /// What the driver was told.
    pub options: &'a Options,
    /// What viewers send first.
    pub hello: Hello,
    /// The films, as their names stand in the options.
    pub films: Vec<Film>,
    /// What is reported.
    pub figures: Figures,
    /// Now, in µs since the driver began; set before each call.
    pub now_us: u64,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The film was played to its end.
    Completed,
    /// The viewer has seen what it came for.
    Left,
    /// It went wrong.
    Failed(String),
}

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP connects, or the handshake is under way.
    Handshake,
    /// `connect` is sent.
    Connecting,
    /// Connected, and that was all that was asked for.
    Idle,
    /// `createStream` is sent.
    Creating,
    /// `play` is sent.
    Playing,
    /// It is over; the driver closes it.
    Over(End),
}

/// What the viewer asked for and was not yet told of: media until then is what it no longer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Seek,
    Unpause,
}

/// A viewer without its socket.
#[derive(Debug)]
pub struct Viewer {
    reader: Reader,
    life: Life,
    hello: Vec<u8>,
    /// RTMPE's key streams, once there are.
    ciphers: Option<Box<Ciphers>>,
    /// Bytes of `out` that go unencrypted before the rest: C2.
    clear_bytes: usize,
}

/// All of a viewer that messages change.
#[derive(Debug)]
struct Life {
    stage: Stage,
    out: Vec<u8>,
    film: usize,
    start_ms: u64,
    begun_us: u64,
    played_us: u64,
    wished_us: u64,
    wish: Wish,
    /// A seek was answered; its first frame is awaited.
    sought: bool,
    paused: bool,
    seen_frame: bool,
    verified: bool,
    places: [Place; 2],
    player: Option<Box<Player>>,
    message_stream: u32,
    received: u64,
    acknowledged: u64,
    window_bytes: u64,
}

impl Viewer {
    /// A viewer of a film, numbered among all viewers, that begins to connect now and will play from `start_ms`.
    pub fn new(number: usize, film: usize, start_ms: u64, shared: &Shared) -> Self {
        let verified = shared.options.verify.includes(number);
        let life = Life {
            stage: Stage::Handshake,
            out: Vec::new(),
            film,
            start_ms,
            begun_us: shared.now_us,
            played_us: 0,
            wished_us: 0,
            wish: Wish::None,
            sought: false,
            paused: false,
            seen_frame: false,
            verified,
            places: [if start_ms == 0 { Place::At(0) } else { Place::Lost }; 2],
            player: shared.options.paced.then(|| Box::new(Player::new(shared.options.buffer_ms.into()))),
            message_stream: 0,
            received: 0,
            acknowledged: 0,
            window_bytes: u64::MAX,
        };
        Self { reader: Reader::new(verified), life, hello: Vec::new(), ciphers: None, clear_bytes: 0 }
    }

    /// The first bytes a viewer sends, once TCP is connected.
    pub fn greet(&mut self, shared: &Shared) {
        let out = &mut self.life.out;
        if let Some(path) = &shared.options.http {
            out.extend(format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", shared.options.target).bytes());
        } else if !shared.options.sink {
            out.extend_from_slice(shared.hello.packets());
        }
    }

    /// How far it is.
    pub fn stage(&self) -> &Stage {
        &self.life.stage
    }

    /// When it began, in µs since the driver began.
    pub fn begun_us(&self) -> u64 {
        self.life.begun_us
    }

    /// Whether it has got what it waits for first: a frame, or just the connection.
    pub fn is_served(&self) -> bool {
        self.life.seen_frame || self.life.stage == Stage::Idle
    }

    /// Whether it plays and has nothing else under way, so may be told to seek or pause.
    pub fn is_at_leisure(&self) -> bool {
        self.life.stage == Stage::Playing
            && self.life.seen_frame
            && self.life.wish == Wish::None
            && !self.life.sought
            && !self.life.paused
    }

    /// How many bytes are to be sent.
    pub fn pending_bytes(&self) -> usize {
        self.life.out.len()
    }

    /// Appends what is to be sent to `wire`, encrypted where the session is.
    pub fn send(&mut self, wire: &mut Vec<u8>) {
        let clear = std::mem::take(&mut self.clear_bytes).min(self.life.out.len());
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.seal(&mut self.life.out[clear..]);
        }
        if wire.is_empty() {
            std::mem::swap(wire, &mut self.life.out);
        } else {
            wire.append(&mut self.life.out);
        }
    }

    /// Ends it with a reason.
    pub fn fail(&mut self, reason: String) {
        self.life.end(End::Failed(reason));
    }

    /// The server has closed the connection.
    pub fn closed(&mut self, shared: &Shared) {
        if shared.options.http.is_some() {
            self.life.end(End::Completed);
        } else {
            let stage = self.life.stage.clone();
            self.life.end(End::Failed(format!("closed by the server: {stage:?}")));
        }
    }

    /// Takes received bytes; what is encrypted is decrypted in place.
    pub fn feed(&mut self, mut bytes: &mut [u8], shared: &mut Shared) {
        self.life.received += bytes.len() as u64;
        if shared.options.http.is_some() || shared.options.sink {
            self.life.seen_frame = true;
            return;
        }
        if self.life.stage == Stage::Handshake {
            let now = bytes.len().min(ANSWER_BYTES - self.hello.len());
            self.hello.extend_from_slice(&bytes[..now]);
            bytes = &mut bytes[now..];
            if self.hello.len() < ANSWER_BYTES {
                return;
            }
            match shared.hello.answer(&std::mem::take(&mut self.hello), &mut self.life.out) {
                Ok(ciphers) => self.ciphers = ciphers.map(Box::new),
                Err(why) => return self.fail(format!("handshake: {why}")),
            }
            self.clear_bytes = self.life.out.len();
            self.life.connect(shared.options);
        }
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.open(bytes);
        }
        let Self { reader, life, .. } = self;
        if let Err(broken) = reader.feed(bytes, &mut Ear { life, shared }) {
            life.end(End::Failed(format!("unreadable: {broken}")));
        }
        if life.received - life.acknowledged >= life.window_bytes {
            life.acknowledged = life.received;
            chunk::write(&mut life.out, 2, 3, 0, &(life.received as u32).to_be_bytes());
        }
    }

    /// Seeks to a place on the stream's own timeline, in ms.
    pub fn seek(&mut self, to_ms: u64, shared: &mut Shared) {
        shared.figures.seeks += 1;
        self.life.seek(to_ms, shared.now_us);
    }

    /// Pauses.
    pub fn pause(&mut self, shared: &mut Shared) {
        shared.figures.pauses += 1;
        self.life.pause(shared.now_us);
    }

    /// Goes on after a pause.
    pub fn unpause(&mut self, shared: &Shared) {
        let life = &mut self.life;
        if !life.paused || life.stage != Stage::Playing {
            return;
        }
        let at = life.player.as_ref().map_or(0, |p| p.playhead_ms(shared.now_us));
        (life.paused, life.wish) = (false, Wish::Unpause);
        if let Some(player) = &mut life.player {
            player.reposition(shared.now_us);
        }
        life.send_pause(false, at);
    }

    /// Length of what it plays, in ms, as far as known.
    pub fn length_ms(&self, shared: &Shared) -> u64 {
        shared.films[self.life.film].duration_ms.saturating_sub(self.life.start_ms)
    }

    /// Adds its stalls to the figures; the session is over, or the run is.
    pub fn settle(&mut self, shared: &mut Shared) {
        let Some(mut player) = self.life.player.take() else { return };
        let (stalls, stalled_us) = player.stalls(shared.now_us);
        shared.figures.stalls += u64::from(stalls);
        shared.figures.stalled_sessions += u64::from(stalls > 0);
        shared.figures.stalled_us += stalled_us;
    }
}

impl Life {
    fn end(&mut self, end: End) {
        if !matches!(self.stage, Stage::Over(_)) {
            self.stage = Stage::Over(end);
        }
    }

    fn command(
        &mut self,
        message_stream: u32,
        name: &str,
        transaction: f64,
        rest: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut body = Vec::with_capacity(256);
        amf::string(&mut body, name);
        amf::number(&mut body, transaction);
        rest(&mut body);
        chunk::write(&mut self.out, if message_stream == 0 { 3 } else { 8 }, 20, message_stream, &body);
    }

    fn connect(&mut self, options: &Options) {
        self.stage = Stage::Connecting;
        let host = options.host.clone().unwrap_or_else(|| options.target.to_string());
        let tc_url = format!("{}://{host}/{}", options.protocol.scheme(), options.app);
        self.command(0, "connect", 1.0, |b| {
            amf::object(
                b,
                &[("app", &options.app), ("flashVer", "LNX 9,0,124,2"), ("tcUrl", &tc_url)],
                &[
                    ("capabilities", 15.0),
                    ("audioCodecs", 4071.0),
                    ("videoCodecs", 252.0),
                    ("videoFunction", 1.0),
                ],
            );
        });
    }

    fn play(&mut self, shared: &Shared) {
        let buffer_ms = if self.player.is_some() { shared.options.buffer_ms } else { DOWNLOAD_MS };
        let mut event = vec![0, 3];
        event.extend(self.message_stream.to_be_bytes());
        event.extend(buffer_ms.to_be_bytes());
        chunk::write(&mut self.out, 2, 4, 0, &event);
        let (stream, start) = (self.message_stream, self.start_ms as f64);
        let name = &shared.options.names[self.film];
        self.command(stream, "play", 4.0, |b| {
            amf::null(b);
            amf::string(b, name);
            amf::number(b, start);
        });
        self.stage = Stage::Playing;
        self.played_us = shared.now_us;
    }

    fn seek(&mut self, to_ms: u64, now_us: u64) {
        let stream = self.message_stream;
        self.command(stream, "seek", 0.0, |b| {
            amf::null(b);
            amf::number(b, to_ms as f64);
        });
        (self.wish, self.wished_us) = (Wish::Seek, now_us);
        if let Some(player) = &mut self.player {
            player.reposition(now_us);
        }
    }

    fn pause(&mut self, now_us: u64) {
        self.paused = true;
        let at = self.player.as_mut().map_or(0, |p| p.pause(now_us));
        self.send_pause(true, at);
    }

    fn send_pause(&mut self, pause: bool, at_ms: u64) {
        let stream = self.message_stream;
        self.command(stream, "pause", 0.0, |b| {
            amf::null(b);
            amf::boolean(b, pause);
            amf::number(b, at_ms as f64);
        });
    }

    fn granted(&mut self) {
        self.sought = self.wish == Wish::Seek;
        self.wish = Wish::None;
        self.places = [Place::Lost; 2];
    }

    fn answered(&mut self, body: &[u8], shared: &mut Shared) {
        let Some((name, rest)) = amf::leading_string(body) else { return };
        let transaction = amf::leading_number(rest);
        match (name, &self.stage, transaction) {
            ("_result", Stage::Connecting, Some((1.0, _))) => {
                shared.figures.connect.push(shared.now_us - self.begun_us);
                if shared.options.idle {
                    self.stage = Stage::Idle;
                } else {
                    self.command(0, "createStream", 2.0, amf::null);
                    self.stage = Stage::Creating;
                }
            }
            ("_result", Stage::Creating, Some((2.0, rest))) => {
                match rest.strip_prefix(&[5]).and_then(amf::leading_number) {
                    Some((id, _)) => {
                        self.message_stream = id as u32;
                        self.play(shared);
                    }
                    None => self.end(End::Failed("createStream without an id".into())),
                }
            }
            ("_error", ..) => self.refused(body),
            ("onStatus", ..) if amf::string_of(body, "level") == Some("error") => self.refused(body),
            ("onStatus" | "onPlayStatus", ..) => {
                self.status(amf::string_of(body, "code").unwrap_or(""), shared)
            }
            _ => {}
        }
    }

    fn refused(&mut self, body: &[u8]) {
        let word = |name| amf::string_of(body, name).unwrap_or("");
        self.end(End::Failed(format!("refused: {} {}", word("code"), word("description")).trim().to_owned()));
    }

    fn status(&mut self, code: &str, shared: &mut Shared) {
        match (code, self.wish) {
            ("NetStream.Seek.Notify", Wish::Seek) | ("NetStream.Unpause.Notify", Wish::Unpause) => {
                self.granted()
            }
            // An end that was sent before the server knew of the wish is the end of nothing.
            ("NetStream.Play.Complete" | "NetStream.Play.Stop", Wish::None) => {
                if let Some(player) = &mut self.player {
                    player.end(shared.now_us);
                }
                if self.seen_frame {
                    self.end(End::Completed);
                } else {
                    self.end(End::Failed("ended without a frame".into()));
                }
            }
            _ => {}
        }
    }

    fn media(&mut self, message: Message, shared: &mut Shared) {
        if self.wish != Wish::None || !is_frame(message.kind, message.lead, message.bytes) {
            return;
        }
        if !self.seen_frame && message.kind == 9 {
            self.seen_frame = true;
            shared.figures.first_frame.push(shared.now_us - self.begun_us);
            shared.figures.first_frame_after_play.push(shared.now_us - self.played_us);
            if let Some(to_ms) = shared.options.seek_to_ms {
                shared.figures.seeks += 1;
                return self.seek(to_ms, shared.now_us);
            }
            if shared.options.first_frame_only {
                self.end(End::Left);
            }
            if shared.options.stay_paused {
                shared.figures.pauses += 1;
                self.pause(shared.now_us);
            }
        }
        if self.sought && message.kind == 9 {
            self.sought = false;
            shared.figures.seek.push(shared.now_us - self.wished_us);
            if shared.options.seek_to_ms.is_some() {
                self.end(End::Left);
            }
        }
        if let Some(player) = &mut self.player {
            player.media(shared.now_us, message.time_ms.into());
        }
        if self.verified {
            let place = &mut self.places[usize::from(message.kind & 1)];
            match shared.films[self.film].check(place, message.kind, message.hash, message.bytes) {
                Check::Right => shared.figures.hashes_right += 1,
                Check::Wrong => shared.figures.hashes_wrong += 1,
                Check::Unplaced => shared.figures.hashes_unplaced += 1,
            }
        }
    }
}

/// A viewer that hears messages.
struct Ear<'a, 'b, 'c> {
    life: &'a mut Life,
    shared: &'b mut Shared<'c>,
}

impl Sink for Ear<'_, '_, '_> {
    #[inline]
    fn message(&mut self, message: Message, body: &[u8]) {
        let Self { life, shared } = self;
        if matches!(life.stage, Stage::Over(_)) {
            return;
        }
        let word = |at: usize| {
            body.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes).unwrap_or_default()
        };
        match message.kind {
            8 | 9 => life.media(message, shared),
            4 if body.starts_with(&[0, 6]) => {
                let mut pong = vec![0, 7];
                pong.extend(word(2).to_be_bytes());
                chunk::write(&mut life.out, 2, 4, 0, &pong);
            }
            5 => life.window_bytes = u64::from(word(0).max(1)),
            15 | 18 => {
                if let Some(seconds) = amf::number_of(body, "duration").filter(|s| *s > 0.0) {
                    let film = &mut shared.films[life.film];
                    if film.duration_ms == 0 {
                        film.duration_ms = (seconds * 1000.0) as u64;
                    }
                }
                life.answered(body, shared);
            }
            20 => life.answered(body, shared),
            17 => life.answered(body.get(1..).unwrap_or_default(), shared),
            22 => life.end(End::Failed("aggregate message".into())),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
