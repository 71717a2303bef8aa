//! Killed at any byte, at any act, in recovery too: what was acknowledged is there once, and sessions have their ends.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::faulty::FaultyDisk;
use super::world::{World, scale};

#[test]
fn killed_at_any_byte_what_was_acknowledged_is_there_once_and_sessions_end() {
    // How far a process gets that nobody kills.
    let (dir, disk) = (tempfile::tempdir().unwrap(), FaultyDisk::default());
    let mut world = World::new(1, dir.path(), false);
    assert!(world.process(&disk, 120));
    let whole = disk.used();
    world.settle(&FaultyDisk::default(), "not killed");
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
        let mut world = World::new(seed, dir.path(), false);
        world.process(&FaultyDisk::dies_after(first), 120);
        // Mostly within its repair.
        world.process(&FaultyDisk::dies_after(second), 60);
        world.process(&FaultyDisk::dies_after(second / 2), 60);
        world.settle(&FaultyDisk::default(), &about);
    }
}
