//! A viewer that knows what it should see: every payload is compared with the film's, every pause with the buffer.
//!
//! It plays as a player does: it starts when its buffer is full and from then on needs each picture at its time. A picture that comes
//! later stops the show for as long as it is late: a stall. What it has seen can be asked for while it runs.

mod film;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use film::Film;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::wire::amf::{self, Value};
use crate::wire::chunk::{Chunker, Dechunker, Message};
use crate::wire::handshake::{self, Kind};
use crate::wire::rtmpe;

/// A buffer by which the server takes a viewer for a download and sends at line rate, in ms.
pub const DOWNLOAD: u32 = 36_000_000;

/// What is played, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The edge.
    pub addr: String,
    /// The distribution's domain.
    pub host: String,
    /// The stream's name.
    pub name: String,
    /// What the client buffers, in ms.
    pub buffer_ms: u32,
    /// The versions it may be sent, one of them from beginning to end. Empty: nothing is compared.
    pub versions: Vec<Film>,
    /// When to hang up, if the film hasn't ended.
    pub at_most: Duration,
    /// The socket's receive buffer in bytes; the system's choice if 0.
    pub receive_bytes: usize,
    /// Over RTMPE.
    pub encrypted: bool,
}

impl Plan {
    /// `name` of `host` at the edge `addr`, which may only be `film`, with a buffer of 2 s.
    pub fn new(addr: &str, host: &str, name: &str, film: &Film) -> Self {
        Self {
            addr: addr.into(),
            host: host.into(),
            name: name.into(),
            buffer_ms: 2000,
            versions: vec![film.clone()],
            at_most: Duration::from_secs(60),
            receive_bytes: 0,
            encrypted: false,
        }
    }

    /// With another buffer.
    pub fn buffer(mut self, ms: u32) -> Self {
        self.buffer_ms = ms;
        self
    }

    /// Over RTMPE.
    pub fn encrypted(mut self) -> Self {
        self.encrypted = true;
        self
    }

    /// Hanging up then at the latest.
    pub fn at_most(mut self, time: Duration) -> Self {
        self.at_most = time;
        self
    }

    /// Starts it.
    pub fn start(self) -> Viewer {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = std::thread::Builder::new()
            .stack_size(256 << 10)
            .spawn(move || {
                let outcome = watch(&self, &own);
                let mut seen = own.seen.lock().unwrap();
                if let Err(error) = outcome {
                    seen.end.get_or_insert(End::Broken(error.to_string()));
                }
                seen.end.get_or_insert(End::TimeUp);
            })
            .unwrap();
        Viewer { shared, thread: Some(thread) }
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Seen {
        self.start().finish()
    }
}

/// How a viewing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server announced the end of the file, and all of it had come.
    Complete,
    /// An error status with that code.
    Told(String),
    /// The connection ended without a word, or the protocol was broken.
    Broken(String),
    /// A payload that isn't the film's.
    Wrong(String),
    /// The viewer hung up as planned.
    TimeUp,
}

/// What a viewer saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Media messages, each compared.
    pub samples: usize,
    /// Which of the versions they are of.
    pub version: Option<usize>,
    /// From `play` to the first picture.
    pub first_media: Option<Duration>,
    /// File time of the newest media, in ms.
    pub time_ms: u32,
    /// When it came.
    pub last_at: Option<Instant>,
    /// The longest stop of the show.
    pub longest_stall: Duration,
    /// The longest time without any media, from the first on.
    pub longest_silence: Duration,
    /// How it ended.
    pub end: Option<End>,
    /// From `play` to the end.
    pub took: Duration,
}

impl Seen {
    /// Panics unless the whole film came, right in every byte.
    pub fn complete(&self, what: &str) -> &Self {
        assert_eq!(self.end, Some(End::Complete), "{what}: {self:?}");
        self
    }

    /// Panics if the show ever stopped for longer than `most`.
    pub fn no_stall_over(&self, most: Duration, what: &str) -> &Self {
        assert!(self.longest_stall <= most, "{what}: {self:?}");
        self
    }

    /// The code it was told, if that was its end.
    pub fn told(&self) -> Option<&str> {
        if let Some(End::Told(code)) = &self.end { Some(code) } else { None }
    }

    /// Panics if it saw bytes that aren't the film's, or an end without a word.
    pub fn honest(&self, what: &str) -> &Self {
        assert!(!matches!(self.end, Some(End::Wrong(_) | End::Broken(_))), "{what}: {self:?}");
        self
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    stop: AtomicBool,
    deaf: AtomicBool,
}

/// One that runs. Dropping it hangs up.
pub struct Viewer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Viewer {
    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until it has media of this time, in ms.
    pub fn wait_time(&self, time_ms: u32, within: Duration) {
        crate::eventually(&format!("media of {time_ms} ms"), within, || {
            let seen = self.seen();
            assert!(seen.end.is_none() || seen.time_ms >= time_ms, "ended before {time_ms} ms: {seen:?}");
            (seen.samples > 0 && seen.time_ms >= time_ms).then_some(())
        });
    }

    /// Stops reading from the socket, or reads on.
    pub fn deaf(&self, on: bool) {
        self.shared.deaf.store(on, Ordering::SeqCst);
    }

    /// Hangs up.
    pub fn hang_up(mut self) -> Seen {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.join()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Seen {
        self.join()
    }

    fn join(&mut self) -> Seen {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p));
        }
        self.seen()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(plan: &Plan) -> std::io::Result<TcpStream> {
    let addr: std::net::SocketAddr = plan.addr.parse().map_err(std::io::Error::other)?;
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if plan.receive_bytes > 0 {
        socket.set_recv_buffer_size(plan.receive_bytes)?;
    }
    socket.connect(&SockAddr::from(addr))?;
    Ok(socket.into())
}

fn watch(plan: &Plan, shared: &Shared) -> anyhow::Result<()> {
    let mut stream = open(plan)?;
    stream.set_nodelay(true)?;
    if plan.encrypted {
        stream = rtmpe::handshake(stream, 6, 1, 1)?.plain()?;
    } else {
        handshake::run(&mut stream, Kind::Simple)?;
    }
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let out = Chunker::default();
    let connect = [
        ("app", Value::from("cfx/st")),
        ("flashVer", "LNX 10,0,32,18".into()),
        ("tcUrl", format!("rtmp://{}/cfx/st", plan.host).as_str().into()),
    ];
    let connect = Value::Object(connect.into_iter().map(|(n, v)| (n.to_owned(), v)).collect());
    let mut buffer_length = vec![0, 3, 0, 0, 0, 1];
    buffer_length.extend(plan.buffer_ms.to_be_bytes());
    let sent = [
        out.message(3, 0, 20, 0, &amf::command("connect", 1.0, &[connect])),
        out.message(3, 0, 20, 0, &amf::command("createStream", 2.0, &[Value::Null])),
        out.message(2, 0, 4, 0, &buffer_length),
        out.message(
            8,
            0,
            20,
            1,
            &amf::command("play", 0.0, &[Value::Null, plan.name.as_str().into(), 0.0.into()]),
        ),
    ];
    stream.write_all(&sent.concat())?;

    let begun = Instant::now();
    let mut show = Show::new(plan);
    let mut reader = Dechunker::default();
    let mut buffer = vec![0; 1 << 16];
    let (mut total, mut acknowledged, mut window) = (0u64, 0u64, u64::MAX);
    while begun.elapsed() < plan.at_most && !shared.stop.load(Ordering::SeqCst) {
        if shared.deaf.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let n = match stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("the server closed"),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(e) => return Err(e.into()),
        };
        total += n as u64;
        let messages = reader.push(&buffer[..n]).map_err(anyhow::Error::msg)?;
        let mut seen = shared.seen.lock().unwrap();
        for message in messages {
            if message.type_id == 5 && message.payload.len() == 4 {
                window = u64::from(u32::from_be_bytes(message.payload[..4].try_into()?));
            }
            show.take(&message, begun, &mut seen);
            seen.took = begun.elapsed();
            if seen.end.is_some() {
                let _ = stream.shutdown(Shutdown::Both);
                return Ok(());
            }
        }
        drop(seen);
        if total - acknowledged >= window / 2 {
            acknowledged = total;
            stream.write_all(&out.message(2, 0, 3, 0, &(total as u32).to_be_bytes()))?;
        }
    }
    Ok(())
}

/// The show: what has come, and what the picture on the screen would be.
struct Show<'a> {
    plan: &'a Plan,
    /// Versions that are still possible.
    possible: Vec<usize>,
    /// When the picture of time 0 was, or would have been, on the screen; set once the buffer was full.
    zero: Option<Instant>,
}

impl<'a> Show<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self { plan, possible: (0..plan.versions.len()).collect(), zero: None }
    }

    fn take(&mut self, message: &Message, begun: Instant, seen: &mut Seen) {
        if message.is_media() {
            return self.media(message, begun, seen);
        }
        let Some(status) = message.status() else {
            if let Some(answer) = message.command().filter(|c| c.name == "_error") {
                let code = answer.args.get(1).map(|i| i.field("code").to_owned()).unwrap_or_default();
                seen.end = Some(End::Told(code));
            }
            return;
        };
        let code = status.field("code");
        if status.field("level") == "error" {
            seen.end = Some(End::Told(code.to_owned()));
        } else if code == "NetStream.Play.Stop" {
            let whole = self.possible.iter().any(|v| self.plan.versions[*v].tags.len() == seen.samples);
            seen.end = Some(if whole || self.plan.versions.is_empty() {
                End::Complete
            } else {
                End::Wrong(format!("the end after {} messages", seen.samples))
            });
        }
    }

    fn media(&mut self, message: &Message, begun: Instant, seen: &mut Seen) {
        let at = message.at;
        if !self.plan.versions.is_empty() {
            let n = seen.samples;
            self.possible.retain(|v| {
                let tag = self.plan.versions[*v].tags.get(n);
                tag.is_some_and(|t| t.kind == message.type_id && t.body == message.payload)
            });
            if self.possible.is_empty() {
                seen.end = Some(End::Wrong(format!("message {n} at {} ms", message.timestamp)));
                return;
            }
            seen.version = (self.possible.len() == 1).then(|| self.possible[0]);
        }
        seen.samples += 1;
        if let Some(before) = seen.last_at.replace(at) {
            seen.longest_silence = seen.longest_silence.max(at.duration_since(before));
        }
        seen.first_media.get_or_insert_with(|| at.duration_since(begun));
        seen.time_ms = message.timestamp;
        let time = Duration::from_millis(u64::from(message.timestamp));
        match &mut self.zero {
            None if message.timestamp >= self.plan.buffer_ms => {
                // The buffer is full: the first picture is on the screen now.
                self.zero = Some(at);
            }
            None => {}
            Some(zero) => {
                let late = at.saturating_duration_since(*zero + time);
                seen.longest_stall = seen.longest_stall.max(late);
                *zero += late;
            }
        }
    }
}
