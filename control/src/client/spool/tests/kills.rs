//! Killed at any byte, at any act, in recovery too: what was acknowledged is there once, and sessions have their ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use proto::v1::{AccessEvent, AccessRecord};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::control::Control;
use super::events::{client_id, event};
use super::faulty::FaultyDisk;
use crate::client::spool::config::SpoolConfig;
use crate::client::spool::log::Outcome;
use crate::client::spool::queue::{Event, Order, Progress, Taken};
use crate::client::spool::recover::recover;
use crate::client::spool::tests::shared;
use crate::client::spool::writer::Writer;

/// What became of events, by the number each has.
#[derive(Debug, Default)]
struct Told {
    all: BTreeSet<u64>,
    stand: BTreeSet<u64>,
}

/// One history: a process after the other works in the folder, each killed, then one that is not.
struct World {
    random: StdRng,
    now: Instant,
    told: Told,
    control: Control,
    clients: u64,
    events: u64,
}

fn number(record: &AccessRecord) -> u64 {
    record.uri_query.strip_prefix("n=").unwrap().parse().unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            now: Instant::now(),
            told: Told::default(),
            control: Control::default(),
            clients: 0,
            events: 0,
        }
    }

    /// A process on `disk`, until it dies or has done `acts`. True: it was still alive.
    fn process(&mut self, folder: &Path, disk: &FaultyDisk, acts: usize) -> bool {
        let config = SpoolConfig { segment_bytes: 4096, bytes: 1 << 20, ..SpoolConfig::in_folder(folder) };
        let recovered = recover(config, Arc::new(disk.clone()), folder, "edge-1", shared(&Registry::new()));
        let Ok(mut writer) = recovered else {
            assert!(disk.is_dead(), "{recovered:?}");
            return false;
        };
        // Sessions of this process: stream playing or not.
        let mut open: BTreeMap<u64, bool> = BTreeMap::new();
        for _ in 0..acts {
            if disk.is_dead() {
                return false;
            }
            self.act(&mut writer, &mut open, disk);
        }
        !disk.is_dead()
    }

    fn act(&mut self, writer: &mut Writer, open: &mut BTreeMap<u64, bool>, disk: &FaultyDisk) {
        let mut taken = Taken::default();
        let mut answers = Vec::new();
        match self.random.random_range(0..20) {
            0 => taken.orders.push(Order::Seal(oneshot::channel().0)),
            1 | 2 => {
                self.now += Duration::from_millis(self.random.random_range(0..40_000));
                writer.tick(self.now);
                return;
            }
            3..=5 => return self.ship(writer, disk),
            6 => {
                let Some(client) = open.keys().next_back() else { return };
                let progress =
                    Progress { time_ms: 1_700_000_000_000 + self.events, sc_bytes: 100 * self.events };
                taken.progress.insert(client_id(*client), progress);
            }
            _ => {
                for _ in 0..self.random.random_range(1..8) {
                    let record = self.event(open);
                    let (written, answer) = oneshot::channel();
                    self.told.all.insert(number(&record));
                    answers.push((number(&record), answer));
                    taken.events.push(Event { record, written });
                }
            }
        }
        writer.work(&mut taken, self.now);
        for (n, mut answer) in answers {
            match answer.try_recv().unwrap() {
                Outcome::Stands => assert!(self.told.stand.insert(n)),
                other => assert!(disk.is_dead(), "{n}: {other:?}"),
            }
        }
    }

    fn event(&mut self, open: &mut BTreeMap<u64, bool>) -> AccessRecord {
        let n = self.events;
        self.events += 1;
        if open.len() < 2 || (open.len() < 6 && self.random.random_range(0..4) == 0) {
            self.clients += 1;
            open.insert(self.clients, false);
            return event(self.clients, n, AccessEvent::Connect);
        }
        let at = self.random.random_range(0..open.len());
        let (client, plays) = open.iter().nth(at).map(|(client, plays)| (*client, *plays)).unwrap();
        let what = match (plays, self.random.random_range(0..6)) {
            (false, 0..3) => AccessEvent::Disconnect,
            (false, _) => AccessEvent::Play,
            (true, 0 | 1) => AccessEvent::Stop,
            (true, 2) => AccessEvent::Seek,
            (true, 3) => AccessEvent::Pause,
            (true, _) => AccessEvent::Unpause,
        };
        match what {
            AccessEvent::Disconnect => drop(open.remove(&client)),
            AccessEvent::Play => drop(open.insert(client, true)),
            AccessEvent::Stop => drop(open.insert(client, false)),
            _ => {}
        }
        event(client, n, what)
    }

    /// Hands over some of what waits; now and then nobody hears that it was taken.
    fn ship(&mut self, writer: &mut Writer, disk: &FaultyDisk) {
        for _ in 0..self.random.random_range(1..4) {
            let Some(sealed) = writer.shared.shelf.first().filter(|_| !disk.is_dead()) else { return };
            self.control.ship(&sealed.path, &sealed.id);
            if self.random.random_range(0..4) > 0 {
                writer.shared.shelf.take(&sealed.id);
                let mut taken = Taken { orders: vec![Order::Forget(sealed.id)], ..Taken::default() };
                writer.work(&mut taken, self.now);
            }
        }
    }

    /// The last process ships all there is; then everything must be right.
    fn settle(mut self, folder: &Path, about: &str) {
        let disk = FaultyDisk::default();
        let config = SpoolConfig { segment_bytes: 4096, bytes: 1 << 20, ..SpoolConfig::in_folder(folder) };
        let mut writer = recover(config, Arc::new(disk), folder, "edge-1", shared(&Registry::new())).unwrap();
        writer.finish(self.now);
        while let Some(sealed) = writer.shared.shelf.pop() {
            self.control.ship(&sealed.path, &sealed.id);
        }
        // Those the spool wrote itself carry the number of the event they were made from.
        let mut seen: BTreeMap<(u64, i32), u32> = BTreeMap::new();
        let mut sessions: BTreeMap<&str, Vec<&AccessRecord>> = BTreeMap::new();
        for record in &self.control.records {
            *seen.entry((number(record), record.event)).or_default() += 1;
            sessions.entry(&record.client_id).or_default().push(record);
        }
        for ((n, what), times) in &seen {
            assert_eq!(*times, 1, "{about}: event {n} ({what}) stands {times} times");
            assert!(self.told.all.contains(n), "{about}: nobody made event {n}");
        }
        let numbers: BTreeSet<u64> = seen.keys().map(|(n, _)| *n).collect();
        let lost: Vec<_> = self.told.stand.difference(&numbers).collect();
        assert!(lost.is_empty(), "{about}: acknowledged and lost: {lost:?}");
        for (client, records) in sessions {
            let of = |what: AccessEvent| records.iter().filter(|r| r.event == what as i32).count();
            let ends = (of(AccessEvent::Connect), of(AccessEvent::Disconnect));
            assert_eq!(ends, (1, 1), "{about}: session {client}: {records:#?}");
            assert_eq!(of(AccessEvent::Play), of(AccessEvent::Stop), "{about}: session {client}");
            let last = records.last().unwrap();
            assert_eq!(last.event, AccessEvent::Disconnect as i32, "{about}: session {client}");
            let most = records.iter().map(|r| r.sc_bytes).max();
            assert_eq!(Some(last.sc_bytes), most, "{about}: session {client} went back");
        }
    }
}

fn scale() -> u64 {
    std::env::var("PENSTOCK_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

#[test]
fn killed_at_any_byte_what_was_acknowledged_is_there_once_and_sessions_end() {
    // How far a process gets that nobody kills.
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let mut world = World::new(1);
    assert!(world.process(dir.path(), &disk, 120));
    let whole = disk.used();
    world.settle(dir.path(), "not killed");
    assert!(whole > 20_000, "{whole}");
    let mut random = StdRng::seed_from_u64(0x5900_1007);
    for round in 0..400 * scale() {
        let seed = round % 40;
        // Every offset comes up in time; the first ones, where things begin, at once.
        let first = if round < 200 { round } else { random.random_range(0..whole) };
        let second =
            if round.is_multiple_of(3) { random.random_range(0..400) } else { random.random_range(0..whole) };
        let about = format!("seed {seed}, killed after {first} and {second} units");
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(seed);
        world.process(dir.path(), &FaultyDisk::dies_after(first), 120);
        // Mostly within its repair.
        world.process(dir.path(), &FaultyDisk::dies_after(second), 60);
        world.process(dir.path(), &FaultyDisk::dies_after(second / 2), 60);
        world.settle(dir.path(), &about);
    }
}
