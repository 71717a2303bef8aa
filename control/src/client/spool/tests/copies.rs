//! A folder that is copied, or comes back as it was: what both make of it reaches control, whichever comes first.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;
use proto::v1::AccessEvent::{Connect, Disconnect};
use proto::v1::AccessRecord;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::control::Control;
use super::events::event;
use super::faulty::FaultyDisk;
use super::shared;
use crate::client::spool::config::SpoolConfig;
use crate::client::spool::disk::RealDisk;
use crate::client::spool::folder::Epochs;
use crate::client::spool::queue::{Event, Order, Taken};
use crate::client::spool::recover::recover;
use crate::client::spool::writer::Writer;

fn open(folder: &Path) -> Writer {
    let config = SpoolConfig { segment_bytes: 4096, bytes: 1 << 20, ..SpoolConfig::in_folder(folder) };
    recover(config, Arc::new(FaultyDisk::default()), folder, "edge-1", shared(&Registry::new())).unwrap()
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

#[derive(Default)]
struct World {
    control: Control,
    made: BTreeSet<String>,
    events: u64,
}

impl World {
    /// Visits that are over, each of its own client.
    fn write(&mut self, writer: &mut Writer, visits: u64) {
        let mut events = Vec::new();
        let mut answers = Vec::new();
        for _ in 0..visits {
            for what in [Connect, Disconnect] {
                let record: AccessRecord = event(self.events / 2, self.events, what);
                self.events += 1;
                self.made.insert(record.uri_query.clone());
                let (written, answer) = oneshot::channel();
                events.push(Event { record, written });
                answers.push(answer);
            }
        }
        writer.work(&mut Taken { events, ..Taken::default() }, Instant::now());
        answers.into_iter().for_each(|mut answer| assert!(answer.try_recv().unwrap().stands()));
    }

    /// Hands over up to `segments`, which are forgotten: taken, or answered as repeated.
    fn ship(&mut self, writer: &mut Writer, segments: usize) {
        for _ in 0..segments {
            let Some(sealed) = writer.shared.shelf.first() else { return };
            self.control.ship(&sealed.path, &sealed.id);
            writer.shared.shelf.take(&sealed.id);
            let orders = vec![Order::Forget(sealed.id)];
            writer.work(&mut Taken { orders, ..Taken::default() }, Instant::now());
        }
    }

    fn arrived(&self) -> BTreeSet<String> {
        self.control.records.iter().map(|record| record.uri_query.clone()).collect()
    }
}

#[test]
fn a_folder_that_is_copied_while_it_is_used_loses_no_record_of_either() {
    let scale: u64 = std::env::var("PENSTOCK_TEST_SCALE").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut repeats = 0;
    for seed in 0..60 * scale {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::default();
        let dir = tempfile::tempdir().unwrap();
        let mut writers = vec![open(dir.path())];
        let mut copies = Vec::new();
        for _ in 0..60 {
            let at = random.random_range(0..writers.len());
            match random.random_range(0..12) {
                0 if copies.len() < 3 => {
                    // As a snapshot of the machine has it, and then a process of its own starts on that.
                    let taken = copy(&writers[at].folder);
                    writers.push(open(taken.path()));
                    copies.push(taken);
                }
                // Another process goes on in the same folder.
                1 => {
                    let folder = writers[at].folder.clone();
                    writers[at] = open(&folder);
                }
                2 => drop(writers[at].seal(Instant::now())),
                3..=5 => {
                    let segments = random.random_range(1..4);
                    world.ship(&mut writers[at], segments);
                }
                _ => {
                    let visits = random.random_range(1..12);
                    world.write(&mut writers[at], visits);
                }
            }
        }
        while !writers.is_empty() {
            let mut writer = writers.swap_remove(random.random_range(0..writers.len()));
            writer.finish(Instant::now());
            world.ship(&mut writer, usize::MAX);
        }
        let lost: Vec<_> = world.made.difference(&world.arrived()).cloned().collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
        repeats += world.control.repeats;
    }
    assert!(repeats > 0, "sealed segments that both had were taken once");
}

#[test]
fn a_folder_that_comes_back_as_it_was_loses_nothing_and_repeats_only_what_was_not_sealed() {
    let mut world = World::default();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path());
    world.write(&mut writer, 5);
    assert!(writer.seal(Instant::now()));
    world.ship(&mut writer, 1);
    world.write(&mut writer, 5);
    assert!(writer.seal(Instant::now()));
    world.write(&mut writer, 3);
    let snapshot = copy(dir.path());
    // It goes on, ships all, and is lost.
    world.write(&mut writer, 20);
    assert!(writer.seal(Instant::now()));
    world.ship(&mut writer, usize::MAX);
    drop(writer);
    let mut restored = open(snapshot.path());
    world.write(&mut restored, 30);
    assert!(restored.seal(Instant::now()));
    world.ship(&mut restored, usize::MAX);
    assert_eq!(world.arrived(), world.made);
    assert_eq!(world.control.repeats, 1, "the segment that was sealed in the snapshot");
    assert_eq!(world.control.records.len(), world.made.len() + 6, "three visits stood in its part");
}

#[test]
fn the_list_of_epochs_stays_short_over_many_processes() {
    let mut world = World::default();
    let dir = tempfile::tempdir().unwrap();
    let mut drawn = BTreeSet::new();
    for round in 0..30 {
        let mut writer = open(dir.path());
        assert!(drawn.insert(writer.next.epoch.clone()), "an epoch of its own");
        let waiting = writer.shared.shelf.held().0;
        if round % 3 > 0 {
            world.write(&mut writer, 1);
        }
        if round % 10 == 0 {
            world.ship(&mut writer, usize::MAX);
        }
        let listed = Epochs::read(&RealDisk, dir.path(), "edge-1").unwrap().0;
        assert_eq!(listed.last(), Some(&writer.next.epoch));
        assert!(listed.len() <= waiting + 2, "{} of {waiting} segments", listed.len());
    }
    let mut writer = open(dir.path());
    world.ship(&mut writer, usize::MAX);
    drop(writer);
    assert!(open(dir.path()).shared.shelf.first().is_none());
    let listed = Epochs::read(&RealDisk, dir.path(), "edge-1").unwrap().0;
    assert_eq!(listed.len(), 2, "the one before, and this");
    assert_eq!(world.arrived(), world.made);
    assert_eq!((world.control.records.len(), world.control.repeats), (world.made.len(), 0));
}
