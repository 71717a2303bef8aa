//! The buckets beneath the shields: films by key, ETags, and faults while the schedule says so.
//!
//! Every GET is recorded with who asked, when, and how it ended: what "one fetch a block" is judged by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use proto::range::ByteRange;
use proto::v1::Priority;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use shield::origin::{Body, Head, Origin, OriginError};
use tokio::time::sleep;

use super::film::Film;

/// Bytes of a body's pieces, and the time one takes: some 60 MB/s.
const PIECE_BYTES: usize = 128 << 10;
const PIECE: Duration = Duration::from_millis(2);
/// Past this an S3 client gives a request up.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// How a bucket misbehaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ill {
    /// 503 or 500.
    Errors,
    /// Headers come this late.
    Slow(Duration),
    /// Bodies stop for good somewhere.
    Stalls,
    /// Bodies end early, half of them with an error.
    Cuts,
    /// Content-Range says other bytes than were asked.
    WrongRange,
}

/// How a GET ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// As asked.
    Well,
    /// A fault of the schedule touched it.
    Faulted,
    /// 412 or 404: the version was gone.
    Gone,
}

/// A GET.
#[derive(Clone, Debug)]
pub(crate) struct Get {
    pub(crate) at: Duration,
    pub(crate) shield: String,
    pub(crate) bucket: usize,
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) range: ByteRange,
    pub(crate) how: How,
}

struct State {
    objects: BTreeMap<(usize, String), Arc<Film>>,
    /// Bucket, illness, share of requests in percent.
    ills: Vec<(usize, Ill, u32)>,
    gets: Vec<Get>,
    chance: SmallRng,
}

/// All buckets. Clones share them.
#[derive(Clone)]
pub(crate) struct Buckets(Arc<Mutex<State>>);

impl Buckets {
    pub(crate) fn new(seed: u64) -> Self {
        let chance = SmallRng::seed_from_u64(seed);
        let state = State { objects: BTreeMap::new(), ills: Vec::new(), gets: Vec::new(), chance };
        Self(Arc::new(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Stores a version, in place of any other.
    pub(crate) fn put(&self, film: &Arc<Film>) {
        self.lock().objects.insert((film.spec.bucket, film.spec.key.clone()), film.clone());
    }

    /// Removes what is at a film's key.
    pub(crate) fn delete(&self, film: &Film) {
        self.lock().objects.remove(&(film.spec.bucket, film.spec.key.clone()));
    }

    /// So many percent of a bucket's requests fail so from now on.
    pub(crate) fn fall_ill(&self, bucket: usize, ill: Ill, percent: u32) {
        self.lock().ills.push((bucket, ill, percent));
    }

    /// That illness is over.
    pub(crate) fn recover(&self, bucket: usize, ill: Ill) {
        self.lock().ills.retain(|(b, i, _)| (*b, *i) != (bucket, ill));
    }

    /// All GETs so far.
    pub(crate) fn gets(&self) -> Vec<Get> {
        self.lock().gets.clone()
    }

    /// One bucket as a shield sees it.
    pub(crate) fn origin(&self, bucket: usize, shield: &str) -> impl Origin + use<> {
        One { all: self.clone(), bucket, shield: shield.to_owned() }
    }
}

struct One {
    all: Buckets,
    bucket: usize,
    shield: String,
}

impl One {
    fn find(&self, key: &str) -> Result<Arc<Film>, OriginError> {
        let found = self.all.lock().objects.get(&(self.bucket, key.to_owned())).cloned();
        found.ok_or_else(|| OriginError::NotFound(key.to_owned()))
    }

    /// What befalls this request, and its usual latency.
    fn fate(&self) -> (Option<Ill>, Duration) {
        let mut state = self.all.lock();
        let ills: Vec<_> = state.ills.iter().filter(|(b, ..)| *b == self.bucket).copied().collect();
        let latency = Duration::from_millis(state.chance.random_range(4..30));
        let hit = ills.into_iter().find(|(_, _, percent)| state.chance.random_range(0..100) < *percent);
        (hit.map(|(_, ill, _)| ill), latency)
    }

    /// Latency and the faults that come before an answer.
    async fn arrive(&self, ill: Option<Ill>, latency: Duration) -> Result<(), OriginError> {
        sleep(latency).await;
        match ill {
            Some(Ill::Errors) => {
                let status = if self.all.lock().chance.random() { 503 } else { 500 };
                Err(OriginError::Server { status, message: "slow down".into() })
            }
            Some(Ill::Slow(late)) => {
                sleep(late.min(FIRST_BYTE)).await;
                if late >= FIRST_BYTE { Err(OriginError::Timeout("no headers".into())) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Origin for One {
    fn endpoint(&self) -> &str {
        "simulated"
    }

    async fn head(&self, key: &str, if_none_match: Option<&str>) -> Result<Head, OriginError> {
        let (ill, latency) = self.fate();
        tracing::info!(target: "sim", bucket = self.bucket, key, ?ill, "HEAD");
        self.arrive(ill, latency).await?;
        let film = self.find(key)?;
        if if_none_match == Some(&*film.etag) {
            return Ok(Head::Unchanged { max_age: None });
        }
        let size_bytes = film.bytes.len() as u64;
        let (version, content_type) = (film.etag.clone(), "video/x-flv".into());
        Ok(Head::Object { version, size_bytes, content_type, max_age: None })
    }

    async fn get(
        &self,
        key: &str,
        range: ByteRange,
        if_match: &str,
        priority: Priority,
    ) -> Result<Body, OriginError> {
        let (ill, latency) = self.fate();
        let gone = self.find(key).map_or(true, |film| *film.etag != *if_match);
        let how = if gone {
            How::Gone
        } else if ill.is_some() {
            How::Faulted
        } else {
            How::Well
        };
        let at = turmoil::sim_elapsed().unwrap_or_default();
        tracing::info!(target: "sim", bucket = self.bucket, key, etag = if_match, start = range.start, end = range.end,
            ?priority, ?ill, ?how, "GET");
        let get = Get {
            at,
            shield: self.shield.clone(),
            bucket: self.bucket,
            key: key.to_owned(),
            etag: if_match.to_owned(),
            range,
            how,
        };
        let number = {
            let mut state = self.all.lock();
            state.gets.push(get);
            state.gets.len() - 1
        };
        self.arrive(ill, latency).await?;
        let refused = |error| {
            // It may have been replaced while the answer was on its way.
            self.all.lock().gets[number].how = How::Gone;
            Err(error)
        };
        let film = match self.find(key) {
            Ok(film) if *film.etag == *if_match => film,
            Ok(_) => return refused(OriginError::VersionRetired(key.to_owned())),
            Err(error) => return refused(error),
        };
        let size_bytes = film.bytes.len() as u64;
        let mut range = range.clip(size_bytes);
        if range.is_empty() {
            return Err(OriginError::PastEnd(key.to_owned()));
        }
        let mut bytes = film.bytes.slice(range.start as usize..range.end as usize);
        let (mut broken, mut stalls) = (false, false);
        match ill {
            Some(Ill::Stalls | Ill::Cuts) => {
                let mut state = self.all.lock();
                bytes.truncate(state.chance.random_range(0..bytes.len()));
                stalls = ill == Some(Ill::Stalls);
                broken = !stalls && state.chance.random();
            }
            Some(Ill::WrongRange) => range.start += 1,
            _ => {}
        }
        let pieces = futures::stream::unfold(bytes, |mut left| async {
            if left.is_empty() {
                return None;
            }
            sleep(PIECE).await;
            let piece = left.split_to(left.len().min(PIECE_BYTES));
            Some((Ok(piece), left))
        });
        let end = broken.then(|| Err(OriginError::Connection("reset".into())));
        let stream = match stalls {
            true => pieces.chain(futures::stream::pending()).boxed(),
            false => pieces.chain(futures::stream::iter(end)).boxed(),
        };
        Ok(Body { range, size_bytes, content_type: "video/x-flv".into(), md5: None, stream })
    }
}

/// The blocks of each version that were asked for, each with its GETs in order.
pub(crate) fn by_block(gets: &[Get]) -> BTreeMap<(String, u64), Vec<&Get>> {
    let mut blocks: BTreeMap<(String, u64), Vec<&Get>> = BTreeMap::new();
    for get in gets {
        let touched: BTreeSet<u64> = get.range.blocks().collect();
        for block in touched {
            let version = format!("{}/{}@{}", get.bucket, get.key, get.etag);
            blocks.entry((version, block)).or_default().push(get);
        }
    }
    blocks
}
