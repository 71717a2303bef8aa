//! The block cache against a source that counts, waits and fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use proto::object::OriginId;
use tokio::sync::Notify;

use super::*;
use crate::object::{ObjectReader, ReadAt};

const MIB: u64 = 1 << 20;

/// Byte `i` of the object.
fn byte(i: u64) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// Serves computed bytes in uneven pieces; each read waits for a permit of `gate` if there is one.
#[derive(Default)]
struct Source {
    reads: Mutex<Vec<ByteRange>>,
    gate: Option<Arc<Notify>>,
    fail_first: AtomicUsize,
    retired: bool,
}

impl RangeSource for Arc<Source> {
    fn stat(&self, _: &ObjectKey, _: Option<Arc<str>>) -> BoxFuture<'static, Result<ObjectInfo, ReadError>> {
        Box::pin(async { Err(ReadError::NotFound("not asked here".into())) })
    }

    fn read(
        &self,
        _: &ObjectVersion,
        _: u64,
        range: ByteRange,
        _: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>> {
        lock(&self.reads).push(range);
        let fail = self.fail_first.load(Ordering::SeqCst) > 0;
        if fail {
            self.fail_first.fetch_sub(1, Ordering::SeqCst);
        }
        let (gate, retired) = (self.gate.clone(), self.retired);
        let pieces = range.split(300_000).map(move |part| {
            if retired {
                return Err(ReadError::Retired("v1".into()));
            }
            if fail && part.start > range.start {
                return Err(ReadError::Unavailable("cut".into()));
            }
            Ok((part.start, (part.start..part.end).map(byte).collect::<Vec<u8>>().into()))
        });
        let wait = async move {
            if let Some(gate) = gate {
                gate.notified().await;
            }
        };
        let pieces: Vec<_> = pieces.collect();
        futures::stream::once(wait).flat_map(move |()| futures::stream::iter(pieces.clone())).boxed()
    }
}

fn cache(source: &Arc<Source>) -> Arc<BlockCache> {
    let config = crate::config::EdgeConfig {
        cache_bytes: 64 * MIB,
        read_ahead_total_bytes: 8 * MIB,
        ..Default::default()
    };
    let budget = Budget::new(crate::budget::Caps::of(&config));
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    BlockCache::new(Arc::new(source.clone()), budget, 4, metrics)
}

fn object(size_bytes: u64) -> ObjectInfo {
    let object = ObjectKey::new(OriginId::of("media.s3.amazonaws.com", ""), "film.mp4");
    ObjectInfo { id: ObjectVersion { object, version: "\"v1\"".into() }, size_bytes, content_type: "".into() }
}

#[tokio::test]
async fn fifty_askers_of_a_block_cost_one_read() {
    let source = Arc::new(Source { gate: Some(Arc::new(Notify::new())), ..Default::default() });
    let cache = cache(&source);
    let info = object(3 * MIB);
    let askers: Vec<_> = (0..50)
        .map(|_| {
            let (cache, info) = (cache.clone(), info.clone());
            tokio::spawn(async move { cache.block(&info, 1).await })
        })
        .collect();
    while lock(&source.reads).is_empty() {
        tokio::task::yield_now().await;
    }
    source.gate.as_ref().unwrap().notify_one();
    for asker in askers {
        let block = asker.await.unwrap().unwrap();
        assert_eq!(block.len() as u64, MIB);
        assert_eq!(block[0], byte(MIB));
    }
    assert_eq!(*lock(&source.reads), [ByteRange::new(MIB, 2 * MIB)]);
}

#[tokio::test]
async fn an_asker_that_leaves_strands_nobody() {
    let source = Arc::new(Source { gate: Some(Arc::new(Notify::new())), ..Default::default() });
    let cache = cache(&source);
    let info = object(MIB);
    let first = tokio::spawn({
        let (cache, info) = (cache.clone(), info.clone());
        async move { cache.block(&info, 0).await }
    });
    while lock(&source.reads).is_empty() {
        tokio::task::yield_now().await;
    }
    first.abort();
    let second = tokio::spawn({
        let (cache, info) = (cache.clone(), info.clone());
        async move { cache.block(&info, 0).await }
    });
    source.gate.as_ref().unwrap().notify_one();
    assert!(second.await.unwrap().is_ok());
    assert_eq!(lock(&source.reads).len(), 1);
}

#[tokio::test]
async fn a_failed_fill_is_told_and_the_next_asker_tries_again() {
    let source = Arc::new(Source { fail_first: AtomicUsize::new(1), ..Default::default() });
    let cache = cache(&source);
    let info = object(MIB);
    assert!(matches!(cache.block(&info, 0).await, Err(ReadError::Unavailable(_))));
    assert!(cache.block(&info, 0).await.is_ok());
    assert!(lock(&cache.flights).is_empty());
}

#[tokio::test]
async fn a_retired_version_is_remembered() {
    let source = Arc::new(Source { retired: true, ..Default::default() });
    let cache = cache(&source);
    let info = object(MIB);
    assert!(matches!(cache.block(&info, 0).await, Err(ReadError::Retired(_))));
    assert_eq!(cache.retired(&info.id.object).as_deref(), Some("\"v1\""));
}

#[tokio::test]
async fn read_ahead_is_one_run_within_its_budget_and_gives_it_back() {
    let source = Arc::new(Source::default());
    let cache = cache(&source);
    let info = object(40 * MIB + 5);
    cache.read_ahead(&info, ByteRange::new(0, 8 * MIB));
    cache.read_ahead(&info, ByteRange::new(8 * MIB, 16 * MIB));
    for index in 0..8 {
        cache.block(&info, index).await.unwrap();
    }
    assert_eq!(*lock(&source.reads), [ByteRange::new(0, 8 * MIB)]);
    while cache.budget.read_ahead.bytes() > 0 {
        tokio::task::yield_now().await;
    }
    cache.read_ahead(&info, ByteRange::new(39 * MIB, 50 * MIB));
    let last = cache.block(&info, 40).await.unwrap();
    assert_eq!(last.len(), 5);
}

#[tokio::test]
async fn a_reader_gives_exactly_the_bytes_asked_across_blocks() {
    let source = Arc::new(Source::default());
    let mut reader = ObjectReader::new(cache(&source), Arc::new(object(3 * MIB + 17)));
    for (offset, len) in [(0, 1), (MIB - 3, 6), (5, 2 * MIB), (3 * MIB, 17), (3 * MIB + 17, 0), (MIB, 0)] {
        let slices = reader.read_at(offset, len).await.unwrap();
        let bytes: Vec<u8> = slices.iter().flatten().copied().collect();
        assert!(bytes.iter().copied().eq((offset..offset + len).map(byte)), "{offset}+{len}");
        let again: Vec<u8> = reader.buffered(offset, len).unwrap().iter().flatten().copied().collect();
        assert_eq!(again, bytes);
    }
    assert!(matches!(reader.read_at(3 * MIB, 18).await, Err(ReadError::PastEnd { .. })));
    assert_eq!(reader.buffered(u64::MAX, 2), None);
}

#[tokio::test]
async fn a_purge_forgets_by_origin_and_prefix() {
    let source = Arc::new(Source::default());
    let cache = cache(&source);
    let info = object(MIB);
    cache.block(&info, 0).await.unwrap();
    let origin = info.id.object.origin.as_str();
    for other in [(origin, "other", false), (origin, "fil", true), ("another", "", false)] {
        cache.purge(&Scope::of([other])).await;
        assert!(cache.get(&info.id, 0).is_some(), "{other:?}");
    }
    cache.purge(&Scope::of([(origin, "fil", false)])).await;
    assert!(cache.get(&info.id, 0).is_none());
}
