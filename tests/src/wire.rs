//! A scripted RTMP client: the tests' own reading of the protocol, sharing nothing with the edge.
//!
//! A [`Client`] sends what a test tells it, byte for byte if need be, while a thread records every message that comes back
//! with its chunk stream, header form, timestamp and time of arrival. [`Client::wait`] looks for the next message that
//! fits, in order; what it skipped stays in the record, so a test can also say what must *not* have come.

pub mod amf;
pub mod chunk;
pub mod handshake;
pub mod rtmpe;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use amf::Value;
use chunk::{Chunker, Message};
use handshake::Kind;

/// How long a reply may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Record {
    messages: Vec<Message>,
    closed: Option<Instant>,
    bytes: u64,
    broken: Option<String>,
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    record: Arc<(Mutex<Record>, Condvar)>,
    out: Chunker,
    next_tx: f64,
    at: usize,
}

impl Client {
    /// Connects to `addr` with a simple handshake.
    pub fn open(addr: &str) -> Self {
        Self::open_with(addr, Kind::Simple)
    }

    /// Connects to `addr` with that handshake, and checks the server's half of it.
    pub fn open_with(addr: &str, kind: Kind) -> Self {
        let mut stream = TcpStream::connect(addr).unwrap();
        handshake::run(&mut stream, kind).unwrap();
        Self::over(stream)
    }

    /// Takes over a connection whose handshake is done.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(None).unwrap();
        let record = Arc::new((Mutex::new(Record::default()), Condvar::new()));
        let (reading, answers, into) =
            (stream.try_clone().unwrap(), stream.try_clone().unwrap(), record.clone());
        std::thread::spawn(move || read_all(reading, answers, &into));
        Self { stream, record, out: Chunker::default(), next_tx: 1.0, at: 0 }
    }

    /// Connects, handshakes and sends `connect` for app `cfx/st`; panics unless it succeeds.
    pub fn connected(addr: &str) -> Self {
        let mut client = Self::open(addr);
        client.connect("cfx/st", &format!("rtmp://{addr}/cfx/st"), &[]);
        let (name, _) = client.wait_answer(1.0, PATIENCE);
        assert_eq!(name, "_result", "connect: {:#?}", client.messages());
        client
    }

    /// As [`Client::connected`], with one stream made; its id is 1.
    pub fn streaming(addr: &str) -> Self {
        let mut client = Self::connected(addr);
        assert_eq!(client.create_stream(), 1);
        client
    }

    /// Sends raw bytes.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The chunk writer, for tests that shape chunks themselves.
    pub fn chunker(&mut self) -> &mut Chunker {
        &mut self.out
    }

    /// Sends one message on a chunk stream, as type-0 chunk and type-3 continuations.
    pub fn send(&mut self, csid: u32, type_id: u8, stream_id: u32, payload: &[u8]) {
        let bytes = self.out.message(csid, 0, type_id, stream_id, payload);
        self.send_raw(&bytes);
    }

    /// Sends an AMF0 command.
    pub fn command(&mut self, stream_id: u32, name: &str, tx: f64, args: &[Value]) {
        let payload = amf::command(name, tx, args);
        self.send(if stream_id == 0 { 3 } else { 8 }, 20, stream_id, &payload);
    }

    /// A transaction id that was not used yet.
    pub fn tx(&mut self) -> f64 {
        self.next_tx += 1.0;
        self.next_tx
    }

    /// Sends `connect` (transaction 1) with what Flash Player 10 sends, `more` overriding or adding fields.
    pub fn connect(&mut self, app: &str, tc_url: &str, more: &[(&str, Value)]) {
        let mut fields: Vec<(String, Value)> = vec![
            ("app".into(), app.into()),
            ("flashVer".into(), "LNX 10,0,32,18".into()),
            ("tcUrl".into(), tc_url.into()),
            ("fpad".into(), Value::Boolean(false)),
            ("capabilities".into(), Value::Number(15.0)),
            ("audioCodecs".into(), Value::Number(3191.0)),
            ("videoCodecs".into(), Value::Number(252.0)),
            ("videoFunction".into(), Value::Number(1.0)),
        ];
        for (name, value) in more {
            fields.retain(|(n, _)| n != name);
            fields.push(((*name).into(), value.clone()));
        }
        self.command(0, "connect", 1.0, &[Value::Object(fields)]);
    }

    /// Makes a stream and gives its id.
    pub fn create_stream(&mut self) -> u32 {
        let tx = self.tx();
        self.command(0, "createStream", tx, &[Value::Null]);
        let (name, args) = self.wait_answer(tx, PATIENCE);
        assert_eq!(name, "_result");
        args.get(1).and_then(Value::number).expect("a stream id") as u32
    }

    /// Sends `play` with arguments after the name.
    pub fn play(&mut self, stream_id: u32, name: &str, args: &[f64]) {
        let mut all = vec![Value::Null, name.into()];
        all.extend(args.iter().map(|n| Value::Number(*n)));
        self.command(stream_id, "play", 0.0, &all);
    }

    /// Sends `seek` to a time in milliseconds.
    pub fn seek(&mut self, stream_id: u32, ms: f64) {
        self.command(stream_id, "seek", 0.0, &[Value::Null, Value::Number(ms)]);
    }

    /// Sends `pause` or its opposite.
    pub fn pause(&mut self, stream_id: u32, on: bool, ms: f64) {
        self.command(stream_id, "pause", 0.0, &[Value::Null, Value::Boolean(on), Value::Number(ms)]);
    }

    /// Tells the server how much the client buffers.
    pub fn set_buffer(&mut self, stream_id: u32, ms: u32) {
        let mut body = vec![0, 3];
        body.extend(stream_id.to_be_bytes());
        body.extend(ms.to_be_bytes());
        self.send(2, 4, 0, &body);
    }

    /// The next message that fits, waiting for it; the cursor moves past it.
    pub fn wait(&mut self, what: &str, within: Duration, fits: impl Fn(&Message) -> bool) -> Message {
        match self.try_wait(within, fits) {
            Some(found) => found,
            None => panic!(
                "{what}: not within {within:?} (closed: {}); got\n{}",
                self.is_closed(),
                self.outline()
            ),
        }
    }

    /// The next message that fits, or `None` when time is up or the connection has ended.
    pub fn try_wait(&mut self, within: Duration, fits: impl Fn(&Message) -> bool) -> Option<Message> {
        let end = Instant::now() + within;
        let (lock, changed) = &*self.record;
        let mut record = lock.lock().unwrap();
        loop {
            if let Some(i) = (self.at..record.messages.len()).find(|i| fits(&record.messages[*i])) {
                self.at = i + 1;
                return Some(record.messages[i].clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || record.closed.is_some() {
                return None;
            }
            record = changed.wait_timeout(record, left).unwrap().0;
        }
    }

    /// The next `onStatus` with that code; gives its information object.
    pub fn wait_status(&mut self, code: &str) -> Value {
        self.wait_status_within(code, PATIENCE)
    }

    /// As [`Client::wait_status`], with a deadline.
    pub fn wait_status_within(&mut self, code: &str, within: Duration) -> Value {
        let found = self.wait(code, within, |m| m.status_code().as_deref() == Some(code));
        found.status().unwrap()
    }

    /// The answer to a transaction: `_result` or `_error`, and its arguments.
    pub fn wait_answer(&mut self, tx: f64, within: Duration) -> (String, Vec<Value>) {
        let found = self.wait(&format!("the answer to transaction {tx}"), within, |m| {
            m.command().is_some_and(|c| c.tx == tx && (c.name == "_result" || c.name == "_error"))
        });
        let command = found.command().unwrap();
        (command.name, command.args)
    }

    /// Where the cursor stands in [`Client::messages`].
    pub fn cursor(&self) -> usize {
        self.at
    }

    /// Moves the cursor back to the first message.
    pub fn at_start(&mut self) {
        self.at = 0;
    }

    /// Moves the cursor past everything received so far.
    pub fn skip_all(&mut self) {
        self.at = self.record.0.lock().unwrap().messages.len();
    }

    /// Everything received so far.
    pub fn messages(&self) -> Vec<Message> {
        self.record.0.lock().unwrap().messages.clone()
    }

    /// Bytes received so far, handshake not counted.
    pub fn bytes(&self) -> u64 {
        self.record.0.lock().unwrap().bytes
    }

    /// What was wrong with the server's bytes, if anything was.
    pub fn broken(&self) -> Option<String> {
        self.record.0.lock().unwrap().broken.clone()
    }

    /// Whether the server has closed.
    pub fn is_closed(&self) -> bool {
        self.record.0.lock().unwrap().closed.is_some()
    }

    /// Waits for the server to close.
    pub fn wait_closed(&self, within: Duration) {
        crate::eventually("the server's close", within, || self.is_closed().then_some(()));
    }

    /// One line a message, media runs folded: for failures.
    pub fn outline(&self) -> String {
        let mut out = String::new();
        let mut media = 0;
        for m in self.messages() {
            if matches!(m.type_id, 8 | 9) {
                media += 1;
                continue;
            }
            if media > 0 {
                out += &format!("  … {media} media messages\n");
                media = 0;
            }
            out += &format!("  {m}\n");
        }
        if media > 0 {
            out += &format!("  … {media} media messages\n");
        }
        out
    }

    /// Closes both ways.
    pub fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

fn read_all(mut from: TcpStream, mut answers: TcpStream, into: &(Mutex<Record>, Condvar)) {
    let mut reader = chunk::Dechunker::default();
    let mut buffer = vec![0; 1 << 16];
    let (mut total, mut acknowledged, mut window) = (0u64, 0u64, u64::MAX);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(n) if n > 0 => n,
            _ => break,
        };
        total += n as u64;
        let found = reader.push(&buffer[..n]);
        let mut record = into.0.lock().unwrap();
        record.bytes = total;
        match found {
            Ok(found) => {
                for m in &found {
                    if m.type_id == 5 && m.payload.len() == 4 {
                        window = u64::from(u32::from_be_bytes(m.payload[..4].try_into().unwrap()));
                    }
                }
                record.messages.extend(found);
            }
            Err(e) => {
                record.broken = Some(e);
                break;
            }
        }
        drop(record);
        into.1.notify_all();
        if total - acknowledged >= window / 2 {
            acknowledged = total;
            // One write of a whole small chunk: it can't fall into the middle of another thread's message.
            let ack = Chunker::default().message(2, 0, 3, 0, &(total as u32).to_be_bytes());
            let _ = answers.write_all(&ack);
        }
    }
    into.0.lock().unwrap().closed = Some(Instant::now());
    into.1.notify_all();
}
