//! A viewer that says what a test tells it to, and reads what comes.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BytesMut};
use control::client::Catalogue;
use proto::clock::SetClock;
use proto::v1::{Distribution, Revision};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::label;
use crate::Edge;
use crate::config::EdgeConfig;
use crate::config::log::LogConfig;
use crate::log::memory::MemorySink;
use crate::metrics::Metrics;
use crate::rtmp::amf::{self, Limits, Value};
use crate::rtmp::chunk::{Batch, ChunkReader, MAX_MESSAGE_BYTES, ReaderLimits};
use crate::rtmp::command;
use crate::session::fuzz::bucket::Bucket;
use crate::session::fuzz::distribution;
use crate::session::fuzz::script::message;
use crate::session::{Shared, serve};
use crate::transport::Transport;

/// When everything begins, in ms since 1970.
pub(super) const START_MS: u64 = 1_268_437_880_000;

/// An edge with one distribution, a log in memory, and a clock that a test sets.
pub(super) struct Bench {
    pub(super) sink: Arc<MemorySink>,
    pub(super) clock: Arc<SetClock>,
    pub(super) shutdown: CancellationToken,
    shared: Arc<Shared>,
    catalogue: watch::Sender<Arc<Catalogue>>,
}

impl Bench {
    pub(super) fn new(log: LogConfig) -> Self {
        let config =
            EdgeConfig { default_distribution: Some(distribution().id), log, ..EdgeConfig::default() };
        let (sink, clock) = (MemorySink::new(), SetClock::at_ms(START_MS));
        let catalogue = watch::Sender::new(Arc::new(Catalogue::empty()));
        let registry = prometheus::Registry::new();
        let edge =
            Edge::with_clock(config, Arc::new(Bucket), catalogue.subscribe(), &registry, clock.clone())
                .unwrap();
        edge.log_to(sink.clone());
        let shared = edge.shared().clone();
        let bench = Self { sink, clock, shutdown: CancellationToken::new(), shared, catalogue };
        bench.publish(Some(distribution()));
        bench
    }

    /// From now on there is this distribution, or none.
    pub(super) fn publish(&self, document: Option<Distribution>) {
        let revision = Revision { store_id: "test".into(), number: 1 };
        let next = Catalogue::empty().replace(revision, document.into_iter().collect(), Vec::new());
        self.shared.withdrawals.settle(&next);
        self.catalogue.send_replace(Arc::new(next));
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

/// The events of a sink, without what they happened to.
pub(super) fn events(sink: &MemorySink) -> Vec<&'static str> {
    sink.records().iter().map(|record| label(record.event())).collect()
}

#[derive(Default)]
struct Line {
    to_server: BytesMut,
    to_client: BytesMut,
    received: u64,
    left: bool,
    closed: bool,
}

/// Both ends of a connection.
#[derive(Clone, Default)]
struct Wire {
    line: Arc<Mutex<Line>>,
    sent: Arc<Notify>,
    answered: Arc<Notify>,
}

impl Wire {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap()
    }
}

impl Transport for Wire {
    async fn readable(&self) -> io::Result<()> {
        loop {
            {
                let line = self.line();
                if !line.to_server.is_empty() || line.left {
                    return Ok(());
                }
            }
            self.sent.notified().await;
        }
    }

    async fn writable(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut line = self.line();
        if line.to_server.is_empty() {
            return if line.left { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let bytes = line.to_server.split();
        buffer.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let count = batch.len_bytes();
        let mut line = self.line();
        line.to_client.extend_from_slice(&batch.copy_to_bytes(count));
        line.received += count as u64;
        self.answered.notify_one();
        Ok(count)
    }

    async fn close(&mut self) {
        self.line().closed = true;
        self.answered.notify_one();
    }
}

pub(super) struct Viewer {
    wire: Wire,
    reader: ChunkReader,
    /// The status codes that came.
    codes: Vec<String>,
    /// How many of them were waited for, or passed over.
    seen: usize,
    serving: JoinHandle<()>,
}

impl Viewer {
    /// A viewer after its handshake.
    pub(super) async fn greet(bench: &Bench) -> Self {
        let wire = Wire::default();
        let peer: SocketAddr = "[::ffff:192.0.2.7]:49152".parse().unwrap();
        let serving = tokio::spawn(serve(bench.shared.clone(), wire.clone(), peer, bench.shutdown.clone()));
        let limits =
            ReaderLimits { message_bytes: MAX_MESSAGE_BYTES, chunk_streams: 64, in_flight_bytes: 1 << 24 };
        let viewer = Self { wire, reader: ChunkReader::new(limits), codes: Vec::new(), seen: 0, serving };
        let mut greeting = vec![0; 1 + 2 * 1536];
        greeting[0] = 3;
        viewer.send(&greeting);
        while viewer.received() < 1 + 2 * 1536 {
            viewer.hear().await;
        }
        viewer.wire.line().to_client.advance(1 + 2 * 1536);
        viewer.send(&message(1, 0, &65_536u32.to_be_bytes()));
        viewer
    }

    /// A viewer that is connected and has a stream, number 1.
    pub(super) async fn connect(bench: &Bench) -> Self {
        let mut viewer = Self::greet(bench).await;
        viewer.say_connect("cfx/st", "rtmp://127.0.0.1:1935/cfx/st?key=value").await;
        viewer.until("NetConnection.Connect.Success").await;
        viewer.command(0, "createStream", &[Value::Null]).await;
        viewer
    }

    /// One that isn't let in.
    pub(super) async fn rejected(bench: &Bench, app: &str, tc_url: &str) {
        let mut viewer = Self::greet(bench).await;
        viewer.say_connect(app, tc_url).await;
        viewer.until("NetConnection.Connect.Rejected").await;
        viewer.leave().await;
    }

    pub(super) async fn say_connect(&mut self, app: &str, tc_url: &str) {
        let hello = Value::object([
            ("app", app.into()),
            ("tcUrl", tc_url.into()),
            ("flashVer", "LNX 10,0,32,18".into()),
            ("swfUrl", "http://page.example/player.swf".into()),
            ("pageUrl", "http://page.example/".into()),
        ]);
        self.command(0, "connect", &[hello]).await;
    }

    fn send(&self, bytes: &[u8]) {
        self.wire.line().to_server.extend_from_slice(bytes);
        self.wire.sent.notify_one();
    }

    /// Says a command, and lets it be heard.
    pub(super) async fn command(&mut self, stream: u32, name: &str, args: &[Value]) {
        self.send(&message(20, stream, &command::encode(name, 1.0, args)));
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for more bytes.
    async fn hear(&self) {
        timeout(Duration::from_secs(600), self.wire.answered.notified()).await.expect("something is sent");
    }

    /// Reads what has come.
    fn read(&mut self) {
        let mut line = self.wire.line.lock().unwrap();
        while let Some(message) = self.reader.read(&mut line.to_client).unwrap() {
            // Commands, and data such as onPlayStatus.
            if matches!(message.type_id, 18 | 20) {
                let values = amf::decode_all(&message.payload, &Limits::default()).unwrap();
                let codes = values.iter().filter_map(|value| value.get("code"));
                self.codes.extend(codes.filter_map(Value::as_str).map(str::to_owned));
            }
        }
    }

    /// Waits for the next `code`.
    pub(super) async fn until(&mut self, code: &str) {
        loop {
            self.read();
            if let Some(at) = self.codes[self.seen..].iter().position(|said| said == code) {
                self.seen += at + 1;
                return;
            }
            assert!(!self.wire.line().closed, "closed before {code}: {:?}", self.codes);
            self.hear().await;
        }
    }

    /// Waits until the session closes.
    pub(super) async fn until_closed(&mut self) {
        while !self.wire.line().closed {
            self.hear().await;
        }
    }

    /// How often `code` has come.
    pub(super) fn said(&mut self, code: &str) -> usize {
        self.read();
        self.codes.iter().filter(|said| *said == code).count()
    }

    /// Lets time pass.
    pub(super) async fn wait(&mut self, ms: u64) {
        sleep(Duration::from_millis(ms)).await;
    }

    /// Bytes that have come.
    pub(super) fn received(&self) -> u64 {
        self.wire.line().received
    }

    /// The session's task is no more, from one moment to the next.
    pub(super) async fn abort(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
        self.wire.line().closed = true;
    }

    /// Closes, and waits for the session's end; what it had been sent in all.
    pub(super) async fn leave(self) -> u64 {
        self.wire.line().left = true;
        self.wire.sent.notify_one();
        if !self.wire.line().closed || !self.serving.is_finished() {
            timeout(Duration::from_secs(600), self.serving).await.unwrap().unwrap();
        }
        self.wire.line().received
    }
}
