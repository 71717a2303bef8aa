//! The node's own role as a cloud platform gives it: shields read a private bucket with keys that come, end, are taken back, and stay away.
//!
//! The platform and the S3 endpoint that takes its keys (and nothing unsigned) are the tests'; behind it lies the bucket of a real one. Each play
//! is of a film that no cache has, so it needs the keys of that moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tests::cluster::{Cluster, READER, Setup};
use tests::log_chaos::boxes::S3Place;
use tests::platform::key_gate::{KeyGate, UNSIGNED};
use tests::platform::{CONTAINER_TOKEN, Mood, Platform, ROLE_ARN};
use tests::standalone::{Options, Standalone};
use tests::wire::{Client, PATIENCE};
use tests::{etcd, eventually, media};

const ACCOUNT: &str = "111111111111";
const HOST: &str = "s000000000role.penstock.localhost";
const LONG: Duration = Duration::from_secs(120);
/// How long keys live here, where they are to be seen ending: they are refreshed when two thirds are over.
const SHORT: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

struct World {
    platform: Platform,
    gate: KeyGate,
    cluster: Cluster,
    place: S3Place,
    films: AtomicUsize,
    _store: Standalone,
}

/// A cluster whose shield has what that platform gives, in that environment.
fn world(platform: Platform, environment: Vec<String>) -> World {
    let store = Standalone::with(Options::default());
    let (id, secret) = store.keys();
    let place = S3Place { addr: store.s3().to_owned(), keys: (id.to_owned(), secret.to_owned()) };
    place.bucket("roles").create();
    let gate = KeyGate::start(&place, &platform);
    let more = format!("account: '{ACCOUNT}', credential: oai/EROLE");
    let cluster = Cluster::start(Setup {
        distributions: format!(
            "  - {{name: role, id: E000000000071, domain: {HOST}, origin: roles.s3.amazonaws.com, {more}}}\n"
        ),
        origins: format!("  roles.s3.amazonaws.com: {{endpoint: 'http://{}'}}\n", gate.addr()),
        shield: "node_role: {provider: aws}\n".into(),
        before_shield: environment,
        shields: 1,
        ..Default::default()
    });
    let grant = format!("grants/{ACCOUNT}/roles");
    etcd::commit(&cluster.etcd.addr, &[(&grant, Some(etcd::grant(ACCOUNT, "roles")))]);
    eventually("the grant at the shield", LONG, || {
        cluster.shields[0].process.log().contains("keys=\"the node's role\"").then_some(())
    });
    World { platform, gate, cluster, place, films: AtomicUsize::new(0), _store: store }
}

impl World {
    /// What a play brings first: a status of an error, or media.
    fn word(&self, name: &str) -> String {
        let mut client = Client::open(self.cluster.rtmp(0));
        client.connect("cfx/st", &format!("rtmp://{HOST}/cfx/st"), &[]);
        let (answer, args) = client.wait_answer(1.0, PATIENCE);
        assert_eq!(answer, "_result", "{args:?}");
        client.create_stream();
        client.play(1, name, &[0.0]);
        let told = client.wait("media or an error", Duration::from_secs(60), |m| {
            m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
        });
        told.status_code().unwrap_or_else(|| "media".into())
    }

    /// Puts a film there that nobody has asked for; gives its name.
    fn film(&self) -> String {
        let key = format!("film-{}.mp4", self.films.fetch_add(1, Ordering::SeqCst));
        self.place.bucket("roles").put(&key, &std::fs::read(media::file("first.mp4")).unwrap(), &[]);
        format!("mp4:{key}")
    }

    /// Whether such a film plays.
    fn plays(&self) -> bool {
        self.word(&self.film()) == "media"
    }

    fn log(&self) -> String {
        self.cluster.shields[0].process.log()
    }

    fn failed_for_want_of_keys(&self) -> f64 {
        let samples = self.cluster.shields[0].metrics();
        samples.get("penstock_shield_origin_errors_total{kind=\"no-keys\"}").copied().unwrap_or(0.0)
    }

    fn loads(&self, outcome: &str) -> f64 {
        let name = format!("penstock_shield_role_loads_total{{outcome=\"{outcome}\"}}");
        self.cluster.shields[0].metrics().get(&name).copied().unwrap_or(0.0)
    }

    /// Plays until requests were let in by so many sets of keys, each play being served.
    fn play_through(&self, ids: usize) {
        let from = self.gate.ids().len();
        eventually("keys to follow each other", LONG, || {
            assert!(self.plays(), "a play fails while keys are changed\n{}", self.log());
            (self.gate.ids().len() >= from + ids).then_some(())
        });
    }
}

#[test]
fn a_container_s_keys_are_taken_when_they_come_refreshed_in_time_and_replaced_when_refused() {
    // It hangs when the shield starts: the shield is ready all the same.
    let platform = Platform::start(Mood::Silent, SHORT);
    let environment = platform.container();
    let world = world(platform, environment);
    let hot = world.film();
    assert_ne!(world.word(&hot), "media");
    assert!(world.failed_for_want_of_keys() > 0.0 && world.loads("failed") > 0.0);
    assert!(world.log().contains("no keys for the node's role"), "{}", world.log());
    assert!(world.gate.seen().is_empty(), "S3 is not asked without keys");

    world.platform.set(Mood::Well);
    eventually("the first keys", LONG, || (world.word(&hot) == "media").then_some(()));
    world.play_through(3);
    assert_eq!(world.gate.refusals(), 0, "{:?}", world.gate.seen());
    // Nobody asks for each request.
    let (requests, asked) = (world.gate.seen().len(), world.platform.issued().len());
    assert!(asked <= world.gate.ids().len() + 1 && asked < requests / 3, "{asked} times for {requests}");
    assert!(world.loads("ok") >= 4.0);

    // What would last is taken back: the first request to hear of it asks for others, and no viewer notices.
    world.platform.set_lifetime(HOUR);
    eventually("keys that last", LONG, || {
        assert!(world.plays());
        let last = world.platform.issued().pop()?;
        // They are believed for the first seconds, whatever an endpoint says.
        let age = HOUR.saturating_sub(last.expires.duration_since(std::time::SystemTime::now()).ok()?);
        (last.expires > std::time::SystemTime::now() + SHORT * 2 && age > Duration::from_secs(5))
            .then_some(())
    });
    world.platform.revoke();
    world.play_through(1);
    assert!(world.gate.refused("ExpiredToken") > 0);

    // Neither old keys nor others: refused, and what is cached plays on.
    world.platform.set(Mood::Refuses);
    let before = world.failed_for_want_of_keys();
    eventually("keys that were used for a while are refused", LONG, || {
        world.platform.revoke();
        let failed = !world.plays();
        (failed && world.failed_for_want_of_keys() > before).then_some(())
    });
    assert_eq!(world.word(&hot), "media");
    world.platform.set(Mood::Well);
    eventually("the platform is back", LONG, || world.plays().then_some(()));

    assert_eq!(world.gate.refused(UNSIGNED), 0, "nothing is ever asked unsigned");
    world.platform.assert_secret(&world.log());
}

#[test]
fn old_keys_serve_to_their_end_while_the_platform_is_away() {
    let platform = Platform::start(Mood::Well, Duration::from_secs(40));
    let environment = platform.container();
    let world = world(platform, environment);
    eventually("the first keys", LONG, || world.plays().then_some(()));
    world.platform.set(Mood::Refuses);
    let last = world.platform.issued().pop().unwrap();
    let left = || last.expires.duration_since(std::time::SystemTime::now()).unwrap_or_default();
    eventually("a refresh that fails", LONG, || {
        let (played, safe) = (world.plays(), left() > Duration::from_secs(8));
        assert!(played || !safe, "{}", world.log());
        (world.loads("failed") > 0.0).then_some(())
    });
    assert!(left() > Duration::ZERO, "it is tried while the old ones are valid");
    assert!(world.log().contains("old_keys_are_valid=true"));
    eventually("their end", LONG, || (!world.plays()).then_some(()));
    assert!(left() < Duration::from_secs(8), "they serve to their end");
    assert_eq!(
        (world.gate.ids(), world.gate.refusals()),
        (vec![last.id.clone()], 0),
        "{:?}",
        world.gate.seen()
    );
    world.platform.set(Mood::Well);
    eventually("the platform is back", LONG, || world.plays().then_some(()));
    world.platform.assert_secret(&world.log());
}

#[test]
fn a_web_identity_is_exchanged_at_the_sts_and_its_file_read_anew_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let platform = Platform::start(Mood::Well, SHORT);
    let path = file.display().to_string();
    let environment = platform.environment(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &path),
        ("AWS_ROLE_ARN", ROLE_ARN),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_STS", "http://PLATFORM"),
    ]);
    let world = world(platform, environment);
    assert!(!world.plays(), "there is no token yet");
    assert!(world.failed_for_want_of_keys() > 0.0 && world.platform.asked() == 0);
    std::fs::write(&file, "header.first.signature").unwrap();
    eventually("the first keys", LONG, || world.plays().then_some(()));
    // Kubernetes writes another one now and then; the old one is worth nothing then.
    world.platform.believe(&["header.first.signature", "header.second.signature"]);
    std::fs::write(&file, "header.second.signature").unwrap();
    world.platform.believe(&["header.second.signature"]);
    world.play_through(2);
    assert_eq!(world.gate.refusals(), 0, "{:?}", world.gate.seen());
    let log = world.log();
    world.platform.assert_secret(&log);
    assert!(!log.contains("header.first") && !log.contains("header.second"), "a web identity in a log");
}

#[test]
fn an_instance_s_keys_come_from_its_metadata() {
    let platform = Platform::start(Mood::Well, SHORT);
    let environment = platform.environment(&[
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://PLATFORM"),
    ]);
    let world = world(platform, environment);
    eventually("the first keys", LONG, || world.plays().then_some(()));
    world.play_through(1);
    assert_eq!(world.gate.refusals(), 0, "{:?}", world.gate.seen());
    world.platform.assert_secret(&world.log());
}

#[test]
fn a_token_that_is_no_header_is_told_without_being_shown() {
    let platform = Platform::start(Mood::Well, HOUR);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{CONTAINER_TOKEN}\n")).unwrap();
    let environment = platform.environment(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://PLATFORM/container"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file.display().to_string()),
    ]);
    let world = world(platform, environment);
    assert!(!world.plays());
    assert!(
        world.log().contains("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: holds what a header can't"),
        "{}",
        world.log()
    );
    world.platform.assert_secret(&world.log());
    std::fs::write(&file, CONTAINER_TOKEN).unwrap();
    eventually("the token as it should be", LONG, || world.plays().then_some(()));
    world.platform.assert_secret(&world.log());
}

#[test]
fn keys_of_the_file_stay_what_they_are_whatever_the_environment_says() {
    let platform = Platform::start(Mood::Well, HOUR);
    let environment = platform.environment(&[
        ("AWS_ACCESS_KEY_ID", "ASIAELSEWHERE"),
        ("AWS_SECRET_ACCESS_KEY", "of-somebody-else"),
        ("AWS_SESSION_TOKEN", "of-somebody-else"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("AWS_REGION", "eu-central-9"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://PLATFORM/container"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
    ]);
    let cluster = Cluster::start(Setup { before_shield: environment, shields: 1, ..Default::default() });
    let vault = cluster.s3.bucket("vault");
    vault.put("film.mp4", &std::fs::read(media::file("first.mp4")).unwrap(), &[]);
    let mut client = Client::open(cluster.rtmp(0));
    client.connect("cfx/st", &format!("rtmp://{READER}/cfx/st"), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    client.create_stream();
    client.play(1, "mp4:film.mp4", &[0.0]);
    client.wait("media", Duration::from_secs(60), |m| m.is_media());
    assert_eq!(platform.asked(), 0);
    let samples = cluster.shields[0].metrics();
    assert!(!samples.keys().any(|name| name.starts_with("penstock_shield_role_loads_total")), "{samples:?}");
}
