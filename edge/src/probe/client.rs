//! An RTMP client: handshake, commands, messages.
//!
//! The server is not trusted: what it makes the client hold is bounded as what viewers make an edge hold, only that its messages are media
//! and so may be larger.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::{Instant, timeout};

use super::Failure;
use super::link::Link;
use super::report::{self, Narrator};
use super::target::Target;
use crate::rtmp::Message;
use crate::rtmp::amf::{Limits, Value};
use crate::rtmp::chunk::{Batch, ChunkReader, ChunkWriter, OutMessage, ReaderLimits, csid};
use crate::rtmp::command::{self, Command};
use crate::rtmp::control::{self, Control, UserControl};
use crate::rtmp::handshake::Scheme;
use crate::rtmp::handshake::client::{ClientHandshake, Variant};
use crate::rtmp::message::type_id;

/// A keyframe of the largest films is a few MiB.
const LIMITS: ReaderLimits =
    ReaderLimits { message_bytes: 8 << 20, chunk_streams: 64, in_flight_bytes: 12 << 20 };
/// The server is to acknowledge, and is acknowledged, each so many bytes unless it says otherwise.
const WINDOW_BYTES: u64 = 2_500_000;

/// What a film says of itself may list all of its keyframes.
const METADATA: Limits = Limits { depth: 16, values: 200_000 };

/// The client's side of one connection.
pub(super) struct Client {
    pub(super) link: Link,
    input: BytesMut,
    pub(super) reader: ChunkReader,
    writer: ChunkWriter,
    out: Batch,
    window_bytes: u64,
    acknowledged_bytes: u64,
    timeout: Duration,
}

impl Client {
    /// Shakes hands on `link`.
    pub(super) async fn greet(
        mut link: Link,
        target: &Target,
        timeout_each: Duration,
        told: &mut Narrator,
    ) -> Result<Self, Failure> {
        let began = Instant::now();
        let variant = if target.variant.encrypted { Variant::Encrypted } else { Variant::Signed };
        let mut handshake = ClientHandshake::new(variant, &mut rand::rng());
        let mut input = BytesMut::new();
        let shake = async {
            link.send(BytesMut::from(&handshake.hello()[..]), told).await.map_err(lost)?;
            let mut kind = 0;
            loop {
                let greeting = handshake
                    .advance(&mut input)
                    .map_err(|error| Failure::Connect(format!("the handshake failed: {error}")))?;
                if let Some(greeting) = greeting {
                    link.send(BytesMut::from(&greeting.c2[..]), told).await.map_err(lost)?;
                    return Ok::<_, Failure>((kind, greeting));
                }
                link.receive(&mut input, told).await.map_err(lost)?;
                kind = input.first().copied().unwrap_or(0);
            }
        };
        let (kind, greeting) = match timeout(timeout_each, shake).await {
            Ok(shaken) => shaken?,
            Err(_) => {
                return Err(Failure::Connect(format!(
                    "the server did not finish the handshake within {timeout_each:?}: does this port speak RTMP?"
                )));
            }
        };
        if let Some(keys) = &greeting.keys {
            link.encipher(keys, &mut input);
        }
        let [a, b, c, d] = greeting.server_version;
        let found = report::Handshake {
            kind,
            scheme: match greeting.scheme {
                None => "simple".into(),
                Some(Scheme::Zero) => "digest 0".into(),
                Some(Scheme::One) => "digest 1".into(),
            },
            server_version: format!("{a}.{b}.{c}.{d}"),
            encrypted: greeting.keys.is_some(),
            ms: began.elapsed().as_millis() as u64,
        };
        let encrypted = if found.encrypted { ", RC4" } else { "" };
        told.say(
            "handshake",
            format_args!(
                "type {kind}, {}{encrypted}, server {} in {} ms",
                found.scheme, found.server_version, found.ms
            ),
        );
        told.report.handshake = Some(found);
        Ok(Self {
            link,
            input,
            reader: ChunkReader::new(LIMITS),
            writer: ChunkWriter::new(),
            out: Batch::new(),
            window_bytes: WINDOW_BYTES,
            acknowledged_bytes: 0,
            timeout: timeout_each,
        })
    }

    /// Adds a command to what is to be sent; `values` begin with the command object.
    pub(super) fn command(
        &mut self,
        stream_id: u32,
        name: &str,
        transaction: f64,
        values: &[Value],
    ) -> Result<(), Failure> {
        let payload = command::encode(name, transaction, values);
        let csid = if stream_id == 0 { csid::COMMAND } else { csid::STATUS };
        let message = OutMessage {
            csid,
            timestamp: 0,
            type_id: type_id::COMMAND,
            stream_id,
            head: &[],
            payload: &[payload],
        };
        self.writer.write(&mut self.out, message).map_err(|error| Failure::Usage(format!("{name}: {error}")))
    }

    /// Adds SetBufferLength to what is to be sent.
    pub(super) fn buffer(&mut self, stream_id: u32, ms: u32) {
        self.out.push_raw(&[2, 0, 0, 0, 0, 0, 10, type_id::USER_CONTROL, 0, 0, 0, 0, 0, 3]);
        self.out.push_raw(&stream_id.to_be_bytes());
        self.out.push_raw(&ms.to_be_bytes());
    }

    /// Sends what is to be sent.
    pub(super) async fn flush(&mut self, told: &mut Narrator) -> Result<(), Failure> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mut bytes = BytesMut::with_capacity(self.out.len_bytes());
        while self.out.has_remaining() {
            bytes.extend_from_slice(self.out.chunk());
            let count = self.out.chunk().len();
            self.out.advance(count);
        }
        // A server that takes nothing is as gone as one that says nothing.
        match timeout(self.timeout, self.link.send(bytes, told)).await {
            Ok(sent) => sent.map_err(broken),
            Err(_) => Err(Failure::Stream(format!("the server took nothing for {:?}", self.timeout))),
        }
    }

    /// The next message that means something here; what the protocol itself wants answered is answered. May be given up and called again.
    pub(super) async fn message(&mut self, told: &mut Narrator) -> Result<Message, Failure> {
        loop {
            let message = self
                .reader
                .read(&mut self.input)
                .map_err(|error| Failure::Stream(format!("the server's chunks make no sense: {error}")))?;
            self.acknowledge();
            self.flush(told).await?;
            let Some(message) = message else {
                self.link.receive(&mut self.input, told).await.map_err(broken)?;
                continue;
            };
            match Control::parse(&message) {
                Some(Control::WindowAckSize(bytes)) => self.window_bytes = u64::from(bytes.max(1)),
                Some(Control::User(UserControl::PingRequest(ms))) => {
                    control::ping_response(ms, &mut self.out)
                }
                Some(Control::User(UserControl::Other(26))) => {
                    told.say("note", "the server asks for SWF verification, which is not answered");
                }
                Some(Control::User(UserControl::Other(1))) => told.say("note", "end of stream"),
                Some(_) => {}
                None => return Ok(message),
            }
        }
    }

    fn acknowledge(&mut self) {
        let received = self.link.received_bytes;
        if received - self.acknowledged_bytes >= (self.window_bytes / 2).max(1) {
            self.acknowledged_bytes = received;
            control::acknowledgement(received as u32, &mut self.out);
        }
    }

    /// The answer to a transaction. Statuses that come before it are told.
    pub(super) async fn answer(
        &mut self,
        transaction: f64,
        what: &str,
        told: &mut Narrator,
    ) -> Result<Command, Failure> {
        let within = self.timeout;
        let waited = timeout(within, async {
            loop {
                let message = self.message(told).await?;
                let Some(command) = parse(&message)? else { continue };
                match command.name.as_str() {
                    "_result" | "_error" if command.transaction == transaction => return Ok(command),
                    _ => self.on_call(&command, told).await?,
                }
            }
        });
        match waited.await {
            Ok(answered) => answered,
            Err(_) => Err(Failure::Connect(format!("the server did not answer {what} within {within:?}"))),
        }
    }

    /// Acts on a command that is no answer: a status is told, a call is answered.
    pub(super) async fn on_call(&mut self, command: &Command, told: &mut Narrator) -> Result<(), Failure> {
        match command.name.as_str() {
            "onStatus" => {
                let status = Status::of(command.arg(0));
                told.event(&status.level, &status.code, &status.description);
            }
            "_result" | "_error" | "onBWDone" => {}
            "close" => told.event("status", "close", "the server asks to close"),
            // Bandwidth checks count what comes back.
            _ if command.transaction != 0.0 => {
                self.command(0, "_result", command.transaction, &[Value::Null, Value::Number(0.0)])?;
                self.flush(told).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Connects to the application.
    pub(super) async fn connect(&mut self, target: &Target, told: &mut Narrator) -> Result<(), Failure> {
        let began = Instant::now();
        let object = Value::object([
            ("app", Value::from(target.app.as_str())),
            ("flashVer", "LNX 10,0,45,2".into()),
            ("tcUrl", target.tc_url().into()),
            ("fpad", false.into()),
            ("capabilities", 15.0.into()),
            ("audioCodecs", 3191.0.into()),
            ("videoCodecs", 252.0.into()),
            ("videoFunction", 1.0.into()),
            ("objectEncoding", 0.0.into()),
        ]);
        self.command(0, "connect", 1.0, &[object])?;
        self.flush(told).await?;
        // A connection that breaks here was not granted: servers close after their refusal, or instead of one.
        let answer = self.answer(1.0, "connect", told).await.map_err(|failure| match failure {
            Failure::Stream(why) => Failure::Connect(format!("{why}, before it answered connect")),
            other => other,
        })?;
        let status = Status::of(answer.arg(0));
        let server =
            answer.object.get("fmsVer").and_then(Value::as_str).map(report::plain).unwrap_or_default();
        let found = report::Connect {
            code: status.code.clone(),
            description: status.description.clone(),
            server,
            capabilities: answer.object.get("capabilities").and_then(Value::as_number),
            ms: began.elapsed().as_millis() as u64,
        };
        told.say("connect", format_args!("{} by {} in {} ms", found.code, found.server, found.ms));
        told.report.connect = Some(found);
        if answer.name == "_error" || status.level == "error" {
            return Err(Failure::Rejected(format!(
                "connect was refused: {} {}",
                status.code, status.description
            )));
        }
        control::window_ack_size(WINDOW_BYTES as u32, &mut self.out);
        Ok(())
    }

    /// Makes a stream; its id.
    pub(super) async fn create_stream(&mut self, told: &mut Narrator) -> Result<u32, Failure> {
        self.command(0, "createStream", 2.0, &[Value::Null])?;
        self.flush(told).await?;
        let answer = self.answer(2.0, "createStream", told).await?;
        match answer.arg(0).and_then(Value::as_number) {
            Some(id) if answer.name == "_result" && (1.0..4e9).contains(&id) => Ok(id as u32),
            _ => Err(Failure::Stream("the server made no stream".into())),
        }
    }

    /// Time a step may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// What onStatus and its like carry.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) level: String,
    pub(super) code: String,
    pub(super) description: String,
}

impl Status {
    pub(super) fn of(information: Option<&Value>) -> Self {
        let text = |key| {
            let value = information.and_then(|value| value.get(key)).and_then(Value::as_str);
            value.map(report::plain).unwrap_or_default()
        };
        Self { level: text("level"), code: text("code"), description: text("description") }
    }
}

/// The command in a message, if it is one.
pub(super) fn parse(message: &Message) -> Result<Option<Command>, Failure> {
    command::parse(message, &Limits::default())
        .map_err(|error| Failure::Stream(format!("a command of the server makes no sense: {error}")))
}

/// Before the handshake is over.
fn lost(error: io::Error) -> Failure {
    Failure::Connect(format!("the handshake failed: {error}"))
}

/// After it.
fn broken(error: io::Error) -> Failure {
    Failure::Stream(format!("the connection broke: {error}"))
}

/// Values of a data message; none if they make no sense.
pub(super) fn values(payload: &Bytes) -> Vec<Value> {
    crate::rtmp::amf::decode_all(payload, &METADATA).unwrap_or_default()
}
