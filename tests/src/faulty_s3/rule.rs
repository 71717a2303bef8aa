//! Which requests suffer what.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::head::Head;
use crate::counting_proxy::Request;

/// What happens to a request. Counts are bytes of the body.
#[derive(Clone, Debug)]
pub enum Fault {
    /// An answer of our own: status, S3's error code, more headers.
    Answer(u16, &'static str, Vec<(&'static str, &'static str)>),
    /// The answer comes this late.
    Late(Duration),
    /// The connection stays open and silent.
    Silence,
    /// The connection closes without an answer.
    HangUp,
    /// The body stops after so many bytes; the connection stays open.
    Stall(u64),
    /// The body ends after so many bytes, by an orderly close.
    Truncate(u64),
    /// The body ends after so many bytes, by a reset.
    Reset(u64),
    /// 200 and the whole object, whatever range was asked (unsigned requests only).
    Whole,
    /// `Content-Range` names bytes this much later than the body's.
    Shifted(u64),
    /// `Content-Range` names an object this much longer.
    Longer(u64),
    /// The answer says the length of a body that is this much shorter than asked, and sends that.
    Shorter(u64),
    /// Another ETag.
    Etag(&'static str),
    /// One bit of this byte of the body is flipped; the next time of another byte.
    Corrupt(u64),
    /// So many bytes a second.
    Slow(u64),
}

/// How often a rule was applied.
#[derive(Clone, Debug, Default)]
pub struct Hits(Arc<AtomicU64>);

impl Hits {
    /// So often.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A fault and what it happens to.
#[derive(Debug)]
pub struct Rule {
    part: String,
    method: Option<&'static str>,
    header: Option<(&'static str, String)>,
    bytes: Option<Range<u64>>,
    skip: u64,
    times: u64,
    chance: Option<(f64, StdRng)>,
    fault: Fault,
    hits: Hits,
}

impl Rule {
    /// `fault` for every GET whose target contains `part`.
    pub fn new(part: &str, fault: Fault) -> Self {
        Self {
            part: part.to_owned(),
            method: Some("GET"),
            header: None,
            bytes: None,
            skip: 0,
            times: u64::MAX,
            chance: None,
            fault,
            hits: Hits::default(),
        }
    }

    /// Whatever the method.
    pub fn any_method(mut self) -> Self {
        self.method = None;
        self
    }

    /// Only HEADs.
    pub fn heads(mut self) -> Self {
        self.method = Some("HEAD");
        self
    }

    /// Only requests whose header has that value.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.header = Some((name, value.to_owned()));
        self
    }

    /// Only requests whose range touches these bytes.
    pub fn bytes(mut self, bytes: Range<u64>) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Not the first so many that fit.
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// At most so often.
    pub fn times(mut self, count: u64) -> Self {
        self.times = count;
        self
    }

    /// With this probability, decided by a generator of that seed.
    pub fn chance(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some((probability, StdRng::seed_from_u64(seed)));
        self
    }

    pub(super) fn hits(&self) -> Hits {
        self.hits.clone()
    }

    /// The fault, if this request is to suffer it.
    pub(super) fn apply(&mut self, request: &Request, head: &Head) -> Option<Fault> {
        let fits = request.target.contains(&self.part)
            && self.method.is_none_or(|m| m == request.method)
            && self.header.as_ref().is_none_or(|(n, v)| head.get(n) == Some(v))
            && self.bytes.as_ref().is_none_or(|wanted| {
                request.range.is_some_and(|(first, last)| first < wanted.end && wanted.start <= last)
            });
        if !fits || self.hits.count() >= self.times {
            return None;
        }
        if let Some((probability, random)) = &mut self.chance
            && !random.random_bool(*probability)
        {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let before = self.hits.0.fetch_add(1, Ordering::SeqCst);
        Some(match self.fault {
            Fault::Corrupt(at) => Fault::Corrupt(at + before * 65_537),
            ref fault => fault.clone(),
        })
    }
}
