//! What a customer has in the end: waits until no event is on its way any more, then reads every file of every bucket.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::boxes::{self, LogCluster, S3Place};
use super::check::Logged;
use crate::logs::{self, Entry};
use crate::{eventually, http};

/// A file of a log bucket, read.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// What it holds.
    pub entries: Vec<Entry>,
}

/// Every file of every bucket.
pub fn collect(place: &S3Place, logged: &[Logged]) -> Vec<LogFile> {
    let mut buckets: Vec<&str> = logged.iter().map(|one| one.bucket.as_str()).collect();
    buckets.sort_unstable();
    buckets.dedup();
    let mut all = Vec::new();
    for name in buckets {
        let bucket = place.bucket(name);
        for key in keys(place, name) {
            let object = bucket.get(&key, &[]);
            assert_eq!(object.status, 200, "{name}/{key}");
            let entries = logs::read(&key, &object.body);
            all.push(LogFile { bucket: name.to_owned(), key, entries });
        }
    }
    all
}

/// All keys of a bucket.
pub fn keys(place: &S3Place, bucket: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let from = all.last().map(|key| format!("&start-after={}", encode(key))).unwrap_or_default();
        let page = place.bucket(bucket).send("GET", &format!("?list-type=2&max-keys=1000{from}"), &[], &[]);
        assert_eq!(page.status, 200, "list {bucket}: {}", page.text());
        let text = page.text();
        let found = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        all.extend(found.map(str::to_owned));
        if !text.contains("<IsTruncated>true</IsTruncated>") {
            return all;
        }
    }
}

fn encode(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    key.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// How many documents control keeps under a name.
pub fn documents(etcd: &str, under: &str) -> usize {
    let from = format!("/penstock/default/{under}/");
    let to = format!("/penstock/default/{under}0");
    let [key, range_end] = [&from, &to].map(|key| crate::etcd::base64(key.as_bytes()));
    let body = json!({"key": key, "range_end": range_end, "count_only": true}).to_string();
    let answer = http::request(etcd, "POST", "/v3/kv/range", &[], body.as_bytes()).unwrap();
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    said["count"].as_str().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// What is still on its way: in edges' spools, as staged segments, in groups whose files don't stand yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Under {
    /// Bytes of records in spools.
    pub spooled: u64,
    /// Documents of staged segments.
    pub segments: usize,
    /// Documents of groups.
    pub groups: usize,
}

/// What is on its way now.
pub fn under_way(cluster: &LogCluster) -> Under {
    let spools = (0..cluster.edges.len()).map(|edge| boxes::spooled_bytes(&cluster.spool(edge)));
    // In this order, which is the records': what leaves one place is in the next by then.
    Under {
        spooled: spools.sum(),
        segments: documents(&cluster.etcd.addr, "log-segments"),
        groups: documents(&cluster.etcd.addr, "log-groups"),
    }
}

/// Waits until nothing is on its way any more.
pub fn wait_empty(cluster: &LogCluster, within: Duration) {
    const NOTHING: Under = Under { spooled: 0, segments: 0, groups: 0 };
    let end = Instant::now() + within;
    loop {
        let now = under_way(cluster);
        if now == NOTHING {
            return;
        }
        assert!(Instant::now() < end, "not within {within:?}: {now:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until staging is empty, too: what somebody left there who died is swept up now and then.
pub fn wait_swept(cluster: &LogCluster, within: Duration) {
    eventually("the staging bucket to be empty", within, || {
        std::thread::sleep(Duration::from_millis(500));
        keys(&cluster.place(), boxes::STAGING).is_empty().then_some(())
    });
}
