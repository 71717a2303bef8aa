//! boto3 reads the log files from an S3 server that isn't ours, where staging is, too.

use std::time::Duration;

use tests::api::{Keys, aws};
use tests::eventually;
use tests::log_chaos::boxes::{LogCluster, LogSetup};
use tests::log_chaos::check::{STRICT, check};
use tests::log_chaos::moto::Moto;
use tests::log_chaos::pickup;
use tests::log_chaos::troupe::{Program, Troupe};

#[test]
fn boto3_reads_every_record_from_an_s3_server_that_is_not_ours() {
    const EVENTS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let moto = Moto::start(folder.path());
    let place = moto.place();
    let mut cluster =
        LogCluster::start(&LogSetup { letters: "ab", elsewhere: Some(place.clone()), ..Default::default() });
    let troupe = Troupe::start(&Program {
        edges: vec![cluster.edges[0].addr.clone()],
        hosts: cluster.logged.iter().map(|one| one.host.clone()).collect(),
        viewers: 4,
        per_second: 200.0,
        seed: 1,
    });
    eventually("enough events", Duration::from_secs(120), || (troupe.events() >= EVENTS).then_some(()));
    let mut seen = troupe.finish();
    seen.append(&mut cluster.probes);
    pickup::wait_empty(&cluster, Duration::from_secs(240));
    let files = pickup::collect(&place, &cluster.logged);
    let totals = check(&seen, &files, &cluster.logged, STRICT).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(totals.records >= EVENTS);
    let keys = Keys { id: place.keys.0.clone(), secret: place.keys.1.clone(), account: String::new() };
    let mut read = 0;
    for one in &cluster.logged {
        let endpoint = format!("http://{}", place.addr);
        // At least length, name and packing of each file.
        let own: Vec<_> = files.iter().filter(|file| file.bucket == one.bucket).collect();
        let checks = 4 * own.len() as u64;
        let facts = aws::boto3_at(&endpoint, &keys, "logs", "read", checks, &[&one.bucket, &one.prefix]);
        let rows = facts["rows"].as_array().unwrap();
        assert!(rows.iter().all(|row| row[0] == *one.id));
        assert_eq!(rows.len(), own.iter().map(|file| file.entries.len()).sum::<usize>());
        assert_eq!(facts["keys"].as_array().unwrap().len(), own.len());
        read += rows.len();
    }
    assert_eq!(read, totals.records);
}
