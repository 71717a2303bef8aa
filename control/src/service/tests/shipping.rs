//! An edge's spool, shipping, and replicas with a staging bucket, joined by real gRPC.

use super::*;
use crate::access_log::bucket::faulty::{Fault, Faults, FaultyBucket};
use crate::access_log::bucket::memory::{MemoryBucket, MemoryBuckets};
use crate::client::admin;
use crate::client::logs::{EdgeLogs, EdgeLogsConfig};
use crate::client::ship::Route;
use crate::documents::LOG_SEGMENTS;
use bytes::{Bytes, BytesMut};
use proto::access_log::{Segment, SegmentId, SegmentWriter};
use proto::v1::{AccessEvent, AccessRecord, LogTarget, ShipRequest};
use tonic::Code;

const EPOCH: &str = "0123456789abcdef";

fn taking(bucket: Arc<dyn crate::access_log::bucket::Bucket>) -> ControlConfig {
    let logs = LogsConfig::new(bucket, Arc::new(MemoryBuckets::new()));
    ControlConfig { logs: Some(logs), ..quick() }
}

fn record(n: u64) -> AccessRecord {
    AccessRecord {
        time_ms: 1_700_000_000_000 + n,
        event: AccessEvent::Connect.into(),
        distribution_id: A.into(),
        target: Some(LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), ..Default::default() }),
        client_id: format!("{n:032x}"),
        ..Default::default()
    }
}

fn segment(edge: &str, number: u64) -> Bytes {
    let mut out = BytesMut::new();
    let id = SegmentId { edge_id: edge.into(), epoch: EPOCH.into(), number };
    let mut writer = SegmentWriter::new(id, &mut out);
    writer.put(&record(number), &mut out);
    writer.seal(&mut out);
    out.freeze()
}

async fn ship(url: &str, role: Role, node: Option<&str>, segment: Bytes) -> Result<bool, tonic::Status> {
    let credentials = crate::client::Credentials::from(master().token(role, node));
    let mut client = admin::access_logs(url, &credentials, None).unwrap();
    client.ship(ShipRequest { segment }).await.map(|answer| answer.into_inner().repeated)
}

#[tokio::test]
async fn only_an_edge_hands_over_logs_and_only_its_own() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replica = Replica::start(store, "127.0.0.1:0", taking(Arc::new(bucket.clone()))).await;
    let url = replica.url();
    let refused = async |role, node, file| ship(&url, role, node, file).await.unwrap_err();
    for role in [Role::Shield, Role::Operator] {
        assert_eq!(refused(role, None, segment("edge-1", 1)).await.code(), Code::PermissionDenied);
    }
    let other = refused(Role::Edge, Some("edge-2"), segment("edge-1", 1)).await;
    assert!(
        other.code() == Code::PermissionDenied && other.message().contains("can't speak for 'edge-1'"),
        "{other}"
    );
    for bad in [Bytes::new(), segment("edge-1", 1).slice(..40), segment("..", 1), segment("a/b", 1)] {
        assert_eq!(refused(Role::Edge, None, bad).await.code(), Code::InvalidArgument);
    }
    let long = refused(Role::Edge, None, vec![0; 17 << 20].into()).await;
    assert_eq!(proto::status::RemoteError::from(long).reason, Reason::Invalid);
    assert!(bucket.objects().is_empty());

    assert!(!ship(&url, Role::Edge, Some("edge-1"), segment("edge-1", 1)).await.unwrap());
    assert!(ship(&url, Role::Edge, None, segment("edge-1", 1)).await.unwrap(), "it is a repeat");
    assert_eq!(bucket.objects().len(), 1);
    replica.stop().await;
}

#[tokio::test]
async fn a_control_without_a_staging_bucket_says_that_it_takes_none() {
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", quick()).await;
    let refused = ship(&replica.url(), Role::Edge, None, segment("edge-1", 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("logs.staging"), "{refused}");
    replica.stop().await;
}

/// One edge, two replicas of which the first is taken away, and a bucket that fails a third of the time, also after it did as asked.
#[tokio::test]
async fn f33_each_event_comes_to_stand_once_whatever_bucket_and_replicas_do() {
    let (store, memory) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let faults = Faults::new(7);
    faults.at_random(330, &[Fault::away(), Fault::LosesTheAnswer, Fault::slow_down()]);
    let bucket = Arc::new(FaultyBucket::new(Arc::new(memory.clone()), faults.clone()));
    let first = Replica::start(store.clone(), "127.0.0.1:0", taking(bucket.clone())).await;
    let second = Replica::start(store.clone(), "127.0.0.1:0", taking(bucket)).await;
    let dir = tempfile::tempdir().unwrap();
    let route = Route {
        node_id: "edge-1".into(),
        control: vec![first.url(), second.url()],
        credentials: master().token(Role::Edge, Some("edge-1")).into(),
    };
    let open = async |registry: &Registry| {
        let mut config = EdgeLogsConfig::default();
        (config.spool.segment_bytes, config.spool.bytes) = (4 << 10, 64 << 20);
        config.ship.drain_ms = 60_000;
        EdgeLogs::open(config, dir.path(), route.clone(), registry).await.unwrap()
    };
    let logs = open(&Registry::new()).await.unwrap();
    for n in 0..300 {
        assert!(logs.log().record(record(n)).await.stands());
    }
    let address = first.stop().await;
    for n in 300..600 {
        assert!(logs.log().record(record(n)).await.stands());
    }
    let back = Replica::start(store.clone(), &address.to_string(), taking(Arc::new(memory.clone()))).await;
    EdgeLogs::finish(Some(logs)).await;

    // The next process owes the disconnect of each session that was left open.
    let logs = open(&Registry::new()).await.unwrap();
    EdgeLogs::finish(Some(logs)).await;
    let staged = store.list(LOG_SEGMENTS).await.unwrap().entries;
    assert_eq!(staged.len(), memory.objects().len(), "an object for each document");
    let mut seen = std::collections::BTreeMap::<(String, i32), u32>::new();
    for file in memory.objects().into_values() {
        for record in Segment::verify(file).unwrap().records() {
            let (record, _) = record.unwrap();
            *seen.entry((record.client_id, record.event)).or_default() += 1;
        }
    }
    for n in 0..600 {
        for event in [AccessEvent::Connect, AccessEvent::Disconnect] {
            assert_eq!(seen.get(&(format!("{n:032x}"), event.into())), Some(&1), "{n} {event:?}");
        }
    }
    assert_eq!(seen.len(), 1200);
    second.stop().await;
    back.stop().await;
}

#[tokio::test]
async fn a_spool_that_can_not_be_opened_is_an_error_that_says_so_unless_logs_are_off() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("access-log");
    std::fs::write(&folder, "no folder").unwrap();
    let route = Route {
        node_id: "edge-1".into(),
        control: vec!["http://127.0.0.1:9".into()],
        credentials: master().token(Role::Edge, None).into(),
    };
    let open = async |enabled: bool| {
        let config = EdgeLogsConfig { enabled, ..Default::default() };
        EdgeLogs::open(config, dir.path(), route.clone(), &Registry::new()).await
    };
    let error = open(true).await.err().unwrap().to_string();
    assert!(error.contains(&folder.display().to_string()) && error.contains("logs.enabled"), "{error}");
    assert!(open(false).await.unwrap().is_none());
}
