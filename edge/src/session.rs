//! One viewer: from the handshake to the last byte.
//!
//! A session is one task. It owns everything about its viewer (protocol state, streams, queue of outgoing bytes) and shares only the
//! library of objects, the catalogue of distributions, the config and the metrics. No lock is taken for a sample whose block is in the
//! reader's window, and a session that panics takes nobody along.
//!
//! Its loop does four things, in this order, and then waits for whichever can go on:
//!
//! 1. fill the outgoing batch from the streams, as far as pacing and memory allow ([`stream`], [`playback`], [`pacing`]);
//! 2. write as much of the batch as the transport and the egress caps take, and account for the rest ([`holding`]);
//! 3. read what the viewer sent and act on it ([`dispatch`], [`connect`], [`play`], [`authorise`]);
//! 4. apply what slow operations brought ([`opening`], [`reposition`], [`switch`]).
//!
//! What its viewer's log is to say, each step records as it happens ([`record`]); nothing is sent until that is written.
//!
//! Nothing in the loop waits for an object: opening, seeking and fetching are futures of their stream, dropped when a newer
//! command makes them pointless.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::BytesMut;
use control::client::Catalogue;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use proto::clock::SharedClock;
use proto::v1::Distribution;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::budget::Budget;
use crate::config::EdgeConfig;
use crate::drain::{self, Drain};
use crate::egress::Egress;
use crate::key_exchanges::{KeyExchanges, Pending};
use crate::library::Library;
use crate::log::Log;
use crate::metrics::{Counted, Metrics};
use crate::rtmp::chunk::{ChunkReader, ReaderLimits};
use crate::rtmp::handshake::ServerHandshake;
use crate::signature_checks::SignatureChecks;
use crate::tls::Certificates;
use crate::transport::Transport;
use crate::transport::encrypted::{Ciphering, Encrypted};
use crate::withdrawals::{self, Attachment, Withdrawals, Withdrawn};

pub(crate) mod authorise;
mod bandwidth;
mod connect;
mod delivery;
mod dispatch;
mod end;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod greeting;
mod holding;
mod names;
mod opening;
mod outgoing;
mod pacing;
mod play;
mod play2;
mod playback;
mod playlist;
mod record;
mod reposition;
mod stream;
mod swf;
mod switch;
mod transition;

use bandwidth::BandwidthCheck;
use end::End;
use holding::Holding;
use outgoing::Outgoing;
use record::Trail;
use stream::{Stream, next_done};
use swf::SwfCheck;

/// What all sessions of an edge share.
pub struct Shared {
    /// Behaviour.
    pub config: EdgeConfig,
    /// Objects.
    pub library: Arc<Library>,
    /// Distributions.
    pub catalogue: watch::Receiver<Arc<Catalogue>>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// This machine's own host names, lower case.
    pub own_hosts: Vec<String>,
    /// How fast bytes may leave.
    pub egress: Egress,
    /// Where the edge is in its life.
    pub drain: Drain,
    /// Who may begin an encrypted session, and where that is computed.
    pub key_exchanges: KeyExchanges,
    /// What TLS is spoken with; `None`: it isn't.
    pub certificates: Option<Arc<Certificates>>,
    /// The time of day, by which signatures begin and end.
    pub clock: SharedClock,
    /// How many signatures a viewer may have checked.
    pub signature_checks: SignatureChecks,
    /// Who is told when a distribution is disabled or deleted.
    pub withdrawals: Arc<Withdrawals>,
    /// Where events go.
    pub log: Log,
}

impl Shared {
    /// The accounts of memory.
    pub fn budget(&self) -> &Budget {
        self.library.blocks().budget()
    }
}

/// Quiet after which a viewer is pinged.
const PING_AFTER: Duration = Duration::from_secs(60);

/// Where the conversation is.
enum Phase {
    Handshake(Box<ServerHandshake>),
    /// Handshake done, `connect` not yet accepted.
    Greeted,
    Connected(Arc<Connection>),
}

/// What `connect` settled.
pub(crate) struct Connection {
    distribution: Arc<Distribution>,
    /// Folders that followed the instance in the app.
    folders: String,
    _counted: Counted,
    attached: Attachment,
}

/// An answered getStreamLength: its transaction and the seconds.
type Call = BoxFuture<'static, (f64, f64)>;

/// One viewer's state, apart from the transport.
pub(crate) struct Session {
    shared: Arc<Shared>,
    /// FMS-like client id, also the id in log lines.
    id: String,
    peer: SocketAddr,
    phase: Phase,
    input: BytesMut,
    reader: ChunkReader,
    out: Outgoing,
    /// The key exchange under way; nothing is read until it is done.
    key_exchange: Option<Pending>,
    /// The transport is to encrypt from here on.
    ciphering: Option<Box<Ciphering>>,
    streams: Vec<Stream>,
    next_stream_id: u32,
    /// SetBufferLength sent before any stream existed (on stream 0).
    early_buffer_ms: u64,
    calls: FuturesUnordered<Call>,
    bandwidth: Option<BandwidthCheck>,
    received_bytes: u64,
    acknowledged_bytes: u64,
    /// The viewer's window: it wants an Acknowledgement each so many bytes. 0: none.
    peer_window_bytes: u64,
    sent_bytes: u64,
    skipped_messages: u64,
    heard_at: Instant,
    wrote_at: Instant,
    started: Instant,
    pinged_at: Instant,
    /// When the last seek or unpause began to look for its place, or will.
    repositioned_at: Option<Instant>,
    /// Input was left unread because too much waits to be sent.
    unread: bool,
    /// A stream stopped filling only because the batch was full.
    more: bool,
    /// The stream that is asked first for media.
    fill_first: usize,
    /// Set when the rest of the batch is all that is still to be sent.
    ending: Option<End>,
    /// When that was.
    ending_since: Option<Instant>,
    holding: Holding,
    swf: SwfCheck,
    /// Fires when the distribution is disabled or deleted; there once connected.
    withdrawn: Option<Withdrawn>,
    trail: Trail,
}

/// Serves one viewer on `transport` until either side ends it.
pub async fn serve<T: Transport>(
    shared: Arc<Shared>,
    transport: T,
    peer: SocketAddr,
    shutdown: CancellationToken,
) {
    let shutdown = shared.drain.session_end(shutdown);
    let mut transport = Encrypted::new(transport);
    let mut session = Session::new(shared.clone(), peer);
    // A panic ends this session only, and it too leaves its record: what is left of the session is read, not run.
    let end = AssertUnwindSafe(session.run(&mut transport, shutdown)).catch_unwind().await;
    let end = end.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        error!(session = session.id, what, "a session panicked");
        shared.metrics.panics.inc();
        End::Panicked
    });
    session.log_end(&end);
    session.settle_records().await;
    transport.close().await;
}

impl Session {
    fn new(shared: Arc<Shared>, peer: SocketAddr) -> Self {
        let now = Instant::now();
        let limits = ReaderLimits { message_bytes: shared.config.message_bytes, ..Default::default() };
        let holding = Holding::new(&shared.budget().queues);
        Self {
            shared,
            id: client_id(),
            peer,
            phase: Phase::Handshake(Box::new(ServerHandshake::new(&mut rand::rng()))),
            input: BytesMut::new(),
            reader: ChunkReader::new(limits),
            out: Outgoing::new(),
            key_exchange: None,
            ciphering: None,
            streams: Vec::new(),
            next_stream_id: 1,
            early_buffer_ms: 0,
            calls: FuturesUnordered::new(),
            bandwidth: None,
            received_bytes: 0,
            acknowledged_bytes: 0,
            peer_window_bytes: 0,
            sent_bytes: 0,
            skipped_messages: 0,
            heard_at: now,
            wrote_at: now,
            started: now,
            pinged_at: now,
            repositioned_at: None,
            unread: false,
            more: false,
            fill_first: 0,
            ending: None,
            ending_since: None,
            holding,
            swf: SwfCheck::default(),
            withdrawn: None,
            trail: Trail::default(),
        }
    }

    async fn run<T: Transport>(&mut self, transport: &mut Encrypted<T>, shutdown: CancellationToken) -> End {
        let timer = tokio::time::sleep_until(self.started);
        // One registration for the session's whole life: the token's list of waiters has one lock for all sessions.
        let stopped = shutdown.cancelled();
        tokio::pin!(timer, stopped);
        loop {
            if let Some(ciphering) = self.ciphering.take() {
                transport.encrypt(ciphering);
            }
            let now = Instant::now();
            let fed = self.ending.is_none() && self.wants_media();
            let wake = if fed { self.fill_streams(now) } else { None };
            let wake = self.await_swf(now, wake);
            let withheld = self.withheld(now);
            match self.write(transport) {
                Ok(()) => {}
                Err(error) => return self.ending.take().unwrap_or(End::Io(error)),
            }
            let look = match self.hold(now) {
                Ok(look) => look,
                Err(end) => return end,
            };
            let late = self.watch_delivery(now);
            let report = self.report_progress(now);
            // The viewer takes again what it had left: there may be more to send.
            self.more |= !fed && self.ending.is_none() && self.wants_media();
            if self.out.is_empty()
                && let Some(end) = self.ending.take()
            {
                return end;
            }
            let spent = self.trail.unread_until();
            if self.unread && !self.is_backlogged() {
                self.unread = false;
                if let Err(end) = self.consume() {
                    self.ending = Some(end);
                }
                continue;
            }
            self.ping_if_quiet(now);
            let (deadline, why) = self.deadline(now);
            if deadline <= now {
                return self.ending.take().unwrap_or(why);
            }
            let ping = self.heard_at.max(self.pinged_at) + PING_AFTER;
            let throttled = self.holding.throttled_until;
            let soonest = [wake, look, late, report, throttled, spent]
                .into_iter()
                .flatten()
                .fold(deadline, Instant::min);
            timer.as_mut().reset(soonest.min(ping.max(now + PING_AFTER / 60)));
            // A viewer that sends without reading is not read from: its commands would only grow our queue.
            let backlog = self.is_backlogged();
            let queued = !self.out.is_empty();
            let writing = queued && throttled.is_none() && !withheld;
            // The batch was full and the transport has taken all of it: there is more to send at once.
            let more = std::mem::take(&mut self.more) && !queued;
            tokio::select! {
                biased;
                () = &mut stopped, if self.ending.is_none() => {
                    self.say_goodbye("The server is shutting down.");
                    self.ending = Some(End::Shutdown);
                }
                () = withdrawals::fired(&mut self.withdrawn), if self.ending.is_none() => {
                    self.say_goodbye("The distribution was disabled or deleted.");
                    self.ending = Some(End::Withdrawn);
                }
                (stream_id, done) = next_done(&mut self.streams), if self.ending.is_none() => self.apply(stream_id, done),
                Some((transaction, seconds)) = self.calls.next(), if !self.calls.is_empty() => {
                    self.answer_length(transaction, seconds);
                }
                exchanged = greeting::done(&mut self.key_exchange), if self.ending.is_none() => self.on_exchanged(exchanged),
                ready = transport.readable(), if self.ending.is_none() && !backlog && self.key_exchange.is_none() => {
                    if let Err(error) = ready.and_then(|()| self.read(transport)) {
                        if error.kind() == std::io::ErrorKind::UnexpectedEof {
                            return End::PeerClosed;
                        }
                        return End::Io(error);
                    }
                }
                ready = transport.writable(), if writing => {
                    if let Err(error) = ready {
                        return self.ending.take().unwrap_or(End::Io(error));
                    }
                }
                () = record::written(&mut self.trail), if withheld => {}
                () = tokio::task::yield_now(), if more => {}
                () = &mut timer => {}
            }
        }
    }

    /// Whether nothing more is taken from the viewer: so much waits for it to read, or it has made so many events.
    fn is_backlogged(&self) -> bool {
        self.out.queued_bytes() >= 4 * self.shared.config.batch_bytes || self.trail.unread_until().is_some()
    }

    /// Asks a viewer that has been quiet for a while whether it is still there: a player that is paused for an hour answers.
    fn ping_if_quiet(&mut self, now: Instant) {
        let since = self.heard_at.max(self.pinged_at);
        if matches!(self.phase, Phase::Connected(_)) && self.out.is_empty() && now >= since + PING_AFTER {
            self.pinged_at = now;
            let elapsed_ms = now.duration_since(self.started).as_millis() as u32;
            crate::rtmp::control::ping_request(elapsed_ms, &mut self.out.batch);
        }
    }

    /// When the session has waited too long, and for what.
    fn deadline(&mut self, now: Instant) -> (Instant, End) {
        let config = &self.shared.config;
        let ms = Duration::from_millis;
        if self.ending.is_some() {
            // What is said last gets its time to leave, also to a viewer that was quiet for long, and no more than that.
            return (*self.ending_since.get_or_insert(now) + drain::FLUSH, End::Stalled);
        }
        match self.phase {
            Phase::Handshake(_) => (self.started + ms(config.handshake_timeout_ms), End::Silent("handshake")),
            Phase::Greeted => (
                self.started + ms(config.handshake_timeout_ms + config.connect_timeout_ms),
                End::Silent("connect"),
            ),
            Phase::Connected(_) if !self.out.is_empty() => {
                (self.heard_at.max(self.wrote_at) + ms(config.stall_timeout_ms), End::Stalled)
            }
            Phase::Connected(_) => {
                // Pings are written too, so they don't count.
                (self.quiet_since() + ms(config.idle_timeout_ms), End::Silent("idle"))
            }
        }
    }

    /// Since when neither the viewer was heard nor media was sent to it. (librtmp, receiving, may say nothing for long.)
    fn quiet_since(&self) -> Instant {
        let media = if self.wrote_at > self.pinged_at + Duration::from_secs(1) {
            self.wrote_at
        } else {
            self.heard_at
        };
        self.heard_at.max(media)
    }

    fn write<T: Transport>(&mut self, transport: &mut T) -> std::io::Result<()> {
        if self.trail.withholds() {
            return Ok(());
        }
        if self.holding.throttled_until.is_some_and(|until| until > Instant::now()) && self.ending.is_none() {
            return Ok(());
        }
        self.holding.throttled_until = None;
        while !self.out.is_empty() {
            let taken = transport.try_write(&mut self.out.batch);
            self.out.held = transport.held();
            match taken {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.sent_bytes += written as u64;
                    self.shared.metrics.sent_bytes.inc_by(written as u64);
                    self.wrote_at = Instant::now();
                    if self.shared.egress.is_capped() && self.is_throttled(written as u64) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Pays for what was sent; whether the caps let nothing more leave for now.
    fn is_throttled(&mut self, written: u64) -> bool {
        let until = self.shared.egress.pay(written, &mut self.holding.paid, self.wrote_at);
        if let Some(until) = until.filter(|_| self.ending.is_none()) {
            let waits = until.duration_since(self.wrote_at).as_secs_f64();
            self.shared.metrics.throttled_seconds.inc_by(waits);
            self.holding.throttled_until = Some(until);
        }
        self.holding.throttled_until.is_some()
    }

    /// Reads what is there and acts on it. `UnexpectedEof` when the viewer has closed.
    fn read<T: Transport>(&mut self, transport: &mut T) -> std::io::Result<()> {
        match transport.try_read(&mut self.input) {
            Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.heard_at = Instant::now();
                self.received_bytes += count as u64;
                self.shared.metrics.received_bytes.inc_by(count as u64);
                if let Err(end) = self.consume() {
                    self.ending = Some(end);
                }
                self.acknowledge();
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Acts on everything complete in the input.
    fn consume(&mut self) -> Result<(), End> {
        if !self.greet()? {
            return Ok(());
        }
        while self.ending.is_none() {
            if self.is_backlogged() {
                // Answers wait for room; the rest of the input is read when there is some.
                self.unread = true;
                let paced = self.trail.unread_until().is_some();
                self.shared.metrics.log_paced.inc_by(u64::from(paced));
                return Ok(());
            }
            let message = self.reader.read(&mut self.input)?;
            let skipped = self.reader.skipped();
            if skipped > self.skipped_messages {
                debug!(session = self.id, skipped, "a message over the size limit was skipped");
                self.shared.metrics.oversized_messages.inc_by(skipped - self.skipped_messages);
                self.skipped_messages = skipped;
            }
            let Some(message) = message else { break };
            self.on_message(message)?;
        }
        Ok(())
    }

    fn acknowledge(&mut self) {
        if self.peer_window_bytes > 0
            && self.received_bytes - self.acknowledged_bytes >= self.peer_window_bytes
        {
            self.acknowledged_bytes = self.received_bytes;
            crate::rtmp::control::acknowledgement(self.received_bytes as u32, &mut self.out.batch);
        }
    }

    /// The server ends it: says why, in the protocol's terms.
    fn say_goodbye(&mut self, text: &str) {
        if matches!(self.phase, Phase::Connected(_)) {
            let extra = [];
            self.out.command(
                0,
                crate::rtmp::reply::status(
                    "status",
                    "NetConnection.Connect.Closed",
                    text,
                    None,
                    &self.id,
                    &extra,
                ),
            );
            self.out.command(0, crate::rtmp::reply::close());
        }
    }

    fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    fn connection(&self) -> Option<Arc<Connection>> {
        match &self.phase {
            Phase::Connected(connection) => Some(connection.clone()),
            _ => None,
        }
    }

    fn log_end(&mut self, end: &End) {
        let ids: Vec<u32> = self.streams.iter().map(|stream| stream.id).collect();
        for id in ids {
            self.drop_stream(id);
        }
        self.record_disconnect();
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(limit) = end.limit() {
            self.shared.metrics.refused.with_label_values(&[limit]).inc();
        }
        self.shared.metrics.session_seconds.with_label_values(&[end.label()]).observe(seconds);
        if let Some(connection) = self.connection() {
            let (sent, received) = (self.sent_bytes, self.received_bytes);
            info!(session = self.id, peer = %self.peer, distribution = connection.distribution.id, sent_bytes = sent,
                received_bytes = received, seconds, end = end.to_string(), "disconnect");
        } else {
            info!(session = self.id, peer = %self.peer, seconds, end = end.to_string(), "connection ended before connect");
        }
    }
}

/// Eight characters that name a session to its viewer and in the logs, as FMS's do.
fn client_id() -> String {
    use rand::Rng;
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(8).map(char::from).collect()
}
