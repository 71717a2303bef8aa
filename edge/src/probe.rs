//! `probe URL`: plays a stream as a viewer would, says what was negotiated and how it went, and exits non-zero when it didn't go well.
//!
//! ```text
//! dial ─ name, TCP, TLS ──▶ tunnel? ──▶ client ─ handshake, connect, createStream ──▶ play ─ watch ──▶ report
//! ```
//!
//! It speaks all variants (rtmp, rtmpe, rtmpt, rtmpte, rtmps, rtmpts), to this server and to others. Each step has its time; what fails is said in
//! words, and by the exit code:
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it played |
//! | 2 | the command line makes no sense |
//! | 3 | no connection: name, TCP, TLS, tunnel, handshake, or no answer to `connect` |
//! | 4 | `connect` was refused |
//! | 5 | the stream can't be played, or broke |
//! | 6 | everything was granted, but no frame came |
//! | 7 | frames came, and then none for too long |

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

mod client;
mod dial;
mod failure;
mod link;
mod play;
mod report;
mod target;
mod tunnel;
mod watch;

pub use failure::Failure;

use client::Client;
use dial::Dialer;
use link::Link;
use report::{Narrator, Report};
use target::Target;

const CODES: &str = "\
Exit codes: 0 it played; 2 usage; 3 no connection (name, TCP, TLS, tunnel, handshake, no answer to connect); 4 connect was refused; 5 the stream
can't be played, or broke; 6 no frame came in time; 7 frames came, and then none for too long.";

/// Play a stream over RTMP, RTMPE, RTMPT, RTMPTE, RTMPS or RTMPTS, say what was negotiated and how it went.
#[derive(Debug, Parser)]
#[command(version, after_help = CODES)]
pub struct Args {
    /// rtmp://HOST:PORT/cfx/st/NAME, or with rtmpe, rtmpt, rtmpte, rtmps, rtmpts. Without a port: 1935; 80 for rtmpt and rtmpte, 443 for rtmps
    /// and rtmpts, as players do.
    url: String,
    /// Application, instead of the URL's first two parts.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// Stream, instead of what follows the application in the URL.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// How long to play, in seconds from the first frame on; less if the stream ends.
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Where to begin, in ms; -2000 and -1000 have RTMP's meanings (live or recorded; live).
    #[arg(long, value_name = "MS", default_value_t = 0, allow_negative_numbers = true)]
    start: i32,
    /// Seek there after a second of play, in ms.
    #[arg(long, value_name = "MS")]
    seek: Option<u32>,
    /// The player's buffer, in ms: how far the server may run ahead.
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    buffer: u32,
    /// Take everything as fast as it comes.
    #[arg(long, conflicts_with = "buffer")]
    unpaced: bool,
    /// How long each step may take, up to the first frame, in seconds.
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = seconds)]
    timeout: f64,
    /// How long frames may keep away in mid-play, in seconds.
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = seconds)]
    stall: f64,
    /// PEM file of the certificates to trust, instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Take any certificate.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Write one JSON object at the end instead of lines.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("not within 0.1 and 86400".into()),
    }
}

impl Args {
    fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout)
    }
}

/// Runs the probe if the process's first word asks for it, and gives its exit code. `program` is what the process is called.
pub fn run_if_asked(program: &str) -> Option<u8> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != "probe" {
        return None;
    }
    let words = std::iter::once(OsString::from(format!("{program} probe"))).chain(words);
    let args = match Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return Some(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the probe can't start: {error}");
            return Some(1);
        }
    };
    let code = runtime.block_on(probe(&args));
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    Some(code)
}

/// Probes as told, tells, and gives the exit code.
pub async fn probe(args: &Args) -> u8 {
    let report = Report { url: report::plain(&args.url), ..Default::default() };
    let mut told = Narrator::new(report, args.json);
    let outcome = go(args, &mut told).await;
    told.finish(outcome.err().as_ref())
}

async fn go(args: &Args, told: &mut Narrator) -> Result<(), Failure> {
    let target = Target::parse(&args.url, args.app.as_deref(), args.stream.as_deref())?;
    told.report.app.clone_from(&target.app);
    told.report.stream.clone_from(&target.name);
    let dialer = Dialer::new(&target, args)?;
    let opened = tokio::time::timeout(3 * args.timeout(), Link::open(&target, dialer, told)).await;
    let link = opened.unwrap_or_else(|_| {
        Err(Failure::Connect(format!("the server opened no tunnel within {:?}", 3 * args.timeout())))
    })?;
    let mut client = Client::greet(link, &target, args.timeout(), told).await?;
    let outcome = async {
        client.connect(&target, told).await?;
        play::play(&mut client, &target, args, told).await
    }
    .await;
    told.report.tunnel = client.link.tunnel();
    if let Some(tunnel) = &told.report.tunnel {
        told.say(
            "tunnel",
            format_args!(
                "{} sends, {} idles, {} answers were empty; polling bytes {:02x?}; {} connections",
                tunnel.sends, tunnel.idles, tunnel.empty, tunnel.polling, tunnel.connections
            ),
        );
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), client.link.close()).await;
    outcome
}
