//! Many scripted viewers at once, who play without end, at a rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::viewer::Viewer;
use super::witness::{Connection, Fate};

/// What is played: the name as a player writes it, and x-sname. Long films, so that none ends by itself while a viewer waits for an answer: what
/// is done to one that has ended is no event. They are sent in a trickle, for want of buffer.
pub const FILMS: &[(&str, &str)] = &[("mp3:film", "film"), ("mp4:film.mp4", "film"), ("film", "film")];

/// Who plays what where.
#[derive(Clone, Debug)]
pub struct Program {
    /// `IP:PORT` of edges.
    pub edges: Vec<String>,
    /// Hosts of distributions.
    pub hosts: Vec<String>,
    /// Viewers at a time.
    pub viewers: usize,
    /// Events a second of all of them, if the machine allows.
    pub per_second: f64,
    /// What the scripts are drawn from.
    pub seed: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    events: AtomicUsize,
}

/// The viewers at work.
pub struct Troupe {
    threads: Vec<JoinHandle<Vec<Connection>>>,
    shared: Arc<Shared>,
}

impl Troupe {
    /// Begins.
    pub fn start(program: &Program) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..program.viewers)
            .map(|number| {
                let (program, shared) = (program.clone(), shared.clone());
                std::thread::spawn(move || Actor::new(number, program, shared).run())
            })
            .collect();
        Self { threads, shared }
    }

    /// Events seen so far; stops and disconnects that follow from what was seen count.
    pub fn events(&self) -> usize {
        self.shared.events.load(Ordering::Relaxed)
    }

    /// Lets all finish what they are at, and gives what they saw.
    pub fn finish(self) -> Vec<Connection> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let join = |thread: JoinHandle<_>| thread.join().unwrap_or_else(|p| std::panic::resume_unwind(p));
        self.threads.into_iter().flat_map(join).collect()
    }
}

struct Actor {
    number: usize,
    program: Program,
    shared: Arc<Shared>,
    random: StdRng,
    /// When the next event is due, and the time between two.
    due: Instant,
    pace: Duration,
    connections: usize,
    plays: usize,
}

impl Actor {
    fn new(number: usize, program: Program, shared: Arc<Shared>) -> Self {
        let random = StdRng::seed_from_u64(program.seed ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a));
        let pace = Duration::from_secs_f64(program.viewers as f64 / program.per_second);
        Self { number, program, shared, random, due: Instant::now(), pace, connections: 0, plays: 0 }
    }

    fn run(mut self) -> Vec<Connection> {
        let mut all = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let edge = self.program.edges[self.random.random_range(0..self.program.edges.len())].clone();
            let host = self.program.hosts[self.random.random_range(0..self.program.hosts.len())].clone();
            self.connections += 1;
            let id = format!("{}-{}", self.number, self.connections);
            match Viewer::open(&edge, &host, &id) {
                Some(viewer) => {
                    let seen = self.connection(viewer);
                    self.shared.events.fetch_add(seen.seen(), Ordering::Relaxed);
                    all.push(seen);
                }
                // An edge that is down: others are up.
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        all
    }

    /// Waits for the next event's turn. One that comes late isn't made up for by more than a second's worth.
    fn turn(&mut self) {
        let now = Instant::now();
        std::thread::sleep(self.due.saturating_duration_since(now));
        self.due = (self.due + self.pace).max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
    }

    fn connection(&mut self, mut viewer: Viewer) -> Connection {
        // Its disconnect counts too.
        self.turn();
        self.turn();
        if !viewer.is_alive() || self.random.random_bool(0.05) {
            return viewer.leave();
        }
        viewer.create_stream();
        for _ in 0..self.random.random_range(1..=12) {
            let goes_on = self.one_play(&mut viewer);
            if !goes_on || !viewer.is_alive() || self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        viewer.leave()
    }

    /// One play from its beginning to its end; gives whether the viewer stays.
    fn one_play(&mut self, viewer: &mut Viewer) -> bool {
        self.turn();
        self.turn();
        self.plays += 1;
        let id = format!("p={}-{}", self.number, self.plays);
        let (name, sname) = FILMS[self.random.random_range(0..FILMS.len())];
        let short = self.random.random_bool(0.05);
        if viewer.play(name, sname, &id, short.then_some(0.2)) != Fate::Seen {
            return viewer.is_alive();
        }
        if short {
            viewer.watch_to_the_end();
            return true;
        }
        for _ in 0..self.random.random_range(0..=3) {
            if !viewer.is_alive() {
                return false;
            }
            self.turn();
            if self.random.random_bool(0.5) {
                viewer.seek(f64::from(self.random.random_range(0..8000)));
            } else if viewer.pause() == Fate::Seen {
                self.turn();
                viewer.unpause();
            }
        }
        match self.random.random_range(0..10) {
            0..6 => viewer.stop(),
            // The next play takes its place.
            6 | 7 => {}
            8 => {
                viewer.delete_stream();
                viewer.create_stream();
            }
            _ => return false,
        }
        true
    }
}
