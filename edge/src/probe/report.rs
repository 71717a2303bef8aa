//! What a probe found: kept for `--json`, told line by line without it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use tokio::time::Instant;

/// Events kept.
const EVENTS: usize = 256;

/// All that was found. What was not reached is `null`, or 0.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    /// 0 when it played.
    pub(super) exit_code: u8,
    pub(super) error: Option<String>,
    pub(super) tcp: Option<Tcp>,
    pub(super) tls: Option<Tls>,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) handshake: Option<Handshake>,
    pub(super) connect: Option<Connect>,
    /// Bytes a chunk of the server's carries, at the end.
    pub(super) chunk_size_bytes: usize,
    pub(super) app: String,
    pub(super) stream: String,
    pub(super) events: Vec<Event>,
    /// onMetaData, its numbers, texts and truth values.
    pub(super) metadata: BTreeMap<String, serde_json::Value>,
    pub(super) seek: Option<Seek>,
    pub(super) media: Media,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Tcp {
    pub(super) address: String,
    /// Name and connection.
    pub(super) ms: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tls {
    pub(super) version: String,
    pub(super) cipher: String,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) valid_until: Option<String>,
    pub(super) sha256: String,
    /// False with `--insecure`.
    pub(super) verified: bool,
    pub(super) ms: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Tunnel {
    /// What `/fcs/ident2` was answered with: an address to go to, or a status.
    pub(super) ident2: String,
    pub(super) session: String,
    pub(super) sends: u64,
    pub(super) idles: u64,
    /// Answers that carried nothing.
    pub(super) empty: u64,
    /// The polling bytes seen, in the order of their first appearance.
    pub(super) polling: Vec<u8>,
    /// Connections made for it.
    pub(super) connections: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Handshake {
    /// S0: 3, or 6, 8, 9 for RTMPE.
    #[serde(rename = "type")]
    pub(super) kind: u8,
    /// `simple`, or `digest` with the scheme of S1's.
    pub(super) scheme: String,
    pub(super) server_version: String,
    pub(super) encrypted: bool,
    pub(super) ms: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Connect {
    pub(super) code: String,
    pub(super) description: String,
    pub(super) server: String,
    pub(super) capabilities: Option<f64>,
    pub(super) ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Event {
    /// Since the start of the probe.
    pub(super) ms: u64,
    pub(super) level: String,
    pub(super) code: String,
    pub(super) description: String,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Seek {
    pub(super) to_ms: u64,
    /// From the command to Seek.Notify.
    pub(super) notify_ms: Option<u64>,
    /// From the command to the first frame after it.
    pub(super) frame_ms: Option<u64>,
    /// That frame's timestamp.
    pub(super) landed_ms: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Media {
    /// From `play` to the first frame.
    pub(super) first_frame_ms: Option<u64>,
    /// From the start of the probe to the first frame.
    pub(super) startup_ms: Option<u64>,
    pub(super) video_codec: Option<String>,
    pub(super) audio_codec: Option<String>,
    pub(super) video_messages: u64,
    pub(super) keyframes: u64,
    pub(super) audio_messages: u64,
    /// Payload of audio and video messages.
    pub(super) bytes: u64,
    /// Everything received, handshake included.
    pub(super) received_bytes: u64,
    /// How much of the film came, in seconds of its own time.
    pub(super) played_seconds: f64,
    /// How long that took.
    pub(super) wall_seconds: f64,
    /// The film's.
    pub(super) bitrate_kbps: f64,
    /// The connection's.
    pub(super) throughput_kbps: f64,
    /// Between two media messages.
    pub(super) longest_gap_ms: u64,
    /// Times that a player with this buffer would have stood still, and for how long together.
    pub(super) stalls: u64,
    pub(super) stalled_ms: u64,
    /// Messages too long to be read.
    pub(super) skipped_messages: u64,
    /// Whether the server said that the stream is over.
    pub(super) ended: bool,
}

/// Tells as it goes, and keeps.
pub(super) struct Narrator {
    pub(super) report: Report,
    quiet: bool,
    began: Instant,
}

impl Narrator {
    pub(super) fn new(report: Report, quiet: bool) -> Self {
        Self { report, quiet, began: Instant::now() }
    }

    /// Since the start of the probe.
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// A line, unless one JSON object is to be all that is written.
    pub(super) fn say(&self, what: &str, text: impl std::fmt::Display) {
        if !self.quiet {
            // Whoever reads may have seen enough.
            let _ = writeln!(io::stdout(), "{what:<10} {text}");
        }
    }

    /// A status event.
    pub(super) fn event(&mut self, level: &str, code: &str, description: &str) {
        let ms = self.elapsed_ms();
        self.say("event", format_args!("{ms:>6} ms  {code}  {description}"));
        if self.report.events.len() < EVENTS {
            self.report.events.push(Event {
                ms,
                level: level.to_owned(),
                code: code.to_owned(),
                description: description.to_owned(),
            });
        }
    }

    /// Tells the end, and gives what the process exits with.
    pub(super) fn finish(mut self, failure: Option<&super::Failure>) -> u8 {
        let code = failure.map_or(0, super::Failure::exit_code);
        self.report.exit_code = code;
        self.report.error = failure.map(ToString::to_string);
        if self.quiet {
            match serde_json::to_string_pretty(&self.report) {
                Ok(text) => drop(writeln!(io::stdout(), "{text}")),
                Err(error) => drop(writeln!(io::stderr(), "the report can't be written: {error}")),
            }
        } else if let Some(failure) = failure {
            let _ = writeln!(io::stderr(), "FAILED     {failure} (exit code {code})");
        } else {
            let _ = writeln!(io::stdout(), "OK");
        }
        code
    }
}

/// Text of a server, fit for a terminal and of a bearable length.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(512).collect()
}
