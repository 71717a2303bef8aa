//! Deployed means deployed: what the API says about a change, against what each edge does with it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::api::{Api, Keys, Made, Request, assert_refused, aws, config, unique};
use tests::cluster::{Node, Setup};
use tests::wire::{Client, PATIENCE};
use tests::{eventually, http, media, players};

/// Whether an edge takes a connect for `host` now; never retried.
fn accepts(addr: &str, host: &str) -> bool {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
    client.wait_answer(1.0, PATIENCE).0 == "_result"
}

/// The config revision a node has applied.
fn revision(node: &Node) -> u64 {
    node.metric("penstock_control_client_revision") as u64
}

/// The newest config revision, as the operator's command tells it.
fn newest(api: &Api) -> u64 {
    let said = api.cluster.control_command(&["status"]).expect(0).stdout;
    let after = said.split("revision ").nth(1).unwrap_or_else(|| panic!("{said}"));
    after.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{said}"))
}

fn quick() -> Setup {
    Setup { control: "lease_ms: 3000\nexclude_after_ms: 10000\n".into(), ..Default::default() }
}

#[test]
fn c17_a_distribution_made_by_boto3_plays_everywhere_once_its_waiter_says_deployed() {
    let api = Api::shared();
    let keys = api.account();
    let alias = format!("{}.example.com", unique());
    let made = aws::boto3(api, &keys, "streaming", "fresh", 1, &[&keys.account, &alias]);
    let domain = made["domain"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut films = Vec::new();
    for edge in [0, 1] {
        for host in [domain, &alias] {
            let (to, tc) = (folder.path().join(format!("{edge}-{host}")), format!("rtmp://{host}/cfx/st"));
            let done = players::rtmpdump(api.cluster.rtmp(edge), "clip", &to, &["-q", "-t", &tc]);
            // 2: the last frame starts before 99.9 % of the duration.
            assert!(matches!(done.code, 0 | 2), "{done:?}");
            films.push(std::fs::read(&to).unwrap());
        }
    }
    assert!(films[0].len() > 300_000, "{} bytes", films[0].len());
    assert!(films.iter().all(|film| *film == films[0]), "all edges and names play the same");
    // And as ffmpeg plays it.
    let (to, tc) = (folder.path().join("film.mp4"), format!("rtmp://{domain}/cfx/st"));
    let url = format!("rtmp://{}/cfx/st/mp4:first.mp4", api.cluster.rtmp(1));
    let words = ["-rtmp_tcurl", &tc, "-rtmp_app", "cfx/st", "-rtmp_playpath", "mp4:first.mp4"];
    players::ffmpeg_copy(&words, &url, &[], &to).expect(0);
    let wanted = players::duration(&media::file("first.mp4"));
    assert!((players::duration(&to) - wanted).abs() < 0.5, "{} of {wanted} s", players::duration(&to));
}

#[test]
fn c15_c16_c29_it_serves_until_it_is_disabled_and_deployed_is_never_said_too_early() {
    let api = Api::shared();
    let keys = api.account();
    let nodes = || api.cluster.edges.iter().chain(&api.cluster.shields);
    // Reads the status until it is Deployed; at that moment each edge must do what the config says, and each node have it.
    let deployed = |made: &Made, enabled: bool, gone: &[&str], there: &[&str]| {
        let wanted = newest(api);
        eventually("Deployed", Duration::from_secs(60), || {
            (api.status(&keys, &made.id) == "Deployed").then_some(())
        });
        for edge in &api.cluster.edges {
            assert_eq!(accepts(&edge.addr, &made.domain), enabled, "{} at {}", made.domain, edge.name);
            assert!(
                there.iter().all(|name| accepts(&edge.addr, name) == enabled),
                "{there:?} at {}",
                edge.name
            );
            assert!(!gone.iter().any(|name| accepts(&edge.addr, name)), "{gone:?} at {}", edge.name);
        }
        for node in nodes() {
            assert!(revision(node) >= wanted, "{}: {} of {wanted}", node.name, revision(node));
        }
    };
    for round in 0..4 {
        let names = [0, 1].map(|n| format!("{n}-{}.example.com", unique()));
        let reference = unique();
        let body = |names: &[&str], enabled| {
            config(&reference, tests::api::ORIGIN, "", names, &round.to_string(), enabled)
        };
        let mut made = api.create_with(&keys, &reference, tests::api::ORIGIN, "", &[&names[0]]);
        deployed(&made, true, &[&names[1]], &[&names[0]]);
        let put = |made: &mut Made, body: &str| {
            let answer = api.put(&keys, &made.id, &made.etag, body);
            assert_eq!(answer.status, 200, "{}", answer.text());
            made.etag = Made::from(&answer).etag;
        };
        put(&mut made, &body(&[&names[1]], true));
        deployed(&made, true, &[&names[0]], &[&names[1]]);
        let path = format!("/2020-05-31/streaming-distribution/{}", made.id);
        let delete = |etag: &str| api.send(Request::delete(&path).header("If-Match", etag).v4(&keys));
        assert_refused(&delete(&made.etag), 409, "StreamingDistributionNotDisabled");
        assert!(accepts(api.cluster.rtmp(round % 2), &made.domain), "refused to delete, it still serves");
        put(&mut made, &body(&[&names[1]], false));
        deployed(&made, false, &[&names[0], &names[1]], &[]);
        let gone = delete(&made.etag);
        assert_eq!((gone.status, gone.body.len()), (204, 0), "{}", gone.text());
        assert_refused(&api.send(Request::get(&path).v4(&keys)), 404, "NoSuchStreamingDistribution");
    }
}

#[test]
fn a_name_that_moves_takes_new_connects_along_and_none_fails_on_the_names_that_stay() {
    let api = Api::shared();
    let keys = api.account();
    let [stays, moves] = ["stays", "moves"].map(|n| format!("{n}-{}.example.com", unique()));
    let reference = [unique(), unique()];
    let body =
        |which: usize, names: &[&str]| config(&reference[which], tests::api::ORIGIN, "", names, "", true);
    let from = api.create_with(&keys, &reference[0], tests::api::ORIGIN, "", &[&stays, &moves]);
    let to = api.create_with(&keys, &reference[1], tests::api::ORIGIN, "", &[]);
    api.wait_deployed(&keys, &from.id);
    api.wait_deployed(&keys, &to.id);
    let (stop, connects) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for edge in &api.cluster.edges {
            for host in [&stays, &from.domain, &to.domain] {
                let (stop, connects) = (&stop, &connects);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        assert!(accepts(&edge.addr, host), "{host} at {}", edge.name);
                        connects.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (mut first, mut second) = (from.etag.clone(), to.etag.clone());
            for there in [true, false, true] {
                // Given up by the one before the other may have it.
                let (names, others): (&[&str], &[&str]) =
                    if there { (&[&stays], &[&moves]) } else { (&[&stays, &moves], &[]) };
                let mut changes = vec![(0, &from, &mut first, names), (1, &to, &mut second, others)];
                if !there {
                    changes.reverse();
                }
                for (which, made, etag, names) in changes {
                    let answer = api.put(&keys, &made.id, etag, &body(which, names));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    *etag = answer.header("etag").unwrap().to_owned();
                }
                api.wait_deployed(&keys, &from.id);
                api.wait_deployed(&keys, &to.id);
                for edge in &api.cluster.edges {
                    assert!(accepts(&edge.addr, &moves), "{moves} at {}", edge.name);
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = moved {
            std::panic::resume_unwind(panic);
        }
    });
    assert!(connects.load(Ordering::Relaxed) > 50, "{connects:?} connects");
}

#[test]
fn a_stopped_edge_holds_deployed_up_until_it_is_excluded_and_must_sync_before_it_is_ready_again() {
    let mut api = Api::start(quick());
    let keys: Keys = api.account();
    let before = api.create(&keys, &[]);
    api.wait_deployed(&keys, &before.id);
    api.cluster.edges[1].process.signal("STOP");
    let made = api.create(&keys, &[]);
    let begun = Instant::now();
    let mut held = Duration::ZERO;
    eventually("the other edge serves it", Duration::from_secs(20), || {
        accepts(&api.cluster.edges[0].addr, &made.domain).then_some(())
    });
    loop {
        let now = api.status(&keys, &made.id);
        if now == "Deployed" {
            break;
        }
        held = begun.elapsed();
        assert!(held < Duration::from_secs(90), "never excluded");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Its lease and the time until it is excluded had to pass: a stopped process can't have applied anything.
    assert!(held > Duration::from_secs(9), "Deployed after {held:?} with an edge stopped");
    // Who counts no more is named.
    let nodes = api.cluster.control_command(&["nodes"]).expect(0).stdout;
    let line = nodes.lines().find(|l| l.contains("edge-2")).unwrap_or_else(|| panic!("{nodes}"));
    assert!(line.contains("excluded"), "{nodes}");
    api.cluster.edges[1].process.signal("CONT");
    let edge = &mut api.cluster.edges[1];
    eventually("it serves the new one", Duration::from_secs(60), || {
        accepts(&edge.addr, &made.domain).then_some(())
    });
    edge.wait_ready();
    assert!(http::get(&edge.metrics, "/readyz").is_ok_and(|a| a.status == 200));
    // It counts again.
    let next = api.create(&keys, &[]);
    api.wait_deployed(&keys, &next.id);
    for edge in &api.cluster.edges {
        assert!(accepts(&edge.addr, &next.domain), "{}", edge.name);
    }
}

#[test]
fn a_stopped_shield_holds_deployed_up_until_it_is_excluded_and_counts_again_once_it_has_caught_up() {
    let mut api = Api::start(quick());
    let keys: Keys = api.account();
    let before = api.create(&keys, &[]);
    api.wait_deployed(&keys, &before.id);
    api.cluster.shields[1].process.signal("STOP");
    let begun = Instant::now();
    let made = api.create(&keys, &[]);
    let mut held = Duration::ZERO;
    // Edges don't wait for it: both serve the new one, and it is not Deployed all the same.
    for edge in &api.cluster.edges {
        eventually("each edge serves it", Duration::from_secs(20), || {
            accepts(&edge.addr, &made.domain).then_some(())
        });
    }
    while api.status(&keys, &made.id) != "Deployed" {
        held = begun.elapsed();
        assert!(held < Duration::from_secs(90), "never excluded");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Its lease (of which some had passed when it was stopped) and the time until it is excluded had to pass.
    assert!(held > Duration::from_secs(9), "Deployed after {held:?} with a shield stopped");
    let line = |api: &Api| {
        let nodes = api.cluster.control_command(&["nodes"]).expect(0).stdout;
        nodes.lines().find(|l| l.starts_with("shield-2 ")).unwrap_or_else(|| panic!("{nodes}")).to_owned()
    };
    assert!(line(&api).contains("excluded"), "{}", line(&api));
    let named = "penstock_control_node_condition{condition=\"excluded\",node=\"shield-2\",role=\"shield\"}";
    assert_eq!(api.cluster.control.metrics().get(named), Some(&1.0));
    api.cluster.shields[1].process.signal("CONT");
    eventually("it to count again", Duration::from_secs(60), || line(&api).contains("current").then_some(()));
    api.cluster.shields[1].wait_ready();
    let next = api.create(&keys, &[]);
    let wanted = newest(&api);
    api.wait_deployed(&keys, &next.id);
    for node in &api.cluster.shields {
        assert!(revision(node) >= wanted, "{}: {} of {wanted}", node.name, revision(node));
    }
    assert!(!api.cluster.control.metrics().contains_key(named));
}

/// How long a running session may go on after its distribution was disabled or deleted.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn c29_sessions_end_within_five_seconds_of_an_update_that_disables_their_distribution() {
    let api = Api::shared();
    let keys = api.account();
    let reference = unique();
    let made = api.create_with(&keys, &reference, tests::api::ORIGIN, "", &[]);
    let other = api.create(&keys, &[]);
    for id in [&made.id, &other.id] {
        api.wait_deployed(&keys, id);
    }
    let playing = |edge: &Node, host: &str| {
        let mut client = Client::open(&edge.addr);
        client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
        assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
        client.create_stream();
        client.play(1, "mp4:film-first.mp4", &[0.0]);
        client.wait("media", PATIENCE, |m| m.is_media());
        client
    };
    let edges = &api.cluster.edges;
    let mut sessions: Vec<Client> = edges.iter().map(|edge| playing(edge, &made.domain)).collect();
    let mut unconcerned: Vec<Client> = edges.iter().map(|edge| playing(edge, &other.domain)).collect();
    let begun = Instant::now();
    let off =
        api.put(&keys, &made.id, &made.etag, &config(&reference, tests::api::ORIGIN, "", &[], "", false));
    assert_eq!(off.status, 200, "{}", off.text());
    // Each on a thread of its own: one that is late must not hide another.
    std::thread::scope(|scope| {
        for client in &mut sessions {
            scope.spawn(move || {
                let status = client.wait_status_within("NetConnection.Connect.Closed", PATIENCE);
                assert_eq!(status.field("description"), "The distribution was disabled or deleted.");
                client.wait_closed(PATIENCE);
                let took = begun.elapsed();
                assert!(took < WITHDRAWN_WITHIN, "the session went on for {took:?}");
            });
        }
    });
    for edge in edges {
        assert!(!accepts(&edge.addr, &made.domain), "{}", edge.name);
    }
    assert!(unconcerned.iter_mut().all(|client| !client.is_closed()), "the other's sessions go on");
}
