//! Access logs with the node's own role: control reaches staging and customers' buckets by keys that its platform gives. What comes of it is
//! judged from outside, as everywhere: each event once, in its file.

use std::time::Duration;

use tests::eventually;
use tests::log_chaos::boxes::{LogCluster, LogSetup, S3Place};
use tests::log_chaos::check::{STRICT, check};
use tests::log_chaos::pickup;
use tests::log_chaos::troupe::{Program, Troupe};
use tests::platform::key_gate::{KeyGate, UNSIGNED};
use tests::platform::{CONTAINER_TOKEN, Mood, Platform};
use tests::standalone::{Options, Standalone};

const LONG: Duration = Duration::from_secs(120);
/// How long the last records may take to their files: the longest backoff and more.
const DRAIN: Duration = Duration::from_secs(400);

fn loads(cluster: &LogCluster, outcome: &str) -> f64 {
    let name = format!("penstock_control_role_loads_total{{outcome=\"{outcome}\"}}");
    cluster.controls[0].metrics().get(&name).copied().unwrap_or(0.0)
}

fn troupe(cluster: &LogCluster, seed: u64) -> Troupe {
    Troupe::start(&Program {
        edges: vec![cluster.edges[0].addr.clone()],
        hosts: cluster.logged.iter().map(|one| one.host.clone()).collect(),
        viewers: 3,
        per_second: 30.0,
        seed,
    })
}

#[test]
fn without_keys_of_the_platform_logs_wait_and_with_them_each_event_is_delivered_once() {
    let store = Standalone::with(Options::default());
    let (id, secret) = store.keys();
    let place = S3Place { addr: store.s3().to_owned(), keys: (id.to_owned(), secret.to_owned()) };
    let platform = Platform::start(Mood::Refuses, Duration::from_secs(15));
    let gate = KeyGate::start(&place, &platform);
    let mut cluster = LogCluster::start(&LogSetup {
        elsewhere: Some(place.clone()),
        by_platform: Some(gate.addr().to_owned()),
        before_control: platform.container(),
        ..Default::default()
    });
    // The buckets are away: control takes nothing, and the edge keeps all.
    eventually("control wants keys", LONG, || (loads(&cluster, "failed") >= 2.0).then_some(()));
    let log = cluster.controls[0].process.log();
    assert!(log.contains("the platform gives this node no keys"), "{log}");
    assert!(gate.seen().is_empty() && loads(&cluster, "ok") == 0.0, "{:?}", gate.seen());
    assert!(cluster.controls[0].process.ended().is_none());

    platform.set(Mood::Well);
    let acting = troupe(&cluster, 7);
    eventually("keys that follow each other", LONG, || (gate.ids().len() >= 3).then_some(()));
    assert_eq!(gate.refusals(), 0, "{:?}", gate.seen());
    // Taken back before their time: nothing is lost.
    platform.revoke();
    let known = gate.ids().len();
    eventually("other keys", LONG, || (gate.ids().len() > known).then_some(()));
    // And away for longer than they last.
    platform.set(Mood::Silent);
    let failed = loads(&cluster, "failed");
    eventually("control wants keys again", LONG, || (loads(&cluster, "failed") > failed + 1.0).then_some(()));
    let mut seen = acting.finish();
    platform.set(Mood::Well);
    seen.append(&mut cluster.probes);
    pickup::wait_empty(&cluster, DRAIN);
    let files = pickup::collect(&place, &cluster.logged);
    let totals = check(&seen, &files, &cluster.logged, STRICT).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(totals.records > 100, "{totals:?}");
    assert_eq!(gate.refused(UNSIGNED), 0, "nothing is ever asked unsigned");
    platform.assert_secret(&cluster.controls[0].process.log());
}

#[test]
fn keys_of_the_file_stay_what_they_are_whatever_control_s_environment_says() {
    let platform = Platform::start(Mood::Well, Duration::from_secs(3600));
    let mut cluster = LogCluster::start(&LogSetup {
        before_control: platform.environment(&[
            ("AWS_ACCESS_KEY_ID", "ASIAELSEWHERE"),
            ("AWS_SECRET_ACCESS_KEY", "of-somebody-else"),
            ("AWS_SESSION_TOKEN", "of-somebody-else"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
            ("AWS_REGION", "eu-central-9"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://PLATFORM/container"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
        ]),
        ..Default::default()
    });
    let acting = troupe(&cluster, 8);
    eventually("some events", LONG, || (acting.events() >= 40).then_some(()));
    let mut seen = acting.finish();
    seen.append(&mut cluster.probes);
    pickup::wait_empty(&cluster, DRAIN);
    let files = pickup::collect(&cluster.place(), &cluster.logged);
    let totals = check(&seen, &files, &cluster.logged, STRICT).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(totals.records >= 40, "{totals:?}");
    assert_eq!((platform.asked(), loads(&cluster, "ok")), (0, 0.0));
}
