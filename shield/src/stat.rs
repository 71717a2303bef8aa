//! What objects are: descriptions, and for how long each is believed.
//!
//! An entry is a description or a cached 404 or 403, with its own deadline on tokio's clock (the cache below evicts by count
//! only). A stale description is checked with If-None-Match; one check an object at a time, in a task of its own, for
//! all who ask. If the origin fails, a stale description is better than none; a cached error is not.
//!
//! A version that an origin refused with a 412 must not be handed out again: [`Stats::retire`] (the shield's own fill saw
//! it) and the `retired` hint (an edge saw it, at another shield) both make an answer that names it older than the refusal
//! unusable. The check that follows starts after the refusal, but not sooner than [`STORM`] after the last one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use proto::object::{ObjectKey, ObjectVersion};
use proto::purge::Scope;
use proto::status::{Reason, RemoteError};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cache::WALK_AT_ONCE;
use crate::config::ShieldConfig;
use crate::metrics::Metrics;
use crate::origin::table::Source;
use crate::origin::{Head, OriginError};

/// Least time between two checks of one object that hints call for.
const STORM: Duration = Duration::from_millis(200);
/// Refused versions remembered.
const RETIRED_ENTRIES: u64 = 10_000;

/// An object's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) version: Arc<str>,
    pub(crate) size_bytes: u64,
    pub(crate) content_type: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Is(Description),
    NotFound(String),
    Forbidden(String),
}

struct Entry {
    answer: Answer,
    /// When the check that gave it was sent.
    asked: Instant,
    fresh_until: Instant,
}

impl Entry {
    fn names(&self, version: &str) -> bool {
        matches!(&self.answer, Answer::Is(d) if *d.version == *version)
    }
}

type Outcome = Result<Arc<Entry>, OriginError>;

/// A check under way.
struct Check {
    outcome: watch::Sender<Option<Outcome>>,
}

/// A question.
pub(crate) struct Question<'a> {
    pub(crate) object: &'a ObjectKey,
    /// A version the asker saw refused.
    pub(crate) retired: Option<&'a str>,
    pub(crate) cache_only: bool,
    pub(crate) deadline: Instant,
}

/// The descriptions a shield holds.
pub(crate) struct Stats {
    config: Arc<ShieldConfig>,
    entries: Cache<ObjectKey, Arc<Entry>>,
    retired: Cache<ObjectVersion, Instant>,
    checks: Mutex<HashMap<ObjectKey, Arc<Check>>>,
    permits: Semaphore,
    metrics: Metrics,
}

impl Stats {
    pub(crate) fn new(config: Arc<ShieldConfig>, metrics: Metrics) -> Self {
        Self {
            entries: Cache::new(config.stat_entries),
            retired: Cache::new(RETIRED_ENTRIES),
            checks: Mutex::default(),
            permits: Semaphore::new(config.connections.stat),
            config,
            metrics,
        }
    }

    fn checks(&self) -> MutexGuard<'_, HashMap<ObjectKey, Arc<Check>>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The origin refused this version just now: answers from before that name it are worth nothing.
    pub(crate) fn retire(&self, version: &ObjectVersion) {
        self.retired.insert(version.clone(), Instant::now());
    }

    /// Forgets what `scope` names, checks under way included; how many entries.
    pub(crate) async fn purge(&self, scope: &Scope) -> u64 {
        // The answers of those are for who waits already; a check that begins from now on is news, and may be kept.
        self.checks().retain(|object, _| !scope.covers(object));
        if let Some(named) = scope.named() {
            return named.iter().filter(|object| self.entries.remove(*object).is_some()).count() as u64;
        }
        let mut dropped = 0;
        let mut entries = self.entries.iter();
        while let Some(first) = entries.next() {
            let some = std::iter::once(first).chain(entries.by_ref().take(WALK_AT_ONCE - 1));
            for (object, _) in some {
                dropped += u64::from(scope.covers(&object) && self.entries.remove(object.as_ref()).is_some());
            }
            tokio::task::yield_now().await;
        }
        dropped
    }

    /// The size of this version, if the object's description is known and says so.
    pub(crate) fn size_of(&self, version: &ObjectVersion) -> Option<u64> {
        let entry = self.entries.get(&version.object)?;
        match &entry.answer {
            Answer::Is(description) if description.version == version.version => Some(description.size_bytes),
            _ => None,
        }
    }

    /// Descriptions held.
    pub(crate) fn held(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    /// Whether the entry's version was refused after the entry was asked for.
    fn is_retired(&self, object: &ObjectKey, entry: &Entry) -> bool {
        let Answer::Is(description) = &entry.answer else { return false };
        let version = ObjectVersion { object: object.clone(), version: description.version.clone() };
        self.retired.get(&version).is_some_and(|refused| entry.asked <= refused)
    }

    /// Answers a question: the description, and how long it is fresh.
    pub(crate) async fn stat(
        self: &Arc<Self>,
        source: &Arc<Source>,
        question: Question<'_>,
    ) -> Result<(Description, Duration), RemoteError> {
        let (outcome, answer) = self.answer(source, &question).await;
        self.metrics.stats.with_label_values(&[outcome]).inc();
        answer
    }

    async fn answer(
        self: &Arc<Self>,
        source: &Arc<Source>,
        question: &Question<'_>,
    ) -> (&'static str, Result<(Description, Duration), RemoteError>) {
        let object = question.object;
        let asked = Instant::now();
        let unusable = |entry: &Entry| {
            self.is_retired(object, entry)
                || question.retired.is_some_and(|version| entry.asked < asked && entry.names(version))
        };
        loop {
            let known = self.entries.get(object);
            if let Some(entry) = &known {
                let now = Instant::now();
                let believed =
                    now < entry.fresh_until && (!self.config.revalidate_always || question.cache_only);
                if believed && !unusable(entry) {
                    return self.tell(object, entry, "fresh");
                }
            }
            if question.cache_only {
                let error =
                    RemoteError::new(Reason::NotCached, format!("{object}: no description is cached"));
                return ("not-cached", Err(error));
            }
            let mut check = self.join(source, object, known.clone());
            let waited = timeout_at(question.deadline, check.wait_for(Option::is_some)).await;
            let outcome = match waited {
                Ok(Ok(outcome)) => outcome.clone(),
                // The check's task died; its guard says so before, this is for a runtime going down.
                Ok(Err(_)) => None,
                Err(_) => {
                    let error =
                        RemoteError::new(Reason::Deadline, format!("{object}: no description in time"));
                    return ("failed", Err(error));
                }
            };
            match outcome.unwrap_or_else(|| Err(OriginError::Connection("the check was abandoned".into()))) {
                // Joined a check sent before the refusal: ask again.
                Ok(entry) if unusable(&entry) => continue,
                Ok(entry) => return self.tell(object, &entry, "checked"),
                Err(error) => {
                    let stale = known.filter(|e| matches!(e.answer, Answer::Is(_)) && !unusable(e));
                    return match stale {
                        Some(entry) => {
                            tracing::warn!(%object, %error, "the origin fails; serving a stale description");
                            self.tell(object, &entry, "stale")
                        }
                        None => ("failed", Err(error.to_remote(object))),
                    };
                }
            }
        }
    }

    fn tell(
        &self,
        object: &ObjectKey,
        entry: &Entry,
        how: &'static str,
    ) -> (&'static str, Result<(Description, Duration), RemoteError>) {
        match &entry.answer {
            Answer::Is(description) => {
                let fresh_for = entry.fresh_until.saturating_duration_since(Instant::now());
                (how, Ok((description.clone(), fresh_for)))
            }
            Answer::NotFound(text) => ("absent", Err(OriginError::NotFound(text.clone()).to_remote(object))),
            Answer::Forbidden(text) => {
                ("forbidden", Err(OriginError::Forbidden(text.clone()).to_remote(object)))
            }
        }
    }

    /// Waits on the check under way, or starts one.
    fn join(
        self: &Arc<Self>,
        source: &Arc<Source>,
        object: &ObjectKey,
        known: Option<Arc<Entry>>,
    ) -> watch::Receiver<Option<Outcome>> {
        let mut checks = self.checks();
        if let Some(check) = checks.get(object) {
            return check.outcome.subscribe();
        }
        let (outcome, receiver) = watch::channel(None);
        let check = Arc::new(Check { outcome });
        checks.insert(object.clone(), check.clone());
        drop(checks);
        let guard = CheckGuard { stats: self.clone(), object: object.clone(), check, outcome: None };
        tokio::spawn(run_check(guard, source.clone(), known));
        receiver
    }
}

async fn run_check(mut guard: CheckGuard, source: Arc<Source>, known: Option<Arc<Entry>>) {
    let stats = guard.stats.clone();
    let now = Instant::now();
    if let Some(known) =
        known.as_ref().filter(|known| now < known.fresh_until && !stats.config.revalidate_always)
    {
        // Still fresh, so a refusal called for this check.
        sleep_until(known.asked + STORM).await;
    }
    let Ok(_permit) = stats.permits.acquire().await else { return };
    let asked = Instant::now();
    let described = known.as_ref().and_then(|known| match &known.answer {
        Answer::Is(description) => Some(description.clone()),
        _ => None,
    });
    let etag = described.as_ref().map(|d| &*d.version);
    stats.metrics.origin_heads.inc();
    let config = &stats.config;
    let negative = Duration::from_secs(config.negative_ttl_s);
    let found = match source.origin.head(&guard.object.key, etag).await {
        Ok(Head::Object { version, size_bytes, content_type, max_age }) => {
            Ok((Answer::Is(Description { version, size_bytes, content_type }), config.fresh_for(max_age)))
        }
        Ok(Head::Unchanged { max_age }) => match described {
            Some(description) => Ok((Answer::Is(description), config.fresh_for(max_age))),
            None => Err(OriginError::Protocol("304 to an unconditional HEAD".into())),
        },
        Err(OriginError::NotFound(text)) => Ok((Answer::NotFound(text), negative)),
        Err(OriginError::Forbidden(text)) => Ok((Answer::Forbidden(text), negative)),
        Err(error) => {
            stats.metrics.origin_errors.with_label_values(&[error.kind()]).inc();
            Err(error)
        }
    };
    guard.outcome = Some(found.map(|(answer, fresh_for)| {
        let now = Instant::now();
        let fresh_until = now.checked_add(fresh_for).unwrap_or(now + Duration::from_secs(365 * 86_400));
        Arc::new(Entry { answer, asked, fresh_until })
    }));
}

/// Ends a check however its task ends.
struct CheckGuard {
    stats: Arc<Stats>,
    object: ObjectKey,
    check: Arc<Check>,
    outcome: Option<Outcome>,
}

impl Drop for CheckGuard {
    fn drop(&mut self) {
        let outcome = self
            .outcome
            .take()
            .unwrap_or_else(|| Err(OriginError::Connection("the check was abandoned".into())));
        {
            let mut checks = self.stats.checks();
            // After a purge the check is no longer in the table: its answer is for its waiters only.
            if checks.get(&self.object).is_some_and(|current| Arc::ptr_eq(current, &self.check)) {
                if let Ok(entry) = &outcome {
                    self.stats.entries.insert(self.object.clone(), entry.clone());
                }
                checks.remove(&self.object);
            }
        }
        self.check.outcome.send_replace(Some(outcome));
    }
}

#[cfg(test)]
mod tests;
