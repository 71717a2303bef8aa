//! What a session lets go of, on a transport that takes what a test says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use control::client::Catalogue;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion, OriginId};
use proto::range::{BLOCK_BYTES, ByteRange};
use proto::v1::Priority;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::{Phase, Shared};
use super::*;
use crate::Edge;
use crate::config::EdgeConfig;
use crate::object::{ObjectReader, RangeSource, ReadAt, ReadError};
use crate::rtmp::chunk::Batch;
use crate::transport::Transport;

const MIB: u64 = 1 << 20;

/// Objects of any size, all zeros.
struct Zeros;

impl RangeSource for Zeros {
    fn stat(
        &self,
        object: &ObjectKey,
        _: Option<Arc<str>>,
    ) -> BoxFuture<'static, Result<ObjectInfo, ReadError>> {
        let missing = object.to_string();
        async move { Err(ReadError::NotFound(missing)) }.boxed()
    }

    fn read(
        &self,
        _: &ObjectVersion,
        _: u64,
        range: ByteRange,
        _: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>> {
        stream::iter(range.split(BLOCK_BYTES).collect::<Vec<_>>())
            .map(|part| Ok((part.start, Bytes::from(vec![0; part.len() as usize]))))
            .boxed()
    }
}

pub(in crate::session) fn shared(config: EdgeConfig) -> Arc<Shared> {
    let (_, catalogue) = watch::channel(Arc::new(Catalogue::empty()));
    Edge::new(config, Arc::new(Zeros), catalogue, &prometheus::Registry::new()).unwrap().shared
}

fn small() -> EdgeConfig {
    EdgeConfig { session_bytes: 16 * MIB, cache_bytes: 8 * MIB, ..Default::default() }
}

fn session(shared: &Arc<Shared>) -> Session {
    Session::new(shared.clone(), "192.0.2.1:1".parse().unwrap())
}

async fn block(shared: &Shared, name: &str) -> Bytes {
    let object = ObjectKey::new(OriginId::from_wire("o"), name);
    let info = ObjectInfo {
        id: ObjectVersion { object, version: "v".into() },
        size_bytes: 100 * MIB,
        content_type: "".into(),
    };
    let mut reader = ObjectReader::new(shared.library.blocks().clone(), Arc::new(info));
    let slice = reader.read_at(0, 4096).await.unwrap().remove(0);
    assert_eq!(reader.held_bytes() as u64, MIB);
    slice
}

#[tokio::test(start_paused = true)]
async fn blocks_that_slow_viewers_pin_are_counted_and_copied_out_of_under_pressure() {
    let shared = shared(small());
    let mut sessions = Vec::new();
    // Each has 4 KiB of a film of its own queued, which pins a block of 1 MiB.
    for n in 0..20 {
        let mut session = session(&shared);
        session.out.batch.push_bytes(block(&shared, &format!("film {n}")).await);
        sessions.push(session);
    }
    let budget = shared.budget();
    assert_eq!(budget.blocks.bytes(), 20 * MIB);
    assert_eq!((budget.cached_blocks.bytes(), budget.pinned_blocks()), (8 * MIB, 12 * MIB));
    assert_eq!(budget.pressure(), Pressure::High);
    for session in &mut sessions {
        assert!(session.hold(Instant::now()).unwrap().is_some());
    }
    assert_eq!(budget.pinned_blocks(), 12 * MIB, "nobody is slow yet");
    tokio::time::advance(SLOW_AFTER).await;
    for session in &mut sessions {
        assert!(session.hold(Instant::now()).unwrap().is_some());
        assert_eq!(session.out.batch.len_bytes(), 4096, "what was queued is still sent");
    }
    // Those that were looked at before the pressure was gone have copied; the rest pin no more than half the cap.
    assert!(budget.pinned_blocks() < 8 * MIB, "{budget:?}");
    assert_eq!(budget.pressure(), Pressure::Calm);
    assert!(shared.metrics.detached.get() >= 4);
    drop(sessions);
    assert_eq!(budget.queues.bytes(), 0);
    assert_eq!(budget.blocks.bytes(), budget.cached_blocks.bytes());
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_takes_nothing_is_closed_only_when_memory_is_short() {
    let shared = shared(small());
    let mut session = session(&shared);
    session.out.batch.push_raw(&[0; 100]);
    for _ in 0..100 {
        assert!(session.hold(Instant::now()).unwrap().is_some());
        tokio::time::advance(Duration::from_secs(30)).await;
    }
    let _others = Charge::new(&shared.budget().queues, 15 * MIB);
    assert!(matches!(session.hold(Instant::now()), Err(End::Crowded)));
    assert_eq!(shared.metrics.refused.with_label_values(&["stalled"]).get(), 1);
    // One that takes a little now and then stays, with less queued for it.
    session.wrote_at = Instant::now();
    assert!(session.hold(Instant::now()).unwrap().is_some());
    assert!(!session.wants_media() || session.out.batch.len_bytes() < session.batch_limit());
}

#[tokio::test(start_paused = true)]
async fn a_fast_download_is_never_caught_up_with_and_yet_not_slow() {
    let shared = shared(small());
    let _others = Charge::new(&shared.budget().queues, 12 * MIB);
    let mut session = session(&shared);
    for second in 0..20u64 {
        session.out.batch.push_bytes(block(&shared, "film").await);
        (session.sent_bytes, session.wrote_at) = (second << 20, Instant::now());
        assert!(session.hold(Instant::now()).unwrap().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(!session.out.batch.is_detached(), "a download at 1 MiB a second was taken for a slow one");
    // Now it takes 10 KB a second.
    for _ in 0..5 {
        (session.sent_bytes, session.wrote_at) = (session.sent_bytes + 10_000, Instant::now());
        assert!(session.hold(Instant::now()).unwrap().is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(session.out.batch.is_detached());
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_keeps_no_buffers() {
    let shared = shared(EdgeConfig::default());
    let mut session = session(&shared);
    session.phase = Phase::Greeted;
    session.input.reserve(4096);
    session.out.batch.push_raw(&[1; 3000]);
    session.out.batch.advance(3000);
    assert_eq!(session.hold(Instant::now()).unwrap(), None);
    assert_eq!(session.input.capacity(), 0);
    assert_eq!(shared.budget().queues.bytes(), 0);
    assert!(size_of::<Session>() < 2048, "{} bytes", size_of::<Session>());
}

/// Never brings a byte; takes what it has room for.
struct Slow {
    room: Arc<AtomicUsize>,
    fails: bool,
}

impl Transport for Slow {
    async fn readable(&self) -> io::Result<()> {
        assert!(!self.fails, "a session that fails");
        std::future::pending().await
    }

    async fn writable(&self) -> io::Result<()> {
        std::future::pending().await
    }

    fn try_read(&mut self, _: &mut BytesMut) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let takes = self.room.swap(0, Ordering::SeqCst).min(batch.len_bytes());
        if takes == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        batch.advance(takes);
        Ok(takes)
    }

    async fn close(&mut self) {}
}

#[tokio::test(start_paused = true)]
async fn a_session_that_takes_nothing_ends_soon_after_the_edge_closes() {
    let shared = shared(EdgeConfig { handshake_timeout_ms: 3_600_000, ..Default::default() });
    let closing = CancellationToken::new();
    let transport = Slow { room: Arc::default(), fails: false };
    let peer = "192.0.2.1:1".parse().unwrap();
    let serving = tokio::spawn(super::super::serve(shared.clone(), transport, peer, closing.clone()));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!serving.is_finished());
    closing.cancel();
    tokio::time::timeout(crate::drain::FLUSH + Duration::from_secs(1), serving).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn f27_a_session_that_panics_gives_back_what_it_held() {
    let shared = shared(EdgeConfig::default());
    let transport = Slow { room: Arc::default(), fails: true };
    let peer = "192.0.2.1:1".parse().unwrap();
    let session = super::super::serve(shared.clone(), transport, peer, CancellationToken::new());
    session.await;
    assert_eq!(shared.metrics.panics.get(), 1);
    assert_eq!(shared.budget().queues.bytes(), 0);
    assert_eq!(shared.metrics.sessions.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cap_on_a_session_s_rate_holds_and_its_time_is_counted() {
    let shared = shared(EdgeConfig { session_bytes_per_second: 100_000, ..Default::default() });
    let mut session = session(&shared);
    let room = Arc::new(AtomicUsize::new(0));
    let mut transport = Slow { room: room.clone(), fails: false };
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(10) {
        if session.out.batch.is_empty() {
            session.out.batch.push_raw(&vec![0; session.batch_limit()]);
        }
        room.store(usize::MAX, Ordering::SeqCst);
        session.write(&mut transport).unwrap();
        sent = session.sent_bytes;
        assert_eq!(session.hold(Instant::now()).unwrap(), None, "we hold back, not the viewer");
        tokio::time::sleep_until(session.holding.throttled_until.unwrap_or_else(Instant::now)).await;
    }
    assert!((990_000..=1_030_000).contains(&sent), "{sent}");
    let waited = shared.metrics.throttled_seconds.get();
    assert!((9.0..=10.2).contains(&waited), "{waited}");
}
