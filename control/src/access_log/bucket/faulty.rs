//! A bucket that fails as it is told to, in front of one that works: for tests.
//!
//! Faults are drawn from a seeded generator, so that a run that fails can be run again, or ordered outright: the next calls, or every call until
//! further notice. One fault is worse than the others: a put or delete that happens although its answer says it did not.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::v1::LogTarget;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Bucket, BucketError, Buckets};

/// How a call fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this error and not done.
    Says(BucketError),
    /// It is done, and its answer is lost.
    LosesTheAnswer,
    /// It is done after so long.
    Delays(Duration),
    /// It is done only after so long, and answered at once that it was not.
    HappensLater(Duration),
}

impl Fault {
    /// A 403.
    pub fn denied() -> Self {
        Self::Says(BucketError::Refused { code: "AccessDenied".into(), what: "ordered".into() })
    }

    /// A 503 SlowDown.
    pub fn slow_down() -> Self {
        Self::Says(BucketError::Refused { code: "SlowDown".into(), what: "ordered".into() })
    }

    /// A connection that breaks before the request is out.
    pub fn away() -> Self {
        Self::Says(BucketError::Away("ordered".into()))
    }
}

struct Orders {
    next: VecDeque<Option<Fault>>,
    always: Option<Fault>,
    /// Of a thousand calls, so many fail, by one of these.
    at_random: Option<(u32, Vec<Fault>)>,
    random: StdRng,
    calls: u64,
}

/// Tells buckets how to fail. Clones give orders to the same buckets.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<Orders>>);

impl Faults {
    /// None; those ordered at random later are drawn by `seed`.
    pub fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(Orders {
            next: VecDeque::new(),
            always: None,
            at_random: None,
            random,
            calls: 0,
        })))
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls fail by these, in order; `None` lets one pass.
    pub fn next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.orders().next.extend(faults);
    }

    /// Every call fails by this until told otherwise.
    pub fn always(&self, fault: Option<Fault>) {
        self.orders().always = fault;
    }

    /// Of a thousand calls, `of_1000` fail by one of `faults`.
    pub fn at_random(&self, of_1000: u32, faults: &[Fault]) {
        self.orders().at_random = (!faults.is_empty()).then(|| (of_1000, faults.to_vec()));
    }

    /// Nothing fails any more.
    pub fn end(&self) {
        let mut orders = self.orders();
        (orders.always, orders.at_random) = (None, None);
        orders.next.clear();
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.orders().calls
    }

    fn draw(&self) -> Option<Fault> {
        let mut orders = self.orders();
        orders.calls += 1;
        if let Some(next) = orders.next.pop_front() {
            return next;
        }
        if orders.always.is_some() {
            return orders.always.clone();
        }
        let (of_1000, faults) = orders.at_random.clone()?;
        let fails = orders.random.random_range(0..1000) < of_1000;
        fails.then(|| faults[orders.random.random_range(0..faults.len())].clone())
    }

    async fn befall<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, BucketError>> + Send + 'static,
    ) -> Result<T, BucketError> {
        let lost = || Err(BucketError::Away("the answer was lost, as ordered".into()));
        match self.draw() {
            None => call.await,
            Some(Fault::Says(error)) => Err(error),
            Some(Fault::LosesTheAnswer) => call.await.and_then(|_| lost()),
            Some(Fault::Delays(time)) => {
                tokio::time::sleep(time).await;
                call.await
            }
            Some(Fault::HappensLater(time)) => {
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    let _ = call.await;
                });
                lost()
            }
        }
    }
}

/// A bucket that fails as `faults` order.
#[derive(Clone)]
pub struct FaultyBucket {
    inner: Arc<dyn Bucket>,
    faults: Faults,
}

impl FaultyBucket {
    /// Stands before `inner`.
    pub fn new(inner: Arc<dyn Bucket>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl Bucket for FaultyBucket {
    fn place(&self) -> String {
        self.inner.place()
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), BucketError> {
        let (inner, key) = (self.inner.clone(), key.to_owned());
        self.faults.befall(async move { inner.put(&key, body).await }).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        let (inner, key) = (self.inner.clone(), key.to_owned());
        self.faults.befall(async move { inner.get(&key).await }).await
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let (inner, key) = (self.inner.clone(), key.to_owned());
        self.faults.befall(async move { inner.delete(&key).await }).await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, u64)>, BucketError> {
        let (inner, prefix, after) = (self.inner.clone(), prefix.to_owned(), after.to_owned());
        self.faults.befall(async move { inner.list(&prefix, &after, limit).await }).await
    }
}

/// Buckets of which each fails as `faults` order.
#[derive(Clone)]
pub struct FaultyBuckets {
    inner: Arc<dyn Buckets>,
    faults: Faults,
}

impl FaultyBuckets {
    /// Stands before `inner`.
    pub fn new(inner: Arc<dyn Buckets>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

impl Buckets for FaultyBuckets {
    fn open(&self, target: &LogTarget) -> Arc<dyn Bucket> {
        Arc::new(FaultyBucket::new(self.inner.open(target), self.faults.clone()))
    }

    fn bucket_name(&self, target: &LogTarget) -> Option<String> {
        self.inner.bucket_name(target)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::{MemoryBucket, MemoryBuckets};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_fail_as_ordered_and_then_no_more() {
        let (memory, faults) = (MemoryBucket::new("a"), Faults::new(1));
        let bucket = FaultyBucket::new(Arc::new(memory.clone()), faults.clone());
        let later = Duration::from_secs(3);
        faults.next([
            Some(Fault::denied()),
            None,
            Some(Fault::LosesTheAnswer),
            Some(Fault::Delays(later)),
            Some(Fault::HappensLater(later)),
        ]);
        let put = async |key: &str| bucket.put(key, "x".into()).await;
        assert_eq!(put("denied").await.unwrap_err().code(), "AccessDenied");
        put("passes").await.unwrap();
        assert_eq!(put("done").await.unwrap_err().kind(), "away");
        let before = tokio::time::Instant::now();
        put("slow").await.unwrap();
        assert_eq!(before.elapsed(), later);
        assert!(put("late").await.is_err());
        assert_eq!(memory.objects().into_keys().collect::<Vec<_>>(), ["done", "passes", "slow"]);
        tokio::time::sleep(later * 2).await;
        assert_eq!(memory.objects().len(), 4);

        faults.always(Some(Fault::slow_down()));
        for _ in 0..3 {
            assert_eq!(bucket.list("", "", 1).await.unwrap_err().kind(), "throttled");
        }
        faults.always(None);
        bucket.get("done").await.unwrap().unwrap();
        assert_eq!(faults.calls(), 9);
    }

    #[tokio::test]
    async fn faults_at_random_are_the_same_for_the_same_seed() {
        let run = async |seed: u64| {
            let faults = Faults::new(seed);
            let buckets = FaultyBuckets::new(Arc::new(MemoryBuckets::new()), faults.clone());
            let bucket = buckets.open(&LogTarget::default());
            faults.at_random(500, &[Fault::away(), Fault::denied()]);
            let mut codes = Vec::new();
            for _ in 0..200 {
                codes.push(bucket.delete("x").await.map_err(|e| e.code().to_owned()));
            }
            codes
        };
        let (first, again, other) = (run(7).await, run(7).await, run(8).await);
        assert!(first == again && first != other);
        let failed = first.iter().filter(|r| r.is_err()).count();
        assert!((60..140).contains(&failed), "{failed} of 200");
    }
}
