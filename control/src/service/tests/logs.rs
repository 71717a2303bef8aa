//! Access logs as operators see them: segments come in by one replica, are looked at through another.

use bytes::{Bytes, BytesMut};
use proto::access_log::{SegmentId, SegmentWriter};
use proto::v1::{AccessEvent, AccessRecord, LogTarget, ShipRequest, TailRequest};

use super::*;
use crate::access_log::bucket::memory::{MemoryBucket, MemoryBuckets};
use crate::access_log::config::LogsConfig;
use crate::client::admin::{self, Admin};

const FILMS: &str = "E00000000FILMS";

fn admin(replica: &Replica, role: Role) -> Admin {
    Admin::new(&replica.url(), &master().token(role, None).into()).unwrap()
}

fn segment(number: u64, names: &[&str]) -> Bytes {
    let id = SegmentId { edge_id: "edge-1".into(), epoch: "0123456789abcdef".into(), number };
    let mut file = BytesMut::new();
    let mut writer = SegmentWriter::new(id, &mut file);
    for name in names {
        let record = AccessRecord {
            time_ms: proto::clock::system().now_ms() - 5000,
            event: AccessEvent::Play.into(),
            distribution_id: FILMS.into(),
            target: Some(LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), ..Default::default() }),
            stream_name: (*name).into(),
            ..Default::default()
        };
        writer.put(&record, &mut file);
    }
    writer.seal(&mut file);
    file.freeze()
}

async fn ship(replica: &Replica, file: Bytes) {
    let token = credentials(Role::Edge);
    let mut client = admin::access_logs(&replica.url(), &token, None).unwrap();
    let shipped = client.ship(ShipRequest { segment: file }).await.unwrap().into_inner();
    assert!(!shipped.repeated);
}

fn names(event: &proto::v1::TailEvent) -> Vec<&str> {
    event.records.iter().map(|record| record.stream_name.as_str()).collect()
}

#[tokio::test]
async fn what_one_replica_received_is_seen_through_another_and_counted_by_both() {
    let store = memory::open().await.unwrap();
    let logs = LogsConfig::new(Arc::new(MemoryBucket::new("staging")), Arc::new(MemoryBuckets::new()));
    let config = ControlConfig { logs: Some(logs), ..quick() };
    let first = Replica::start(store.clone(), "127.0.0.1:0", config.clone()).await;
    let second = Replica::start(store, "127.0.0.1:0", config).await;
    first.control.loaded().await;
    second.control.loaded().await;
    ship(&first, segment(1, &["before"])).await;

    let mut operator = admin(&second, Role::Operator);
    let of_films = TailRequest { distribution_id: FILMS.into(), ..Default::default() };
    let mut live = operator.tail_logs(of_films.clone()).await.unwrap();
    ship(&first, segment(2, &["a", "b"])).await;
    ship(&second, segment(3, &["c"])).await;
    let next = async |tail: &mut crate::client::admin::Tail| {
        tokio::time::timeout(LONG, tail.next()).await.expect("in time").unwrap()
    };
    assert_eq!(names(&next(&mut live).await.unwrap()), ["a", "b"]);
    assert_eq!(names(&next(&mut live).await.unwrap()), ["c"]);

    for replica in [&first, &second] {
        let stats = admin(replica, Role::Operator).log_stats(FILMS).await.unwrap();
        assert_eq!((stats.len(), stats[0].waiting_records), (1, 4));
        assert!(stats[0].oldest_waiting_ms >= 5000, "{}", stats[0].oldest_waiting_ms);
        assert!(stats[0].refusals.is_empty() && stats[0].delivered.is_none());
    }
    let ended = TailRequest { backlog: true, no_follow: true, ..of_films };
    let mut ended = operator.tail_logs(ended).await.unwrap();
    for expected in [vec!["before"], vec!["a", "b"], vec!["c"]] {
        assert_eq!(names(&next(&mut ended).await.unwrap()), expected);
    }
    assert_eq!(next(&mut ended).await, None);
    let other = TailRequest { distribution_id: "EOTHER".into(), backlog: true, no_follow: true };
    let mut other = operator.tail_logs(other).await.unwrap();
    assert_eq!(next(&mut other).await, None);

    for role in [Role::Edge, Role::Shield] {
        let mut stranger = admin(&second, role);
        assert_eq!(stranger.log_stats("").await.unwrap_err().reason, Reason::Denied);
        assert_eq!(stranger.tail_logs(TailRequest::default()).await.unwrap_err().reason, Reason::Denied);
    }
    second.stop().await;
    // A stop ends views: the client hears of it one way or the other.
    assert!(!matches!(tokio::time::timeout(LONG, live.next()).await.expect("in time"), Ok(Some(_))));
    first.stop().await;
}

#[tokio::test]
async fn a_replica_without_a_staging_bucket_has_figures_and_no_live_view() {
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", quick()).await;
    replica.control.loaded().await;
    let mut operator = admin(&replica, Role::Operator);
    assert_eq!(operator.log_stats("").await.unwrap(), []);
    let refused = operator.tail_logs(TailRequest::default()).await.unwrap_err();
    assert!(refused.reason == Reason::Unavailable && refused.message.contains("logs.staging"), "{refused}");
    replica.stop().await;
}
