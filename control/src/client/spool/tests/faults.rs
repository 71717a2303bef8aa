//! A disk that is full, fails, or takes words in pieces: what is lost is counted, what stands stands, and the spool goes on.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use proto::v1::AccessEvent::{Connect, Disconnect, Pause, Play, Stop};
use proto::v1::{AccessRecord, LogTarget};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::control::Control;
use super::events::event;
use super::faulty::{Act, FaultyDisk};
use super::shared;
use crate::client::spool::config::SpoolConfig;
use crate::client::spool::log::{DropReason, Outcome};
use crate::client::spool::queue::{Event, Order, Taken};
use crate::client::spool::recover::recover;
use crate::client::spool::writer::Writer;

/// A spool's writer, its disk, and a control to ship to.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) disk: FaultyDisk,
    pub(super) writer: Writer,
    pub(super) control: Control,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(change: impl FnOnce(&mut SpoolConfig)) -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
        let mut config =
            SpoolConfig { segment_bytes: 4096, bytes: 64 << 10, ..SpoolConfig::in_folder(dir.path()) };
        change(&mut config);
        let writer = open(&disk, config);
        Self { dir, disk, writer, control: Control::default(), now: Instant::now() }
    }

    /// Another process takes over.
    pub(super) fn restart(&mut self) {
        self.writer = open(&self.disk, self.writer.config.clone());
    }

    pub(super) fn write(&mut self, records: impl IntoIterator<Item = AccessRecord>) -> Vec<Outcome> {
        // Past any pause after a failure.
        self.now += Duration::from_millis(300);
        let (events, answers): (Vec<_>, Vec<_>) = records
            .into_iter()
            .map(|record| {
                let (written, answer) = oneshot::channel();
                (Event { record, written }, answer)
            })
            .unzip();
        self.writer.work(&mut Taken { events, ..Taken::default() }, self.now);
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
    }

    /// Brings the journal up to date.
    pub(super) fn save(&mut self) {
        self.now += Duration::from_secs(3);
        assert!(self.writer.save(self.now, true));
    }

    pub(super) fn ship(&mut self) {
        while let Some(sealed) = self.writer.shared.shelf.first() {
            self.control.ship(&sealed.path, &sealed.id);
            self.writer.shared.shelf.take(&sealed.id);
            let mut taken = Taken { orders: vec![Order::Forget(sealed.id)], ..Taken::default() };
            self.writer.work(&mut taken, self.now);
        }
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.writer.shared.metrics.dropped_for(reason)
    }

    /// Numbers of the events that control has, in the order in which they came.
    pub(super) fn shipped(&mut self) -> Vec<u64> {
        self.now += Duration::from_secs(1);
        assert!(self.writer.seal(self.now));
        self.ship();
        let number = |record: &AccessRecord| record.uri_query.strip_prefix("n=").unwrap().parse().unwrap();
        self.control.records.iter().map(number).collect()
    }

    pub(super) fn files(&self) -> Vec<String> {
        let name =
            |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(self.dir.path()).unwrap().map(name).collect();
        names.sort();
        names
    }
}

fn open(disk: &FaultyDisk, config: SpoolConfig) -> Writer {
    let folder = config.folder.clone().unwrap();
    recover(config, Arc::new(disk.clone()), &folder, "edge-1", shared(&Registry::new())).unwrap()
}

/// Sessions that are over: `count` of them, two events each, from `first`.
pub(super) fn visits(first: u64, count: u64) -> Vec<AccessRecord> {
    (first..first + count).flat_map(|n| [event(n, 2 * n, Connect), event(n, 2 * n + 1, Disconnect)]).collect()
}

#[test]
fn a_full_disk_gives_up_the_oldest_segments_first_and_counts_them() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 60)).iter().all(|o| o.stands()));
    let before = bench.writer.shared.shelf.held().0;
    assert!(before > 3, "{before}");
    let oldest = bench.writer.shared.shelf.first().unwrap();
    bench.disk.holds(Some(bench.writer.bytes() + 300));
    assert!(bench.write(visits(60, 10)).iter().all(|o| o.stands()), "room is made for what is new");
    let lost = bench.dropped(DropReason::DiskFull);
    assert!(lost >= oldest.records.unwrap() && lost < 60, "{lost}");
    bench.disk.holds(None);
    let shipped = bench.shipped();
    assert_eq!(shipped, (lost..140).collect::<Vec<_>>(), "all but the oldest");
}

#[test]
fn a_disk_full_of_other_things_loses_events_that_are_counted_and_nothing_that_stood() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 4)).iter().all(|o| o.stands()));
    // Room for a record and a half.
    bench.disk.holds(Some(
        std::fs::read_dir(bench.dir.path())
            .unwrap()
            .map(|f| f.unwrap().metadata().unwrap().len())
            .sum::<u64>()
            + 300,
    ));
    let outcomes = bench.write(visits(4, 4));
    let stand = outcomes.iter().filter(|o| o.stands()).count();
    assert_eq!(stand, 1, "{outcomes:?}");
    assert!(outcomes[1..].iter().all(|o| *o == Outcome::Dropped(DropReason::DiskFull)));
    // Tried again only after a pause, and still full.
    let now = bench.now;
    bench.now = now - Duration::from_millis(250);
    assert_eq!(bench.write(visits(8, 1)), [Outcome::Dropped(DropReason::DiskFull); 2]);
    assert_eq!(bench.write(visits(9, 1)), [Outcome::Dropped(DropReason::DiskFull); 2]);
    assert!(!bench.writer.seal(bench.now), "not even a footer has room");
    assert_eq!(bench.dropped(DropReason::DiskFull), 7 + 4);
    bench.disk.holds(None);
    assert!(bench.write(visits(10, 2)).iter().all(|o| o.stands()));
    assert_eq!(bench.shipped(), (0..9).chain(20..24).collect::<Vec<_>>());
}

#[test]
fn the_bound_is_kept_the_oldest_go_first_and_are_counted() {
    let mut bench = Bench::new(|config| config.bytes = 32 << 10);
    for at in 0..20 {
        assert!(bench.write(visits(at * 20, 20)).iter().all(|o| o.stands()));
        assert!(bench.writer.bytes() <= 32 << 10);
    }
    let lost = bench.dropped(DropReason::SpoolFull);
    assert!(lost > 600, "{lost}");
    assert_eq!(bench.shipped(), (lost..800).collect::<Vec<_>>());
}

#[test]
fn words_taken_in_pieces_come_out_whole() {
    let mut bench = Bench::new(|_| {});
    bench.disk.takes(7);
    assert!(bench.write(visits(0, 40)).iter().all(|o| o.stands()));
    assert_eq!(bench.shipped(), (0..80).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_fails_loses_what_it_refuses_and_is_used_again_when_it_works() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 2)).iter().all(|o| o.stands()));
    bench.disk.fail(&[Act::Write]);
    assert_eq!(bench.write(visits(2, 1)), [Outcome::Dropped(DropReason::DiskFailed); 2]);
    bench.disk.fail(&[]);
    assert!(bench.write(visits(3, 1)).iter().all(|o| o.stands()));
    assert_eq!(bench.dropped(DropReason::DiskFailed), 2);
    assert_eq!(bench.shipped(), [0, 1, 2, 3, 6, 7]);
}

#[test]
fn a_part_that_can_not_be_cut_back_is_saved_under_its_sealed_name() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 2)).iter().all(|o| o.stands()));
    // A torn record that stays: the disk is full for a moment, and its file can't be cut.
    bench.disk.holds(Some(
        std::fs::read_dir(bench.dir.path())
            .unwrap()
            .map(|f| f.unwrap().metadata().unwrap().len())
            .sum::<u64>()
            + 40,
    ));
    bench.disk.fail(&[Act::Cut]);
    let outcomes = bench.write(visits(2, 1));
    assert!(outcomes.iter().all(|o| !o.stands()), "{outcomes:?}");
    bench.disk.holds(None);
    bench.disk.fail(&[]);
    assert!(bench.write(visits(3, 1)).iter().all(|o| o.stands()));
    bench.restart();
    let shipped = bench.shipped();
    assert_eq!(shipped.iter().filter(|n| **n >= 6).count(), 2);
    // What stood is shipped, or was set aside and counted: the disk that could not be cut was full as well.
    let damaged = bench.files().iter().any(|name| name.ends_with(".damaged"));
    assert_eq!(
        shipped.iter().filter(|n| **n < 4).count(),
        if damaged { 0 } else { 4 },
        "{:?}",
        bench.files()
    );
}

#[test]
fn a_seal_that_fails_is_done_later() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write(visits(0, 2)).iter().all(|o| o.stands()));
    bench.disk.fail(&[Act::Rename]);
    assert!(!bench.writer.seal(bench.now));
    assert_eq!(bench.write(visits(2, 1)), [Outcome::Dropped(DropReason::DiskFailed); 2]);
    bench.writer.tick(bench.now);
    assert!(bench.writer.patience(bench.now).is_some_and(|wait| !wait.is_zero()), "and nobody spins");
    bench.disk.fail(&[]);
    bench.now += Duration::from_secs(1);
    bench.writer.tick(bench.now);
    assert_eq!(bench.writer.shared.shelf.held().0, 1);
    assert!(bench.write(visits(3, 1)).iter().all(|o| o.stands()));
    assert_eq!(bench.shipped(), [0, 1, 2, 3, 6, 7]);
}

#[test]
fn a_journal_that_can_not_be_written_keeps_no_segment_from_being_shipped_and_no_number_is_used_twice() {
    let mut bench = Bench::new(|_| {});
    assert!(bench.write([event(1, 0, Connect), event(1, 1, Play)]).iter().all(|o| o.stands()));
    // The journal's file is renamed into place; a segment's is too, so it is sealed by hand first.
    assert!(bench.writer.seal(bench.now));
    assert!(bench.write(visits(5, 2)).iter().all(|o| o.stands()));
    bench.disk.fail(&[Act::Sync]);
    assert!(
        bench.writer.seal(bench.now),
        "a sync that fails is counted; the segment is whole for this process"
    );
    bench.ship();
    assert_eq!(bench.control.records.len(), 6);
    let names = bench.files();
    assert!(
        names.iter().any(|name| name.ends_with(".seg")),
        "the name stays while the mark is behind: {names:?}"
    );
    // Killed now, the next process must not use the number again.
    bench.disk.fail(&[]);
    bench.restart();
    assert!(bench.write(visits(9, 1)).iter().all(|o| o.stands()));
    bench.shipped();
    assert_eq!(bench.control.repeats, 0);
    let mut numbers: Vec<_> = bench.control.records.iter().map(|r| r.uri_query.as_str()).collect();
    numbers.retain(|n| ["n=18", "n=19"].contains(n));
    assert_eq!(numbers.len(), 2, "what came later is not taken for a repeat");
    assert!(!bench.files().iter().any(|name| name.ends_with(".seg")), "{:?}", bench.files());
}

#[test]
fn sessions_left_open_are_ended_once_with_the_count_last_saved() {
    let mut bench = Bench::new(|_| {});
    bench.write([event(1, 0, Connect), event(1, 1, Play), event(2, 2, Connect)]);
    assert_eq!(bench.shipped().len(), 3);
    // Their segments are gone; the journal has them, and how far they came.
    let progress = crate::client::spool::queue::Progress { time_ms: 1_700_000_009_000, sc_bytes: 123_456 };
    let mut taken = Taken::default();
    taken.progress.insert(super::events::client_id(1), progress);
    bench.writer.work(&mut taken, bench.now);
    bench.now += Duration::from_secs(3);
    bench.writer.tick(bench.now);
    for _ in 0..3 {
        bench.restart();
    }
    bench.shipped();
    let ends: Vec<_> =
        bench.control.records[3..].iter().map(|r| (r.event(), r.sc_bytes, r.time_ms)).collect();
    assert_eq!(
        ends,
        [
            // As of when the process last said that it lives: four seconds after the one was last heard of, three after the other.
            (Disconnect, 200, 1_700_000_004_002),
            (Stop, 123_456, 1_700_000_012_000),
            (Disconnect, 123_456, 1_700_000_012_000)
        ]
    );
}

#[test]
fn a_viewer_that_paused_for_hours_left_when_its_process_died_not_when_it_paused() {
    const HOURS_MS: u64 = 3 * 3_600_000;
    let mut bench = Bench::new(|_| {});
    bench.write([event(1, 0, Connect), event(1, 1, Play), event(1, 2, Pause)]);
    bench.shipped();
    let until = bench.now + Duration::from_millis(HOURS_MS);
    let mut most = 0;
    while bench.now < until {
        let wait = bench.writer.patience(bench.now).expect("it is due to say that it lives");
        bench.now += wait.max(Duration::from_millis(500));
        bench.writer.tick(bench.now);
        most = most.max(std::fs::metadata(bench.dir.path().join("sessions")).unwrap().len());
    }
    assert!(most < 8 << 10, "a journal of {most} bytes");
    bench.restart();
    bench.shipped();
    let died_ms = 1_700_000_000_002 + HOURS_MS;
    for record in &bench.control.records[3..] {
        assert!(record.time_ms.abs_diff(died_ms) <= 10_000, "{} of {died_ms}", record.time_ms);
        assert_eq!(record.sc_bytes, 200);
    }
    assert_eq!(bench.control.records.len(), 5);
}

#[test]
fn ends_go_where_the_newest_event_went_not_where_the_play_did() {
    let mut bench = Bench::new(|_| {});
    let moved = |record: AccessRecord| {
        let bucket_host = "other.s3.amazonaws.com".into();
        let target = record.target.clone().map(|target| LogTarget { bucket_host, ..target });
        AccessRecord { target, ..record }
    };
    let target = moved(event(1, 2, Pause)).target;
    // By the records themselves, then by the journal.
    for saves in [false, true] {
        bench.control = Control::default();
        bench.write([event(1, 0, Connect), event(1, 1, Play), moved(event(1, 2, Pause))]);
        if saves {
            bench.save();
            bench.shipped();
        }
        bench.restart();
        bench.shipped();
        let ends: Vec<_> = bench.control.records[3..].iter().map(|r| (r.event(), r.target.clone())).collect();
        assert_eq!(ends, [(Stop, target.clone()), (Disconnect, target.clone())], "saves: {saves}");
    }
}

#[test]
fn without_its_journal_a_spool_ships_what_is_there_and_each_process_has_an_epoch() {
    let mut bench = Bench::new(|_| {});
    bench.write(visits(0, 3));
    bench.shipped();
    bench.write(visits(3, 3));
    std::fs::remove_file(bench.dir.path().join("sessions")).unwrap();
    let before = bench.writer.next.epoch.clone();
    bench.restart();
    assert_ne!(bench.writer.next.epoch, before);
    bench.write(visits(6, 3));
    // Number 1 again, of another epoch: no repeat.
    assert_eq!(bench.shipped(), (0..18).collect::<Vec<_>>());
    let after = bench.writer.next.epoch.clone();
    bench.restart();
    assert_ne!(bench.writer.next.epoch, after);
    bench.write(visits(9, 1));
    assert_eq!(bench.shipped().len(), 20);
}

#[test]
fn where_segments_are_gone_no_second_end_is_written() {
    let mut bench = Bench::new(|_| {});
    bench.write([event(1, 0, Connect)]);
    bench.shipped();
    // It ends in a segment that is shipped while the journal hangs back, and whose file is lost.
    let journal = std::fs::read(bench.dir.path().join("sessions")).unwrap();
    bench.write([event(1, 1, Disconnect)]);
    bench.shipped();
    bench.write(visits(2, 1));
    assert!(bench.writer.seal(bench.now));
    std::fs::write(bench.dir.path().join("sessions"), journal).unwrap();
    bench.restart();
    bench.shipped();
    let ends = bench.control.records.iter().filter(|r| r.event() == Disconnect).count();
    assert_eq!((ends, bench.control.records.len()), (2, 4));
}

#[test]
fn a_torn_tail_is_cut_and_counted_at_any_length() {
    let mut bench = Bench::new(|_| {});
    bench.write(visits(0, 3));
    let path = bench.writer.part.as_ref().unwrap().path().to_owned();
    let whole = std::fs::read(&path).unwrap();
    let journal = std::fs::read(bench.dir.path().join("sessions")).unwrap();
    for length in (0..whole.len()).rev() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(bench.dir.path().join("epochs"), dir.path().join("epochs")).unwrap();
        std::fs::write(dir.path().join("sessions"), &journal).unwrap();
        std::fs::write(dir.path().join(path.file_name().unwrap()), &whole[..length]).unwrap();
        let registry = Registry::new();
        let config = SpoolConfig::in_folder(dir.path());
        let writer =
            recover(config, Arc::new(bench.disk.clone()), dir.path(), "edge-1", shared(&registry)).unwrap();
        let mut control = Control::default();
        while let Some(sealed) = writer.shared.shelf.pop() {
            control.ship(&sealed.path, &sealed.id);
        }
        // A connect that stands has its end.
        let connects = control.records.iter().filter(|r| r.event() == Connect).count();
        assert_eq!(control.records.len(), 2 * connects, "cut to {length}");
        let torn = writer.shared.metrics.torn_tails.get();
        assert!(torn <= 1 && (torn == 1 || connects > 0 || length == 0 || length < 60), "cut to {length}");
    }
}

#[test]
fn an_event_that_is_too_long_is_refused_alone() {
    let mut bench = Bench::new(|_| {});
    let long = AccessRecord { uri_query: "x".repeat(70_000), ..event(1, 0, Connect) };
    let outcomes = bench.write([event(2, 2, Connect), long, event(2, 3, Disconnect)]);
    assert_eq!(outcomes, [Outcome::Stands, Outcome::Dropped(DropReason::TooLong), Outcome::Stands]);
    assert_eq!(bench.shipped(), [2, 3]);
}

#[test]
fn an_event_without_a_target_is_followed_and_not_written() {
    let mut bench = Bench::new(|_| {});
    let off = |record: AccessRecord| AccessRecord { target: None, ..record };
    let outcomes = bench.write([
        off(event(1, 0, Connect)),
        event(2, 1, Connect),
        off(event(2, 2, Disconnect)),
        off(event(1, 3, Play)),
    ]);
    assert!(outcomes.iter().all(|o| o.stands()), "{outcomes:?}");
    assert_eq!(bench.writer.sessions.len(), 0);
    assert_eq!(bench.shipped(), [1]);
    assert!(
        bench.write([off(event(9, 9, Connect))])[0].stands(),
        "also where nothing is to be written at all"
    );
}

#[test]
fn a_session_whose_logging_was_switched_off_is_over_with_its_process_like_any_other() {
    for other_is_open in [false, true] {
        let mut bench = Bench::new(|_| {});
        bench.write([event(1, 0, Connect), AccessRecord { target: None, ..event(1, 1, Play) }]);
        if other_is_open {
            bench.write([event(2, 2, Connect)]);
        }
        bench.writer.save(bench.now, true);
        bench.restart();
        assert_eq!(bench.writer.sessions.len(), 0, "nobody can ever end it");
        bench.restart();
        assert_eq!(bench.writer.sessions.len(), 0, "nor does the journal bring it back");
        let shipped = bench.shipped();
        assert_eq!(shipped, if other_is_open { vec![0, 2, 2] } else { vec![0] });
    }
}

#[test]
fn more_groups_than_a_footer_can_tell_of_begin_a_new_segment() {
    let mut bench = Bench::new(|config| (config.segment_bytes, config.bytes) = (12 << 20, 1 << 30));
    let of = |n: u64| AccessRecord { distribution_id: format!("E{n:013}"), ..event(n, n, Connect) };
    assert!(bench.write((0..6000).map(of)).iter().all(|o| o.stands()));
    assert!(bench.writer.shared.shelf.held().0 > 2);
    assert_eq!(bench.shipped().len(), 6000);
}
