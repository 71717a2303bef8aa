//! The arithmetic of accounts and of what follows from them.

use super::*;

const MIB: u64 = 1 << 20;

fn budget(session_bytes: u64) -> Arc<Budget> {
    let config = EdgeConfig {
        session_bytes,
        cache_bytes: 8 * MIB,
        read_ahead_total_bytes: 80 * MIB,
        ..Default::default()
    };
    Budget::new(Caps::of(&config))
}

#[test]
fn a_charge_is_given_back_whatever_it_became() {
    let account = Arc::<Account>::default();
    let mut charge = Charge::new(&account, 10);
    charge.set(5 * MIB);
    assert_eq!(account.bytes(), 5 * MIB);
    charge.set_in_steps(STEP_BYTES + 1);
    assert_eq!((account.bytes(), charge.bytes()), (2 * STEP_BYTES, 2 * STEP_BYTES));
    let other = Charge::new(&account, 7);
    drop(charge);
    assert_eq!(account.bytes(), 7);
    drop(other);
    assert_eq!(account.bytes(), 0);
}

#[test]
fn what_is_alive_and_not_cached_is_pinned_by_sessions() {
    let budget = budget(100 * MIB);
    let _alive = Charge::new(&budget.blocks, 11 * MIB);
    let _cached = Charge::new(&budget.cached_blocks, 8 * MIB);
    let _queued = Charge::new(&budget.queues, MIB);
    assert_eq!((budget.pinned_blocks(), budget.session_bytes()), (3 * MIB, 4 * MIB));
    assert_eq!(budget.total_bytes(), 12 * MIB);
    // For a moment a block may be counted as cached and no longer as alive: that is nothing, not 2^64.
    budget.blocks.set(0);
    assert_eq!(budget.pinned_blocks(), 0);
}

#[test]
fn pressure_rises_and_read_ahead_shrinks_with_what_sessions_hold() {
    let budget = budget(100 * MIB);
    let mut held = Charge::new(&budget.queues, 0);
    let mut at = |mib: u64| {
        held.set(mib * MIB);
        (budget.pressure(), budget.read_ahead_room() / MIB)
    };
    assert_eq!(at(0), (Pressure::Calm, 80));
    assert_eq!(at(25), (Pressure::Calm, 80));
    assert_eq!(at(50), (Pressure::High, 40));
    assert_eq!(at(75), (Pressure::High, 0));
    assert_eq!(at(90), (Pressure::Full, 0));
    assert_eq!(at(100), (Pressure::Over, 0));
    assert_eq!(at(10), (Pressure::Calm, 80));
}

#[test]
fn read_ahead_under_way_leaves_less_room() {
    let budget = budget(100 * MIB);
    let _way = Charge::new(&budget.read_ahead, 79 * MIB);
    assert_eq!(budget.read_ahead_room(), MIB);
    let _more = Charge::new(&budget.read_ahead, 2 * MIB);
    assert_eq!(budget.read_ahead_room(), 0);
}

#[test]
fn a_total_leaves_sessions_what_the_caches_do_not_take() {
    let mut config = EdgeConfig::default();
    let sum = Caps::of(&config);
    assert_eq!(sum.total_bytes, sum.shared_bytes() + config.session_bytes);
    config.memory_bytes = sum.shared_bytes() + 64 * MIB;
    let caps = Caps::of(&config);
    assert_eq!((caps.session_bytes, caps.total_bytes), (64 * MIB, config.memory_bytes));
    config.memory_bytes = u64::MAX;
    assert_eq!(Caps::of(&config), sum);
}
