//! The rows on speed: CPU a gigabyte, memory a viewer, time to the first frame; and the machine's limits.
//!
//! Caches are warm in all of them: before the driver's viewers come, one more plays each film to its end. The window opens when all viewers
//! are in and their buffers are full.

use anyhow::{Result, ensure};

use super::drive::{Drive, Run};
use super::media::{self, Wanted};
use super::options::Options;
use super::place::Place;
use super::profile;
use super::servers::{self, Server};
use super::table::{Section, Spread};
use crate::options::Protocol;

/// The client buffer of paced viewers, in ms.
const BUFFER_MS: u32 = 3000;

/// What one row does with a server.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) films: Vec<String>,
    /// Viewers that come over `ramp_ms`.
    pub(super) viewers: usize,
    pub(super) ramp_ms: u64,
    pub(super) seconds: f64,
    pub(super) paced: bool,
    pub(super) protocol: Protocol,
}

impl Load {
    pub(super) fn drive(&self, place: &Place, server: &Server) -> Drive {
        let mut drive = Drive::at(server);
        drive.films(place, &self.films, true).with("--viewers", self.viewers);
        drive.with("--ramp-ms", self.ramp_ms).with("--seconds", self.seconds);
        drive.with("--protocol", self.protocol.scheme());
        if self.paced {
            // All buffers are full one buffer after the ramp, whatever a server means by full.
            drive.add(&["--paced"]).with("--buffer-ms", BUFFER_MS).with("--warmup-ms", 2 * BUFFER_MS + 1000);
        } else {
            drive.with("--warmup-ms", 500);
        }
        drive
    }

    /// Fills the server's caches: each film once, from start to end. Before memory is read one more viewer plays for a while, so that
    /// allocators give back what the downloads took.
    pub(super) fn warm(&self, place: &Place, options: &Options, server: &Server) -> Result<()> {
        let mut drive = Drive::at(server);
        drive.films(place, &self.films, true).with("--viewers", self.films.len()).with("--seconds", 600);
        let run = drive.add(&["--once"]).run(place)?;
        ensure!(run.number("/failures") == 0.0, "warming {}: {}", server.name, run.0["failed"]);
        if self.paced {
            let mut drive = Drive::at(server);
            drive.films(place, &self.films, false).add(&["--paced"]).with("--verify", "none");
            drive.with("--seconds", options.pick(12, 3)).run(place)?;
        }
        Ok(())
    }
}

/// The rounds of one server in one row.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pub(super) runs: Vec<Run>,
    /// What each run's viewers took: resident bytes (which count what nginx-rtmp maps of an MP4 once a viewer)
    /// beyond those of the warm process and what its block caches grew by.
    pub(super) viewers_bytes: Spread,
    /// Processes that count.
    pub(super) processes: usize,
}

impl Rounds {
    pub(super) fn spread(&self, one: impl Fn(&Run) -> f64) -> Spread {
        Spread(self.runs.iter().map(one).collect())
    }

    pub(super) fn cpu(&self) -> Spread {
        self.spread(|r| r.cpu_per_gb(self.processes))
    }

    /// Prints them. `ours`: what is wrong in them fails the row.
    pub(super) fn lines(&self, section: &mut Section, name: &str, ours: bool, viewers: Option<usize>) {
        section.line(format!("{name}: CPU"), &self.cpu(), 3, "CPU-s/GB");
        if self.processes > 1 {
            for n in 0..self.processes {
                let one = self.spread(|r| r.number(&format!("/servers/{n}/cpu_s")) / r.gb().max(1e-9));
                section.line(format!("{name}: of it {}", ["edge", "shield"][n.min(1)]), &one, 3, "CPU-s/GB");
            }
        }
        if self.runs.iter().any(|r| r.0["servers"].as_array().is_some_and(|s| s.len() > self.processes)) {
            let at = format!("/servers/{}/cpu_s", self.processes);
            let bucket = self.spread(|r| r.number(&at) / r.gb().max(1e-9));
            section.line(format!("{name}: bucket, not counted"), &bucket, 3, "CPU-s/GB");
        }
        section.line(
            format!("{name}: rate"),
            &self.spread(|r| r.gb() * 1e3 / r.number("/window_s")),
            0,
            "MB/s",
        );
        let core = |r: &Run| r.cpu_per_gb(self.processes) * r.gb() / r.number("/window_s").max(1e-9);
        section.line(format!("{name}: of its core"), &self.spread(|r| core(r) * 100.0), 0, "%");
        if let Some(viewers) = viewers {
            let anonymous = self.spread(|r| r.grown(self.processes, "anonymous") / viewers as f64 / 1e3);
            let memory = Spread(self.viewers_bytes.0.iter().map(|b| b / viewers as f64 / 1e3).collect());
            if ours {
                section.ratio(format!("{name}: memory a viewer, KB"), &memory, 100.0);
            } else {
                section.line(format!("{name}: memory a viewer"), &memory, 0, "KB");
            }
            section.line(format!("{name}: of it not files"), &anonymous, 0, "KB");
        }
        for (what, at) in [("p50", "/first_frame_ms/p50"), ("p99", "/first_frame_ms/p99")] {
            section.line(format!("{name}: first frame {what}"), &self.spread(|r| r.number(at)), 1, "ms");
        }
        let [right, wrong, stalls] = ["/hashes/right", "/hashes/wrong", "/stalls"]
            .map(|at| self.runs.iter().map(|r| r.number(at)).sum::<f64>());
        section.note(
            format!("{name}: verified"),
            format!("{right} frames right, {wrong} wrong or left out; {stalls} stalls"),
        );
        let driver = self.spread(|r| r.number("/driver_cpu_s") / r.number("/window_s").max(1e-9) * 100.0);
        section.line(format!("{name}: driver's core"), &driver, 0, "%");
        // What is wrong with the peer is seen above; it isn't ours to fail for.
        for wrong in self.runs.iter().filter_map(Run::wrong).filter(|_| ours) {
            section.wrong(format!("{name}: {wrong}"));
        }
    }
}

/// Starts one side of a row.
pub(super) type Start<'a> = &'a dyn Fn() -> Result<Server>;

/// Runs both sides in turns; who begins alternates.
pub(super) fn rounds(place: &Place, options: &Options, both: [(&Load, Start); 2]) -> Result<[Rounds; 2]> {
    let mut sides = [Rounds::default(), Rounds::default()];
    for round in 0..options.rounds() {
        for turn in 0..2 {
            let side = (round + turn) % 2;
            let (load, start) = both[side];
            let server = start()?;
            load.warm(place, options, &server)?;
            let cached_before = server.cached_bytes();
            let run = load.drive(place, &server).run(place)?;
            let rounds = &mut sides[side];
            rounds.processes = server.pids.len();
            let cached = server.cached_bytes() - cached_before;
            rounds.viewers_bytes.0.push(run.grown(rounds.processes, "rss") - cached);
            eprintln!(
                "   round {}: {} {} {:.3} CPU-s/GB, {:.0} MB/s",
                round + 1,
                server.name,
                load.protocol.scheme(),
                run.cpu_per_gb(rounds.processes),
                run.gb() * 1e3 / run.number("/window_s")
            );
            rounds.runs.push(run);
        }
    }
    Ok(sides)
}

fn compared(title: String, load: &Load, sides: &[Rounds; 2], cpu_most: f64) -> Section {
    let mut section = Section::new(title);
    let viewers = load.paced.then_some(load.viewers);
    for (rounds, name) in sides.iter().zip(["penstock", "nginx-rtmp"]) {
        rounds.lines(&mut section, name, name == "penstock", viewers);
    }
    let [ours, theirs] = sides;
    section.ratio("CPU a GB, ours / theirs", &ours.cpu().over(&theirs.cpu()), cpu_most);
    if load.paced {
        section.ratio("memory, ours / theirs", &ours.viewers_bytes.over(&theirs.viewers_bytes), 0.4);
    }
    section
}

/// A film of 5 Mb/s.
pub(super) fn hot_film(place: &Place, options: &Options, seconds: u64) -> Result<String> {
    media::film(place, options, Wanted { kbps: 5000, seconds, seed: 1 })
}

/// Eight viewers of one film that is hot in the edge, as fast as it comes.
pub(super) fn downloads(place: &Place, options: &Options) -> Result<Load> {
    Ok(Load {
        films: vec![hot_film(place, options, options.pick(300, 60))?],
        viewers: 8,
        ramp_ms: 0,
        seconds: options.pick(10.0, 2.0),
        paced: false,
        protocol: Protocol::Rtmp,
    })
}

/// (a) Fast viewers of a film that is hot in the edge.
pub fn fast(place: &Place, options: &Options, chunk_bytes: u32) -> Result<Section> {
    let load = downloads(place, options)?;
    let edge = format!("chunk_size_bytes: {chunk_bytes}");
    let ours = || servers::standalone(place, &edge);
    let theirs = || Ok(servers::nginx(place, chunk_bytes, Some(servers::DOWNLOAD_QUEUE), None)?.0);
    let sides = rounds(place, options, [(&load, &ours), (&load, &theirs)])?;
    let title = format!("fast: {} unpaced viewers of one hot film, chunk size {chunk_bytes}", load.viewers);
    let mut section = compared(title, &load, &sides, 0.4);
    if options.profile && chunk_bytes == 4096 {
        profiled(place, options, &load, "fast", &ours, &mut section)?;
    }
    Ok(section)
}

/// (b) 300 viewers paced at 5 Mb/s.
pub fn paced(place: &Place, options: &Options) -> Result<Section> {
    let load = Load {
        films: vec![hot_film(place, options, options.pick(300, 60))?],
        viewers: options.pick(300, 40),
        ramp_ms: options.pick(10_000, 2000),
        seconds: options.pick(20.0, 5.0),
        paced: true,
        protocol: Protocol::Rtmp,
    };
    let ours = || servers::standalone(place, "");
    let theirs = || Ok(servers::nginx(place, 4096, None, None)?.0);
    let sides = rounds(place, options, [(&load, &ours), (&load, &theirs)])?;
    let title = format!("paced: {} viewers at 5 Mb/s, one film", load.viewers);
    Ok(compared(title, &load, &sides, 0.4))
}

/// 2,000 viewers at 500 kb/s over 20 films.
pub(super) fn crowd(place: &Place, options: &Options) -> Result<Load> {
    let films =
        (0..20).map(|n| media::film(place, options, Wanted { kbps: 500, seconds: 70, seed: 100 + n }));
    Ok(Load {
        films: films.collect::<Result<_>>()?,
        viewers: options.pick(2000, 200),
        ramp_ms: options.pick(20_000, 2000),
        seconds: options.pick(20.0, 5.0),
        paced: true,
        protocol: Protocol::Rtmp,
    })
}

/// (c) 2,000 viewers at 500 kb/s over 20 films.
pub fn many(place: &Place, options: &Options) -> Result<Section> {
    let load = crowd(place, options)?;
    let ours = || servers::standalone(place, "");
    let theirs = || Ok(servers::nginx(place, 4096, None, None)?.0);
    let sides = rounds(place, options, [(&load, &ours), (&load, &theirs)])?;
    let title = format!("many: {} viewers at 500 kb/s over 20 films", load.viewers);
    let mut section = compared(title, &load, &sides, 0.4);
    if options.profile {
        profiled(place, options, &load, "many", &ours, &mut section)?;
    }
    Ok(section)
}

/// (d) 4 GB of films through a small edge cache, all from a shield of its own.
pub fn wide(place: &Place, options: &Options) -> Result<Section> {
    let seconds = options.pick(820, 26);
    let films = (0..8).map(|n| media::film(place, options, Wanted { kbps: 5000, seconds, seed: 200 + n }));
    let load = Load {
        films: films.collect::<Result<_>>()?,
        viewers: 8,
        ramp_ms: 0,
        seconds: options.pick(10.0, 2.0),
        paced: false,
        protocol: Protocol::Rtmp,
    };
    let (edge_bytes, shield_bytes) = options.pick((64u64 << 20, 6u64 << 30), (8 << 20, 512 << 20));
    let edge = format!("cache_bytes: {edge_bytes}");
    let shield = format!("cache_bytes: {shield_bytes}");
    let ours = || {
        let (bucket, s3) = servers::bucket(place)?;
        let mut server = servers::cluster(place, s3, &edge, &shield)?;
        server.keep(bucket);
        Ok(server)
    };
    let theirs = || Ok(servers::nginx(place, 4096, Some(servers::DOWNLOAD_QUEUE), None)?.0);
    let sides = rounds(place, options, [(&load, &ours), (&load, &theirs)])?;
    let gb = seconds as f64 * 8.0 * 5e6 / 8.0 / 1e9;
    let title = format!(
        "wide: 8 unpaced viewers over {gb:.1} GB, edge cache {} MiB, all from the shield's memory; edge and shield counted",
        edge_bytes >> 20
    );
    Ok(compared(title, &load, &sides, 0.75))
}

/// What the machine can do at most: nginx's sendfile over HTTP, and vectored writes of memory.
pub fn limits(place: &Place, options: &Options) -> Result<Section> {
    let film = hot_film(place, options, options.pick(300, 60))?;
    let mut section = Section::new("limits: 8 connections, no RTMP");
    let (mut http, mut bare) = (Rounds::default(), Rounds::default());
    (http.processes, bare.processes) = (1, 1);
    let seconds = options.pick(5.0, 2.0);
    for _ in 0..options.rounds() {
        let (mut server, addr) = servers::nginx(place, 4096, Some(servers::DOWNLOAD_QUEUE), None)?;
        server.addr = addr;
        let mut drive = Drive::at(&server);
        drive
            .with("--http", format!("/{}", film.trim_start_matches("mp4:")))
            .with("--viewers", 8)
            .with("--seconds", seconds);
        http.runs.push(drive.run(place)?);
        drop(server);
        let server = servers::sender(place)?;
        let mut drive = Drive::at(&server);
        drive.add(&["--sink"]).with("--viewers", 8).with("--seconds", seconds);
        bare.runs.push(drive.run(place)?);
    }
    for (name, rounds) in [("HTTP sendfile (nginx)", &http), ("writev, 4 KiB slices", &bare)] {
        section.line(format!("{name}: CPU"), &rounds.cpu(), 3, "CPU-s/GB");
        section.line(
            format!("{name}: rate"),
            &rounds.spread(|r| r.gb() * 1e3 / r.number("/window_s")),
            0,
            "MB/s",
        );
        rounds.runs.iter().filter_map(Run::wrong).for_each(|w| section.wrong(format!("{name}: {w}")));
    }
    Ok(section)
}

/// One more round under perf; not counted.
fn profiled(
    place: &Place,
    options: &Options,
    load: &Load,
    name: &str,
    start: Start,
    section: &mut Section,
) -> Result<()> {
    let server = start()?;
    load.warm(place, options, &server)?;
    let wait_ms = load.ramp_ms + if load.paced { 7000 } else { 500 };
    let recorder = profile::record(place, name, server.pids[0], wait_ms, load.seconds * 0.8)?;
    load.drive(place, &server).run(place)?;
    match recorder {
        Some(recorder) => section.note("profile", recorder.report()?.display().to_string()),
        None => section.note("profile", "perf isn't installed"),
    }
    Ok(())
}
