//! Runs of the simulation, each in a process of its own; see the crate's page.

mod bucket;
mod film;
mod library;
mod network;
mod nodes;
mod plan;
mod store;
mod trace;
mod verdict;
mod viewer;
mod world;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use plan::Plan;
use trace::Trace;
use tracing::Level;

/// Seeds of a usual run: each theme once.
const SEEDS: usize = 12;
/// Tells a process of this executable which seed it is to run.
const ONE_RUN: &str = "PENSTOCK_SIM_ONE_RUN";
/// Where it writes its trace.
const TRACE: &str = "PENSTOCK_SIM_TRACE";

fn variable(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name}: '{value}' is no number")))
}

/// Starts a process for one seed and waits for it.
fn process(seed: u64, trace: Option<&PathBuf>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "one_run", "--nocapture", "--test-threads=1"]).env(ONE_RUN, seed.to_string());
    if let Some(path) = trace {
        command.env(TRACE, path);
    }
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Not a test of its own: the run of one seed, for the process that the others start.
#[test]
fn one_run() {
    let Some(seed) = variable(ONE_RUN) else { return };
    // The thread's name gives it its seed: see fate/fate.c.
    let run = std::thread::Builder::new()
        .name(format!("sim-{seed}"))
        .stack_size(16 << 20)
        .spawn(move || simulate(seed));
    let wrong = run.unwrap().join().unwrap();
    assert!(wrong.is_empty(), "seed {seed}: {} invariants are broken", wrong.len());
}

fn simulate(seed: u64) -> Vec<String> {
    let alone = variable("PENSTOCK_SIM_SEED").is_some();
    let level = match std::env::var("PENSTOCK_SIM_LOG").as_deref() {
        Ok("debug") => Level::DEBUG,
        _ => Level::INFO,
    };
    let trace = Trace::new(alone);
    let _listening = trace.listen(level);
    // A panic in a task ends the task and nothing else, so it must be noticed here.
    let panics: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, usual) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        noted.lock().unwrap().push(format!("panic: {panic}"));
        usual(panic);
    }));
    let plan = Plan::of(seed);
    let summary =
        format!("seed {seed}, theme {}, edge caches of {} MiB", plan.theme, plan.edge_cache_bytes >> 20);
    println!("{summary}");
    for fault in &plan.faults {
        println!("  {:>6}..{:<6} {:?}", fault.from_ms, fault.to_ms, fault.trouble);
    }
    let mut wrong = match world::run(plan, &trace) {
        Ok(outcome) => {
            let (wrong, judged) = verdict::judge(&outcome, &trace.sessions());
            println!("  {:.0} s simulated, {judged:?}", outcome.elapsed.as_secs_f64());
            wrong
        }
        Err(error) => vec![format!("the simulation failed: {error}")],
    };
    wrong.extend(panics.lock().unwrap().drain(..));
    let (lines, hash) = trace.hash();
    println!("  trace of {lines} lines: {hash}");
    for line in &wrong {
        println!("BROKEN {line}");
    }
    if let Ok(path) = std::env::var(TRACE) {
        std::fs::write(path, trace.lines().join("\n")).unwrap();
    }
    wrong
}

/// Every theme once, and more seeds in the long tier: whatever breaks, the invariants hold.
#[test]
fn the_invariants_hold_whatever_breaks() {
    if variable(ONE_RUN).is_some() {
        return;
    }
    let (first, count) = match variable("PENSTOCK_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (variable("PENSTOCK_SIM_FROM").unwrap_or(0), tests::scale(SEEDS) as u64),
    };
    let next = AtomicU64::new(first);
    let failed: Mutex<Vec<String>> = Mutex::default();
    let lanes = std::thread::available_parallelism().map_or(1, |n| n.get()).min(4);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    // How long a run takes for whoever waits for the tests: the real clock, outside the simulation.
                    #[allow(clippy::disallowed_methods)]
                    let begun = Instant::now();
                    let output = process(seed, None);
                    let text = printed(&output);
                    println!("{text}  {:.1} s", begun.elapsed().as_secs_f64());
                    if !output.status.success() {
                        failed.lock().unwrap().push(format!("PENSTOCK_SIM_SEED={seed}\n{text}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} seeds failed:\n{}", failed.len(), failed.join("\n"));
}

/// What makes a seed worth keeping: two runs of it can't be told apart.
#[test]
fn the_same_seed_gives_the_same_trace() {
    if variable(ONE_RUN).is_some() || variable("PENSTOCK_SIM_SEED").is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // All kinds of faults, among them restarts.
    let seed = 11;
    let paths = [folder.path().join("one"), folder.path().join("two")];
    std::thread::scope(|scope| {
        for path in &paths {
            scope.spawn(|| process(seed, Some(path)));
        }
    });
    let [one, two] = paths.map(|path| std::fs::read_to_string(path).unwrap());
    assert!(one.lines().count() > 100, "a trace of {} lines", one.lines().count());
    let differs = one.lines().zip(two.lines()).position(|(a, b)| a != b);
    if let Some(at) = differs {
        let around =
            |text: &str| text.lines().skip(at.saturating_sub(5)).take(8).collect::<Vec<_>>().join("\n");
        panic!(
            "seed {seed}: the runs part at line {at}:\n{}\n--- the other:\n{}",
            around(&one),
            around(&two)
        );
    }
    assert_eq!(one.len(), two.len(), "one trace goes on where the other ends");
}
