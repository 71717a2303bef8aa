//! The buckets of access logs, as control opens them, against a real S3 endpoint: the embedded one.
#![allow(clippy::unwrap_used)] // the lint's exception for tests doesn't reach what they share

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use control::access_log::bucket::place::{Keys, Places, Secret};
use control::access_log::bucket::s3::{Clients, S3Buckets};
use control::access_log::bucket::{Bucket, BucketError, Buckets};
use penstock::s3::{MediaSource, S3, S3Config, S3Limits};
use proto::v1::LogTarget;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const KEY: &str = "AKIDPENSTOCKTEST";
const SECRET: &str = "not-much-of-a-secret";

/// An endpoint with the bucket `logs`; stops with the token.
async fn endpoint(data: &Path) -> (SocketAddr, CancellationToken) {
    let config = S3Config {
        data_dir: data.to_owned(),
        media: MediaSource::Bundled,
        buckets: vec!["logs".into()],
        access_key_id: KEY.into(),
        secret_access_key: SECRET.into(),
        limits: S3Limits::default(),
        registry: prometheus::Registry::new(),
    };
    let s3 = S3::open(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let stop = shutdown.clone();
    tokio::spawn(async move { s3.serve(listener, stop).await });
    (address, shutdown)
}

fn places(address: SocketAddr, secret: Secret) -> Places {
    Places {
        endpoint: Some(format!("http://{address}")),
        region: "us-east-1".into(),
        ca_file: None,
        keys: Keys::Given { access_key_id: KEY.into(), secret },
        hosts: BTreeMap::new(),
    }
}

fn clients() -> Clients {
    Clients::new(Duration::from_secs(30))
}

#[tokio::test]
async fn objects_are_put_read_listed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _stop) = endpoint(dir.path()).await;
    let places = places(address, Secret::Text(SECRET.into()));
    let logs = clients().open(places.named("logs", None)).unwrap();
    let put = async |key: &str, body: &'static str| logs.put(key, body.into()).await.unwrap();
    assert_eq!(logs.get("edge-1/a-1.seg").await.unwrap(), None);
    logs.delete("edge-1/a-1.seg").await.unwrap();
    put("edge-1/a-1.seg", "one").await;
    put("edge-1/a-1.seg", "uno").await;
    put("edge-1/a-2.seg", "").await;
    put("edge-2/ü ~+&%.seg", "odd").await;
    assert_eq!(logs.get("edge-1/a-1.seg").await.unwrap().as_deref(), Some(&b"uno"[..]));
    assert_eq!(logs.get("edge-1/a-2.seg").await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(logs.get("edge-2/ü ~+&%.seg").await.unwrap().as_deref(), Some(&b"odd"[..]));
    let all = [("edge-1/a-1.seg", 3), ("edge-1/a-2.seg", 0), ("edge-2/ü ~+&%.seg", 3)];
    let all = all.map(|(key, bytes)| (key.to_owned(), bytes));
    assert_eq!(logs.list("", "", 10).await.unwrap(), all);
    assert_eq!(logs.list("edge-1/", "", 10).await.unwrap(), all[..2]);
    assert_eq!(logs.list("", "edge-1/a-1.seg", 1).await.unwrap(), all[1..2]);
    logs.delete("edge-1/a-1.seg").await.unwrap();
    assert_eq!(logs.get("edge-1/a-1.seg").await.unwrap(), None);

    let large = Bytes::from(vec![7; 12 << 20]);
    logs.put("large.seg", large.clone()).await.unwrap();
    assert_eq!(logs.get("large.seg").await.unwrap(), Some(large));
}

#[tokio::test]
async fn a_list_of_more_than_a_page_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _stop) = endpoint(dir.path()).await;
    let logs = clients().open(places(address, Secret::Text(SECRET.into())).named("logs", None)).unwrap();
    let folder = dir.path().join("buckets/logs/many");
    std::fs::create_dir_all(&folder).unwrap();
    for n in 0..1100 {
        std::fs::write(folder.join(format!("{n:04}")), "x").unwrap();
    }
    let listed = logs.list("many/", "many/0009", 2000).await.unwrap();
    assert_eq!(listed.len(), 1090);
    assert!(listed.windows(2).all(|pair| pair[0].0 < pair[1].0) && listed[0].0 == "many/0010");
}

#[tokio::test]
async fn who_refuses_and_what_is_missing_or_away_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (address, stop) = endpoint(dir.path()).await;
    let target = |host: &str| LogTarget { bucket_host: host.into(), ..Default::default() };
    let buckets = S3Buckets::new(places(address, Secret::Text(SECRET.into())), clients());
    buckets.open(&target("logs.s3.amazonaws.com")).put("a", "x".into()).await.unwrap();
    buckets.open(&target("logs.s3.eu-west-1.amazonaws.com")).put("b", "x".into()).await.unwrap();
    let missing = buckets.open(&target("other.s3.amazonaws.com")).put("a", "x".into()).await.unwrap_err();
    assert_eq!(missing, BucketError::Missing("other".into()));
    let read_only = buckets.open(&target("media.s3.amazonaws.com")).put("a", "x".into()).await.unwrap_err();
    assert_eq!(read_only.kind(), "refused", "{read_only}");

    let wrong = S3Buckets::new(places(address, Secret::Text("wrong".into())), clients());
    let refused = wrong.open(&target("logs.s3.amazonaws.com")).put("a", "x".into()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), ("refused", "SignatureDoesNotMatch"), "{refused}");

    stop.cancel();
    let gone = async {
        loop {
            match buckets.open(&target("logs.s3.amazonaws.com")).get("a").await {
                Err(error) => return error,
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let gone = tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(gone.kind(), "away", "{gone}");
}

#[tokio::test]
async fn a_secret_is_changed_by_writing_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (address, _stop) = endpoint(dir.path()).await;
    let file = dir.path().join("secret");
    std::fs::write(&file, "not yet\n").unwrap();
    let logs = clients().open(places(address, Secret::File(file.clone())).named("logs", None)).unwrap();
    assert_eq!(logs.put("a", "x".into()).await.unwrap_err().kind(), "refused");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    logs.put("a", "x".into()).await.unwrap();
}
