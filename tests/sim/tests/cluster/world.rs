//! One run: hosts on a network, a clock that steps, faults in their time, and a quiet end in which everything must settle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use control::documents;
use control::store::ConfigStore;
use edge::config::EdgeConfig;
use prometheus::Registry;
use shield::ShieldConfig;
use tokio::sync::watch;
use turmoil::Sim;

use super::bucket::{Buckets, Get};
use super::library::Library;
use super::nodes::{self, CONTROLS, EDGES, SHIELDS, Surroundings};
use super::plan::{Fault, Plan, Trouble, Watcher};
use super::store::{self, Remote};
use super::trace::Trace;
use super::viewer::{self, Report};

/// A step of the simulation.
const TICK: Duration = Duration::from_millis(10);
/// Longer than any fill, stall or avoidance lasts.
const SETTLE: Duration = Duration::from_secs(75);
/// No run takes longer, in simulated time.
const LONGEST: Duration = Duration::from_secs(1_800);
/// Connections and segments a socket holds for a host that doesn't take them.
const QUEUE: usize = 256;

/// What a run leaves behind.
pub(crate) struct Outcome {
    pub(crate) plan: Plan,
    pub(crate) reports: Vec<Report>,
    pub(crate) epilogue: Vec<Report>,
    pub(crate) gets: Vec<Get>,
    /// Metrics of each host's last process.
    pub(crate) registries: BTreeMap<&'static str, Registry>,
    /// The most bytes each host's cache held, and its bound.
    pub(crate) caches: BTreeMap<&'static str, (i64, u64)>,
    /// Simulated time it took.
    pub(crate) elapsed: Duration,
}

type Reports = Arc<Mutex<Vec<Report>>>;

/// All of a crowd, each in its time.
async fn crowd(watchers: Vec<Watcher>, library: Library, reports: Reports) {
    let tasks: Vec<_> = watchers
        .into_iter()
        .map(|watcher| {
            let (library, reports) = (library.clone(), reports.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(watcher.start_ms)).await;
                let report = viewer::watch(watcher, library).await;
                reports.lock().unwrap().push(report);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// What faults act on.
struct Levers {
    buckets: Buckets,
    library: Library,
    store: Remote,
    leaving: watch::Sender<Vec<&'static str>>,
}

impl Levers {
    fn begin(&self, sim: &mut Sim<'_>, plan: &Plan, trouble: &Trouble) {
        match *trouble {
            Trouble::Cut { edge, shield } => sim.partition(EDGES[edge], SHIELDS[shield]),
            Trouble::Deaf { edge, shield, edge_hears: false } => {
                sim.partition_oneway(SHIELDS[shield], EDGES[edge]);
            }
            Trouble::Deaf { edge, shield, .. } => sim.partition_oneway(EDGES[edge], SHIELDS[shield]),
            Trouble::EdgeCrash { edge } => sim.crash(EDGES[edge]),
            Trouble::Purge { bucket } => self.store.purge(bucket),
            Trouble::Isolated { edge } => {
                SHIELDS.iter().for_each(|shield| sim.partition(EDGES[edge], *shield))
            }
            Trouble::Crash { shield } => sim.crash(SHIELDS[shield]),
            Trouble::Hold { shield } => {
                others(SHIELDS[shield]).for_each(|host| sim.hold(SHIELDS[shield], host))
            }
            Trouble::Far { shield, ms } => others(SHIELDS[shield])
                .for_each(|host| sim.set_link_latency(SHIELDS[shield], host, Duration::from_millis(ms))),
            Trouble::Leave { shield } => self.leaving.send_modify(|names| names.push(SHIELDS[shield])),
            Trouble::ControlDown { both } => {
                sim.crash(CONTROLS[0]);
                if both {
                    sim.crash(CONTROLS[1]);
                }
            }
            Trouble::StoreAway => self.store.set_away(true),
            Trouble::Ill { bucket, ill, percent } => self.buckets.fall_ill(bucket, ill, percent),
            Trouble::Overwrite { film } => self.buckets.put(&self.library.publish(&plan.films[film])),
            Trouble::Delete { film } => self.buckets.delete(&self.library.newest(film)),
        }
    }

    fn end(&self, sim: &mut Sim<'_>, trouble: &Trouble) {
        match *trouble {
            Trouble::Cut { edge, shield } => sim.repair(EDGES[edge], SHIELDS[shield]),
            Trouble::Deaf { edge, shield, edge_hears: false } => {
                sim.repair_oneway(SHIELDS[shield], EDGES[edge]);
            }
            Trouble::Deaf { edge, shield, .. } => sim.repair_oneway(EDGES[edge], SHIELDS[shield]),
            Trouble::EdgeCrash { edge } => sim.bounce(EDGES[edge]),
            Trouble::Isolated { edge } => SHIELDS.iter().for_each(|shield| sim.repair(EDGES[edge], *shield)),
            Trouble::Crash { shield } => sim.bounce(SHIELDS[shield]),
            Trouble::Hold { shield } => {
                others(SHIELDS[shield]).for_each(|host| sim.release(SHIELDS[shield], host))
            }
            Trouble::Far { shield, .. } => others(SHIELDS[shield])
                .for_each(|host| sim.set_link_latency(SHIELDS[shield], host, Duration::from_millis(5))),
            Trouble::Leave { shield } => {
                self.leaving.send_modify(|names| names.retain(|name| *name != SHIELDS[shield]));
                sim.bounce(SHIELDS[shield]);
            }
            Trouble::ControlDown { both } => {
                sim.bounce(CONTROLS[0]);
                if both {
                    sim.bounce(CONTROLS[1]);
                }
            }
            Trouble::StoreAway => self.store.set_away(false),
            Trouble::Ill { bucket, ill, .. } => self.buckets.recover(bucket, ill),
            Trouble::Overwrite { .. } | Trouble::Delete { .. } | Trouble::Purge { .. } => {}
        }
    }
}

/// The hosts a shield talks to.
fn others(name: &'static str) -> impl Iterator<Item = &'static str> {
    CONTROLS.into_iter().chain(EDGES).chain(SHIELDS).filter(move |host| *host != name)
}

/// What is still to happen, soonest last.
fn schedule(faults: &[Fault]) -> Vec<(u64, bool, Trouble)> {
    let mut all: Vec<_> = faults
        .iter()
        .flat_map(|f| [(f.from_ms, true, f.trouble.clone()), (f.to_ms, false, f.trouble.clone())])
        .collect();
    all.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    all
}

/// Runs a plan. An error is turmoil's: a host whose software failed, or no end.
pub(crate) fn run(plan: Plan, trace: &Trace) -> Result<Outcome, String> {
    let library = Library::default();
    let buckets = Buckets::new(plan.seed);
    for spec in &plan.films {
        buckets.put(&library.publish(spec));
    }
    let (remote, served) = store::remote();
    let (leave, leaving) = watch::channel(Vec::new());
    let around = Surroundings {
        store: Arc::new(remote.clone()),
        buckets: buckets.clone(),
        registries: Arc::default(),
        leaving,
        edge: EdgeConfig { cache_bytes: plan.edge_cache_bytes, ..EdgeConfig::default() },
        shield: ShieldConfig { cache_bytes: 256 << 20, ..ShieldConfig::default() },
    };
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.seed)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .tick_duration(TICK)
        .simulation_duration(LONGEST)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(QUEUE)
        .enable_random_order()
        .build();

    let served = Mutex::new(Some(served));
    let documents: Vec<_> = (0..2).map(nodes::distribution).collect();
    let store = remote.clone();
    sim.host("store", move || {
        let (served, documents, store) = (served.lock().unwrap().take(), documents.clone(), store.clone());
        async move {
            let serving = tokio::spawn(served.ok_or("the store is not restarted")?.serve());
            for document in documents {
                store.commit(documents::put_distribution(None, &document)?).await?;
            }
            Ok(serving.await??)
        }
    });
    for name in CONTROLS {
        let around = around.clone();
        sim.host(name, move || nodes::control(name, around.clone()));
    }
    for name in SHIELDS {
        let around = around.clone();
        sim.host(name, move || nodes::shield(name, around.clone()));
    }
    for name in EDGES {
        let around = around.clone();
        sim.host(name, move || nodes::edge(name, around.clone()));
    }
    let (reports, last) = (Reports::default(), Reports::default());
    {
        let (watchers, epilogue) = (plan.watchers.clone(), plan.epilogue.clone());
        let (library, reports, last) = (library.clone(), reports.clone(), last.clone());
        let faults_end = plan.faults.iter().map(|f| f.to_ms).max().unwrap_or(0);
        sim.client("crowd", async move {
            crowd(watchers, library.clone(), reports).await;
            let now = turmoil::sim_elapsed().unwrap_or_default();
            tokio::time::sleep(Duration::from_millis(faults_end).saturating_sub(now) + SETTLE).await;
            crowd(epilogue, library, last).await;
            // Closed connections are noticed, gauges refreshed.
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(())
        });
    }

    let levers = Levers { buckets: buckets.clone(), library, store: remote, leaving: leave };
    let mut ahead = schedule(&plan.faults);
    let mut caches: BTreeMap<&'static str, (i64, u64)> = BTreeMap::new();
    let mut look_at = Duration::ZERO;
    loop {
        let now = sim.elapsed();
        trace.set_now(now);
        while let Some((_, begins, trouble)) = ahead.pop_if(|(at, ..)| Duration::from_millis(*at) <= now) {
            tracing::info!(target: "sim", ?trouble, begins, "fault");
            if begins { levers.begin(&mut sim, &plan, &trouble) } else { levers.end(&mut sim, &trouble) }
        }
        if now >= look_at {
            look_at = now + Duration::from_secs(2);
            look(&around, &mut caches);
        }
        if sim.step().map_err(|e| e.to_string())? {
            break;
        }
    }
    look(&around, &mut caches);
    let registries = around.registries.lock().unwrap().clone();
    let elapsed = sim.elapsed();
    // Hosts die before what they refer to.
    drop(sim);
    let reports = std::mem::take(&mut *reports.lock().unwrap());
    let epilogue = std::mem::take(&mut *last.lock().unwrap());
    Ok(Outcome { plan, reports, epilogue, gets: buckets.gets(), registries, caches, elapsed })
}

/// Notes what caches hold.
fn look(around: &Surroundings, caches: &mut BTreeMap<&'static str, (i64, u64)>) {
    for (name, registry) in around.registries.lock().unwrap().iter() {
        let (metric, bound) = if SHIELDS.contains(name) {
            ("penstock_shield_cache_bytes", around.shield.cache_bytes)
        } else if EDGES.contains(name) {
            ("penstock_edge_cache_bytes", around.edge.cache_bytes)
        } else {
            continue;
        };
        let held = super::verdict::gauge(registry, metric) as i64;
        let most = caches.entry(name).or_insert((0, bound));
        most.0 = most.0.max(held);
    }
}
