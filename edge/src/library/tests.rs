//! The library against shields that wait, and then are gone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use proto::object::OriginId;
use proto::range::ByteRange;
use proto::v1::Priority;
use tokio::sync::Semaphore;

use super::*;
use crate::budget::{Budget, Caps};
use crate::object::RangeSource;

/// Knows `film`; each question waits for a permit, if there is a gate.
struct Source {
    asked: AtomicUsize,
    gate: Semaphore,
    gone: AtomicBool,
}

impl RangeSource for Arc<Source> {
    fn stat(&self, object: &ObjectKey, _: Option<Arc<str>>) -> Answer {
        let (source, object) = (self.clone(), object.clone());
        source.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            source.gate.acquire().await.unwrap().forget();
            match &*object.key {
                _ if source.gone.load(Ordering::SeqCst) => Err(ReadError::Unavailable("no shield".into())),
                "film" => Ok(ObjectInfo {
                    id: ObjectVersion { object, version: "v1".into() },
                    size_bytes: 5,
                    content_type: "".into(),
                }),
                _ => Err(ReadError::NotFound("no such key".into())),
            }
        })
    }

    fn read(
        &self,
        _: &ObjectVersion,
        _: u64,
        _: ByteRange,
        _: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>> {
        futures::stream::empty().boxed()
    }
}

fn library() -> (Arc<Library>, Arc<Source>) {
    let source = Arc::new(Source { asked: 0.into(), gate: Semaphore::new(0), gone: AtomicBool::new(false) });
    let budget = Budget::new(Caps::of(&crate::config::EdgeConfig::default()));
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    let blocks = BlockCache::new(Arc::new(source.clone()), budget, 4, metrics.clone());
    (Library::new(blocks, Limits::default(), metrics), source)
}

fn object(key: &str) -> ObjectKey {
    ObjectKey::new(OriginId::of("bucket", ""), key)
}

#[tokio::test]
async fn a_crowd_asks_once_and_later_askers_ask_again() {
    let (library, source) = library();
    let came = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..500)
        .map(|_| {
            let (library, came) = (library.clone(), came.clone());
            tokio::spawn(async move {
                came.fetch_add(1, Ordering::SeqCst);
                library.stat(&object("film")).await
            })
        })
        .collect();
    while came.load(Ordering::SeqCst) < 500 {
        tokio::task::yield_now().await;
    }
    // The first asker leaves; the others still get the answer.
    crowd[0].abort();
    source.gate.add_permits(10);
    for asked in crowd.into_iter().skip(1) {
        assert_eq!(asked.await.unwrap().unwrap().size_bytes, 5);
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
    library.stat(&object("film")).await.unwrap();
    assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    assert!(library.asking.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_question_nobody_waits_for_leaves_nothing() {
    let (library, source) = library();
    let asked = tokio::spawn({
        let library = library.clone();
        async move { library.stat(&object("film")).await }
    });
    while source.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    assert!(library.asking.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_shields_what_was_there_is_there_and_what_was_not_is_not() {
    let (library, source) = library();
    source.gate.add_permits(100);
    library.stat(&object("film")).await.unwrap();
    assert!(matches!(library.stat(&object("other")).await, Err(ReadError::NotFound(_))));
    source.gone.store(true, Ordering::SeqCst);
    library.stat(&object("film")).await.unwrap();
    assert!(matches!(library.stat(&object("other")).await, Err(ReadError::NotFound(_))));
    assert!(matches!(library.stat(&object("third")).await, Err(ReadError::Unavailable(_))));
}
