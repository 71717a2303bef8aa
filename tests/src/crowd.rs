//! Many viewers in one thread: well-behaved ones to see whether they notice anything, and ill-behaved ones in numbers.
//!
//! Each follows its [`Plan`]; what it saw can be read at any time. A viewer that watches remembers time and hash of every media message, so that a
//! test can say whose bytes they were ([`film`]), and how late the latest was: a player begins to show a film when its buffer is
//! full, so a message that comes later than its own time after that is a stall.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::eventually;

pub mod film;
mod viewer;

pub use film::Film;

/// What a viewer does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Habit {
    /// Plays, reads everything, closes at Play.Stop.
    Watch,
    /// Connects and makes a stream; reads what comes; plays nothing.
    Idle,
    /// Plays, and reads no more after so many bytes, so that its window closes; until [`Crowd::resume`].
    StopReading(u64),
    /// Plays, seeks so many times, so many times a second, anywhere within so many ms, and watches on from there.
    Seek {
        /// Commands in all.
        count: u64,
        /// Commands a second.
        per_second: u32,
        /// The film's length.
        within_ms: u32,
    },
}

/// One viewer to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name it plays.
    pub name: String,
    /// The host of its tcUrl, which says whose film that is.
    pub host: String,
    /// Its buffer, in ms.
    pub buffer_ms: u32,
    /// Where its play begins, in ms.
    pub start_ms: u32,
    /// What it does.
    pub habit: Habit,
}

impl Plan {
    /// Watches `name` from its beginning with a buffer of 3 s.
    pub fn watch(name: &str) -> Self {
        Self {
            name: name.into(),
            host: "localhost".into(),
            buffer_ms: 3000,
            start_ms: 0,
            habit: Habit::Watch,
        }
    }

    /// The same with another habit.
    pub fn with(self, habit: Habit) -> Self {
        Self { habit, ..self }
    }

    /// The same of another distribution.
    pub fn of(self, host: &str) -> Self {
        Self { host: host.into(), ..self }
    }

    /// The same with another buffer.
    pub fn buffer_ms(self, buffer_ms: u32) -> Self {
        Self { buffer_ms, ..self }
    }

    /// The same, from later on.
    pub fn from_ms(self, start_ms: u32) -> Self {
        Self { start_ms, ..self }
    }

    /// So many of it.
    pub fn times(self, count: usize) -> Vec<Self> {
        vec![self; count]
    }
}

/// What a viewer has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Whether its `connect` was accepted.
    pub connected: bool,
    /// Bytes read, handshake counted.
    pub bytes: u64,
    /// Time in ms and hash of each audio and video message, in order.
    pub media: Vec<(u32, u64)>,
    /// How much later than the player wanted to show it the latest media message came: how long the film stood still. Counted from when
    /// its buffer was first full after the last start or seek.
    pub late: Duration,
    /// Codes of all statuses, in order.
    pub codes: Vec<String>,
    /// Names of commands that aren't answers or statuses (`close`).
    pub commands: Vec<String>,
    /// Whether the server has closed, or the viewer has at Play.Stop.
    pub ended: bool,
    /// What was wrong with the server's bytes.
    pub broken: Option<String>,
    /// Seeks sent, and answered.
    pub seeks: (u64, u64),
    /// Where the last seek sent goes to, in ms.
    pub sought_ms: u32,
    /// When anything was last read.
    pub heard: Option<Instant>,
}

impl Seen {
    /// Whether that status has come.
    pub fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c == code)
    }

    /// Time of the last media message, in ms.
    pub fn reached_ms(&self) -> u32 {
        self.media.last().map_or(0, |m| m.0)
    }

    /// Whether all its seeks are sent and what comes is what the last of them asked for.
    pub fn has_obeyed(&self, count: u64) -> bool {
        let around = self.sought_ms.saturating_sub(2500)..self.sought_ms + 4000;
        self.seeks.0 == count && self.seeks.1 > 0 && around.contains(&self.reached_ms())
    }

    /// Panics unless it was given the film's media from its beginning on, in order, nothing missing and nothing else.
    pub fn is_beginning_of(&self, film: &Film) {
        assert_eq!(self.broken, None);
        let wrong = self.media.iter().zip(film.media()).position(|(a, b)| a != b);
        assert_eq!(
            wrong,
            None,
            "a message of {} differs: {:?} …",
            film.name(),
            &self.media[wrong.unwrap_or(0)]
        );
        assert!(self.media.len() <= film.media().len(), "{} has fewer messages than were sent", film.name());
    }

    /// Panics unless it was given the whole film and nothing else, and told so.
    pub fn is_whole(&self, film: &Film) {
        self.is_beginning_of(film);
        assert_eq!(self.media.len(), film.media().len(), "{} isn't complete", film.name());
        assert!(self.has("NetStream.Play.Stop"), "{:?}", self.codes);
    }

    /// Panics unless every message is one of the film's (after seeks, in whatever order).
    pub fn is_of(&self, film: &Film) {
        assert_eq!(self.broken, None);
        let all: HashSet<u64> = film.media().iter().map(|m| m.1).collect();
        let strange = self.media.iter().find(|m| !all.contains(&m.1));
        assert_eq!(strange, None, "not a message of {}", film.name());
    }
}

/// What the crowd's thread is to do next.
#[derive(Default)]
struct Wish {
    stop: AtomicBool,
    resume: AtomicBool,
}

/// Viewers under way. Dropping it closes them.
pub struct Crowd {
    seen: Vec<Arc<Mutex<Seen>>>,
    wish: Arc<Wish>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Crowd {
    /// Opens one connection to `addr` for each plan, one after the other, in the network namespace of the caller.
    pub fn start(addr: &str, plans: Vec<Plan>) -> Self {
        let seen: Vec<_> = plans.iter().map(|_| Arc::new(Mutex::new(Seen::default()))).collect();
        crate::process::raise_descriptors();
        let wish = Arc::new(Wish::default());
        let (addr, into, wished) = (addr.to_owned(), seen.clone(), wish.clone());
        let thread = std::thread::spawn(move || viewer::run(&addr, plans, &into, &wished));
        Self { seen, wish, thread: Some(thread) }
    }

    /// What each has seen.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.iter().map(|s| s.lock().unwrap().clone()).collect()
    }

    /// Of how many something is true.
    pub fn count(&self, is: impl Fn(&Seen) -> bool) -> usize {
        self.seen.iter().filter(|s| is(&s.lock().unwrap())).count()
    }

    /// Waits until something is true of every one.
    pub fn wait(&self, what: &str, within: Duration, is: impl Fn(&Seen) -> bool) {
        self.wait_for(self.seen.len(), what, within, is);
    }

    /// Waits until something is true of that many.
    pub fn wait_for(&self, enough: usize, what: &str, within: Duration, is: impl Fn(&Seen) -> bool) {
        eventually(&format!("{what} ({enough} of {} viewers)", self.seen.len()), within, || {
            (self.count(&is) >= enough).then_some(())
        });
    }

    /// The latest any medium has come to any of them.
    pub fn late(&self) -> Duration {
        self.seen.iter().map(|s| s.lock().unwrap().late).max().unwrap_or_default()
    }

    /// Lets those who stopped reading read on, to the end.
    pub fn resume(&self) {
        self.wish.resume.store(true, Ordering::Relaxed);
    }

    /// Closes all connections and gives what was seen.
    pub fn close(mut self) -> Vec<Seen> {
        self.halt();
        self.seen()
    }

    fn halt(&mut self) {
        self.wish.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the crowd's thread panicked");
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Well-behaved viewers beside an attack.
pub struct Witnesses(Crowd);

impl Witnesses {
    /// Two of them, watching `minute.flv` with buffers of 3 s, playing already.
    pub fn start(addr: &str) -> Self {
        let crowd = Crowd::start(addr, Plan::watch("minute").times(2));
        crowd.wait("media for the witnesses", Duration::from_secs(20), |s| !s.media.is_empty());
        Self(crowd)
    }

    /// Waits until they have been sent everything up to that time of the film; so long lasts what is to be witnessed.
    pub fn reach(&self, ms: u32) {
        let within = Duration::from_secs(20) + Duration::from_millis(ms.into());
        self.0.wait(&format!("{ms} ms of film for the witnesses"), within, |s| s.reached_ms() >= ms);
    }

    /// Panics unless they noticed nothing: all media, in order, of that film, none later than their buffer, and going on.
    pub fn noticed_nothing(self) {
        let now = self.0.seen().iter().map(Seen::reached_ms).max().unwrap_or_default();
        if now < 58_000 {
            self.reach(now + 1000);
        }
        let film = Film::of_flv("minute.flv");
        for seen in self.0.close() {
            seen.is_beginning_of(&film);
            assert_eq!(seen.late, Duration::ZERO, "a witness stalled at {} ms", seen.reached_ms());
        }
    }
}
