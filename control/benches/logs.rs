//! What access logs cost control: formatting and packing alone, and 50,000 events a second through one replica.
//!
//! `cargo bench -p penstock-control --bench logs` first formats and packs records in this process, on one core. Then it starts etcd, an S3
//! endpoint and the real `penstock-control`; edges hand over segments at the rate; it waits until every record stands in a log file, counts
//! the lines of all files, and prints what of the processor and of memory control took, all of it: verifying, staging, merging, sorting, formatting,
//! packing, delivering, retiring, and the ledger.
//!
//! It ends with failure if a record is missing or doubled, or a target is missed. `--rate`, `--seconds`, `--edges` and `--distributions` change the load.

#[path = "parts/boxes.rs"]
#[allow(dead_code, reason = "the other bench asks for more")]
mod boxes;
#[path = "logs/bucket.rs"]
mod bucket;
#[path = "logs/load.rs"]
mod load;

use std::collections::HashMap;
use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use flate2::read::GzDecoder;
use penstock_control::access_log::format;
use tokio::time::{Instant, sleep};

use boxes::{Boxes, MASTER, memory_mb};
use bucket::Buckets;
use load::{Crowd, Load};

const LONG: Duration = Duration::from_secs(180);

/// Records formatted for the first figures.
const RECORDS: usize = 400_000;
const FORMAT_TARGET: f64 = 1_000_000.0;
const CORES_TARGET: f64 = 1.0;
const MEMORY_TARGET_MB: f64 = 512.0;

#[derive(Parser)]
struct Options {
    /// Events a second.
    #[arg(long, default_value_t = 50_000)]
    rate: usize,
    #[arg(long, default_value_t = 60)]
    seconds: usize,
    #[arg(long, default_value_t = 4)]
    edges: usize,
    #[arg(long, default_value_t = 20)]
    distributions: usize,
    #[arg(long, default_value_t = 5_000)]
    viewers: usize,
    /// Age at which records are delivered.
    #[arg(long, default_value_t = 10)]
    file_age_seconds: u64,
    /// Only formatting and packing.
    #[arg(long)]
    format_only: bool,
    /// cargo's own
    #[arg(long, hide = true)]
    bench: bool,
}

/// Seconds of the processor that a process took, in user and system mode.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in brackets and may hold anything.
    let fields = stat.rsplit(')').next().context("a name")?;
    let tick = |at: usize| fields.split_whitespace().nth(at).and_then(|f| f.parse::<f64>().ok());
    let (user, system) = (tick(11).context("utime")?, tick(12).context("stime")?);
    Ok((user + system) / rustix::param::clock_ticks_per_second() as f64)
}

struct Figures(bool);

impl Figures {
    fn show(&mut self, what: &str, value: f64, fits: bool, target: &str) {
        self.0 &= fits;
        let verdict = if fits { "" } else { "   MISSED" };
        println!("{what:58} {value:12.2} {target:>12}{verdict}");
    }
}

/// Formatting, and formatting with packing, on one core.
fn format_alone(load: &Load, figures: &mut Figures) {
    let mut crowd = Crowd::new(0, load);
    let records: Vec<_> = (0..RECORDS as u64).map(|i| crowd.event(1_800_000_000_000 + i * 9)).collect();
    let (mut best, mut best_packed, mut bytes, mut packed) = (f64::MAX, f64::MAX, 0, 0);
    let mut text = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        bytes = 0;
        for chunk in records.chunks(256) {
            text.clear();
            format::put_lines(chunk, &mut text);
            bytes += text.len();
        }
        best = best.min(began.elapsed().as_secs_f64());
        let began = Instant::now();
        packed = format::file(&records).len();
        best_packed = best_packed.min(began.elapsed().as_secs_f64());
    }
    let count = RECORDS as f64;
    let rate = count / best;
    figures.show("formatted, records a second a core", rate, rate >= FORMAT_TARGET, "1000000");
    figures.show("formatted and packed, records a second a core", count / best_packed, true, "");
    figures.show("bytes of a line", bytes as f64 / count, true, "");
    figures.show("bytes of it packed", packed as f64 / count, true, "");
}

/// Lines in log files by key; files are read once.
#[derive(Default)]
struct Delivered(HashMap<String, (u64, usize)>);

impl Delivered {
    fn look(&mut self, buckets: &Buckets) -> Result<u64> {
        for (key, body) in buckets.objects(load::BUCKET) {
            if self.0.get(&key).is_some_and(|(_, bytes)| *bytes == body.len()) {
                continue;
            }
            let lines = std::io::BufReader::new(GzDecoder::new(&body[..])).lines();
            let lines: Vec<String> = lines.collect::<Result<_, _>>().with_context(|| key.clone())?;
            let records = lines.iter().filter(|line| !line.starts_with('#')).count() as u64;
            self.0.insert(key, (records, body.len()));
        }
        Ok(self.0.values().map(|(records, _)| records).sum())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let load = Load {
        edges: options.edges,
        distributions: options.distributions,
        viewers: options.viewers,
        rate: options.rate,
        seconds: options.seconds,
        segment_seconds: 2,
    };
    let mut figures = Figures(true);
    println!("{:58} {:>12} {:>12}", "", "", "target");
    format_alone(&load, &mut figures);
    if !options.format_only {
        through_control(&load, options.file_age_seconds, &mut figures).await?;
    }
    ensure!(figures.0, "a target was missed");
    Ok(())
}

/// The whole way, through the real process.
async fn through_control(load: &Load, file_age_seconds: u64, figures: &mut Figures) -> Result<()> {
    let buckets = Buckets::default();
    let s3 = buckets.serve().await?;
    // Control takes records only of distributions that were told to log there.
    let folder = tempfile::tempdir()?;
    let distributions = folder.path().join("distributions.yaml");
    std::fs::write(&distributions, load.distributions_file())?;
    let boxes = Boxes::start(&format!(
        "distributions_file: {}\nlogs:\n  file_age_seconds: {file_age_seconds}\n  staging: {{endpoint: 'http://{s3}', bucket: staging, access_key_id: bench, secret_access_key: bench}}\n",
        distributions.display()
    ))
    .await?;
    let pid = boxes.pid;
    let began = Instant::now();
    let (fresh_mb, before) = (memory_mb(pid, "VmRSS:"), cpu_seconds(pid)?);

    let edges: Vec<_> = (0..load.edges)
        .map(|edge| tokio::spawn(load::hand_over(edge, load.clone(), boxes.control.clone(), MASTER)))
        .collect();
    let (mut sent, mut longest) = (0, Duration::ZERO);
    for edge in edges {
        let (records, took) = edge.await??;
        sent += records;
        longest = longest.max(took);
    }
    let under_load = began.elapsed();
    let handed_over = Instant::now();
    let mut delivered = Delivered::default();
    loop {
        let records = delivered.look(&buckets)?;
        ensure!(records <= sent, "{records} records in files, {sent} were sent");
        if records == sent {
            break;
        }
        ensure!(handed_over.elapsed() < LONG, "{records} of {sent} records in files\n{}", boxes.log());
        sleep(Duration::from_millis(200)).await;
    }
    // What is done with is forgotten: the last of the work.
    while !buckets.objects("staging").is_empty() {
        ensure!(handed_over.elapsed() < LONG, "{} objects stay in staging", buckets.objects("staging").len());
        sleep(Duration::from_millis(200)).await;
    }
    let took = cpu_seconds(pid)? - before;
    println!(
        "{sent} events of {} distributions from {} edges in {:.0} s: {} files",
        load.distributions,
        load.edges,
        under_load.as_secs_f64(),
        delivered.0.len()
    );
    let cores = took / load.seconds as f64;
    figures.show("control's processor at this rate, cores", cores, cores < CORES_TARGET, "1");
    figures.show("events a second of the processor", sent as f64 / took, true, "");
    figures.show("longest hand-over of a segment, ms", longest.as_secs_f64() * 1000.0, true, "");
    figures.show("from the last hand-over to its delivery, s", handed_over.elapsed().as_secs_f64(), true, "");
    let peak = memory_mb(pid, "VmHWM:");
    figures.show("control's peak memory, MB", peak, peak <= MEMORY_TARGET_MB, "512");
    println!("(control's at its start: {fresh_mb:.0} MB)");
    Ok(())
}
