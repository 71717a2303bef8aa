//! The rows on memory: many idle sessions, and a long run that must not grow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::drive::Drive;
use super::media::{self, Wanted};
use super::options::Options;
use super::place::Place;
use super::servers;
use super::table::{Section, Spread};
use crate::proc;

/// 10,000 connected sessions that play nothing, beside as many at nginx-rtmp.
pub fn idle(place: &Place, options: &Options) -> Result<Section> {
    let viewers = options.pick(10_000, 1000);
    media::flv(place, Wanted { kbps: 500, seconds: 70, seed: 100 })?;
    let mut section = Section::new(format!("idle: {viewers} connected sessions that play nothing"));
    // What the sessions need: more might not fit the limit of open files.
    let edge = "max_connections: 11000\nmax_connections_per_address: 11000";
    let starts: [(&str, &dyn Fn() -> Result<servers::Server>); 2] = [
        ("penstock", &|| servers::standalone(place, edge)),
        ("nginx-rtmp", &|| Ok(servers::nginx(place, 4096, None, None)?.0)),
    ];
    for (name, start) in starts {
        let (mut resident, mut grown) = (Spread::default(), Spread::default());
        for _ in 0..options.rounds().min(2) {
            let server = start()?;
            let mut drive = Drive::at(&server);
            drive.add(&["--idle"]).with("--viewers", viewers).with("--ramp-ms", viewers / 2);
            let run = drive.with("--warmup-ms", 1000).with("--seconds", 2).run(place)?;
            resident.0.push(run.number("/servers/0/rss_bytes") / 1e6);
            grown.0.push((run.resident_bytes(1) - server.fresh_bytes as f64) / viewers as f64 / 1e3);
            let connected = run.number("/connected") as usize;
            if connected != viewers || run.number("/failures") > 0.0 {
                section.wrong(format!("{name}: {connected} connected, failed {}", run.0["failed"]));
            }
        }
        if name == "penstock" {
            section.ratio("penstock: resident, MB", &resident, 400.0);
        } else {
            section.line(format!("{name}: resident"), &resident, 0, "MB");
        }
        section.line(format!("{name}: a session"), &grown, 1, "KB");
    }
    Ok(section)
}

/// What the soak's edge may hold, all accounts together, in MiB: caches 288, read-ahead 64, fetches 64, indexes being built 32, and the
/// rest, 384, for its sessions.
const EDGE_MIB: u64 = 832;
const EDGE: &str = "cache_bytes: 268435456\nindex_cache_bytes: 33554432\nread_ahead_total_bytes: 67108864\nfetches: 64\n\
                    parse_bytes: 33554432\nmemory_bytes: 872415232";

/// What the soak's shield may hold, in MiB: the cache 512, streams to edges 64, and 20 GETs of up to 4 MiB.
const SHIELD_MIB: u64 = 512 + 64 + 20 * 4;
const SHIELD: &str = "cache_bytes: 536870912\nread: {inflight_bytes: 67108864}\n\
                      connections: {demand: 16, read_ahead: 4}\nrun_bytes: 4194304";

/// 500 paced viewers of a 2 GB film that come, go, seek and pause; memory each 10 s.
pub fn soak(place: &Place, options: &Options) -> Result<Section> {
    let seconds = options.pick(options.soak_s, 40);
    let viewers = options.pick(500, 50);
    let film = media::flv(place, Wanted { kbps: 2000, seconds: options.pick(8000, 400), seed: 400 })?;
    let (bucket, s3) = servers::bucket(place)?;
    let mut server = servers::cluster(place, s3, EDGE, SHIELD)?;
    server.keep(bucket);
    let mut drive = Drive::at(&server);
    drive.films(place, &[film], true).with("--viewers", viewers).with("--ramp-ms", 10_000);
    drive.add(&["--paced", "--random-start"]).with("--seconds", seconds);
    let per_s = |every_s: f64| viewers as f64 / every_s;
    drive.with("--churn-per-s", per_s(60.0)).with("--seeks-per-s", per_s(30.0));
    drive.with("--pauses-per-s", per_s(60.0));
    let ended = AtomicBool::new(false);
    let every = Duration::from_secs(options.pick(10, 2));
    let (run, samples) = std::thread::scope(|scope| {
        let pids = server.pids.clone();
        let ended = &ended;
        let sampler = scope.spawn(move || sample(&pids, every, ended));
        let run = drive.run(place);
        ended.store(true, Ordering::Relaxed);
        (run, sampler.join().unwrap_or_default())
    });
    let run = run?;
    let mut section = Section::new(format!(
        "soak: {viewers} paced viewers of a 2 GB film, {seconds} s of churn, seeks and pauses"
    ));
    if let Some(wrong) = run.wrong() {
        section.wrong(wrong);
    }
    for (n, (name, budget_mib)) in [("edge", EDGE_MIB), ("shield", SHIELD_MIB)].into_iter().enumerate() {
        let series: Vec<(f64, f64)> = samples.iter().map(|(at, rss)| (*at, rss[n] as f64 / 1e6)).collect();
        let later: Vec<_> = series.iter().copied().filter(|(at, _)| *at >= 180.0).collect();
        if later.len() > 2 {
            section.ratio(
                format!("{name}: growth after minute 3, MB a minute"),
                &Spread(vec![slope(&later) * 60.0]),
                1.0,
            );
        }
        let peak = Spread(vec![proc::peak_bytes(server.pids[n]) as f64 / (budget_mib << 20) as f64]);
        section.ratio(format!("{name}: peak / budget of {budget_mib} MiB"), &peak, 1.25);
        let text: Vec<String> = series.iter().map(|(_, mb)| format!("{mb:.0}")).collect();
        section.note(format!("{name}: RSS, MB each {} s", every.as_secs()), text.join(" "));
    }
    let sessions = run.number("/sessions");
    section.note(
        "viewers",
        format!(
            "{sessions} sessions, {} seeks, {} pauses, {:.1} GB; seek p50 {} ms, p99 {} ms; {} stalls; {} frames right",
            run.0["seeks"],
            run.0["pauses"],
            run.number("/bytes") / 1e9,
            run.number("/seek_ms/p50"),
            run.number("/seek_ms/p99"),
            run.0["stalls"],
            run.number("/hashes/right")
        ),
    );
    Ok(section)
}

/// Seconds since the start and the resident bytes of each process.
type Sample = (f64, Vec<u64>);

fn sample(pids: &[u32], every: Duration, ended: &AtomicBool) -> Vec<Sample> {
    let begun = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        if begun.elapsed() >= every * samples.len() as u32 {
            samples.push((begun.elapsed().as_secs_f64(), pids.iter().map(|p| proc::rss_bytes(*p)).collect()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    samples
}

/// Least-squares slope.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (above, below) =
        points.iter().fold((0.0, 0.0), |(a, b), p| (a + (p.0 - x) * (p.1 - y), b + (p.0 - x) * (p.0 - x)));
    above / below.max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_found_through_noise() {
        let points: Vec<_> =
            (0..100).map(|n| (f64::from(n), 5.0 + 0.5 * f64::from(n) + f64::from(n % 2))).collect();
        assert!((slope(&points) - 0.5).abs() < 0.01);
        assert_eq!(slope(&[(1.0, 3.0), (2.0, 3.0)]), 0.0);
    }
}
