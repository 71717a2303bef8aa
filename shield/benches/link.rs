//! What the link between an edge and a shield costs, both ends, for bytes that are hot in the shield's memory.
//!
//! ```text
//! cargo bench -p penstock-shield --bench link -- [--gb 8] [--rounds 5] [--read-mib 8] [--streams 4] [--keep-mib 64]
//! ```
//!
//! It runs itself twice more: the shield pinned to core 0, a real [`ShieldClient`] on core 1, loopback TCP between them. The
//! client reads ranges of `--read-mib` at random places of one film, `--streams` at a time, checks that every block is the
//! one asked for, and keeps the last `--keep-mib` of blocks as an edge's cache would (a reader that drops each block at once
//! lets the connection reuse its buffers and looks cheaper than an edge is). User and system time are the processes' own,
//! from `/proc`, so a busy machine disturbs the CPU-seconds a gigabyte (10⁹ bytes) less than the throughput. The figure
//! "a shield core" is the gigabytes one core could send: 1 / (the shield's CPU-seconds a gigabyte).

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use control::client::Credentials;
use futures::StreamExt;
use penstock_shield::client::{ClientConfig, ShieldClient};
use penstock_shield::origin::{Body, Head, Origin, OriginError};
use penstock_shield::{Shield, ShieldConfig};
use prometheus::Registry;
use proto::object::{ObjectKey, ObjectVersion, OriginId};
use proto::range::{BLOCK_BYTES, ByteRange};
use proto::token::{MasterToken, Role};
use proto::v1::{NodeState, Priority, ShieldMap, ShieldNode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What a node of `role` proves itself with.
fn credentials(role: Role) -> Result<Credentials> {
    Ok(MasterToken::new("a-token-for-the-bench")?.token(role, None).into())
}
const VERSION: &str = "\"v\"";
/// The film: far larger than a core's caches.
const FILM_BLOCKS: u64 = 512;
/// `/proc` counts in hundredths of a second.
const TICKS_PER_S: f64 = 100.0;

fn main() -> Result<()> {
    // cargo passes `--bench` of its own accord; everything else comes in pairs.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut options = HashMap::new();
    for pair in words.chunks(2) {
        ensure!(pair.len() == 2 && pair[0].starts_with("--"), "options come in pairs: --name value");
        options.insert(pair[0].trim_start_matches('-').to_owned(), pair[1].clone());
    }
    match options.get("run").map(String::as_str) {
        Some("shield") => serve(),
        Some("client") => read(&options),
        _ => measure(&options),
    }
}

fn option(options: &HashMap<String, String>, name: &str, default: u64) -> Result<u64> {
    match options.get(name) {
        Some(value) => value.parse().with_context(|| format!("--{name} {value}")),
        None => Ok(default),
    }
}

// --- the shield ------------------------------------------------------------------------------------------------------

/// A film that is made up as it is read: every block starts with its index.
struct Film;

fn block(index: u64) -> Bytes {
    let mut block = vec![index as u8; BLOCK_BYTES as usize];
    block[..8].copy_from_slice(&index.to_be_bytes());
    block.into()
}

#[async_trait]
impl Origin for Film {
    fn endpoint(&self) -> &str {
        "bench"
    }

    async fn head(&self, _: &str, _: Option<&str>) -> Result<Head, OriginError> {
        Err(OriginError::NotFound("the bench asks for no description".into()))
    }

    async fn get(&self, _: &str, range: ByteRange, _: &str, _: Priority) -> Result<Body, OriginError> {
        let stream = futures::stream::iter(range.blocks().map(|index| Ok(block(index)))).boxed();
        Ok(Body {
            range,
            size_bytes: FILM_BLOCKS * BLOCK_BYTES,
            content_type: "video/mp4".into(),
            md5: None,
            stream,
        })
    }
}

fn film() -> ObjectVersion {
    let object = ObjectKey::new(OriginId::of("bucket.s3.amazonaws.com", ""), "films/a.mp4");
    ObjectVersion { object, version: VERSION.into() }
}

fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let config = ShieldConfig { cache_bytes: 2 * FILM_BLOCKS * BLOCK_BYTES, ..Default::default() };
        let shield = Shield::new(config, &Registry::new())?;
        shield.add_origin(film().object.origin, Film);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        Ok(shield.serve(listener, &credentials(Role::Shield)?, CancellationToken::new()).await?)
    })
}

// --- the edge's side -------------------------------------------------------------------------------------------------

fn read(options: &HashMap<String, String>) -> Result<()> {
    let address = options.get("address").context("--address")?.clone();
    let round_bytes = option(options, "gb", 8)? * 1_000_000_000;
    let read_blocks = option(options, "read-mib", 8)?.clamp(1, FILM_BLOCKS);
    let streams = option(options, "streams", 4)?.max(1);
    let keep_blocks = option(options, "keep-mib", 64)? / streams;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let node = ShieldNode {
            node_id: "shield-0".into(),
            address,
            state: NodeState::Ready.into(),
            ..Default::default()
        };
        let map = ShieldMap { generation: 1, shields: vec![node], store_id: "s".into() };
        let (_publish, map) = watch::channel(Arc::new(map));
        let client =
            ShieldClient::new(&credentials(Role::Edge)?, map, ClientConfig::default(), &Registry::new())?;
        // Warms the shield's cache.
        take(&client, ByteRange::new(0, FILM_BLOCKS * BLOCK_BYTES), &mut VecDeque::new(), 0).await?;
        println!("ready");
        let share = round_bytes / streams;
        for line in std::io::stdin().lines() {
            line?;
            let begun = tokio::time::Instant::now();
            let readers = (0..streams).map(|seed| {
                let client = client.clone();
                tokio::spawn(async move { read_share(&client, seed, share, read_blocks, keep_blocks).await })
            });
            let mut bytes = 0;
            for reader in futures::future::join_all(readers).await {
                bytes += reader??;
            }
            println!("{bytes} {}", begun.elapsed().as_secs_f64());
        }
        Ok(())
    })
}

async fn read_share(
    client: &ShieldClient,
    seed: u64,
    share: u64,
    read_blocks: u64,
    keep_blocks: u64,
) -> Result<u64> {
    let mut kept = VecDeque::new();
    let (mut done, mut state) = (0, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    while done < share {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let first = state % (FILM_BLOCKS - read_blocks + 1);
        let range = ByteRange::new(first * BLOCK_BYTES, (first + read_blocks) * BLOCK_BYTES);
        done += take(client, range, &mut kept, keep_blocks as usize).await?;
    }
    Ok(done)
}

/// Reads a range of whole blocks and keeps the last ones; how many bytes came.
async fn take(
    client: &ShieldClient,
    range: ByteRange,
    kept: &mut VecDeque<Bytes>,
    keep: usize,
) -> Result<u64> {
    let mut stream = std::pin::pin!(client.read(&film(), FILM_BLOCKS * BLOCK_BYTES, range, Priority::Demand));
    let mut bytes = 0;
    while let Some(slice) = stream.next().await {
        let (at, slice) = slice?;
        let index = at / BLOCK_BYTES;
        let right = slice.len() as u64 == BLOCK_BYTES
            && slice[..8] == index.to_be_bytes()
            && slice[slice.len() - 1] == index as u8;
        ensure!(right, "{} bytes at {at} are not block {index}", slice.len());
        bytes += slice.len() as u64;
        kept.push_back(slice);
        while kept.len() > keep {
            kept.pop_front();
        }
    }
    ensure!(bytes == range.len(), "{bytes} bytes came of {range:?}");
    Ok(bytes)
}

// --- measuring -------------------------------------------------------------------------------------------------------

/// A process of ours, ended with its handle.
struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Runs this program again as `role`, pinned to `core`.
    fn start(role: &str, core: usize, options: &[(&str, &str)]) -> Result<Self> {
        let core = core % std::thread::available_parallelism()?;
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(std::env::current_exe()?).args(["--run", role]);
        for (name, value) in options {
            command.arg(format!("--{name}")).arg(value);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("taskset")?;
        let input = child.stdin.take().context("stdin")?;
        let output = BufReader::new(child.stdout.take().context("stdout")?).lines();
        Ok(Self { child, input, output })
    }

    fn line(&mut self) -> Result<String> {
        self.output.next().with_context(|| "the process ended; its error is above")?.context("a line")
    }

    /// Seconds in user mode and in the kernel so far, and the most bytes that were resident.
    fn usage(&self) -> Result<(f64, f64, f64)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        // Counted from the state, which is field 3 of proc(5): utime is 14, stime 15.
        let number = |field: usize| -> Result<f64> { Ok(fields.get(field - 3).context("stat")?.parse()?) };
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let peak: f64 = peak.trim().trim_end_matches(" kB").parse()?;
        Ok((number(14)? / TICKS_PER_S, number(15)? / TICKS_PER_S, peak * 1024.0))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn measure(options: &HashMap<String, String>) -> Result<()> {
    let rounds = option(options, "rounds", 5)?.max(1);
    let mut shield = Process::start("shield", 0, &[])?;
    let address = shield.line()?;
    let given: Vec<(&str, &str)> = options.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut client = Process::start("client", 1, &[&[("address", address.as_str())], &given[..]].concat())?;
    ensure!(client.line()? == "ready", "the client did not start");
    println!("round  shield user+sys   client user+sys   both CPU-s/GB   GB/s   peak RSS shield, client MB");
    let mut rows = Vec::new();
    for round in 1..=rounds {
        let (s0, c0) = (shield.usage()?, client.usage()?);
        client.input.write_all(b"go\n")?;
        let line = client.line()?;
        let (s1, c1) = (shield.usage()?, client.usage()?);
        let (bytes, seconds) = line.split_once(' ').context("a report")?;
        let gb = bytes.parse::<f64>()? / 1e9;
        let cost = |a: (f64, f64, f64), b: (f64, f64, f64)| ((b.0 - a.0) / gb, (b.1 - a.1) / gb);
        let (s, c) = (cost(s0, s1), cost(c0, c1));
        let row = [s.0 + s.1, c.0 + c.1, s.0 + s.1 + c.0 + c.1, gb / seconds.parse::<f64>()?];
        println!(
            "{round:5}  {:.3} = {:.3}+{:.3}  {:.3} = {:.3}+{:.3}  {:.3}          {:.2}   {:.0}, {:.0}",
            row[0],
            s.0,
            s.1,
            row[1],
            c.0,
            c.1,
            row[2],
            row[3],
            s1.2 / 1e6,
            c1.2 / 1e6
        );
        rows.push(row);
        std::thread::sleep(Duration::from_millis(100));
    }
    let median = |column: usize| {
        let mut values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "median  shield {:.3}, client {:.3}, both {:.3} CPU-s/GB; {:.2} GB/s as run; a shield core {:.2} GB/s",
        median(0),
        median(1),
        median(2),
        median(3),
        1.0 / median(0).max(f64::MIN_POSITIVE)
    );
    Ok(())
}
