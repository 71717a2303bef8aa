//! The rows on the variants: what encryption and tunnels cost beside plain RTMP, and what an idle tunnel takes.
//!
//! Both sides of a row are Penstock, so it's the variant that is measured. RC4's own cost is that of the same crate over as many bytes,
//! in a process on the servers' core, in the same round.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rc4::StreamCipher;

use super::options::Options;
use super::place::Place;
use super::process::pinned;
use super::rows::{Load, Rounds, crowd, downloads, rounds};
use super::servers;
use super::table::{Section, Spread};
use crate::options::Protocol;
use crate::{hello, proc};

/// What RTMPE may cost: so many times plain RTMP and RC4 together.
const RTMPE_MOST: f64 = 1.3;
/// Requests a second of an idle RTMPT viewer.
const REQUESTS_MOST: f64 = 5.0;
/// Memory of an idle RTMPT viewer, in KB.
const MEMORY_MOST_KB: f64 = 64.0;
/// Bytes that RC4 goes over at a time, in cache as a session's are.
const PIECE_BYTES: usize = 64 << 10;

/// Runs RC4 over so many bytes; answers the CPU seconds that took.
pub fn rc4_cpu_s(bytes: u64) -> f64 {
    let mut rc4 = hello::stream(b"a key of 16 bytes", 1536);
    let mut piece = vec![0; PIECE_BYTES];
    let before = proc::cpu_s(std::process::id());
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE_BYTES as u64) as usize;
        rc4.apply_keystream(&mut piece[..now]);
        left -= now as u64;
    }
    std::hint::black_box(&piece);
    proc::cpu_s(std::process::id()) - before
}

/// The same in a process of its own on the servers' core, for each of these runs' bytes: CPU-s/GB.
fn rc4_costs(place: &Place, options: &Options, runs: &Rounds) -> Result<Spread> {
    let most = options.pick(u64::MAX, 32 << 20);
    let one = |bytes: f64| -> Result<f64> {
        let bytes = (bytes as u64).clamp(1 << 20, most);
        let output = pinned(&place.server_core, &place.own("compare"))
            .args(["--rc4", &bytes.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .context("start RC4")?;
        ensure!(output.status.success(), "RC4 ended with {}", output.status);
        let cpu_s: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
        Ok(cpu_s / (bytes as f64 / 1e9))
    };
    let costs = runs.runs.iter().map(|run| one(run.number("/window_bytes")));
    Ok(Spread(costs.collect::<Result<_>>()?))
}

/// The same load over another protocol.
fn over(load: &Load, protocol: Protocol) -> Load {
    Load { protocol, ..load.clone() }
}

/// Fast viewers over RTMPE and plain RTMP.
pub fn rtmpe(place: &Place, options: &Options) -> Result<Section> {
    let plain = downloads(place, options)?;
    let encrypted = over(&plain, Protocol::Rtmpe);
    let start = || servers::standalone(place, "");
    let sides = rounds(place, options, [(&encrypted, &start), (&plain, &start)])?;
    let title = format!("rtmpe: {} unpaced viewers of one hot film, encrypted and plain", plain.viewers);
    let mut section = Section::new(title);
    let [rtmpe, rtmp] = &sides;
    rtmpe.lines(&mut section, "rtmpe", true, None);
    rtmp.lines(&mut section, "rtmp", true, None);
    let rc4 = rc4_costs(place, options, rtmpe)?;
    section.line("RC4 alone: CPU", &rc4, 3, "CPU-s/GB");
    let ratio = rtmpe.cpu().over(&rtmp.cpu().plus(&rc4));
    section.ratio("CPU a GB, rtmpe / (rtmp + RC4 alone)", &ratio, RTMPE_MOST);
    Ok(section)
}

/// HTTP requests a second of each of so many viewers.
fn requests(rounds: &Rounds, viewers: usize) -> Spread {
    rounds.spread(|r| r.number("/window_requests") / r.number("/window_s").max(1e-9) / viewers as f64)
}

/// 2,000 RTMPT sessions at 500 kb/s, and as many plain ones, servers and driver on the same two cores.
pub fn rtmpt(place: &Place, options: &Options) -> Result<Section> {
    let place = &place.sharing();
    let plain = crowd(place, options)?;
    let tunnelled = over(&plain, Protocol::Rtmpt);
    let start = || servers::standalone(place, "");
    let sides = rounds(place, options, [(&tunnelled, &start), (&plain, &start)])?;
    let title = format!(
        "rtmpt: {} sessions at 500 kb/s over 20 films, in tunnels and plain; server and driver share cores {}",
        plain.viewers, place.server_core
    );
    let mut section = Section::new(title);
    for (rounds, name) in sides.iter().zip(["rtmpt", "rtmp"]) {
        rounds.lines(&mut section, name, true, Some(plain.viewers));
    }
    let [rtmpt, rtmp] = &sides;
    section.line("rtmpt: requests a second a viewer", &requests(rtmpt, plain.viewers), 2, "");
    section.ratio("rtmpt: stalls", &rtmpt.spread(|r| r.number("/stalls")), 0.0);
    section.line("CPU a GB, rtmpt / rtmp", &rtmpt.cpu().over(&rtmp.cpu()), 2, "");
    Ok(section)
}

/// Paused viewers in tunnels: those that ask again at once (librtmp), those that wait (Flash), and plain ones beside them. Memory is all that
/// the process has grown by since it started, but for its block caches.
pub fn rtmpt_idle(place: &Place, options: &Options) -> Result<Section> {
    let viewers = options.pick(1000, 100);
    let load = Load { viewers, ramp_ms: options.pick(5000, 1000), ..crowd(place, options)? };
    let mut section = Section::new(format!("rtmpt-idle: {viewers} viewers that paused at their first frame"));
    let cases = [
        ("rtmpt, asking at once", Protocol::Rtmpt, true),
        ("rtmpt, waiting as told", Protocol::Rtmpt, false),
        ("rtmp", Protocol::Rtmp, false),
    ];
    for (name, protocol, eager) in cases {
        let load = over(&load, protocol);
        let mut rounds = Rounds { processes: 1, ..Rounds::default() };
        for _ in 0..options.rounds().min(2) {
            // Not warmed: what downloads leave to the allocator would hide what viewers take.
            let server = servers::standalone(place, "")?;
            let mut drive = load.drive(place, &server);
            drive.add(&["--stay-paused"]).add(if eager { &["--eager"] } else { &[] });
            let run = drive.run(place)?;
            let before = server.fresh_bytes as f64 + server.cached_bytes();
            rounds.viewers_bytes.0.push(run.resident_bytes(1) - before);
            let connected = run.number("/connected") as usize;
            if connected != viewers || run.number("/failures") > 0.0 {
                section.wrong(format!("{name}: {connected} connected, failed {}", run.0["failed"]));
            }
            rounds.runs.push(run);
        }
        let memory = Spread(rounds.viewers_bytes.0.iter().map(|b| b / viewers as f64 / 1e3).collect());
        if protocol.is_tunnelled() {
            section.ratio(
                format!("{name}: requests a second a viewer"),
                &requests(&rounds, viewers),
                REQUESTS_MOST,
            );
            section.ratio(format!("{name}: memory a viewer, KB"), &memory, MEMORY_MOST_KB);
        } else {
            section.line(format!("{name}: memory a viewer"), &memory, 1, "KB");
        }
        let core = rounds.spread(|r| r.number("/servers/0/cpu_s") / r.number("/window_s").max(1e-9) * 100.0);
        section.line(format!("{name}: of the server's core"), &core, 1, "%");
    }
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rc4_takes_time_and_the_more_the_longer() {
        let (little, more) = (rc4_cpu_s(0), rc4_cpu_s(8 << 20));
        assert!(little < 0.02 && more > little, "{little} {more}");
    }
}
