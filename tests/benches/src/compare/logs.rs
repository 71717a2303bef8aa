//! The row on access logs: what they cost an edge with 300 paced viewers.
//!
//! Twice the same cluster (edge, shield and control each a process), once with a distribution that logs and once with an edge that doesn't, in alternating
//! rounds: the difference is what the log path costs, with all that can't be told from the rest in a profile. The profile says how many samples
//! of the edge were in it: whatever runs in a function of the log path, or is called from one, and the spool's own thread. A run whose
//! viewers' records don't all arrive in the bucket measured something else, and is wrong.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::drive::Run;
use super::options::Options;
use super::place::Place;
use super::profile;
use super::rows::{Load, hot_film};
use super::servers::{self, Logs, Server};
use super::table::{Section, Spread};
use crate::options::Protocol;

/// What the log path may take of the edge's CPU, in percent.
const SHARE_MOST: f64 = 2.0;
/// The frames that belong to it: making records, spooling and shipping them, and waiting for that.
const SYMBOLS: [&str; 8] = [
    "penstock_edge::log::",
    "penstock_edge::session::record::",
    "control::client::spool",
    "control::client::ship",
    "proto::access_log",
    "AccessRecord",
    "access_logs_client",
    "EventLog",
];
/// The threads.
const THREADS: [&str; 1] = ["access-log"];
/// Until records must be in the bucket, beyond the age at which a file is made.
const DELIVERED: Duration = Duration::from_secs(60);

/// 300 viewers at 5 Mb/s, with and without access logs.
pub fn logs(place: &Place, options: &Options) -> Result<Section> {
    let load = Load {
        films: vec![hot_film(place, options, options.pick(300, 60))?],
        viewers: options.pick(300, 40),
        ramp_ms: options.pick(10_000, 2000),
        seconds: options.pick(60.0, 5.0),
        paced: true,
        protocol: Protocol::Rtmp,
    };
    let mut section = Section::new(format!(
        "logs: {} viewers at 5 Mb/s for {} s, access logs on and off",
        load.viewers, load.seconds
    ));
    let mut sides = [Spread::default(), Spread::default()];
    for round in 0..options.rounds() {
        for turn in 0..2 {
            let on = (round + turn) % 2 == 0;
            let server = cluster(place, on)?;
            load.warm(place, options, &server)?;
            let run = load.drive(place, &server).run(place)?;
            eprintln!(
                "   round {}: logs {}: {:.3} CPU-s/GB of the edge",
                round + 1,
                if on { "on" } else { "off" },
                cost(&run)
            );
            if let Some(wrong) = run.wrong() {
                section.wrong(format!("logs {}: {wrong}", if on { "on" } else { "off" }));
            }
            sides[usize::from(!on)].0.push(cost(&run));
            if on {
                arrived(place, load.viewers, &mut section)?;
            }
        }
    }
    let [on, off] = sides;
    section.line("edge with logs: CPU", &on, 3, "CPU-s/GB");
    section.line("edge without: CPU", &off, 3, "CPU-s/GB");
    section.line("edge with / without", &on.over(&off), 3, "");
    if !options.quick {
        profiled(place, options, &load, &mut section)?;
    }
    Ok(section)
}

/// CPU seconds a gigabyte of the edge alone.
fn cost(run: &Run) -> f64 {
    run.number("/servers/0/cpu_s") / run.gb().max(1e-9)
}

fn cluster(place: &Place, on: bool) -> Result<Server> {
    let (bucket, s3) = servers::bucket(place)?;
    let ([id, secret], _) = servers::bucket_keys(place)?;
    let staging = format!(
        "{{endpoint: 'http://{s3}', bucket: penstock-staging, access_key_id: {id}, secret_access_key: {secret}}}"
    );
    let logs = match on {
        true => Logs {
            control: format!("logs: {{file_age_seconds: 5, staging: {staging}}}\n"),
            entry: ", logging: {bucket: logs.s3.amazonaws.com}".into(),
            edge: "logs: {spool: {seal_after_ms: 1000}}\n".into(),
        },
        false => Logs { edge: "logs: {enabled: false}\n".into(), ..Logs::default() },
    };
    let mut server = servers::cluster_logging(place, s3, ["", ""], &logs)?;
    server.keep(bucket);
    Ok(server)
}

/// Waits until each viewer's connect and disconnect are in the bucket.
fn arrived(place: &Place, viewers: usize, section: &mut Section) -> Result<()> {
    let (_, buckets) = servers::bucket_keys(place)?;
    let end = Instant::now() + DELIVERED;
    let events = |event: &str| lines(&buckets.join("logs"), event);
    loop {
        let [connects, disconnects] = [events("connect")?, events("disconnect")?];
        // Those that warmed the caches are in it too.
        if connects >= viewers && connects == disconnects {
            return Ok(());
        }
        if Instant::now() > end {
            section.wrong(format!(
                "{viewers} viewers: {connects} connects and {disconnects} disconnects arrived"
            ));
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Records of one kind in the files of a folder.
fn lines(folder: &Path, event: &str) -> Result<usize> {
    let script = format!("cat \"$1\"/*.gz 2>/dev/null | zcat | awk -F'\\t' '$5 == \"{event}\"' | wc -l");
    let output = Command::new("sh").args(["-c", &script, "sh"]).arg(folder).output().context("zcat")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or(0))
}

/// One more round with logs under perf.
fn profiled(place: &Place, options: &Options, load: &Load, section: &mut Section) -> Result<()> {
    let server = cluster(place, true)?;
    load.warm(place, options, &server)?;
    let seconds = load.seconds;
    // Longer than it is recorded: the viewers come while it begins, and none leaves before its end.
    let load = Load { seconds: seconds + 5.0, ..load.clone() };
    let recorder = profile::record_stacks(place, "logs", server.pids[0], load.ramp_ms, seconds)?;
    load.drive(place, &server).run(place)?;
    let Some(recorder) = recorder else {
        section.note("profile", "perf isn't installed");
        return Ok(());
    };
    let (share, text) = recorder.share(&THREADS, &SYMBOLS)?;
    if share.samples == 0 {
        section.wrong("the profile has no samples");
    }
    let part = share.inside as f64 / share.samples.max(1) as f64 * 100.0;
    section.ratio("log path's share of the edge's samples, %", &Spread(vec![part]), SHARE_MOST);
    section.note(
        "samples",
        format!("{} of {} in {seconds} s; stacks in {}", share.inside, share.samples, text.display()),
    );
    for (frame, samples) in share.frames.iter().take(8) {
        section.note(format!("  {samples}"), frame.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_by_event_in_all_files_of_a_folder() {
        let folder = std::env::temp_dir().join(format!("penstock-load-logs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(lines(&folder, "connect").unwrap(), 0);
        for (name, text) in [
            ("a", "#Version: 1.0\na\tb\tc\td\tconnect\t1\n"),
            ("b", "a\tb\tc\td\tconnect\t2\na\tb\tc\td\tdisconnect\t3\n"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
            let packed = Command::new("gzip").arg(folder.join(name)).status().unwrap();
            assert!(packed.success());
        }
        let counted = ["connect", "disconnect", "play"].map(|event| lines(&folder, event).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(counted, [2, 1, 0]);
    }
}
