//! The states, by a clock of the test's own.

use super::*;

struct Bench {
    breaker: Breaker,
    config: BreakerConfig,
    jitter: Jitter,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let config = BreakerConfig::default();
        Self { breaker: Breaker::default(), config, jitter: Jitter::new(1), now: Instant::now() }
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn failed(&self, dead: bool) -> Option<Change> {
        self.breaker.failed(dead, self.now, &self.config, &self.jitter)
    }

    fn worked(&self) -> Option<Change> {
        self.breaker.worked(self.now, &self.config)
    }

    fn probed(&self, alive: bool) -> Option<Change> {
        self.breaker.probed(alive, self.now, &self.config, &self.jitter)
    }

    fn gate(&self) -> Gate {
        self.breaker.gate(self.now)
    }

    /// Milliseconds until a probe is due.
    fn shut_for(&mut self) -> u64 {
        let mut ms = 0;
        while self.gate() == Gate::Shut {
            self.pass(10);
            ms += 10;
            assert!(ms < 60_000);
        }
        ms
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_starts_over() {
    let bench = Bench::new();
    for _ in 0..4 {
        assert_eq!((bench.failed(false), bench.failed(false), bench.worked()), (None, None, None));
    }
    assert_eq!((bench.failed(false), bench.failed(false)), (None, None));
    assert_eq!(bench.failed(false), Some(Change::Opened));
    assert_eq!((bench.gate(), bench.breaker.enter(bench.now)), (Gate::Shut, false));
}

#[test]
fn a_proof_of_death_opens_it_at_once_and_counts_once_for_all_who_saw_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.failed(true), Some(Change::Opened));
    assert!((0..200).all(|_| bench.failed(true).is_none()));
    let shut = bench.shut_for();
    assert!((500..=1_010).contains(&shut), "{shut}");
}

#[test]
fn half_of_many_requests_open_it_though_never_three_in_a_row() {
    let mut bench = Bench::new();
    let opened = (0..40).find(|i| {
        bench.pass(100);
        if i % 2 == 0 { bench.worked() } else { bench.failed(false) }.is_some()
    });
    assert_eq!(opened, Some(19), "at the twentieth request");
    // The same share, but too few in a window to tell.
    let mut bench = Bench::new();
    assert!((0..40).all(|i| {
        bench.pass(1_000);
        if i % 2 == 0 { bench.worked() } else { bench.failed(false) }.is_none()
    }));
}

#[test]
fn one_asker_probes_and_one_read_tries() {
    let mut bench = Bench::new();
    bench.failed(true);
    bench.shut_for();
    // shut_for saw the one Probe; all others are kept out until it has its answer.
    assert!((0..100).all(|_| bench.gate() == Gate::Shut));
    assert_eq!(bench.probed(true), Some(Change::HalfOpened));
    assert_eq!(bench.gate(), Gate::Pass);
    assert_eq!((0..100).filter(|_| bench.breaker.enter(bench.now)).count(), 1);
    assert_eq!(bench.gate(), Gate::Shut);
    assert_eq!(bench.worked(), Some(Change::Closed));
    assert_eq!((0..100).filter(|_| bench.breaker.enter(bench.now)).count(), 100);
}

#[test]
fn a_trial_that_vanished_makes_room_and_one_that_fails_opens_it_again() {
    let mut bench = Bench::new();
    bench.failed(true);
    bench.shut_for();
    bench.probed(true);
    assert!(bench.breaker.enter(bench.now) && !bench.breaker.enter(bench.now));
    bench.pass(5_001);
    assert!(bench.breaker.enter(bench.now));
    assert_eq!(bench.failed(false), Some(Change::Opened));
    assert_eq!(bench.probed(true), None, "a late probe means nothing");
    assert_eq!(bench.gate(), Gate::Shut);
}

#[test]
fn a_dead_shield_is_probed_less_and_less_and_a_flapping_one_is_not_forgiven_at_once() {
    let mut bench = Bench::new();
    bench.failed(true);
    let mut times = Vec::new();
    for _ in 0..6 {
        times.push(bench.shut_for());
        bench.probed(false);
    }
    for (time, whole) in times.iter().zip([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
        assert!((whole / 2..=whole + 10).contains(time), "{times:?}");
    }
    // Back, and dead again soon: it stays away as long as before. Back for good: it starts over.
    for (healthy_ms, whole) in [(5_000, 10_000), (31_000, 1_000)] {
        bench.shut_for();
        bench.probed(true);
        bench.breaker.enter(bench.now);
        assert_eq!(bench.worked(), Some(Change::Closed));
        bench.pass(healthy_ms);
        bench.worked();
        assert_eq!(bench.failed(true), Some(Change::Opened));
        let shut = bench.shut_for();
        assert!((whole / 2..=whole + 10).contains(&shut), "{shut} after {healthy_ms} healthy ms");
        bench.probed(false);
    }
}

#[test]
fn the_same_seed_gives_the_same_times() {
    let run = || {
        let mut bench = Bench::new();
        bench.failed(true);
        (0..8)
            .map(|_| {
                let shut = bench.shut_for();
                bench.probed(false);
                shut
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
