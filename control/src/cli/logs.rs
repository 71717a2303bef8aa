//! `logs`: access logs as they come, and how they stand.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Subcommand;
use penstock_control::access_log::{format, refusal};
use penstock_control::client::admin::Admin;
use proto::status::RemoteError;
use proto::v1::{LogRefusal, LogStats, LogTarget, TailRequest};

use super::{Answer, seconds};

#[derive(Subcommand)]
pub(crate) enum LogsCommand {
    /// Print records as edges hand them over, as lines of a log file; records appear there before they are delivered to a bucket
    Tail {
        /// Only of this distribution [default: of all]
        distribution: Option<String>,
        /// Go on with what comes from now on, until interrupted; this is the default
        #[arg(long, overrides_with = "no_follow")]
        follow: bool,
        /// Print what waits for delivery now, and end
        #[arg(long)]
        no_follow: bool,
        /// Begin with what waits for delivery
        #[arg(long)]
        backlog: bool,
    },
    /// Show what was delivered for each distribution, what waits, and which buckets refuse
    Stats {
        /// Only this distribution [default: all that have logs]
        distribution: Option<String>,
        /// As JSON: a list of objects
        #[arg(long)]
        json: bool,
    },
}

/// The outer error is of this side.
pub(super) async fn logs(admin: &mut Admin, command: &LogsCommand) -> Result<Answer> {
    match command {
        LogsCommand::Tail { distribution, follow: _, no_follow, backlog } => {
            let request = TailRequest {
                distribution_id: distribution.clone().unwrap_or_default(),
                backlog: *backlog || *no_follow,
                no_follow: *no_follow,
            };
            tail(admin, request).await
        }
        LogsCommand::Stats { distribution, json } => {
            let id = distribution.as_deref().unwrap_or_default();
            let stats = match admin.log_stats(id).await {
                Ok(stats) => stats,
                Err(error) => return Ok(Err(error)),
            };
            if *json {
                let all: Vec<serde_json::Value> = stats.iter().map(to_json).collect();
                println!("{}", serde_json::to_string_pretty(&all)?);
            } else {
                table(&stats);
            }
            Ok(Ok(()))
        }
    }
}

async fn tail(admin: &mut Admin, request: TailRequest) -> Result<Answer> {
    let mut events = match admin.tail_logs(request).await {
        Ok(events) => events,
        Err(error) => return Ok(Err(error)),
    };
    let mut printed = false;
    loop {
        let event = match events.next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(Ok(())),
            // Another control must not print the same once more.
            Err(error) if printed => return Err(error.into()),
            Err(error) => return Ok(Err(error)),
        };
        printed = true;
        if event.skipped_segments > 0 {
            eprintln!("{} segments were left out", event.skipped_segments);
        }
        let mut lines = String::new();
        for record in &event.records {
            lines.push_str(&format::line(record));
            lines.push('\n');
        }
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
            // Whoever read has seen enough.
            return match error.kind() {
                std::io::ErrorKind::BrokenPipe => Ok(Ok(())),
                _ => Err(error).context("standard output"),
            };
        }
    }
}

fn place(target: Option<&LogTarget>) -> String {
    match target {
        Some(target) if target.prefix.is_empty() => target.bucket_host.clone(),
        Some(target) => format!("{}/{}", target.bucket_host, target.prefix.trim_end_matches('/')),
        None => "-".into(),
    }
}

fn table(all: &[LogStats]) {
    println!(
        "{:14} {:>12} {:>8} {:>14} {:>12} {:>10}  to",
        "distribution", "delivered", "files", "bytes", "waiting", "oldest"
    );
    for stats in all {
        let delivered = stats.delivered.clone().unwrap_or_default();
        let more = if stats.at_least { "+" } else { "" };
        let waiting = format!("{}{more}", stats.waiting_records);
        let oldest = if stats.oldest_waiting_ms == 0 { "-".into() } else { seconds(stats.oldest_waiting_ms) };
        println!(
            "{:14} {:>12} {:>8} {:>14} {waiting:>12} {oldest:>10}  {}",
            stats.distribution_id,
            delivered.records,
            delivered.files,
            delivered.bytes,
            place(stats.logging.as_ref())
        );
        if delivered.dropped_records > 0 {
            println!("    given up, undelivered: {} records", delivered.dropped_records);
        }
        if delivered.lost_records > 0 {
            let (records, last) = (delivered.lost_records, &delivered.last_lost);
            println!("    lost from staging: {records} records, the last of {last}");
        }
        for refusal in &stats.refusals {
            println!("    {}", refused(refusal));
        }
    }
}

fn refused(refusal: &LogRefusal) -> String {
    // What a bucket said may hold anything; a terminal shall only show it.
    let said: String = refusal.error.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!(
        "{} takes no files: {} ({} attempts, {} records wait; it said: {said})",
        place(refusal.target.as_ref()),
        refusal::meaning(&refusal.error),
        refusal.attempts,
        refusal.records,
    )
}

fn to_json(stats: &LogStats) -> serde_json::Value {
    let delivered = stats.delivered.clone().unwrap_or_default();
    let target = |target: Option<&LogTarget>| {
        target.map(|t| serde_json::json!({"bucket": t.bucket_host, "prefix": t.prefix, "account": t.account}))
    };
    let refusal = |refusal: &LogRefusal| {
        serde_json::json!({
            "target": target(refusal.target.as_ref()),
            "error": refusal.error,
            "meaning": refusal::meaning(&refusal.error),
            "attempts": refusal.attempts,
            "records": refusal.records,
            "since_ms": refusal.since_ms,
            "next_try_ms": refusal.next_try_ms,
        })
    };
    serde_json::json!({
        "distribution": stats.distribution_id,
        "target": target(stats.logging.as_ref()),
        "delivered": {
            "records": delivered.records,
            "files": delivered.files,
            "bytes": delivered.bytes,
            "last_key": delivered.last_key,
            "last_ms": delivered.last_ms,
            "dropped_records": delivered.dropped_records,
            "lost_records": delivered.lost_records,
            "last_lost": delivered.last_lost,
            "last_lost_ms": delivered.last_lost_ms,
        },
        "waiting": {
            "records": stats.waiting_records,
            "bytes": stats.waiting_bytes,
            "oldest_ms": stats.oldest_waiting_ms,
            "at_least": stats.at_least,
        },
        "refusals": stats.refusals.iter().map(refusal).collect::<Vec<_>>(),
    })
}

/// A line of `status` for each bucket that refuses; none if none does.
pub(super) async fn refusals(admin: &mut Admin) {
    let stats: Result<_, RemoteError> = admin.log_stats("").await;
    match stats {
        Ok(all) => {
            for stats in &all {
                for refusal in &stats.refusals {
                    println!("access logs of {}: {}", stats.distribution_id, refused(refusal));
                }
            }
        }
        Err(error) => println!("access logs: unknown ({error})"),
    }
}
