//! What the driver is told.

use std::net::SocketAddr;
use std::path::PathBuf;

/// How many viewers' frames are hashed and held against the film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// No one's.
    None,
    /// Everyone's.
    All,
    /// One viewer's in so many.
    OneIn(usize),
}

impl Verify {
    /// Whether this viewer is verified.
    pub fn includes(self, viewer: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::OneIn(n) => viewer.is_multiple_of(n),
        }
    }
}

impl std::str::FromStr for Verify {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "all" => Ok(Self::All),
            _ => match text.parse() {
                Ok(n) if n > 0 => Ok(Self::OneIn(n)),
                _ => Err("all, none or N (one viewer in N)".into()),
            },
        }
    }
}

/// How sessions reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Plain
    Rtmp,
    /// Encrypted
    Rtmpe,
    /// In HTTP
    Rtmpt,
    /// Encrypted, in HTTP
    Rtmpte,
}

impl Protocol {
    /// Its name in a URL.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Rtmpe => "rtmpe",
            Self::Rtmpt => "rtmpt",
            Self::Rtmpte => "rtmpte",
        }
    }

    /// Whether bytes are encrypted.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Rtmpe | Self::Rtmpte)
    }

    /// Whether bytes travel in HTTP.
    pub fn is_tunnelled(self) -> bool {
        matches!(self, Self::Rtmpt | Self::Rtmpte)
    }
}

/// Plays RTMP sessions, thousands from one thread, and reports what they got.
#[derive(Clone, Debug, clap::Parser)]
#[command(version, about)]
pub struct Options {
    /// The server, IP:PORT
    #[arg(long, default_value = "127.0.0.1:1935")]
    pub target: SocketAddr,
    /// How to reach it
    #[arg(long, value_enum, default_value = "rtmp")]
    pub protocol: Protocol,
    /// In a tunnel: ask again at once after an empty answer, as librtmp does, not when the polling byte says, as Flash did
    #[arg(long)]
    pub eager: bool,
    /// Host in tcUrl; the target if none
    #[arg(long)]
    pub host: Option<String>,
    /// Application: `cfx/st` at Penstock, an application's name at nginx-rtmp
    #[arg(long, default_value = "cfx/st")]
    pub app: String,
    /// Name of a film; may be repeated, viewers take turns
    #[arg(long = "name", value_delimiter = ',', default_value = "mp4:sample.mp4")]
    pub names: Vec<String>,
    /// FLV file (or list made of one) with the film's messages, for the hashes; one for each name, in their order. Without it the first viewer of a
    /// film is what the others are held against
    #[arg(long = "film", value_delimiter = ',')]
    pub films: Vec<PathBuf>,
    /// Sessions at a time
    #[arg(long, default_value_t = 1)]
    pub viewers: usize,
    /// Time over which sessions begin, in ms
    #[arg(long, default_value_t = 0)]
    pub ramp_ms: u64,
    /// Time after the ramp before the measured window begins, in ms
    #[arg(long, default_value_t = 0)]
    pub warmup_ms: u64,
    /// Length of the measured window, in seconds
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// End the window after so many bytes, if that is earlier
    #[arg(long)]
    pub bytes: Option<u64>,
    /// Each viewer plays once; the run ends with the last of them
    #[arg(long)]
    pub once: bool,
    /// Play in real time: ask for --buffer-ms and count stalls. Otherwise films are downloaded: with a buffer of 36,000,000 ms
    #[arg(long)]
    pub paced: bool,
    /// Client buffer of paced viewers, in ms
    #[arg(long, default_value_t = 3000)]
    pub buffer_ms: u32,
    /// Connect only, play nothing
    #[arg(long)]
    pub idle: bool,
    /// Viewers that leave and are replaced, a second
    #[arg(long, default_value_t = 0.0)]
    pub churn_per_s: f64,
    /// Seeks a second, all viewers together, uniformly random
    #[arg(long, default_value_t = 0.0)]
    pub seeks_per_s: f64,
    /// Pauses a second, all viewers together
    #[arg(long, default_value_t = 0.0)]
    pub pauses_per_s: f64,
    /// How long a pause lasts, in ms
    #[arg(long, default_value_t = 2000)]
    pub pause_ms: u64,
    /// Pause at the first frame, for good
    #[arg(long)]
    pub stay_paused: bool,
    /// Start at a random place in the film (once its length is known)
    #[arg(long)]
    pub random_start: bool,
    /// After the first frame seek here, in ms, and leave with the first frame from there
    #[arg(long)]
    pub seek_to_ms: Option<u64>,
    /// Leave with the first frame
    #[arg(long)]
    pub first_frame_only: bool,
    /// Seconds a session may take to its first frame (or, idle, to be connected)
    #[arg(long, default_value_t = 30.0)]
    pub patience_s: f64,
    /// Whose frames are hashed: all, none, or N for one viewer in N
    #[arg(long, default_value = "all")]
    pub verify: Verify,
    /// Process ids of servers: their CPU time in the window and their memory are reported
    #[arg(long = "server", value_delimiter = ',')]
    pub servers: Vec<u32>,
    /// Don't speak RTMP: GET this path over HTTP/1.0, again and again
    #[arg(long, conflicts_with = "sink")]
    pub http: Option<String>,
    /// Don't speak at all: receive whatever the server sends
    #[arg(long)]
    pub sink: bool,
    /// Size of the one receive buffer, in bytes
    #[arg(long, default_value_t = 256 << 10)]
    pub read_bytes: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_protocols_are_two_choices() {
        use clap::{Parser, ValueEnum};
        let both = |p: &Protocol| (p.is_encrypted(), p.is_tunnelled());
        let all: Vec<_> = Protocol::value_variants().iter().map(both).collect();
        assert_eq!(all, [(false, false), (true, false), (false, true), (true, true)]);
        for protocol in Protocol::value_variants() {
            let options = Options::parse_from(["load", "--protocol", protocol.scheme()]);
            assert_eq!(options.protocol, *protocol);
        }
    }

    #[test]
    fn verify_is_understood() {
        assert_eq!("all".parse(), Ok(Verify::All));
        assert_eq!("10".parse(), Ok(Verify::OneIn(10)));
        assert!("0".parse::<Verify>().is_err());
        assert!(Verify::OneIn(3).includes(6) && !Verify::OneIn(3).includes(7));
    }
}
