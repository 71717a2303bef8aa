//! What `compare` is told.

use clap::ValueEnum;

/// A row of the table, or a group of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// Fast viewers of one film that is hot in the edge, chunk size 4096
    #[value(alias = "a")]
    Fast,
    /// The same with chunk size 65536
    #[value(name = "fast-64k")]
    Fast64k,
    /// 300 viewers paced at 5 Mb/s
    #[value(alias = "b")]
    Paced,
    /// 2,000 viewers at 500 kb/s over 20 films
    #[value(alias = "c")]
    Many,
    /// 4 GB of films through an edge cache of 64 MiB: all from the shield in a process of its own
    #[value(alias = "d")]
    Wide,
    /// Fast viewers over RTMPE beside plain ones, and RC4 alone
    Rtmpe,
    /// 2,000 RTMPT sessions at 500 kb/s on two cores shared with the driver, beside plain ones
    Rtmpt,
    /// 1,000 RTMPT viewers that have paused: requests and memory
    RtmptIdle,
    /// 300 viewers paced at 5 Mb/s with and without access logs, and a profile of the edge: what its logs cost
    Logs,
    /// What the machine can do at most: HTTP sendfile, bare writev
    Limits,
    /// First frames and seeks through a relay, everything cold
    Cold,
    /// 10,000 connected sessions that play nothing
    Idle,
    /// 10 minutes of 500 viewers with churn, seeks and pauses: does memory grow?
    Soak,
}

/// What films come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Container {
    /// MP4, moov last
    Mp4,
    /// FLV with an index
    Flv,
}

/// Measures Penstock beside nginx-rtmp.
#[derive(Clone, Debug, clap::Parser)]
#[command(version, about)]
pub struct Options {
    /// The rows; all but soak if none is named
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// Alternating rounds of each row
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round of each row with few viewers: checks bytes and stalls, measures nothing worth keeping
    #[arg(long)]
    pub quick: bool,
    /// Container of the films in the rows on speed
    #[arg(long, value_enum, default_value = "mp4")]
    pub container: Container,
    /// Record the server with perf in one more round of fast and many, and keep the report
    #[arg(long)]
    pub profile: bool,
    /// Round trip to the bucket in the cold rows, in ms
    #[arg(long, default_value_t = 30)]
    pub latency_ms: u64,
    /// Rate of the way to the bucket in the cold rows, in bytes a second
    #[arg(long, default_value_t = 20_000_000)]
    pub rate_bytes_per_s: u64,
    /// Length of the soak, in seconds
    #[arg(long, default_value_t = 600)]
    pub soak_s: u64,
}

impl Options {
    /// The rows to run.
    pub fn rows(&self) -> Vec<Row> {
        if !self.rows.is_empty() {
            return self.rows.clone();
        }
        Row::value_variants().iter().copied().filter(|row| self.quick || *row != Row::Soak).collect()
    }

    /// Rounds of each row.
    pub fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    /// `full`, or `short` in a quick run.
    pub fn pick<T>(&self, full: T, short: T) -> T {
        if self.quick { short } else { full }
    }
}
