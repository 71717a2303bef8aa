//! Files changed at random, as no process leaves them: the spool opens, ships nothing twice, loses nothing that comes later.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use prometheus::Registry;
use proto::access_log::Segment;
use proto::v1::AccessEvent::{Connect, Disconnect, Play};
use proto::v1::AccessRecord;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::control::Control;
use super::events::event;
use super::faulty::FaultyDisk;
use super::shared;
use crate::client::spool::SpoolError;
use crate::client::spool::config::SpoolConfig;
use crate::client::spool::queue::{Event, Order, Taken};
use crate::client::spool::recover::recover;
use crate::client::spool::writer::Writer;

fn open(folder: &Path) -> Result<Writer, SpoolError> {
    let config = SpoolConfig { segment_bytes: 4096, bytes: 1 << 20, ..SpoolConfig::in_folder(folder) };
    recover(config, Arc::new(FaultyDisk::default()), folder, "edge-1", shared(&Registry::new()))
}

fn write(writer: &mut Writer, records: impl IntoIterator<Item = AccessRecord>) {
    let event = |record| Event { record, written: oneshot::channel().0 };
    let events = records.into_iter().map(event).collect();
    writer.work(&mut Taken { events, ..Taken::default() }, Instant::now());
}

/// A folder as a killed process leaves it: sealed segments, a part, a journal; and what control has had of it.
fn killed(folder: &Path) -> Control {
    let mut control = Control::default();
    let mut writer = open(folder).unwrap();
    for round in 0..6u64 {
        let first = round * 10;
        write(&mut writer, [event(round, first, Connect), event(round, first + 1, Play)]);
        write(&mut writer, (100..110).map(|n| event(1000 + n + first, 1000 + n + first, Connect)));
        write(&mut writer, (100..110).map(|n| event(1000 + n + first, 2000 + n + first, Disconnect)));
        writer.seal(Instant::now());
        if round < 3 {
            let sealed = writer.shared.shelf.pop().unwrap();
            control.ship(&sealed.path, &sealed.id);
            let orders = vec![Order::Forget(sealed.id)];
            writer.work(&mut Taken { orders, ..Taken::default() }, Instant::now());
        }
    }
    write(&mut writer, [event(50, 90, Connect), event(50, 91, Play)]);
    writer.save(Instant::now(), true);
    write(&mut writer, [event(51, 92, Connect)]);
    control
}

fn change(bytes: &mut Vec<u8>, random: &mut StdRng) {
    let at = random.random_range(0..bytes.len().max(1));
    let len = random.random_range(1..64usize);
    let end = (at + len).min(bytes.len());
    match random.random_range(0..6) {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (len % 8)),
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at.min(end)..end)),
        3 => bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = 0),
        4 => bytes.extend((0..len).map(|_| random.random::<u8>())),
        _ => {
            let piece = bytes[at.min(end)..end].to_vec();
            bytes.splice(at.min(end)..at.min(end), piece);
        }
    }
}

#[test]
fn whatever_the_files_say_the_spool_opens_ships_nothing_twice_and_goes_on() {
    let scale: u64 = std::env::var("PENSTOCK_TEST_SCALE").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    for seed in 0..200 * scale {
        let mut random = StdRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut control = killed(dir.path());
        let mut files: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut changed = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let path = &files[random.random_range(0..files.len())];
            let mut bytes = std::fs::read(path).unwrap_or_default();
            change(&mut bytes, &mut random);
            if path.ends_with("sessions") && random.random_range(0..4) == 0 {
                let _ = std::fs::remove_file(path);
            } else {
                std::fs::write(path, bytes).unwrap();
            }
            changed.push(path.file_name().unwrap().to_owned());
        }
        let about = format!("seed {seed}, changed {changed:?}");
        let mut writer = open(dir.path()).unwrap_or_else(|e| panic!("{about}: {e}"));
        write(
            &mut writer,
            (0..20u64)
                .flat_map(|n| [event(5000 + n, 5000 + n, Connect), event(5000 + n, 6000 + n, Disconnect)]),
        );
        writer.finish(Instant::now());
        let before = control.repeats;
        while let Some(sealed) = writer.shared.shelf.pop() {
            // As next_sealed does.
            let whole = std::fs::read(&sealed.path).is_ok_and(|bytes| {
                Segment::verify(bytes.into()).is_ok_and(|segment| segment.id == sealed.id)
            });
            if whole {
                control.ship(&sealed.path, &sealed.id);
            }
        }
        assert_eq!(control.repeats, before, "{about}");
        let mut seen = BTreeSet::new();
        for record in &control.records {
            assert!(seen.insert((record.client_id.clone(), record.event)), "{about}: twice: {record:?}");
        }
        let late = control.records.iter().filter(|record| record.uri_query.len() == 6).filter(|record| {
            let n: u64 = record.uri_query[2..].parse().unwrap();
            (5000..5020).contains(&n) || (6000..6020).contains(&n)
        });
        assert_eq!(late.count(), 40, "{about}");
    }
}
