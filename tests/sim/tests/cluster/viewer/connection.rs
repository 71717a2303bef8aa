//! The player's end of a connection: handshake, commands out, messages in.

use std::io;

use tests::wire::amf::{self, Value};
use tests::wire::chunk::{Chunker, Dechunker, Message};
use tests::wire::handshake::{Kind, PACKET, c1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::TcpStream;

use super::super::nodes::RTMP;

/// The only stream of a connection.
const STREAM: u32 = 1;

/// One connection, with its stream made.
pub(super) struct Connection {
    stream: TcpStream,
    reader: Dechunker,
    writer: Chunker,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Connection {
    /// Connects to an edge, asks for the distribution `host` and makes a stream with that buffer.
    pub(super) async fn open(edge: &str, host: &str, buffer_ms: u32) -> io::Result<Self> {
        let mut stream = TcpStream::connect((edge, RTMP)).await?;
        stream.write_all(&[&[3], &c1(Kind::Simple)[..]].concat()).await?;
        let mut answer = vec![0; 1 + 2 * PACKET];
        stream.read_exact(&mut answer).await?;
        stream.write_all(&answer[1..=PACKET]).await?;
        let (reader, writer) = (Dechunker::default(), Chunker::default());
        let mut this = Self { stream, reader, writer, out: Vec::new(), buffer: vec![0; 64 << 10] };
        let fields = [("app", "cfx/st".to_owned()), ("tcUrl", format!("rtmp://{host}/cfx/st"))];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
        this.command(0, "connect", 1.0, &[Value::Object(fields.collect())]);
        this.answer(1.0).await?;
        this.command(0, "createStream", 2.0, &[Value::Null]);
        this.answer(2.0).await?;
        let length = [&[0, 3][..], &STREAM.to_be_bytes(), &buffer_ms.to_be_bytes()].concat();
        this.send(2, 4, 0, &length);
        Ok(this)
    }

    /// Waits for a transaction to succeed.
    async fn answer(&mut self, transaction: f64) -> io::Result<()> {
        self.flush().await?;
        loop {
            for message in self.receive().await? {
                match message.command() {
                    Some(c) if c.tx == transaction && c.name == "_result" => return Ok(()),
                    Some(c) if c.name == "_error" => return Err(broken(format!("{c:?}"))),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, csid: u32, type_id: u8, stream_id: u32, payload: &[u8]) {
        self.out.extend(self.writer.message(csid, 0, type_id, stream_id, payload));
    }

    fn command(&mut self, stream_id: u32, name: &str, transaction: f64, args: &[Value]) {
        let csid = if stream_id == 0 { 3 } else { 8 };
        self.send(csid, 20, stream_id, &amf::command(name, transaction, args));
    }

    /// Queues a play.
    pub(super) fn play(&mut self, key: &str, from_ms: u32, unpaced: bool) {
        let reset = if unpaced { 3.0 } else { 1.0 };
        let args = [Value::Null, key.into(), f64::from(from_ms).into(), (-1.0).into(), reset.into()];
        self.command(STREAM, "play", 0.0, &args);
    }

    /// Queues a seek.
    pub(super) fn seek(&mut self, ms: u32) {
        self.command(STREAM, "seek", 0.0, &[Value::Null, f64::from(ms).into()]);
    }

    /// Queues a pause or its opposite.
    pub(super) fn pause(&mut self, on: bool, ms: u32) {
        self.command(STREAM, "pause", 0.0, &[Value::Null, on.into(), f64::from(ms).into()]);
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.stream.write_all(&std::mem::take(&mut self.out)).await
    }

    /// The messages that the next bytes complete. The end of the stream is an error. Cancel-safe.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<Message>> {
        let count = self.stream.read(&mut self.buffer).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the edge closed the connection"));
        }
        self.reader.push(&self.buffer[..count]).map_err(broken)
    }
}
