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

/// An edge that is killed may not have noticed yet who left it before.
const UNNOTICED_MS: i64 = 3000;

impl Connection {
    /// Takes it that a viewer who left shortly before its edge was killed (`IP:PORT`, ms since 1970) was there still: then its disconnect is
    /// written by the next process, which knows its bytes only as of some time before.
    pub fn excuse(&mut self, kills: &[(String, i64)]) {
        let (edge, at_ms) = &self.ended;
        let close = |kill: i64| (kill - UNNOTICED_MS..=kill + UNNOTICED_MS).contains(at_ms);
        if kills.iter().any(|(killed, kill)| killed == edge && close(*kill)) {
            self.left = false;
        }
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
