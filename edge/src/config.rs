//! How an edge behaves: every limit and habit, with its unit and default.
//!
//! The `penstock-edge` binary reads this as the `edge:` part of its YAML file; standalone takes the same part of its own file, with
//! no drain unless told. Unknown fields are refused.
//! [`EdgeConfig::check`] names the field that is wrong, before any port opens.

use ipnet::IpNet;
use serde::Deserialize;

pub mod log;
pub mod reference;
pub mod rtmpe;
pub mod tls;
pub mod tunnel;

use control::client::spool::PLAYS_MAX as STREAMS_MAX;
use log::LogConfig;
use rtmpe::RtmpeConfig;
use tls::TlsConfig;
use tunnel::TunnelConfig;

/// Behaviour of an edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeConfig {
    /// Networks (CIDR) whose connections start with a PROXY protocol v2 header. From them it is required; from others it is refused.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Certificates for RTMPS and RTMPTS.
    pub tls: TlsConfig,
    /// Id of the distribution for connects whose tcUrl names an IP address, `localhost` or this machine. None: they are rejected.
    pub default_distribution: Option<String>,
    /// More host names (lower case) that `default_distribution` answers to.
    pub default_hosts: Vec<String>,
    /// Accept folders behind the instance (`cfx/st/folder`), as rtmpdump, GStreamer and Flowplayer send them. False: InvalidInstance.
    pub folders_in_app: bool,
    /// What `seek` counts from after `play(start > 0)`: `clip` (where play began; the default) or `file`.
    pub seek_timeline: SeekTimeline,
    /// Send NetStream.Play.Start after NetStream.Seek.Notify, as FMS-family servers do.
    pub play_start_after_seek: bool,
    /// RTMP chunk size of what we send, in bytes, 128 to 65536. FMS's default is 4096; a distribution may name another.
    pub chunk_size_bytes: u32,
    /// Who gets media in aggregate messages: `off` (nobody; the default), or `flash` (who says it is Flash Player 9,0,115 or later).
    pub aggregate_messages: AggregateMessages,
    /// Most bytes of an aggregate message, 4096 to 1048576; a sample that is longer goes alone.
    pub aggregate_bytes: usize,
    /// Furthest a viewer's buffer may run ahead of real time, in ms.
    pub max_buffer_ms: u64,
    /// Least media handed to the network at a time when pacing, in ms.
    pub tick_ms: u64,
    /// Most media handed to the network at a time when pacing, in ms; never over a third of the viewer's buffer.
    pub tick_max_ms: u64,
    /// Bytes a paced write aims at: low bitrates tick slower, high ones faster, within the two limits above.
    pub tick_bytes: u64,
    /// Bytes queued for a connection's socket at most, before the last message.
    pub batch_bytes: usize,
    /// How long a viewer's media may be behind real time before its player is told that its bandwidth is insufficient (a warning), and
    /// between two such, in ms. 0: never.
    pub insufficient_bandwidth_ms: u64,
    /// Time for the first byte and the whole handshake, in ms.
    pub handshake_timeout_ms: u64,
    /// Time from the handshake to `connect`, in ms.
    pub connect_timeout_ms: u64,
    /// Time from the question which SWF file a player is to its answer, in ms; only a distribution with such a rule asks.
    pub swf_timeout_ms: u64,
    /// A connected session that sends nothing for this long, pings included, is closed, in ms.
    pub idle_timeout_ms: u64,
    /// A connection whose socket takes no byte for this long is closed, in ms.
    pub stall_timeout_ms: u64,
    /// How often a name that a silent play (start -2) waits for is looked up again, in ms.
    pub waiting_poll_ms: u64,
    /// Connections at once. 0: [`EdgeConfig::CONNECTIONS`], or fewer where the limit of open files doesn't allow that many.
    pub max_connections: usize,
    /// Least time between the starts of two seeks or unpauses of a session, in ms; what comes faster waits, and the latest wins. 0: no limit.
    pub seek_interval_ms: u64,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
    /// Streams (createStream) at once on a connection.
    pub max_streams: usize,
    /// Playlist entries waiting on a stream.
    pub max_playlist: usize,
    /// getStreamLength calls under way on a connection; more are answered with 0.
    pub max_calls: usize,
    /// Largest message a viewer may send, in bytes; a longer one is skipped.
    pub message_bytes: usize,
    /// Block cache, in bytes.
    pub cache_bytes: u64,
    /// Cache of media indexes, in bytes.
    pub index_cache_bytes: u64,
    /// Largest index (moov box, FLV script tag) read, in bytes.
    pub index_bytes: u64,
    /// Read-ahead of a viewer, in seconds of media.
    pub read_ahead_seconds: u64,
    /// Read-ahead of a viewer at most, in bytes.
    pub read_ahead_viewer_bytes: u64,
    /// Read-ahead under way in total, in bytes.
    pub read_ahead_total_bytes: u64,
    /// Range reads from shields at once.
    pub fetches: usize,
    /// Memory for building media indexes, in bytes.
    pub parse_bytes: u64,
    /// What sessions may hold beyond the caches, in bytes: see [`crate::budget`].
    pub session_bytes: u64,
    /// Memory for all of the above, in bytes; sessions get what it leaves them. 0: as much as they come to.
    pub memory_bytes: u64,
    /// Bytes a second sent to all viewers together. 0: no cap.
    pub egress_bytes_per_second: u64,
    /// Bytes a second sent to one viewer. 0: no cap.
    pub session_bytes_per_second: u64,
    /// Signatures of stream names that one address (one /64 of IPv6) may have checked a second, with two seconds' worth at once; a name takes a
    /// few. 0: no limit.
    pub signature_checks_per_address_per_second: u32,
    /// Encrypted sessions.
    pub rtmpe: RtmpeConfig,
    /// At a stop, how long connections are still accepted while readiness already says no, in ms.
    pub settle_ms: u64,
    /// At a stop, how long running sessions go on after that, in ms.
    pub drain_ms: u64,
    /// RTMP through HTTP.
    pub tunnel: TunnelConfig,
    /// Access logs.
    pub log: LogConfig,
}

/// What `seek` counts from after `play(start > 0)`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SeekTimeline {
    /// From where play began.
    Clip,
    /// From the start of the file.
    File,
}

/// Who gets media in aggregate messages.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AggregateMessages {
    /// Nobody.
    Off,
    /// Who says it is Flash Player 9,0,115 or later; most other clients say so too.
    Flash,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            proxy_protocol_from: Vec::new(),
            tls: TlsConfig::default(),
            default_distribution: None,
            default_hosts: Vec::new(),
            folders_in_app: true,
            seek_timeline: SeekTimeline::Clip,
            play_start_after_seek: true,
            chunk_size_bytes: 4096,
            aggregate_messages: AggregateMessages::Off,
            aggregate_bytes: 64 << 10,
            max_buffer_ms: 3_600_000,
            tick_ms: 100,
            tick_max_ms: 1000,
            tick_bytes: 128 << 10,
            batch_bytes: 256 << 10,
            insufficient_bandwidth_ms: 5_000,
            handshake_timeout_ms: 10_000,
            connect_timeout_ms: 30_000,
            swf_timeout_ms: 10_000,
            idle_timeout_ms: 300_000,
            stall_timeout_ms: 3_600_000,
            waiting_poll_ms: 500,
            max_connections: 0,
            seek_interval_ms: 100,
            max_connections_per_address: 5_000,
            max_streams: 16,
            max_playlist: 64,
            max_calls: 16,
            message_bytes: 64 << 10,
            cache_bytes: 512 << 20,
            index_cache_bytes: 128 << 20,
            index_bytes: 64 << 20,
            read_ahead_seconds: 4,
            read_ahead_viewer_bytes: 8 << 20,
            read_ahead_total_bytes: 256 << 20,
            fetches: 256,
            parse_bytes: 128 << 20,
            session_bytes: 1 << 30,
            memory_bytes: 0,
            egress_bytes_per_second: 0,
            session_bytes_per_second: 0,
            signature_checks_per_address_per_second: 2000,
            rtmpe: RtmpeConfig::default(),
            // With the time to say goodbye and to deregister, under the 30 s that Kubernetes gives a pod.
            settle_ms: 5_000,
            drain_ms: 18_000,
            tunnel: TunnelConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// A field that can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {reason}")]
pub struct BadField {
    /// Its name.
    pub field: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl EdgeConfig {
    /// Connections at once, unless told otherwise.
    pub const CONNECTIONS: usize = 20_000;

    /// Checks values that types don't.
    pub fn check(&self) -> Result<(), BadField> {
        let bad = |field, reason: String| Err(BadField { field, reason });
        if !(128..=65_536).contains(&self.chunk_size_bytes) {
            return bad("chunk_size_bytes", format!("{} is not within 128 and 65536", self.chunk_size_bytes));
        }
        if !(4096..=1 << 20).contains(&self.aggregate_bytes) {
            return bad(
                "aggregate_bytes",
                format!("{} is not within 4096 and 1048576", self.aggregate_bytes),
            );
        }
        if !(10..=1000).contains(&self.tick_ms) {
            return bad("tick_ms", format!("{} is not within 10 and 1000", self.tick_ms));
        }
        if !(self.tick_ms..=5000).contains(&self.tick_max_ms) {
            return bad("tick_max_ms", format!("{} is not within tick_ms and 5000", self.tick_max_ms));
        }
        if (1..500).contains(&self.insufficient_bandwidth_ms) {
            let reason = format!("{} is under 500 (0 means never)", self.insufficient_bandwidth_ms);
            return bad("insufficient_bandwidth_ms", reason);
        }
        let at_least = [
            ("batch_bytes", self.batch_bytes as u64, 4096),
            ("handshake_timeout_ms", self.handshake_timeout_ms, 100),
            ("connect_timeout_ms", self.connect_timeout_ms, 100),
            ("swf_timeout_ms", self.swf_timeout_ms, 100),
            ("idle_timeout_ms", self.idle_timeout_ms, 1000),
            ("stall_timeout_ms", self.stall_timeout_ms, 1000),
            ("waiting_poll_ms", self.waiting_poll_ms, 50),
            ("max_buffer_ms", self.max_buffer_ms, 1000),
            ("max_connections_per_address", self.max_connections_per_address as u64, 1),
            ("max_streams", self.max_streams as u64, 1),
            ("message_bytes", self.message_bytes as u64, 4096),
            ("cache_bytes", self.cache_bytes, 8 << 20),
            ("index_cache_bytes", self.index_cache_bytes, 1 << 20),
            ("index_bytes", self.index_bytes, 1 << 20),
            ("read_ahead_seconds", self.read_ahead_seconds, 1),
            ("read_ahead_viewer_bytes", self.read_ahead_viewer_bytes, 1 << 20),
            ("fetches", self.fetches as u64, 1),
            ("parse_bytes", self.parse_bytes, 4 << 20),
            ("session_bytes", self.session_bytes, 16 << 20),
        ];
        for (field, value, least) in at_least {
            if value < least {
                return bad(field, format!("{value} is under {least}"));
            }
        }
        if self.max_streams > STREAMS_MAX {
            return bad(
                "max_streams",
                format!("{} is over {STREAMS_MAX}: access logs follow no more", self.max_streams),
            );
        }
        let caches = crate::budget::Caps::of(self).shared_bytes();
        let least = caches.saturating_add(16 << 20);
        if self.memory_bytes > 0 && self.memory_bytes < least {
            let reason = format!(
                "{} is under {least}: cache_bytes, index_cache_bytes, read_ahead_total_bytes, parse_bytes and 1 MiB a fetch come to {caches}, and sessions need 16 MiB",
                self.memory_bytes
            );
            return bad("memory_bytes", reason);
        }
        for (field, rate) in [
            ("egress_bytes_per_second", self.egress_bytes_per_second),
            ("session_bytes_per_second", self.session_bytes_per_second),
        ] {
            if (1..16 << 10).contains(&rate) {
                return bad(field, format!("{rate} is under 16384 (0 means no cap)"));
            }
        }
        self.rtmpe.check()?;
        self.tunnel.check()?;
        self.log.check()?;
        if let Some(host) = self.default_hosts.iter().find(|h| !proto::distribution::is_host(h)) {
            return bad("default_hosts", format!("'{host}' is not a lower-case host name"));
        }
        self.tls.check()
    }
}
