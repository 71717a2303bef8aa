//! What dies, what is cut, and when: drawn from a seed before anything happens.
//!
//! Each box and each way has a life of its own (up for a while, down for a while), so that any two or three can be down together.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::boxes::LogCluster;
use super::valve::Fault;
use super::witness::Kill;
use super::{late, now_ms};

/// One thing done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `kill -9` of an edge.
    KillEdge(usize),
    /// Its start.
    StartEdge(usize),
    /// `kill -9` of a control.
    KillControl(usize),
    /// Its start.
    StartControl(usize),
    /// `kill -9` of the S3 server.
    KillS3,
    /// Its start, with what it had on disk.
    StartS3,
    /// A way between two boxes, by its number.
    Way(usize, Fault),
}

/// An act and when, from the storm's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// What there is to strike.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Edges.
    pub edges: usize,
    /// Controls.
    pub controls: usize,
    /// Whether the S3 server may be killed: one that keeps its objects in memory may not.
    pub s3: bool,
    /// Ways.
    pub ways: usize,
}

/// The strikes of a seed, in order, all within `during`; at its end everything stands again.
pub fn plan(seed: u64, field: Field, during: Duration) -> Vec<Strike> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all = Vec::new();
    let mut life = |up: (u64, u64), down: (u64, u64), acts: &mut dyn FnMut(&mut StdRng) -> (Act, Act)| {
        let mut at = Duration::ZERO;
        loop {
            at += Duration::from_millis(random.random_range(up.0..up.1));
            let back = at + Duration::from_millis(random.random_range(down.0..down.1));
            if back >= during {
                return;
            }
            let (falls, stands) = acts(&mut random);
            all.extend([Strike { at, act: falls }, Strike { at: back, act: stands }]);
            at = back;
        }
    };
    for i in 0..field.edges {
        life((3000, 16_000), (50, 3000), &mut |_| (Act::KillEdge(i), Act::StartEdge(i)));
    }
    for i in 0..field.controls {
        life((3000, 14_000), (50, 5000), &mut |_| (Act::KillControl(i), Act::StartControl(i)));
    }
    if field.s3 {
        life((4000, 18_000), (50, 4000), &mut |_| (Act::KillS3, Act::StartS3));
    }
    for i in 0..field.ways {
        life((2000, 15_000), (100, 6000), &mut |random| {
            let fault = [Fault::Closed, Fault::Silent, Fault::Deaf][random.random_range(0..3)];
            (Act::Way(i, fault), Act::Way(i, Fault::None))
        });
    }
    all.sort_by_key(|strike| strike.at);
    all
}

/// What a storm did.
#[derive(Clone, Debug, Default)]
pub struct Damage {
    /// Boxes killed.
    pub deaths: usize,
    /// Ways cut.
    pub cuts: usize,
    /// Edges among the killed.
    pub edges: Vec<Kill>,
}

/// Carries strikes out at their times, late if the machine is, and adds what they did.
pub fn strike(cluster: &mut LogCluster, strikes: &[Strike], damage: &mut Damage) {
    let began = Instant::now();
    for strike in strikes {
        std::thread::sleep(strike.at.saturating_sub(began.elapsed()));
        match strike.act {
            Act::KillEdge(i) => {
                let edge = &mut cluster.edges[i];
                edge.process.kill();
                let at_ms = now_ms();
                let before = damage.edges.iter().rev().find(|kill| kill.edge == edge.addr);
                let late_ms = late::since(&edge.process.log(), before.map_or(0, |kill| kill.at_ms));
                damage.edges.push(Kill { edge: edge.addr.clone(), at_ms, late_ms });
            }
            Act::StartEdge(i) => cluster.edges[i].restart(),
            Act::KillControl(i) => cluster.controls[i].process.kill(),
            Act::StartControl(i) => cluster.controls[i].restart(),
            Act::KillS3 => cluster.s3.kill(),
            Act::StartS3 => cluster.s3.start_again(),
            Act::Way(i, fault) => cluster.ways[i].set(fault),
        }
        match strike.act {
            Act::KillEdge(_) | Act::KillControl(_) | Act::KillS3 => damage.deaths += 1,
            Act::Way(_, fault) if fault != Fault::None => damage.cuts += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: Field = Field { edges: 3, controls: 2, s3: true, ways: 9 };

    #[test]
    fn a_seed_is_a_plan_and_everything_that_falls_stands_up_again() {
        let during = Duration::from_secs(60);
        let strikes = plan(7, FIELD, during);
        assert_eq!(strikes, plan(7, FIELD, during));
        assert_ne!(strikes, plan(8, FIELD, during));
        assert!(strikes.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(strikes.iter().all(|strike| strike.at < during));
        for i in 0..FIELD.edges {
            let own: Vec<Act> = strikes
                .iter()
                .map(|strike| strike.act)
                .filter(|act| [Act::KillEdge(i), Act::StartEdge(i)].contains(act))
                .collect();
            assert!(own.len() >= 4, "{own:?}");
            assert!(own.chunks(2).all(|pair| pair == [Act::KillEdge(i), Act::StartEdge(i)]));
        }
        let mut down = std::collections::HashSet::new();
        for strike in &strikes {
            if let Act::Way(i, fault) = strike.act {
                assert!(if fault == Fault::None { down.remove(&i) } else { down.insert(i) });
            }
        }
        assert!(down.is_empty());
    }
}
