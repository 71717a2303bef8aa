//! Faults 1 to 9: what S3 does wrong, with real processes. Each test carries its fault's number.
//!
//! The shields reach S3 through a relay that misbehaves on command. Checked each time: a viewer is sent bytes of one version of the
//! film and nothing else, or a status that says what is wrong; S3 is asked for a block once, and once more for each fault it showed;
//! a viewer of another origin beside it feels nothing; memory stays in its budget; and afterwards nothing is left open.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use tests::cluster::{BESIDE, Cluster, NOWHERE, PUBLIC, READER, Setup};
use tests::counting_proxy::block_counts;
use tests::faulty_s3::{Fault, Hits, Rule};
use tests::own_folder;
use tests::viewer::{DOWNLOAD, End, Film, Plan, Viewer};

/// How long an edge may take to say that something can't be had.
const REFUSAL: Duration = Duration::from_secs(40);
const BUFFER: Duration = Duration::from_secs(2);
/// What a box's resident memory may come to: its caches, 64 MiB each here, and what a debug build of it is.
const RSS_BYTES: u64 = 320 << 20;

/// One cluster for the tests that leave it as they found it, one test at a time.
struct Stage {
    cluster: Cluster,
    folder: PathBuf,
}

fn stage() -> MutexGuard<'static, Stage> {
    static SHARED: OnceLock<Mutex<Stage>> = OnceLock::new();
    SHARED
        .get_or_init(|| Mutex::new(Stage::new(own_folder(), "", None)))
        .lock()
        .unwrap_or_else(|e| e.into_inner())
}

impl Stage {
    fn new(folder: PathBuf, more: &str, reader: Option<String>) -> Self {
        Film::noise(1, 60, 300).put(&folder, "beside");
        let cluster = Cluster::start(Setup {
            media: Some(folder.clone()),
            edge: "cache_bytes: 67108864".into(),
            shield: format!("cache_bytes: 67108864\ntimeouts: {{body_stall_ms: 1000}}\n{more}"),
            faulty: true,
            reader,
            ..Default::default()
        });
        Self { cluster, folder }
    }

    /// A film of `seconds` at 2.4 Mb/s, new to every cache: 0.3 MB a second.
    fn film(&self, name: &str, seconds: u32) -> Film {
        Film::noise(name.bytes().map(u64::from).sum::<u64>() * 77, seconds, 2400).put(&self.folder, name)
    }

    fn plan(&self, name: &str, film: &Film) -> Plan {
        Plan::new(self.cluster.rtmp(0), PUBLIC, name, film)
    }

    fn download(&self, name: &str, film: &Film) -> Plan {
        self.plan(name, film).buffer(DOWNLOAD)
    }

    /// Somebody who watches another origin through the same edge, well before the fault.
    fn beside(&self) -> Bystander {
        let film = Film::of(std::fs::read(self.folder.join("beside.flv")).unwrap());
        let viewer = Plan::new(self.cluster.rtmp(0), BESIDE, "beside", &film).start();
        viewer.wait_time(1000, Duration::from_secs(20));
        Bystander { viewer, begun: Instant::now() }
    }

    fn asked_once_plus(&self, key: &str, film: &Film, faults: u64) {
        let counts = block_counts(&self.cluster.faulty().gets(key), film.size());
        let most = 1 + faults as u32;
        assert!(counts.iter().all(|n| *n <= most), "{key}: at most {most} expected: {counts:?}");
    }

    /// Errors of origins the shields counted, by kind.
    fn origin_errors(&self, kind: &str) -> f64 {
        let name = format!("penstock_shield_origin_errors_total{{kind=\"{kind}\"}}");
        self.cluster.shields.iter().map(|s| s.metrics().get(&name).copied().unwrap_or(0.0)).sum()
    }

    /// No rule, no viewer, no fill, no more memory than allowed.
    fn leave(&mut self) {
        self.cluster.faulty().heal();
        self.cluster.wait_settled();
        for node in self.cluster.edges.iter().chain(&self.cluster.shields) {
            let rss = node.rss_bytes();
            assert!(rss < RSS_BYTES, "{}: {} MiB resident", node.name, rss >> 20);
        }
        for entry in std::fs::read_dir(&self.folder).unwrap().flatten() {
            if entry.file_name() != "beside.flv" {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

struct Bystander {
    viewer: Viewer,
    begun: Instant,
}

impl Bystander {
    /// Its show never stopped for longer than its buffer, and its media kept coming.
    fn felt_nothing(self) {
        let ran = self.begun.elapsed();
        let seen = self.viewer.hang_up();
        seen.honest("beside").no_stall_over(BUFFER, "beside");
        let due = (ran.as_millis() as u32).min(58_000);
        assert!(seen.time_ms >= due, "beside: after {ran:?}: {seen:?}");
    }
}

fn put(folder: &Path, name: &str, film: &Film) {
    film.put(folder, name);
}

#[test]
fn f01_bursts_of_500_and_503_cost_time_but_no_byte() {
    let mut stage = stage();
    let beside = stage.beside();
    let slow_down = |headers| Fault::Answer(503, "SlowDown", headers);
    let plays = [
        ("f01-500", Fault::Answer(500, "InternalError", vec![])),
        ("f01-503", slow_down(vec![])),
        ("f01-503-later", slow_down(vec![("Retry-After", "1")])),
    ]
    .map(|(name, fault)| {
        let film = stage.film(name, 10);
        let hits =
            stage.cluster.faulty().add(Rule::new(&format!("{name}.flv"), fault).chance(0.5, 11).times(6));
        let viewer = stage.plan(name, &film).start();
        (name, film, hits, viewer)
    });
    for (name, film, hits, viewer) in plays {
        viewer.finish().complete(name);
        assert!(hits.count() > 0, "{name}: nothing was refused");
        stage.asked_once_plus(&format!("{name}.flv"), &film, hits.count());
    }
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f01_an_s3_that_answers_nothing_but_503_is_a_clear_failure_soon() {
    let mut stage = stage();
    let beside = stage.beside();
    let film = stage.film("f01-always", 12);
    let fault = Fault::Answer(503, "SlowDown", vec![("Retry-After", "30")]);
    let hits = stage.cluster.faulty().add(Rule::new("f01-always", fault).any_method());
    let seen = stage.download("f01-always", &film).at_most(REFUSAL).run();
    assert_eq!((seen.told(), seen.samples), (Some("NetStream.Failed"), 0), "{seen:?}");
    assert!(hits.count() <= 24, "{} requests for one refused play", hits.count());
    stage.cluster.faulty().heal();
    stage.download("f01-always", &film).run().complete("after the burst");
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f02_first_bytes_after_200_ms_stop_no_show() {
    let mut stage = stage();
    let film = stage.film("f02-slow", 15);
    let hits = stage.cluster.faulty().add(Rule::new("f02-slow", Fault::Late(Duration::from_millis(200))));
    let seen = stage.plan("f02-slow", &film).run();
    seen.complete("200 ms").no_stall_over(BUFFER, "200 ms");
    assert!(hits.count() >= 3);
    stage.asked_once_plus("f02-slow", &film, 0);
    stage.leave();
}

#[test]
fn f02_a_first_byte_after_10_s_delays_its_viewer_only() {
    let mut stage = stage();
    let beside = stage.beside();
    let film = stage.film("f02-late", 12);
    let rule = Rule::new("f02-late", Fault::Late(Duration::from_secs(10))).times(1);
    let hits = stage.cluster.faulty().add(rule);
    let seen = stage.download("f02-late", &film).run();
    seen.complete("10 s");
    assert!(seen.first_media < Some(Duration::from_secs(25)), "{seen:?}");
    stage.asked_once_plus("f02-late", &film, hits.count());
    // A slow origin is not a slow shield: what is read of other origins stays at home, and is read once.
    let others = block_counts(&stage.cluster.beside.gets("beside.flv"), stage.beside_size());
    assert!(others.iter().all(|n| *n <= 1), "the film beside it: {others:?}");
    beside.felt_nothing();
    stage.leave();
}

impl Stage {
    fn beside_size(&self) -> u64 {
        std::fs::metadata(self.folder.join("beside.flv")).unwrap().len()
    }
}

#[test]
fn f03_a_body_that_stalls_forever_is_taken_up_where_it_stopped() {
    let mut stage = stage();
    let beside = stage.beside();
    let film = stage.film("f03-stall", 15);
    let faulty = stage.cluster.faulty();
    let hits = faulty.add(Rule::new("f03-stall", Fault::Stall(300_000)).bytes(1 << 20..u64::MAX).times(3));
    let seen = stage.plan("f03-stall", &film).run();
    seen.complete("stalls");
    assert_eq!(hits.count(), 3);
    let resumed = faulty.gets("f03-stall").iter().any(|r| r.range.is_some_and(|(a, _)| a % (1 << 20) != 0));
    assert!(resumed, "no GET began in the middle of a block: {:?}", faulty.gets("f03-stall"));
    stage.asked_once_plus("f03-stall", &film, hits.count());
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f03_bodies_that_all_stall_are_a_clear_failure_and_hold_nothing() {
    let mut stage = stage();
    let beside = stage.beside();
    let film = stage.film("f03-dead", 12);
    let hits = stage.cluster.faulty().add(Rule::new("f03-dead", Fault::Stall(0)).any_method());
    let seen = stage.download("f03-dead", &film).at_most(REFUSAL).run();
    assert_eq!((seen.told(), seen.samples), (Some("NetStream.Failed"), 0), "{seen:?}");
    assert!(hits.count() > 0);
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f04_bodies_cut_and_reset_in_mid_block_are_taken_up_where_they_broke() {
    let mut stage = stage();
    let beside = stage.beside();
    for (name, fault) in [("f04-cut", Fault::Truncate(700_000)), ("f04-reset", Fault::Reset(500_001))] {
        let film = stage.film(name, 15);
        let hits = stage.cluster.faulty().add(Rule::new(name, fault).chance(0.6, 4).times(8));
        stage.download(name, &film).run().complete(name);
        assert!(hits.count() > 0, "{name}: nothing was cut");
        stage.asked_once_plus(name, &film, hits.count());
    }
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f05_a_200_for_a_206_and_lies_about_the_range_give_no_wrong_byte() {
    let mut stage = stage();
    let beside = stage.beside();
    for (name, fault) in [
        ("f05-whole", Fault::Whole),
        ("f05-shifted", Fault::Shifted(1 << 20)),
        ("f05-longer", Fault::Longer(12_345)),
        ("f05-shorter", Fault::Shorter(5000)),
    ] {
        let film = stage.film(name, 12);
        let hits = stage.cluster.faulty().add(Rule::new(name, fault.clone()).times(1));
        let seen = stage.download(name, &film).run();
        seen.complete(name);
        assert_eq!(hits.count(), 1, "{name}");
        stage.asked_once_plus(name, &film, 1);
        if name == "f05-longer" {
            continue; // The blocks before the last are right whatever is said of the length.
        }
        let always = format!("{name}-always");
        let film = stage.film(&always, 12);
        stage.cluster.faulty().add(Rule::new(&always, fault));
        let seen = stage.download(&always, &film).at_most(REFUSAL).run();
        assert_eq!((seen.told(), seen.samples), (Some("NetStream.Failed"), 0), "{always}: {seen:?}");
    }
    assert!(stage.origin_errors("protocol") >= 6.0);
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f06_a_film_overwritten_in_mid_play_ends_there_and_the_next_play_is_all_new() {
    let mut stage = stage();
    let beside = stage.beside();
    let (old, new) = (Film::noise(61, 40, 2400), Film::noise(62, 30, 2400));
    put(&stage.folder, "f06", &old);
    let mut plan = stage.plan("f06", &old);
    plan.versions.push(new.clone());
    let first = plan.clone().start();
    first.wait_time(1000, REFUSAL);
    put(&stage.folder, "f06", &new);
    let seen = first.finish();
    assert_eq!((seen.told(), seen.version), (Some("NetStream.Failed"), Some(0)), "{seen:?}");
    // At once, at both edges: no cache gives the old version to a new play.
    for edge in 0..2 {
        let mut again = plan.clone().buffer(DOWNLOAD);
        again.addr = stage.cluster.rtmp(edge).to_owned();
        let seen = again.run();
        assert_eq!((&seen.end, seen.version), (&Some(End::Complete), Some(1)), "edge {edge}: {seen:?}");
    }
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f06_a_film_deleted_in_mid_play_ends_there_and_is_not_found_from_then_on() {
    let mut stage = stage();
    let film = Film::noise(63, 60, 2400).put(&stage.folder, "f06-gone");
    let first = stage.plan("f06-gone", &film).start();
    first.wait_time(1000, REFUSAL);
    std::fs::remove_file(stage.folder.join("f06-gone.flv")).unwrap();
    let seen = first.finish();
    assert!(seen.told().is_some_and(|c| c.starts_with("NetStream.")), "{seen:?}");
    // What shields and edges knew of it is not believed for the rest of the day.
    for edge in 0..2 {
        let mut again = stage.download("f06-gone", &film).at_most(REFUSAL);
        again.addr = stage.cluster.rtmp(edge).to_owned();
        let seen = again.run();
        assert_eq!(seen.told(), Some("NetStream.Play.StreamNotFound"), "edge {edge}: {seen:?}");
    }
    stage.leave();
}

#[test]
fn f06_ranges_of_another_etag_are_never_mixed_in() {
    let mut stage = stage();
    let film = stage.film("f06-etag", 20);
    let rule = Rule::new("f06-etag", Fault::Etag("\"another-version\"")).bytes(2 << 20..u64::MAX);
    let hits = stage.cluster.faulty().add(rule);
    let seen = stage.download("f06-etag", &film).run();
    assert_eq!(seen.told(), Some("NetStream.Failed"), "{seen:?}");
    assert!(hits.count() > 0);
    stage.cluster.faulty().heal();
    stage.download("f06-etag", &film).run().complete("when the ETag is back");
    stage.leave();
}

#[test]
fn f07_an_expired_credential_stops_no_cached_film_and_a_new_one_counts_without_a_restart() {
    let (secrets, films) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let token = secrets.path().join("token");
    std::fs::write(&token, "first").unwrap();
    let reader = format!(
        "{{access_key_id: 'ID', secret_access_key: 'SECRET', session_token_file: '{}'}}",
        token.display()
    );
    let mut stage = Stage::new(films.path().to_owned(), "default_ttl_s: 0\nminimum_ttl_s: 0\n", Some(reader));
    let bucket = stage.cluster.s3.bucket("vault");
    let (hot, cold) = (Film::noise(71, 10, 1000), Film::noise(72, 10, 1000));
    bucket.put("hot.flv", &hot.bytes, &[]);
    bucket.put("cold.flv", &cold.bytes, &[]);
    let plan = |name, film| Plan::new(stage.cluster.rtmp(0), READER, name, film).buffer(DOWNLOAD);
    plan("hot", &hot).run().complete("while the credential is good");
    let beside = stage.beside();

    for (status, code) in [(400, "ExpiredToken"), (403, "RequestTimeTooSkewed")] {
        let refused = Fault::Answer(status, code, vec![]);
        let rule = Rule::new("/vault/", refused).any_method().header("x-amz-security-token", "first");
        let hits = stage.cluster.faulty().add(rule);
        plan("hot", &hot).run().complete(&format!("{code}: what is cached"));
        let seen = plan("cold", &cold).at_most(REFUSAL).run();
        assert_eq!((seen.told(), seen.samples), (Some("NetStream.Failed"), 0), "{code}: {seen:?}");
        assert!(hits.count() > 0);
        assert!(stage.origin_errors("credential") > 0.0, "{code}: the operator sees why");
        if status == 400 {
            stage.cluster.faulty().heal();
        }
    }
    // Rotated: the next request carries the new token, whatever was refused before.
    std::fs::write(&token, "second").unwrap();
    plan("cold", &cold).run().complete("with the new credential");
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f08_a_bucket_whose_name_is_gone_is_a_clear_failure_and_nobody_else_s() {
    let mut stage = stage();
    let beside = stage.beside();
    let film = stage.film("f08", 12);
    let mut plan = stage.download("f08", &film).at_most(REFUSAL);
    plan.host = NOWHERE.into();
    let seen = plan.run();
    assert_eq!((seen.told(), seen.samples), (Some("NetStream.Failed"), 0), "{seen:?}");
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f08_while_the_endpoint_is_gone_what_is_cached_plays_on_and_the_rest_is_refused() {
    let mut stage = stage();
    let (hot, cold) = (stage.film("f08-hot", 12), stage.film("f08-cold", 12));
    stage.download("f08-hot", &hot).run().complete("before");
    let beside = stage.beside();
    let running = stage.plan("f08-hot", &hot).start();
    running.wait_time(1, REFUSAL);
    stage.cluster.faulty().down();
    stage.download("f08-hot", &hot).run().complete("a new play of what is cached");
    let seen = stage.download("f08-cold", &cold).at_most(REFUSAL).run();
    assert_eq!((seen.told(), seen.samples), (Some("NetStream.Failed"), 0), "{seen:?}");
    running.finish().complete("a running play of what is cached").no_stall_over(BUFFER, "it");
    stage.cluster.faulty().up();
    stage.download("f08-cold", &cold).run().complete("after");
    beside.felt_nothing();
    stage.leave();
}

#[test]
fn f09_corrupted_bytes_of_an_object_with_an_md5_are_read_again_and_never_shown() {
    let mut stage = stage();
    let beside = stage.beside();
    let bucket = stage.cluster.s3.bucket("vault");
    let plan = |name, film| Plan::new(stage.cluster.rtmp(0), READER, name, film).buffer(DOWNLOAD);
    let (once, always) = (Film::noise(91, 10, 2000), Film::noise(92, 10, 2000));
    bucket.put("f09-once.flv", &once.bytes, &[]);
    bucket.put("f09-always.flv", &always.bytes, &[]);
    let hits: Vec<Hits> = [("f09-once", 1), ("f09-always", u64::MAX)]
        .map(|(name, times)| {
            stage.cluster.faulty().add(Rule::new(name, Fault::Corrupt(1_400_000)).times(times))
        })
        .into();
    plan("f09-once", &once).run().complete("one bit flipped once");
    assert_eq!(hits[0].count(), 1);
    stage.asked_once_plus("f09-once", &once, 1);
    let seen = plan("f09-always", &always).at_most(REFUSAL).run();
    assert_eq!((seen.told(), seen.samples), (Some("NetStream.Failed"), 0), "{seen:?}");
    assert!(stage.origin_errors("corrupt") >= 2.0);
    stage.cluster.faulty().heal();
    plan("f09-always", &always).run().complete("when the bytes are right");
    beside.felt_nothing();
    stage.leave();
}
