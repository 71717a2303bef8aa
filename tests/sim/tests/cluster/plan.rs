//! What a seed means: the films, who watches them, and what breaks when.
//!
//! The seed's remainder chooses a theme, so that a handful of neighbouring seeds sees every kind of fault; the rest is drawn. However they
//! fall, each edge keeps one shield that nothing is wrong with, unless the theme is to cut it off: then sessions must go on.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::bucket::Ill;
use super::film::Spec;

/// Themes, by the seed's remainder.
const THEMES: u64 = 12;
/// Kinds of trouble that join a theme's own.
const PURGE: u64 = 20;
const EDGE_CRASH: u64 = 21;
/// How long after a fault its traces may be felt: avoided shields, connections that are made anew, resumed bodies.
pub(crate) const AFTERMATH_MS: u64 = 20_000;

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// Nothing passes between an edge and a shield.
    Cut { edge: usize, shield: usize },
    /// Nothing passes one way between them; the other way all does.
    Deaf { edge: usize, shield: usize, edge_hears: bool },
    /// An edge reaches no shield.
    Isolated { edge: usize },
    /// Killed, later started with an empty cache.
    Crash { shield: usize },
    /// Stopped as by SIGSTOP: connections are accepted, nothing is answered; later it goes on.
    Hold { shield: usize },
    /// Its network is this slow.
    Far { shield: usize, ms: u64 },
    /// Leaves the ring in good order, later joins again with an empty cache.
    Leave { shield: usize },
    /// An edge is killed with its sessions, and started again.
    EdgeCrash { edge: usize },
    /// A control replica is killed, or both.
    ControlDown { both: bool },
    /// No control replica reaches the store.
    StoreAway,
    /// A bucket's requests fail.
    Ill { bucket: usize, ill: Ill, percent: u32 },
    /// A film is replaced by another version.
    Overwrite { film: usize },
    /// A film is deleted.
    Delete { film: usize },
    /// An operator orders the cluster to forget a bucket. (Its end is when all have heard of it.)
    Purge { bucket: usize },
}

/// A trouble and its time.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
    pub(crate) trouble: Trouble,
}

impl Fault {
    /// Whether it, or its aftermath, falls into `[from, to]`.
    pub(crate) fn overlaps(&self, from_ms: u64, to_ms: u64) -> bool {
        let forever = matches!(self.trouble, Trouble::Overwrite { .. } | Trouble::Delete { .. });
        self.from_ms <= to_ms && (forever || self.to_ms + AFTERMATH_MS >= from_ms)
    }

    /// Whether a viewer of this film at this edge may wait because of it.
    pub(crate) fn delays(&self, edge: usize, film: usize, bucket: usize) -> bool {
        match self.trouble {
            Trouble::Cut { edge: e, .. } | Trouble::Deaf { edge: e, .. } | Trouble::Isolated { edge: e } => {
                e == edge
            }
            Trouble::Crash { .. } | Trouble::Hold { .. } | Trouble::Far { .. } | Trouble::Leave { .. } => {
                true
            }
            Trouble::EdgeCrash { edge: e } => e == edge,
            // After a purge bytes are fetched anew, but as fast as the first time.
            Trouble::ControlDown { .. } | Trouble::StoreAway | Trouble::Purge { .. } => false,
            Trouble::Ill { bucket: b, .. } => b == bucket,
            Trouble::Overwrite { film: f } | Trouble::Delete { film: f } => f == film,
        }
    }

    /// Whether such a viewer's play may fail because of it. Where a shield is left, no play may.
    pub(crate) fn refuses(&self, edge: usize, film: usize, bucket: usize) -> bool {
        match self.trouble {
            Trouble::Isolated { .. } | Trouble::Overwrite { .. } | Trouble::Delete { .. } => {
                self.delays(edge, film, bucket)
            }
            Trouble::Ill { bucket: b, ill, .. } => {
                b == bucket && !matches!(ill, Ill::Slow(late) if late < Duration::from_secs(4))
            }
            _ => false,
        }
    }

    /// Whether connections to this edge may break because of it.
    pub(crate) fn cuts_off(&self, edge: usize, _film: usize, _bucket: usize) -> bool {
        self.trouble == Trouble::EdgeCrash { edge }
    }

    /// Whether another shield than before may be asked for bytes because of it.
    pub(crate) fn moves_homes(&self) -> bool {
        use Trouble::*;
        matches!(
            self.trouble,
            Cut { .. }
                | Deaf { .. }
                | Isolated { .. }
                | Crash { .. }
                | Hold { .. }
                | Far { .. }
                | Leave { .. }
        )
    }

    /// The shield that is not itself during it.
    fn shield(&self) -> Option<usize> {
        use Trouble::*;
        match self.trouble {
            Cut { shield, .. }
            | Deaf { shield, .. }
            | Crash { shield }
            | Hold { shield }
            | Far { shield, .. }
            | Leave { shield } => Some(shield),
            _ => None,
        }
    }
}

/// One thing a viewer does, once media flows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Watches for so many ms.
    Watch(u64),
    /// Seeks to so many ms of the film.
    Seek(u32),
    /// Pauses for so many ms.
    Pause(u64),
    /// Takes no byte from its socket for so many ms, as a player whose machine is busy.
    Doze(u64),
    /// Hangs up.
    Leave,
}

/// One viewer.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) name: String,
    pub(crate) edge: usize,
    pub(crate) film: usize,
    pub(crate) start_ms: u64,
    /// Where in the film its play begins.
    pub(crate) from_ms: u32,
    pub(crate) buffer_ms: u32,
    pub(crate) unpaced: bool,
    /// What it does; then it watches to the end.
    pub(crate) steps: Vec<Step>,
    /// Hangs up so long after its play command, whatever has come by then.
    pub(crate) leaves_after_ms: Option<u64>,
    /// How often it may ask again when a play fails.
    pub(crate) retries: u32,
}

/// All of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) theme: u64,
    pub(crate) films: Vec<Spec>,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) faults: Vec<Fault>,
    /// Those who come when everything is well again.
    pub(crate) epilogue: Vec<Watcher>,
    pub(crate) edge_cache_bytes: u64,
}

fn films() -> Vec<Spec> {
    let film = |id, bucket, key: &str, seconds, bytes, indexed| Spec {
        id,
        bucket,
        key: key.into(),
        seconds,
        bytes,
        indexed,
    };
    vec![
        film(1, 0, "films/long.flv", 70, 35 << 20, true),
        film(2, 0, "films/second.flv", 40, 18 << 20, false),
        // The same key as the first, in another bucket.
        film(3, 1, "films/long.flv", 45, 20 << 20, true),
        film(4, 1, "short.flv", 12, 3 << 19, false),
    ]
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let theme = seed % THEMES;
        let films = films();
        let faults = faults(theme, &mut rng);
        let mut watchers: Vec<Watcher> =
            (0..rng.random_range(8..14)).map(|i| watcher(i, &films, &mut rng)).collect();
        if theme == 9 || theme == 11 {
            watchers.extend(herd(&films, &mut rng));
        }
        let last = |edge: usize| Watcher {
            name: format!("last-{edge}"),
            edge,
            film: (seed as usize + edge) % films.len(),
            start_ms: 0,
            from_ms: 0,
            buffer_ms: 1000,
            unpaced: true,
            steps: Vec::new(),
            leaves_after_ms: None,
            retries: 3,
        };
        let epilogue = vec![last(0), last(1)];
        let edge_cache_bytes = *[8 << 20, 24 << 20, 256 << 20].choose(&mut rng).unwrap();
        // With an edge cut off from shields, what it holds plays on; here it must not hold everything.
        let edge_cache_bytes = if theme == 10 { 8 << 20 } else { edge_cache_bytes };
        Self { seed, theme, films, watchers, faults, epilogue, edge_cache_bytes }
    }
}

fn watcher(number: usize, films: &[Spec], rng: &mut SmallRng) -> Watcher {
    let film = rng.random_range(0..films.len());
    let end_ms = films[film].seconds * 1000;
    let place = |rng: &mut SmallRng| rng.random_range(0..end_ms - 2_000);
    let from_ms = if rng.random_ratio(1, 2) { 0 } else { place(rng) };
    let mut steps = Vec::new();
    for _ in 0..rng.random_range(0..4) {
        steps.push(Step::Watch(rng.random_range(500..6_000)));
        steps.push(match rng.random_range(0..6) {
            0..4 => Step::Seek(place(rng)),
            4 => Step::Pause(rng.random_range(500..8_000)),
            _ => Step::Doze(rng.random_range(500..8_000)),
        });
    }
    if rng.random_ratio(1, 3) {
        steps.push(Step::Watch(rng.random_range(500..10_000)));
        steps.push(Step::Leave);
    }
    let unpaced = steps.is_empty() && rng.random_ratio(1, 3);
    Watcher {
        name: format!("viewer-{number}"),
        edge: rng.random_range(0..2),
        film,
        start_ms: rng.random_range(8_000..60_000),
        from_ms,
        buffer_ms: *[300, 1_000, 3_000, 5_000].choose(rng).unwrap(),
        unpaced,
        steps,
        leaves_after_ms: rng.random_ratio(1, 8).then(|| rng.random_range(0..400)),
        retries: rng.random_range(0..3),
    }
}

/// Many viewers of one film within an instant, half of whom hang up while their first bytes are still on their way.
fn herd(films: &[Spec], rng: &mut SmallRng) -> Vec<Watcher> {
    let (film, start_ms) = (rng.random_range(0..2), rng.random_range(10_000..30_000));
    let from_ms = rng.random_range(0..films[film].seconds * 500);
    let member = |i: usize| Watcher {
        name: format!("herd-{i}"),
        edge: i % 2,
        film,
        start_ms: start_ms + rng.random_range(0..30),
        from_ms,
        buffer_ms: 300,
        unpaced: false,
        steps: vec![Step::Watch(2_000), Step::Leave],
        // The first are first to ask, so fills begin with them.
        leaves_after_ms: (i < 25).then(|| rng.random_range(0..150)),
        retries: 0,
    };
    (0..50).map(member).collect()
}

fn faults(theme: u64, rng: &mut SmallRng) -> Vec<Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let count = if theme == 11 { 7 } else { 2 };
    let own = if theme == 0 || theme == 9 { 0 } else { count };
    let mut kinds: Vec<u64> =
        (0..own).map(|_| if theme == 11 { rng.random_range(1..9) } else { theme }).collect();
    // A purge makes caches cold again, whatever else there is.
    kinds.extend(rng.random_ratio(1, 2).then_some(PURGE));
    kinds.extend((theme == 4 || theme == 11).then_some(EDGE_CRASH));
    for kind in kinds {
        for _ in 0..50 {
            let from_ms = rng.random_range(10_000..55_000);
            let to_ms = from_ms + rng.random_range(3_000..25_000);
            let fault = Fault { from_ms, to_ms, trouble: trouble(kind, rng) };
            if is_bearable(&fault, &faults) {
                faults.push(fault);
                break;
            }
        }
    }
    faults.sort_by_key(|fault| fault.from_ms);
    faults
}

fn trouble(kind: u64, rng: &mut SmallRng) -> Trouble {
    let (edge, shield) = (rng.random_range(0..2), rng.random_range(0..3));
    let bucket = usize::from(rng.random_ratio(1, 3));
    let percent = *[30, 60, 100].choose(rng).unwrap();
    let toss: bool = rng.random();
    match kind {
        1 if toss => Trouble::Cut { edge, shield },
        1 => Trouble::Deaf { edge, shield, edge_hears: rng.random() },
        2 => Trouble::Crash { shield },
        3 if toss => Trouble::Hold { shield },
        3 => Trouble::Far { shield, ms: rng.random_range(100..900) },
        4 if toss => Trouble::StoreAway,
        4 => Trouble::ControlDown { both: rng.random_ratio(2, 3) },
        5 => Trouble::Leave { shield },
        6 if toss => Trouble::Ill { bucket, ill: Ill::Errors, percent },
        6 => Trouble::Ill {
            bucket,
            ill: Ill::Slow(Duration::from_millis(rng.random_range(200..9_000))),
            percent,
        },
        7 => {
            let ill = *[Ill::Stalls, Ill::Cuts, Ill::WrongRange].choose(rng).unwrap();
            Trouble::Ill { bucket, ill, percent }
        }
        8 if toss => Trouble::Delete { film: rng.random_range(0..4) },
        8 => Trouble::Overwrite { film: rng.random_range(0..4) },
        EDGE_CRASH => Trouble::EdgeCrash { edge },
        PURGE => Trouble::Purge { bucket },
        _ => Trouble::Isolated { edge },
    }
}

/// Whether `fault` leaves every edge a shield that nothing is wrong with, and repeats no other.
fn is_bearable(fault: &Fault, others: &[Fault]) -> bool {
    let at_once = |other: &&Fault| {
        other.from_ms <= fault.to_ms + AFTERMATH_MS && fault.from_ms <= other.to_ms + AFTERMATH_MS
    };
    let mut shields: Vec<usize> = others.iter().filter(at_once).filter_map(Fault::shield).collect();
    if let Some(shield) = fault.shield() {
        // One thing at a time: what one repairs must not repair another.
        if shields.contains(&shield) {
            return false;
        }
        shields.push(shield);
    }
    shields.sort_unstable();
    shields.dedup();
    let isolated = |f: &Fault| matches!(f.trouble, Trouble::Isolated { .. });
    let cuts =
        others.iter().filter(at_once).any(|o| isolated(o) || (isolated(fault) && o.shield().is_some()));
    let same = others.iter().filter(at_once).any(|other| {
        std::mem::discriminant(&other.trouble) == std::mem::discriminant(&fault.trouble)
            && fault.shield().is_none()
    });
    // What nobody publishes, nobody hears of in time; and an edge that starts meanwhile can't.
    let unpublished = |f: &Fault| matches!(f.trouble, Trouble::ControlDown { .. } | Trouble::StoreAway);
    let heard = |f: &Fault| matches!(f.trouble, Trouble::Purge { .. } | Trouble::EdgeCrash { .. });
    let unheard = others
        .iter()
        .filter(at_once)
        .any(|o| heard(o) && unpublished(fault) || heard(fault) && unpublished(o));
    !unheard && shields.len() <= 2 && !(cuts && (isolated(fault) || fault.shield().is_some())) && !same
}
