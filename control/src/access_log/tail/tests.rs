//! Views over a store and a bucket in memory.

use bytes::{Bytes, BytesMut};
use proto::access_log::SegmentWriter;
use proto::v1::AccessEvent;

use super::*;
use crate::access_log::bucket::memory::MemoryBucket;
use crate::store::{Transaction, memory};

const EPOCH: &str = "0123456789abcdef";
const LONG: Duration = Duration::from_secs(30);
const FILMS: &str = "E0000000FILMS";
const SONGS: &str = "E0000000SONGS";

struct Desk {
    store: Store,
    staging: MemoryBucket,
    tails: Tails,
    shutdown: CancellationToken,
}

impl Desk {
    async fn open() -> Self {
        let store = memory::open().await.unwrap();
        let staging = MemoryBucket::new("staging");
        let bucket: Arc<dyn Bucket> = Arc::new(staging.clone());
        let tails = Tails::new(store.clone(), bucket, "s/".into(), &Registry::new()).unwrap();
        Self { store, staging, tails, shutdown: CancellationToken::new() }
    }

    /// Stages a segment of `edge`, as any replica would.
    async fn stage(&self, edge: &str, number: u64, records: &[AccessRecord]) {
        let id = SegmentId { edge_id: edge.into(), epoch: EPOCH.into(), number };
        let mut file = BytesMut::new();
        let mut writer = SegmentWriter::new(id.clone(), &mut file);
        records.iter().for_each(|record| writer.put(record, &mut file));
        writer.seal(&mut file);
        let file = file.freeze();
        let index = Segment::verify(file.clone()).unwrap().footer.index;
        self.staging.put(&object_key("s/", &id), file).await.unwrap();
        let document = StagedSegment { id: Some(id.header()), index, ..StagedSegment::default() };
        let key = format!("{LOG_SEGMENTS}{id}");
        self.store.commit(Transaction::default().put(key, document.encode_to_vec())).await.unwrap();
    }

    async fn view(&self, request: TailRequest) -> Events {
        self.tails.open(request, self.shutdown.clone()).await.unwrap()
    }
}

fn record(distribution: &str, name: &str) -> AccessRecord {
    AccessRecord {
        time_ms: 1_795_258_800_000,
        event: AccessEvent::Play.into(),
        distribution_id: distribution.into(),
        stream_name: name.into(),
        ..AccessRecord::default()
    }
}

async fn next(events: &mut Events) -> Option<TailEvent> {
    tokio::time::timeout(LONG, events.recv()).await.expect("in time").map(|event| event.unwrap())
}

fn names(event: &TailEvent) -> Vec<&str> {
    event.records.iter().map(|record| record.stream_name.as_str()).collect()
}

#[tokio::test]
async fn records_are_shown_as_they_are_staged_whichever_edge_and_replica_they_came_through() {
    let desk = Desk::open().await;
    desk.stage("edge-1", 1, &[record(FILMS, "before")]).await;
    let mut all = desk.view(TailRequest::default()).await;
    let mut films = desk.view(TailRequest { distribution_id: FILMS.into(), ..TailRequest::default() }).await;
    desk.stage("edge-1", 2, &[record(FILMS, "a"), record(SONGS, "b")]).await;
    desk.stage("edge-2", 1, &[record(SONGS, "c")]).await;
    desk.stage("edge-2", 2, &[record(FILMS, "d")]).await;
    assert_eq!(names(&next(&mut all).await.unwrap()), ["a", "b"]);
    assert_eq!(names(&next(&mut all).await.unwrap()), ["c"]);
    assert_eq!(names(&next(&mut all).await.unwrap()), ["d"]);
    assert_eq!(names(&next(&mut films).await.unwrap()), ["a"]);
    assert_eq!(names(&next(&mut films).await.unwrap()), ["d"]);
    desk.shutdown.cancel();
    assert_eq!(next(&mut all).await, None);
}

#[tokio::test]
async fn a_backlog_comes_first_and_nothing_comes_twice() {
    let desk = Desk::open().await;
    for number in 1..=250 {
        desk.stage("edge-1", number, &[record(FILMS, &number.to_string())]).await;
    }
    let mut view = desk.view(TailRequest { backlog: true, ..TailRequest::default() }).await;
    desk.stage("edge-1", 251, &[record(FILMS, "251")]).await;
    let mut ending =
        desk.view(TailRequest { backlog: true, no_follow: true, ..TailRequest::default() }).await;
    for number in 1..=251 {
        let expected = [number.to_string()];
        assert_eq!(names(&next(&mut view).await.unwrap()), expected);
        assert_eq!(names(&next(&mut ending).await.unwrap()), expected);
    }
    assert_eq!(next(&mut ending).await, None);
    desk.stage("edge-1", 252, &[record(FILMS, "252")]).await;
    assert_eq!(names(&next(&mut view).await.unwrap()), ["252"]);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nothing_up_and_learns_what_it_missed() {
    let desk = Desk::open().await;
    let mut view = desk.view(TailRequest::default()).await;
    let all = QUEUE_SEGMENTS as u64 * 3;
    for number in 1..=all {
        desk.stage("edge-1", number, &[record(FILMS, &number.to_string())]).await;
    }
    // It may take a moment until the watch has told of the last one.
    let missed = async {
        while desk.tails.skipped.get() < all - QUEUE_SEGMENTS as u64 - EVENTS as u64 - 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, missed).await.unwrap();
    let (mut shown, mut skipped, mut last) = (0, 0, String::new());
    while last != all.to_string() {
        let event = next(&mut view).await.unwrap();
        shown += event.records.len() as u64;
        skipped += event.skipped_segments;
        last = event.records.last().map(|record| record.stream_name.clone()).unwrap_or(last);
    }
    assert_eq!(shown + skipped, all);
    assert!(shown <= (QUEUE_SEGMENTS + EVENTS + 1) as u64, "{shown} were kept for it");
}

#[tokio::test]
async fn what_is_delivered_and_gone_is_told_as_left_out() {
    let desk = Desk::open().await;
    desk.stage("edge-1", 1, &[record(FILMS, "gone")]).await;
    desk.stage("edge-1", 2, &[record(FILMS, "there")]).await;
    desk.stage("edge-1", 3, &[record(FILMS, "gone")]).await;
    for number in [1, 3] {
        let id = SegmentId { edge_id: "edge-1".into(), epoch: EPOCH.into(), number };
        desk.staging.delete(&object_key("s/", &id)).await.unwrap();
    }
    let mut view = desk.view(TailRequest { backlog: true, no_follow: true, ..TailRequest::default() }).await;
    let there = next(&mut view).await.unwrap();
    assert_eq!((names(&there), there.skipped_segments), (vec!["there"], 1));
    let end = next(&mut view).await.unwrap();
    assert_eq!((end.records.len(), end.skipped_segments), (0, 1));
    assert_eq!(next(&mut view).await, None);
    assert_eq!(desk.tails.skipped.get(), 2);
}

#[tokio::test]
async fn a_large_segment_comes_in_parts_and_a_damaged_one_not_at_all() {
    let desk = Desk::open().await;
    let long = "n".repeat(4000);
    let records: Vec<_> = (0..300).map(|_| record(FILMS, &long)).collect();
    desk.stage("edge-1", 1, &records).await;
    desk.stage("edge-1", 2, &records[..1]).await;
    let id = SegmentId { edge_id: "edge-1".into(), epoch: EPOCH.into(), number: 2 };
    desk.staging.put(&object_key("s/", &id), Bytes::from_static(b"torn")).await.unwrap();
    let mut view = desk.view(TailRequest { backlog: true, no_follow: true, ..TailRequest::default() }).await;
    let (mut shown, mut skipped, mut events) = (0, 0, 0);
    while let Some(event) = next(&mut view).await {
        assert!(event.encoded_len() < EVENT_BYTES + 5000);
        shown += event.records.len();
        skipped += event.skipped_segments;
        events += 1;
    }
    assert_eq!((shown, skipped), (300, 1));
    assert!(events > 4);
}

#[tokio::test]
async fn there_are_only_so_many_views_and_one_that_hangs_up_makes_room() {
    let desk = Desk::open().await;
    let mut views = Vec::new();
    for _ in 0..TAILS_MAX {
        views.push(desk.view(TailRequest::default()).await);
    }
    let more = desk.tails.open(TailRequest::default(), desk.shutdown.clone()).await;
    assert!(matches!(more, Err(TailError::TooMany)));
    assert_eq!(desk.tails.open.get(), TAILS_MAX as i64);
    views.pop();
    let room = async {
        while desk.tails.open(TailRequest::default(), desk.shutdown.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, room).await.unwrap();
}
