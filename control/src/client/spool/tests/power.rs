//! The machine loses its power at any byte, at any act, in recovery too, and its disk forgets what was not synced.

use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::forgetful::ForgetfulDisk;
use super::world::{World, scale};

/// Histories of processes that are killed or lose their power; how many events that were said to stand the disk forgot.
fn histories(durable: bool) -> usize {
    // In memory: the folder is a name.
    let folder = Path::new("/spool");
    let disk = ForgetfulDisk::default();
    let mut world = World::new(1, folder, durable);
    assert!(world.process(&disk, 120));
    let whole = disk.used();
    assert_eq!(world.settle(&disk, "left alone"), 0);
    assert!(whole > 20_000, "{whole}");
    let mut forgotten = 0;
    for round in 0..1200 * scale() {
        let seed = 0x0ff_0000 + round;
        let mut random = StdRng::seed_from_u64(seed);
        let disk = ForgetfulDisk::default();
        let mut world = World::new(seed, folder, durable);
        let mut about = format!("durable: {durable}, seed {seed}");
        for acts in [120, 60, 60] {
            // Now and then it is idle when the power goes, and often in the middle of its repair.
            let units = match random.random_range(0..5) {
                0 => None,
                1 => Some(random.random_range(0..400)),
                _ => Some(random.random_range(0..whole)),
            };
            disk.lives_for(units);
            world.process(&disk, acts);
            let is_cut = random.random_range(0..4) > 0;
            if is_cut {
                disk.cut_power(&mut random);
                world.lose_power();
            }
            about.push_str(&format!(", {} after {units:?}", if is_cut { "power cut" } else { "killed" }));
        }
        disk.lives_for(None);
        forgotten += world.settle(&disk, &about);
    }
    forgotten
}

#[test]
fn a_power_cut_costs_a_durable_spool_no_event_that_counted() {
    assert_eq!(histories(true), 0);
}

#[test]
fn a_power_cut_costs_the_events_of_the_last_200_ms_and_none_is_doubled_or_older() {
    // Each that was lost was young, or the history would have failed; and some are, or the disk forgets nothing.
    let forgotten = histories(false);
    println!("{forgotten} events lost");
    assert!(forgotten > 100, "{forgotten}");
}
