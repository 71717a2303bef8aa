//! One history of a spool: a process after the other works in the folder, each is killed or loses its power, then one that is not; and what must be true
//! of what control has then.

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
use crate::client::spool::disk::Disk;
use crate::client::spool::log::Outcome;
use crate::client::spool::queue::{Event, Order, Progress, Taken};
use crate::client::spool::recover::recover;
use crate::client::spool::tests::shared;
use crate::client::spool::writer::Writer;

/// How old what is written of an open session at its process's death may be, in ms.
const STALE_MS: u64 = 10_000;
const START_MS: u64 = 1_700_000_000_000;

/// A disk that can die.
pub(crate) trait Mortal: Disk + Clone {
    fn is_dead(&self) -> bool;
}

impl Mortal for FaultyDisk {
    fn is_dead(&self) -> bool {
        Self::is_dead(self)
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) random: StdRng,
    config: SpoolConfig,
    start: Instant,
    now: Instant,
    // By the number of each event: whose it is.
    made: BTreeMap<u64, (u64, AccessEvent)>,
    // When it was said to stand.
    stand: BTreeMap<u64, Instant>,
    // Those that a power cut may have cost.
    young: BTreeSet<u64>,
    was_cut: bool,
    control: Control,
    // The process of each client, and when each process died.
    clients: Vec<usize>,
    died_ms: Vec<u64>,
}

fn number(record: &AccessRecord) -> u64 {
    record.uri_query.strip_prefix("n=").unwrap().parse().unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, folder: &Path, durable: bool) -> Self {
        // Later than any real now, which recovery looks at.
        let start = Instant::now() + Duration::from_secs(3600);
        Self {
            random: StdRng::seed_from_u64(seed),
            config: SpoolConfig {
                segment_bytes: 4096,
                bytes: 1 << 20,
                durable,
                ..SpoolConfig::in_folder(folder)
            },
            start,
            now: start,
            made: BTreeMap::new(),
            stand: BTreeMap::new(),
            young: BTreeSet::new(),
            was_cut: false,
            control: Control::default(),
            clients: Vec::new(),
            died_ms: Vec::new(),
        }
    }

    fn open(&self, disk: Arc<dyn Disk>) -> Result<Writer, crate::client::spool::SpoolError> {
        let folder = self.config.folder.clone().unwrap();
        recover(self.config.clone(), disk, &folder, "edge-1", shared(&Registry::new()))
    }

    fn now_ms(&self) -> u64 {
        START_MS + (self.now - self.start).as_millis() as u64
    }

    /// A process on `disk`, until it dies or has done `acts`. True: it was still alive.
    pub(crate) fn process(&mut self, disk: &impl Mortal, acts: usize) -> bool {
        let lives = self.live(disk, acts);
        self.died_ms.push(self.now_ms());
        lives
    }

    fn live(&mut self, disk: &impl Mortal, acts: usize) -> bool {
        let recovered = self.open(Arc::new(disk.clone()));
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

    /// The power is gone: what was said to stand a moment ago may be gone as well.
    pub(crate) fn lose_power(&mut self) {
        self.was_cut = true;
        let age = Duration::from_millis(self.config.sync_ms);
        let is_young = |at: &Instant| !self.config.durable && *at + age >= self.now;
        self.young.extend(self.stand.iter().filter(|(_, at)| is_young(at)).map(|(n, _)| *n));
    }

    /// Time passes, and the writer does what is due in it when it is due.
    fn pass(&mut self, writer: &mut Writer, disk: &impl Mortal, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while !disk.is_dead() {
            let due = writer.patience(self.now).map(|wait| self.now + wait.max(Duration::from_millis(1)));
            let Some(due) = due.filter(|due| *due <= until) else { break };
            self.now = due;
            writer.tick(self.now);
        }
        if !disk.is_dead() {
            self.now = until;
        }
    }

    fn act(&mut self, writer: &mut Writer, open: &mut BTreeMap<u64, bool>, disk: &impl Mortal) {
        let mut taken = Taken::default();
        let mut answers = Vec::new();
        let moment = self.random.random_range(0..100);
        self.pass(writer, disk, moment);
        match self.random.random_range(0..20) {
            0 => taken.orders.push(Order::Seal(oneshot::channel().0)),
            1 | 2 => {
                let while_ms = self.random.random_range(0..40_000);
                return self.pass(writer, disk, while_ms);
            }
            3..=5 => return self.ship(writer, disk),
            6 => {
                let Some(client) = open.keys().next_back() else { return };
                let progress = Progress { time_ms: self.now_ms(), sc_bytes: 100 * self.made.len() as u64 };
                taken.progress.insert(client_id(*client), progress);
            }
            _ => {
                for _ in 0..self.random.random_range(1..8) {
                    let record = self.event(open);
                    let (written, answer) = oneshot::channel();
                    answers.push((number(&record), answer));
                    taken.events.push(Event { record, written });
                }
            }
        }
        if disk.is_dead() {
            return;
        }
        writer.work(&mut taken, self.now);
        for (n, mut answer) in answers {
            match answer.try_recv().unwrap() {
                Outcome::Stands => assert!(self.stand.insert(n, self.now).is_none()),
                other => assert!(disk.is_dead(), "{n}: {other:?}"),
            }
        }
    }

    fn event(&mut self, open: &mut BTreeMap<u64, bool>) -> AccessRecord {
        let (client, what) = self.choose(open);
        let n = self.made.len() as u64;
        self.made.insert(n, (client, what));
        AccessRecord { time_ms: self.now_ms(), ..event(client, n, what) }
    }

    fn choose(&mut self, open: &mut BTreeMap<u64, bool>) -> (u64, AccessEvent) {
        if open.len() < 2 || (open.len() < 6 && self.random.random_range(0..4) == 0) {
            let client = self.clients.len() as u64;
            self.clients.push(self.died_ms.len());
            open.insert(client, false);
            return (client, AccessEvent::Connect);
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
        (client, what)
    }

    /// Hands over some of what waits; now and then nobody hears that it was taken.
    fn ship(&mut self, writer: &mut Writer, disk: &impl Mortal) {
        for _ in 0..self.random.random_range(1..4) {
            let Some(sealed) = writer.shared.shelf.first().filter(|_| !disk.is_dead()) else { return };
            self.control.take(disk.read(&sealed.path).unwrap(), &sealed.id);
            if self.random.random_range(0..4) > 0 {
                writer.shared.shelf.take(&sealed.id);
                let mut taken = Taken { orders: vec![Order::Forget(sealed.id)], ..Taken::default() };
                writer.work(&mut taken, self.now);
            }
        }
    }

    /// The last process ships all there is; then everything must be right. Gives how many events that were said to stand are lost.
    pub(crate) fn settle(mut self, disk: &impl Mortal, about: &str) -> usize {
        let mut writer = self.open(Arc::new(disk.clone())).unwrap_or_else(|e| panic!("{about}: {e}"));
        writer.finish(self.now);
        while let Some(sealed) = writer.shared.shelf.pop() {
            self.control.take(disk.read(&sealed.path).unwrap(), &sealed.id);
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
            assert!(self.made.contains_key(n), "{about}: nobody made event {n}");
        }
        let lost: BTreeSet<u64> = self.stand.keys().copied().filter(|n| !self.has(&seen, *n)).collect();
        let old: Vec<_> = lost.difference(&self.young).collect();
        assert!(old.is_empty(), "{about}: acknowledged and lost: {old:?}");
        // After a power cut, of a batch that nobody was told of, any may be there: a STOP without its PLAY.
        let untold = self.made.keys().filter(|n| self.was_cut && !self.has(&seen, **n));
        let tattered: BTreeSet<String> =
            lost.iter().chain(untold).map(|n| client_id(self.made[n].0)).collect();
        for (client, records) in sessions {
            let is_whole = !tattered.contains(client);
            self.check_session(client, &records, is_whole, about);
        }
        lost.len()
    }

    fn has(&self, seen: &BTreeMap<(u64, i32), u32>, n: u64) -> bool {
        seen.contains_key(&(n, self.made[&n].1 as i32))
    }

    fn check_session(&self, client: &str, records: &[&AccessRecord], is_whole: bool, about: &str) {
        let of = |what: AccessEvent| records.iter().filter(|r| r.event == what as i32).count();
        assert_eq!(of(AccessEvent::Disconnect), 1, "{about}: session {client}: {records:#?}");
        assert!(of(AccessEvent::Connect) <= 1, "{about}: session {client}: {records:#?}");
        if is_whole {
            assert_eq!(of(AccessEvent::Connect), 1, "{about}: session {client}: {records:#?}");
            assert_eq!(of(AccessEvent::Play), of(AccessEvent::Stop), "{about}: session {client}");
        }
        let last = records.last().unwrap();
        assert_eq!(last.event, AccessEvent::Disconnect as i32, "{about}: session {client}");
        let most = records.iter().map(|r| r.sc_bytes).max();
        assert_eq!(Some(last.sc_bytes), most, "{about}: session {client} went back");
        if self.made[&number(last)].1 != AccessEvent::Disconnect {
            // Written by another process than its own.
            let at = usize::from_str_radix(client, 16).unwrap();
            let died_ms = self.died_ms[self.clients[at]];
            let ended_ms = last.time_ms;
            assert!(
                ended_ms <= died_ms && ended_ms + STALE_MS >= died_ms,
                "{about}: session {client} ends at {ended_ms}, its process did at {died_ms}"
            );
        }
    }
}

/// How many times longer than usual to look.
pub(crate) fn scale() -> u64 {
    std::env::var("PENSTOCK_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}
