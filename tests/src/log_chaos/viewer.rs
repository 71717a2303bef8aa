//! One viewer's connection, driven step by step: each step asks for one event and waits until its effect is seen, or is refused, or can't be
//! seen any more.
//!
//! It keeps nothing of the media: a viewer of [`crate::wire::Client`] records all it gets, which thousands of plays can't afford.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::now_ms;
use super::witness::{Connection, Event, Fate, Play, Told};
use crate::wire::amf::{self, Value};
use crate::wire::chunk::{Chunker, Dechunker, Message};
use crate::wire::handshake::{self, Kind, PACKET};

pub mod flood;

/// How long an answer may take before it counts as cut: longer than anything an edge waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The handshake's bytes from the server.
const GREETING_BYTES: u64 = 1 + 2 * PACKET as u64;

/// A connection under way, and what was seen on it.
pub struct Viewer {
    stream: TcpStream,
    reader: Dechunker,
    held: VecDeque<Message>,
    received: u64,
    acknowledged: u64,
    window: u64,
    alive: bool,
    stream_id: u32,
    tx: f64,
    /// Whether what is sent only waits in `unsent` until there is room.
    floods: bool,
    unsent: Vec<u8>,
    seen: Connection,
}

impl Viewer {
    /// Connects to the edge at `addr` and asks for `connect`. `None` if there was no connection, or it ended before `connect` was sent: then
    /// there is no event.
    pub fn open(addr: &str, host: &str, id: &str) -> Option<Self> {
        let to: SocketAddr = addr.parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).ok()?;
        stream.set_nodelay(true).ok()?;
        handshake::run(&mut stream, Kind::Simple).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        let connect =
            Told { event: Event::Connect, fate: Fate::Cut, bytes: (GREETING_BYTES, 0), at_ms: (now_ms(), 0) };
        let seen = Connection {
            id: id.to_owned(),
            host: host.to_owned(),
            connect,
            plays: Vec::new(),
            received: 0,
            left: false,
            ended: (addr.to_owned(), 0),
        };
        let mut viewer = Self {
            stream,
            reader: Dechunker::default(),
            held: VecDeque::new(),
            received: GREETING_BYTES,
            acknowledged: 0,
            window: u64::MAX,
            alive: true,
            stream_id: 0,
            tx: 1.0,
            floods: false,
            unsent: Vec::new(),
            seen,
        };
        let text = |text: String| Value::String(text);
        let fields = vec![
            ("app".to_owned(), "cfx/st".into()),
            ("flashVer".to_owned(), "LNX 10,0,32,18".into()),
            ("tcUrl".to_owned(), text(format!("rtmp://{host}/cfx/st?c={id}"))),
            ("pageUrl".to_owned(), "http://www.example.com/a page".into()),
        ];
        viewer.command(0, "connect", 1.0, &[Value::Object(fields)]);
        let fate = viewer.answer(|m| match m.command() {
            Some(c) if c.tx == 1.0 && c.name == "_result" => Some(Fate::Seen),
            Some(c) if c.tx == 1.0 && c.name == "_error" => Some(Fate::Refused),
            _ => None,
        });
        viewer.seen.connect.fate = fate;
        viewer.seen.connect.bytes.1 = viewer.received;
        viewer.seen.connect.at_ms.1 = now_ms();
        Some(viewer)
    }

    /// Whether the last answer came, so that another step makes sense.
    pub fn is_alive(&self) -> bool {
        self.alive && self.seen.connect.fate == Fate::Seen
    }

    /// How `connect` turned out.
    pub fn connected(&self) -> Fate {
        self.seen.connect.fate
    }

    /// Bytes received so far, handshake included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Makes the stream that plays use; no event.
    pub fn create_stream(&mut self) {
        self.tx += 1.0;
        let tx = self.tx;
        self.command(0, "createStream", tx, &[Value::Null]);
        let mut id = 0;
        self.answer(|m| {
            let command = m.command().filter(|c| c.tx == tx)?;
            id = command.args.get(1).and_then(Value::number)? as u32;
            Some(Fate::Seen)
        });
        self.stream_id = id;
        // A small buffer: media in a trickle.
        let mut body = vec![0, 3];
        body.extend(id.to_be_bytes());
        body.extend(100u32.to_be_bytes());
        self.send(&Chunker::default().message(2, 0, 4, 0, &body));
    }

    /// Plays `name` (as players write it) as the play of that id. `seconds` ends it by itself.
    pub fn play(&mut self, name: &str, sname: &str, id: &str, seconds: Option<f64>) -> Fate {
        self.seen.plays.push(Play { id: id.to_owned(), name: sname.to_owned(), told: Vec::new() });
        let mut args = vec![Value::Null, Value::String(format!("{name}?{id}")), Value::Number(0.0)];
        args.extend(seconds.map(Value::Number));
        self.ask(Event::Play, "play", &args, "NetStream.Play.Start")
    }

    /// Pauses what plays.
    pub fn pause(&mut self) -> Fate {
        let args = [Value::Null, Value::Boolean(true), Value::Number(0.0)];
        self.ask(Event::Pause, "pause", &args, "NetStream.Pause.Notify")
    }

    /// Goes on.
    pub fn unpause(&mut self) -> Fate {
        let args = [Value::Null, Value::Boolean(false), Value::Number(0.0)];
        self.ask(Event::Unpause, "pause", &args, "NetStream.Unpause.Notify")
    }

    /// Seeks.
    pub fn seek(&mut self, ms: f64) -> Fate {
        self.ask(Event::Seek, "seek", &[Value::Null, Value::Number(ms)], "NetStream.Seek.Notify")
    }

    /// Stops what plays and waits until that is seen: the play's stop, which its record must follow.
    pub fn stop(&mut self) {
        self.command(self.stream_id, "closeStream", 0.0, &[Value::Null]);
        let stream_id = self.stream_id;
        self.answer(|m| m.is_event(1, stream_id).then_some(Fate::Seen));
    }

    /// Waits until what plays has ended by itself.
    pub fn watch_to_the_end(&mut self) {
        self.answer(|m| (m.status_code()? == "NetStream.Play.Stop").then_some(Fate::Seen));
    }

    /// Gives the stream up without waiting for anything.
    pub fn delete_stream(&mut self) {
        let id = Value::Number(self.stream_id.into());
        self.command(0, "deleteStream", 0.0, &[Value::Null, id]);
    }

    /// Takes what comes for a while.
    pub fn linger(&mut self, during: Duration) {
        let end = Instant::now() + during;
        while self.alive && Instant::now() < end {
            self.fill();
            self.held.clear();
        }
    }

    /// Ends the connection, and gives what was seen.
    pub fn leave(mut self) -> Connection {
        self.seen.left = self.alive;
        self.seen.received = self.received;
        self.seen.ended.1 = now_ms();
        let _ = self.stream.shutdown(Shutdown::Both);
        self.seen
    }

    /// Sends a command that is an event of the last play, and waits for the status that shows its effect.
    fn ask(&mut self, event: Event, command: &str, args: &[Value], code: &str) -> Fate {
        self.held.clear();
        let began = (self.received, now_ms());
        self.command(self.stream_id, command, 0.0, args);
        let fate = self.answer(|m| {
            let status = m.status()?;
            match status.field("code") {
                found if found == code => Some(Fate::Seen),
                _ if status.field("level") == "error" => Some(Fate::Refused),
                _ => None,
            }
        });
        let told = Told { event, fate, bytes: (began.0, self.received), at_ms: (began.1, now_ms()) };
        self.seen.plays.last_mut().unwrap().told.push(told);
        fate
    }

    /// The first fate that a message shows; [`Fate::Cut`] if the connection ends or time runs out first, after which nothing is asked any more.
    fn answer(&mut self, mut shows: impl FnMut(&Message) -> Option<Fate>) -> Fate {
        let end = Instant::now() + PATIENCE;
        loop {
            while let Some(message) = self.held.pop_front() {
                if let Some(fate) = shows(&message) {
                    return fate;
                }
            }
            if !self.alive || Instant::now() > end {
                self.alive = false;
                return Fate::Cut;
            }
            self.fill();
        }
    }

    /// Reads once.
    fn fill(&mut self) {
        let mut buffer = [0; 32 << 10];
        let n = match self.stream.read(&mut buffer) {
            Ok(n @ 1..) => n,
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) =>
            {
                return;
            }
            Ok(_) | Err(_) => {
                self.alive = false;
                return;
            }
        };
        self.received += n as u64;
        let found = self.reader.push(&buffer[..n]).unwrap_or_else(|e| panic!("{}: {e}", self.seen.id));
        for message in found {
            if let (5, Ok(bytes)) = (message.type_id, <[u8; 4]>::try_from(&message.payload[..])) {
                self.window = u32::from_be_bytes(bytes).into();
            }
            if let Some((6, rest)) = message.event() {
                let pong = [&[0, 7], rest].concat();
                self.send(&Chunker::default().message(2, 0, 4, 0, &pong));
            }
            if !message.is_media() {
                self.held.push_back(message);
            }
        }
        if self.received - self.acknowledged >= self.window / 2 {
            self.acknowledged = self.received;
            let total = (self.received as u32).to_be_bytes();
            self.send(&Chunker::default().message(2, 0, 3, 0, &total));
        }
    }

    fn command(&mut self, stream_id: u32, name: &str, tx: f64, args: &[Value]) {
        let csid = if stream_id == 0 { 3 } else { 8 };
        let bytes = Chunker::default().message(csid, 0, 20, stream_id, &amf::command(name, tx, args));
        self.send(&bytes);
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.floods {
            return self.unsent.extend_from_slice(bytes);
        }
        // A failure shows when reading: what was answered before the end still counts.
        let _ = self.stream.write_all(bytes);
    }
}
