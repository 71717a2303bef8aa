//! The invariants, checked when a run is over. Each broken one is a line that says what and where.
//!
//! What viewers checked themselves, message by message (one version, nobody else's bytes, order, times, a word before every end), comes
//! as their reports. Here it is joined with the schedule: who must not have failed, who must not have waited, which GET needs a reason.

use std::collections::BTreeMap;

use prometheus::Registry;

use super::bucket::{self, Get, How};
use super::nodes::{EDGES, SHIELDS};
use super::plan::{Fault, Plan, Trouble};
use super::trace::{Session, Sessions};
use super::viewer::{End, Report};
use super::world::Outcome;

/// What a play may fail with.
const CLEAR: [&str; 2] = ["NetStream.Failed", "NetStream.Play.StreamNotFound"];
/// The network's and the bucket's own latency, on top of a viewer's buffer.
const SLACK_MS: u64 = 700;

/// How often something was judged: a check that judged nothing proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judged {
    pub(crate) viewers: usize,
    pub(crate) finished: usize,
    pub(crate) refused: usize,
    /// Viewers whose edge was killed.
    pub(crate) lost: usize,
    /// Viewers whom no fault could delay.
    pub(crate) unaffected: usize,
    pub(crate) blocks: usize,
    /// Blocks that were fetched more than once, with reason.
    pub(crate) refetched: usize,
    pub(crate) bytes: u64,
}

/// The sum of a metric's values.
pub(crate) fn gauge(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let found = families.iter().filter(|family| family.name() == name);
    found
        .flat_map(|family| family.get_metric())
        .map(|m| {
            m.get_gauge().get_value()
                + m.get_counter().get_value()
                + m.get_histogram().get_sample_count() as f64
        })
        .sum()
}

/// A metric's value under one label.
fn labelled(registry: &Registry, name: &str, label: &str) -> f64 {
    let families = registry.gather();
    let metrics = families.iter().filter(|family| family.name() == name).flat_map(|f| f.get_metric());
    let found = metrics.filter(|m| m.get_label().iter().any(|l| l.value() == label));
    found.map(|m| m.get_gauge().get_value()).sum()
}

/// What is wrong with a run; nothing, one hopes.
pub(crate) fn judge(outcome: &Outcome, sessions: &BTreeMap<Session, Sessions>) -> (Vec<String>, Judged) {
    let mut wrong = Vec::new();
    let mut judged = Judged::default();
    viewers(outcome, &mut wrong, &mut judged);
    gets(&outcome.plan, &outcome.gets, &mut wrong, &mut judged);
    for (name, (held, bound)) in &outcome.caches {
        if *held as u64 > *bound {
            wrong.push(format!("{name}: its cache held {held} bytes of {bound}"));
        }
    }
    at_rest(outcome, &mut wrong);
    records(outcome, sessions, &mut wrong);
    (wrong, judged)
}

/// The faults that could have touched a viewer, by `touches`.
fn touching<'a>(
    plan: &'a Plan,
    report: &Report,
    touches: fn(&Fault, usize, usize, usize) -> bool,
) -> Option<&'a Fault> {
    let watcher = &report.watcher;
    let bucket = plan.films[watcher.film].bucket;
    plan.faults.iter().find(|fault| {
        touches(fault, watcher.edge, watcher.film, bucket)
            && fault.overlaps(watcher.start_ms, report.ended_ms)
    })
}

fn viewers(outcome: &Outcome, wrong: &mut Vec<String>, judged: &mut Judged) {
    let plan = &outcome.plan;
    let planned = plan.watchers.len() + plan.epilogue.len();
    let all = outcome.reports.iter().chain(&outcome.epilogue);
    judged.viewers = all.clone().count();
    if judged.viewers != planned {
        wrong.push(format!("{} of {planned} viewers came back", judged.viewers));
    }
    for report in all {
        let name = &report.watcher.name;
        judged.bytes += report.bytes;
        for code in report.errors.iter().filter(|code| !CLEAR.contains(&code.as_str())) {
            wrong.push(format!("{name}: refused with {code}"));
        }
        match &report.end {
            Err(what) => wrong.push(format!("{name}: {what}")),
            Ok(End::Finished) => judged.finished += 1,
            Ok(End::Left) => {}
            Ok(End::Refused(_)) => judged.refused += 1,
            Ok(End::Lost(what)) => {
                judged.lost += 1;
                if touching(plan, report, Fault::cuts_off).is_none() {
                    wrong.push(format!("{name}: {what}, and its edge was well"));
                }
            }
        }
        let excused = touching(plan, report, Fault::refuses);
        if !report.errors.is_empty() && excused.is_none() {
            wrong.push(format!("{name}: {:?}, and no fault that explains it", report.errors));
        }
    }
    for report in &outcome.reports {
        let own = report.watcher.unpaced || report.dozed || report.samples == 0;
        if touching(plan, report, Fault::delays).is_none() && !own {
            judged.unaffected += 1;
            let patience = u64::from(report.watcher.buffer_ms.max(1_000)) + SLACK_MS;
            if report.late_ms > patience {
                let name = &report.watcher.name;
                wrong.push(format!(
                    "{name}: nothing was wrong with its path, and media came {} ms late",
                    report.late_ms
                ));
            }
        }
    }
    // When all is well again, what is there can be seen; what was deleted is refused, or was kept.
    let deleted = |film: usize| plan.faults.iter().any(|f| f.trouble == Trouble::Delete { film });
    for report in &outcome.epilogue {
        let watcher = &report.watcher;
        if report.end != Ok(End::Finished) && !deleted(watcher.film) {
            wrong.push(format!("{}: all is well again, yet it ended with {:?}", watcher.name, report.end));
        }
    }
}

/// One fetch a block: every further GET of one has a reason.
fn gets(plan: &Plan, gets: &[Get], wrong: &mut Vec<String>, judged: &mut Judged) {
    for ((version, block), gets) in bucket::by_block(gets) {
        judged.blocks += 1;
        judged.refetched += usize::from(gets.len() > 1);
        for (i, get) in gets.iter().enumerate().skip(1) {
            let before = &gets[..i];
            if before.iter().any(|b| b.how != How::Well) {
                // What was asked before didn't bring it, or brought it too late.
                continue;
            }
            let (from_ms, to_ms) = (gets[i - 1].at.as_millis() as u64, get.at.as_millis() as u64);
            let purged = |f: &Fault| f.trouble == Trouble::Purge { bucket: get.bucket };
            let moved =
                plan.faults.iter().any(|f| (f.moves_homes() || purged(f)) && f.overlaps(from_ms, to_ms));
            let own = before.iter().rfind(|b| b.shield == get.shield);
            let emptied = |since: u64| {
                plan.faults.iter().any(|f| match f.trouble {
                    Trouble::Crash { shield } | Trouble::Leave { shield } => {
                        SHIELDS[shield] == get.shield && f.from_ms <= to_ms && f.to_ms >= since
                    }
                    Trouble::Purge { bucket } => bucket == get.bucket && f.overlaps(since, to_ms),
                    _ => false,
                })
            };
            if let Some(own) = own.filter(|own| !emptied(own.at.as_millis() as u64)) {
                wrong.push(format!(
                    "{version} block {block}: {} fetched it at {:?} and again at {:?}",
                    get.shield, own.at, get.at
                ));
            } else if !moved {
                wrong.push(format!(
                    "{version} block {block}: fetched by {} at {:?} and by {} at {:?}, and no fault between",
                    gets[i - 1].shield,
                    gets[i - 1].at,
                    get.shield,
                    get.at
                ));
            }
        }
    }
}

/// Nothing under way, nothing held: sessions, streams, fills, permits.
fn at_rest(outcome: &Outcome, wrong: &mut Vec<String>) {
    let zero = |names: &[&'static str], metrics: &[&str], wrong: &mut Vec<String>| {
        for name in names {
            let Some(registry) = outcome.registries.get(name) else {
                wrong.push(format!("{name}: never ran"));
                continue;
            };
            for metric in metrics {
                let value = gauge(registry, metric);
                if value != 0.0 {
                    wrong.push(format!("{name}: {metric} is {value} at the end"));
                }
            }
        }
    };
    zero(&EDGES, &["penstock_edge_sessions", "penstock_edge_playing_streams"], wrong);
    let shield = [
        "penstock_shield_filling_blocks",
        "penstock_shield_queued_fills",
        "penstock_shield_running_fills",
        "penstock_shield_read_streams",
        "penstock_shield_read_held_bytes",
    ];
    zero(&SHIELDS, &shield, wrong);
    // What may stay is what is cached: all that sessions, reads and parses were charged has been given back.
    for name in EDGES {
        let Some(registry) = outcome.registries.get(name) else { continue };
        for account in ["sessions", "read_ahead", "demand", "parses"] {
            let bytes = labelled(registry, "penstock_edge_memory_bytes", account);
            if bytes != 0.0 {
                wrong.push(format!("{name}: its account {account} holds {bytes} bytes at the end"));
            }
        }
    }
}

/// One connect and one disconnect a session, in the log and in the metric. A killed edge owes the disconnects of that life.
fn records(outcome: &Outcome, sessions: &BTreeMap<Session, Sessions>, wrong: &mut Vec<String>) {
    for edge in EDGES {
        let of_edge = || sessions.iter().filter(|((host, ..), _)| host == edge);
        let last = of_edge().map(|((_, life, _), _)| *life).max().unwrap_or_default();
        for ((_, life, session), count) in of_edge() {
            if count.connects != 1 || count.disconnects > 1 || (*life == last && count.disconnects != 1) {
                wrong.push(format!("{edge}: session {session} left {count:?}"));
            }
        }
        let logged = of_edge().filter(|((_, life, _), _)| *life == last).count();
        let counted = outcome.registries.get(edge).map_or(0.0, |r| gauge(r, "penstock_edge_session_seconds"));
        if logged != counted as usize {
            wrong.push(format!("{edge}: {logged} sessions were logged, {counted} counted"));
        }
        let all = outcome.reports.iter().chain(&outcome.epilogue);
        let came =
            all.filter(|r| EDGES[r.watcher.edge] == edge && !matches!(r.end, Ok(End::Lost(_)))).count();
        if of_edge().count() < came {
            wrong.push(format!("{edge}: {came} viewers came, {} sessions were logged", of_edge().count()));
        }
    }
}
