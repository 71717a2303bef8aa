//! From object keys to opened media.
//!
//! A crowd that opens one film at the same moment asks once: whoever comes while a question is under way shares its answer.
//!
//! [`Library::stat`] asks for the object's current version (a Stat, never from memory while shields answer), [`Library::media`] for its
//! media index, which is cached by version, weighed by what it holds, and built once however many viewers open the file at
//! the same time, within the room that [`parse`](crate::object::parse) leaves. While no shield answers, the last known description serves: what is cached plays on.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::purge::Scope;

use crate::media::{self, Limits, Media, MediaError};
use crate::metrics::Metrics;
use crate::object::blocks::{BlockCache, WALK_AT_ONCE};
use crate::object::parse::ParseRoom;
use crate::object::{ObjectReader, ReadError};

/// An opened object: its description, its media, and a reader at its start.
pub struct Opened {
    /// The media index, shared.
    pub media: Arc<Media>,
    /// A reader of this version.
    pub reader: ObjectReader,
}

type Question = (ObjectKey, Option<Arc<str>>);
type Answer = BoxFuture<'static, Result<ObjectInfo, ReadError>>;

/// A share of an answer somebody still waits for. One that is there already is older than the question.
fn open_share(answer: &WeakShared<Answer>) -> Option<Shared<Answer>> {
    answer.upgrade().filter(|answer| answer.peek().is_none())
}

/// One who asked; clears the question away once it has its answer or nobody waits for it.
struct Asked<'a> {
    asking: &'a Mutex<HashMap<Question, WeakShared<Answer>>>,
    question: Question,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        if asking.get(&self.question).is_some_and(|answer| open_share(answer).is_none()) {
            asking.remove(&self.question);
        }
    }
}

/// Opens objects. Shared by all sessions of an edge.
pub struct Library {
    blocks: Arc<BlockCache>,
    media: moka::future::Cache<ObjectVersion, Arc<Media>>,
    /// What shields last said of an object; used only while none answers.
    known: moka::sync::Cache<ObjectKey, ObjectInfo>,
    /// What they last said is not there; used likewise. A name stands for several keys, and the one that is there comes after
    /// those that are not.
    absent: moka::sync::Cache<ObjectKey, ()>,
    /// Questions under way, by object and the version that was refused.
    asking: Mutex<HashMap<Question, WeakShared<Answer>>>,
    limits: Limits,
    room: ParseRoom,
    /// Every index in memory, evicted ones that sessions still play from included.
    alive: Mutex<Vec<Weak<Media>>>,
    metrics: Arc<Metrics>,
}

impl Library {
    /// A library over `blocks`, bounded by its budget.
    pub fn new(blocks: Arc<BlockCache>, limits: Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        let budget = blocks.budget().clone();
        let media = moka::future::Cache::builder()
            .max_capacity(budget.caps().index_cache_bytes)
            .weigher(|_, media: &Arc<Media>| u32::try_from(media.weight_bytes).unwrap_or(u32::MAX))
            .support_invalidation_closures()
            .build();
        let room = ParseRoom::new(budget.caps().parse_bytes, budget.parses.clone());
        let (known, absent) = (moka::sync::Cache::new(100_000), moka::sync::Cache::new(10_000));
        let (asking, alive) = (Mutex::default(), Mutex::default());
        Arc::new(Self { blocks, media, known, absent, asking, limits, room, alive, metrics })
    }

    /// The block cache.
    pub fn blocks(&self) -> &Arc<BlockCache> {
        &self.blocks
    }

    /// What the shields say: to this question, or to the same one that was under way when it was asked.
    async fn ask(&self, object: &ObjectKey, retired: Option<Arc<str>>) -> Result<ObjectInfo, ReadError> {
        // Dropped last, after this asker's share of the answer, however the wait ends.
        let asked = Asked { asking: &self.asking, question: (object.clone(), retired.clone()) };
        let answer: Shared<Answer> = {
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            match asking.get(&asked.question).and_then(open_share) {
                Some(running) => running,
                None => {
                    let stat = self.blocks.source().stat(object, retired);
                    // A shared future that panics would take all who share it along; they are told instead.
                    let answer = AssertUnwindSafe(stat).catch_unwind().map(|answer| {
                        answer.unwrap_or_else(|_| {
                            tracing::error!("a question to the shields panicked");
                            Err(ReadError::Unavailable("the question to the shields panicked".into()))
                        })
                    });
                    let answer = answer.boxed().shared();
                    if let Some(weak) = answer.downgrade() {
                        asking.insert(asked.question.clone(), weak);
                    }
                    answer
                }
            }
        };
        answer.await
    }

    /// The object's current version.
    pub async fn stat(&self, object: &ObjectKey) -> Result<ObjectInfo, ReadError> {
        let retired = self.blocks.retired(object);
        match self.ask(object, retired.clone()).await {
            Ok(info) => {
                self.known.insert(object.clone(), info.clone());
                self.absent.invalidate(object);
                Ok(info)
            }
            Err(ReadError::Unavailable(_)) if self.absent.contains_key(object) => {
                Err(ReadError::NotFound(format!("{object}: as last heard")))
            }
            Err(error @ ReadError::Unavailable(_)) => match self.known.get(object) {
                Some(info) if retired.as_ref() != Some(&info.id.version) => {
                    self.metrics.stale_opens.inc();
                    tracing::warn!(%object, %error, "no shield answers: serving what was last known of the object");
                    Ok(info)
                }
                _ => Err(error),
            },
            Err(error) => {
                self.known.invalidate(object);
                if matches!(error, ReadError::NotFound(_)) {
                    self.absent.insert(object.clone(), ());
                }
                Err(error)
            }
        }
    }

    /// The media of one version, from the cache of indexes or read from its ranges.
    pub async fn media(self: &Arc<Self>, info: ObjectInfo) -> Result<Opened, MediaError> {
        let reader = ObjectReader::new(self.blocks.clone(), Arc::new(info));
        let (this, at_start) = (self.clone(), reader.clone());
        let id = reader.info().id.clone();
        // Built in a task of its own: a viewer that leaves must not stop it for the others.
        let build = async move {
            let task = tokio::spawn(async move {
                let mut own = at_start.for_parsing(this.room.begin().await);
                let started = tokio::time::Instant::now();
                let media = Arc::new(media::open(&mut own, &this.limits).await?);
                this.metrics.index_seconds.observe(started.elapsed().as_secs_f64());
                this.admit(&media);
                Ok::<_, MediaError>(media)
            });
            task.await.unwrap_or_else(|error| {
                Err(MediaError::StructureInvalid(format!("the parser failed: {error}")))
            })
        };
        let media = self.media.try_get_with(id, build).await.map_err(|error| (*error).clone())?;
        Ok(Opened { media, reader })
    }

    /// The ID3 tags of one version. They are few bytes of cached blocks, so they are read for each who asks.
    pub async fn tags(&self, info: ObjectInfo) -> Result<Opened, MediaError> {
        let reader = ObjectReader::new(self.blocks.clone(), Arc::new(info));
        let mut own = reader.for_parsing(self.room.begin().await);
        let media = Arc::new(media::id3::open(&mut own).await?);
        self.admit(&media);
        Ok(Opened { media, reader })
    }

    /// Charges a new index: at once what it weighs, and exactly with the next [`count`](Self::count).
    fn admit(&self, media: &Arc<Media>) {
        let indexes = &self.blocks.budget().indexes;
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.set(indexes.bytes() + media.weight_bytes as u64);
        alive.push(Arc::downgrade(media));
    }

    /// Counts the indexes in memory: those cached, and those only sessions hold.
    pub async fn count(&self) {
        // The cache weighs an insert only when it is next used, or told to.
        self.media.run_pending_tasks().await;
        let budget = self.blocks.budget();
        budget.cached_indexes.set(self.media.weighted_size());
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        alive.retain(|media| match media.upgrade() {
            Some(media) => {
                bytes += media.weight_bytes as u64;
                true
            }
            None => false,
        });
        budget.indexes.set(bytes);
    }

    /// Forgets what `scope` names. Viewers are served meanwhile.
    pub async fn purge(&self, scope: &Arc<Scope>) {
        {
            // Who asks from now on shares no answer that was given before.
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            asking.retain(|(object, _), _| !scope.covers(object));
        }
        self.blocks.purge(scope).await;
        let covers = scope.clone();
        let outcome = self.media.invalidate_entries_if(move |id, _| covers.covers(&id.object));
        if let Err(error) = outcome {
            tracing::error!(%error, "a purge could not be registered with the index cache");
        }
        match scope.named() {
            Some(named) => named.iter().for_each(|object| self.known.invalidate(object)),
            None => {
                let mut known = self.known.iter();
                while let Some(first) = known.next() {
                    for (object, _) in std::iter::once(first).chain(known.by_ref().take(WALK_AT_ONCE - 1)) {
                        if scope.covers(&object) {
                            self.known.invalidate(object.as_ref());
                        }
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
        self.absent.invalidate_all();
    }
}

#[cfg(test)]
mod tests;
