//! What viewers saw: the set of events the log files are held against.

use std::ops::RangeInclusive;

pub use crate::logs::Event;

/// How an event a viewer asked for turned out, as far as the viewer can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its effect was seen: it must be in the files, once.
    Seen,
    /// It was refused: it must not be there.
    Refused,
    /// No answer came: it may be there, once.
    Cut,
}

impl Fate {
    /// How many records of it there may be.
    pub fn records(self) -> RangeInclusive<usize> {
        match self {
            Self::Seen => 1..=1,
            Self::Refused => 0..=0,
            Self::Cut => 0..=1,
        }
    }
}

/// One event a viewer asked for.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which.
    pub event: Event,
    /// What came of it.
    pub fate: Fate,
    /// Bytes the viewer had received when it asked, and when it had its answer; handshake included.
    pub bytes: (u64, u64),
    /// When it asked and when it had its answer, in ms since 1970.
    pub at_ms: (i64, i64),
}

/// One `play`, with what was done to it. Its stop isn't told: it follows from the play.
#[derive(Clone, Debug)]
pub struct Play {
    /// What its records have in x-sname-query.
    pub id: String,
    /// What they have in x-sname.
    pub name: String,
    /// The play itself first, then pauses, unpauses and seeks in order.
    pub told: Vec<Told>,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What its records have in cs-uri-query.
    pub id: String,
    /// The host of its tcUrl.
    pub host: String,
    /// The `connect`.
    pub connect: Told,
    /// Its plays in order.
    pub plays: Vec<Play>,
    /// Bytes received in all, handshake included.
    pub received: u64,
    /// Whether the viewer ended it, while the server was there.
    pub left: bool,
    /// Which edge it was to (`IP:PORT`), and when it ended, in ms since 1970.
    pub ended: (String, i64),
}

/// An edge's process that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Its `IP:PORT`.
    pub edge: String,
    /// When it was gone, in ms since 1970.
    pub at_ms: i64,
    /// Since when it answered players without waiting for their events, if it ever did; see [`super::late`].
    pub late_ms: Option<i64>,
}

/// An edge that is killed may not have noticed yet who left it before.
const UNNOTICED_MS: i64 = 3000;

impl Connection {
    /// Takes it that a viewer who left shortly before its edge was killed was there still: then its disconnect is written by the next process,
    /// which knows its bytes only as of some time before. And lets off what was answered after that process had said that it doesn't wait for
    /// events any more: the kill may have cost them. Gives how many were.
    pub fn excuse(&mut self, kills: &[Kill]) -> usize {
        let (edge, ended_ms) = self.ended.clone();
        let own = || kills.iter().filter(|kill| kill.edge == edge);
        let close = |kill: i64| (kill - UNNOTICED_MS..=kill + UNNOTICED_MS).contains(&ended_ms);
        if own().any(|kill| close(kill.at_ms)) {
            self.left = false;
        }
        // The end of the process that it was connected to, which may have come long after its own.
        let end = own().filter(|kill| kill.at_ms >= self.connect.at_ms.0).min_by_key(|kill| kill.at_ms);
        let Some(late_ms) = end.and_then(|kill| kill.late_ms) else { return 0 };
        let before = self.seen();
        let told =
            std::iter::once(&mut self.connect).chain(self.plays.iter_mut().flat_map(|play| &mut play.told));
        for told in told.filter(|told| told.fate == Fate::Seen && told.at_ms.1 >= late_ms) {
            told.fate = Fate::Cut;
        }
        if ended_ms >= late_ms {
            self.left = false;
        }
        before - self.seen()
    }

    /// The events seen for sure; each play that began counts its stop, the connection its disconnect.
    pub fn seen(&self) -> usize {
        let mut count = 0;
        let told = std::iter::once(&self.connect).chain(self.plays.iter().flat_map(|play| &play.told));
        for told in told.filter(|told| told.fate == Fate::Seen) {
            count += if matches!(told.event, Event::Connect | Event::Play) { 2 } else { 1 };
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answered at 1000, 2000 and 3000 ms; the viewer left at 4000.
    fn connection() -> Connection {
        let told = |event, at_ms| Told { event, fate: Fate::Seen, bytes: (0, 0), at_ms: (at_ms - 10, at_ms) };
        Connection {
            id: "1".into(),
            host: "a.example.com".into(),
            connect: told(Event::Connect, 1000),
            plays: vec![Play {
                id: "p=1".into(),
                name: "film".into(),
                told: vec![told(Event::Play, 2000), told(Event::Pause, 3000)],
            }],
            received: 9000,
            left: true,
            ended: ("edge:1".into(), 4000),
        }
    }

    fn kill(edge: &str, at_ms: i64, late_ms: Option<i64>) -> Kill {
        Kill { edge: edge.into(), at_ms, late_ms }
    }

    #[test]
    fn only_what_its_own_edge_answered_after_saying_it_is_late_is_let_off_and_only_by_its_kill() {
        for (kills, let_off, left) in [
            (vec![], 0, true),
            (vec![kill("edge:1", 90_000, None)], 0, true),
            // Another edge; an earlier process; a later one.
            (vec![kill("edge:2", 90_000, Some(500))], 0, true),
            (vec![kill("edge:1", 900, Some(500))], 0, true),
            (vec![kill("edge:1", 50_000, None), kill("edge:1", 90_000, Some(60_000))], 0, true),
            // The connection was over by then.
            (vec![kill("edge:1", 90_000, Some(5000))], 0, true),
            (vec![kill("edge:1", 90_000, Some(3500))], 0, false),
            (vec![kill("edge:1", 90_000, Some(3000))], 1, false),
            // A play counts its stop, a connect its disconnect.
            (vec![kill("edge:1", 90_000, Some(1500))], 3, false),
            (vec![kill("edge:1", 90_000, Some(500))], 5, false),
        ] {
            let mut one = connection();
            assert_eq!((one.excuse(&kills), one.left), (let_off, left), "{kills:?}");
            assert_eq!(one.seen(), 5 - let_off);
        }
    }

    #[test]
    fn who_left_as_its_edge_was_killed_may_not_have_been_noticed() {
        let mut one = connection();
        assert_eq!((one.excuse(&[kill("edge:1", 6000, None)]), one.left), (0, false));
    }
}
