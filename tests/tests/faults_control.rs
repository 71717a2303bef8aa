//! Faults 29 to 32: what goes wrong with control and etcd, with real processes. Each test carries its fault's number.
//!
//! Checked each time: viewers are served by the last good config whatever happens; revisions never run backwards on a node; and
//! once the fault is over, the newest config is on every node.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::cluster::{ALIAS, Cluster, Node, PUBLIC, Setup};
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{eventually, http};

const LONG: Duration = Duration::from_secs(90);
/// How long "an hour" without etcd lasts here: several leases.
const HOUR: Duration = Duration::from_secs(25);

/// What `play` of a name brings first: `media`, or the code of the refusal, of the connect or of the play.
fn play(addr: &str, host: &str, name: &str) -> String {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
    let (answer, args) = client.wait_answer(1.0, PATIENCE);
    if answer != "_result" {
        return args.get(1).map(|info| info.field("code").to_owned()).unwrap_or(answer);
    }
    client.create_stream();
    client.play(1, name, &[0.0]);
    let told = client.wait("media or an error", Duration::from_secs(30), |m: &Message| {
        m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
    });
    told.status_code().unwrap_or_else(|| "media".into())
}

fn until_plays(addr: &str, host: &str) {
    eventually(&format!("{host} at {addr}"), LONG, || {
        (play(addr, host, "mp4:first.mp4") == "media").then_some(())
    });
}

/// The declarative file of a cluster.
struct File(PathBuf);

impl File {
    fn of(cluster: &Cluster) -> Self {
        Self(cluster.folder().join("distributions.yaml"))
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }

    fn write(&self, text: &str) {
        // Whole or not at all: control looks at it whenever it changes.
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    /// Gives the public distribution one more name.
    fn add_alias(&self, alias: &str) {
        self.write(&self.text().replacen(&format!("[{ALIAS}"), &format!("[{ALIAS}, {alias}"), 1));
    }
}

/// The value of one sample, labels and all.
fn sample(node: &Node, name: &str) -> f64 {
    http::metrics(&node.metrics).unwrap_or_default().get(name).copied().unwrap_or(-1.0)
}

fn until_sample(node: &Node, name: &str, holds: impl Fn(f64) -> bool) {
    eventually(&format!("{name} of {}", node.name), LONG, || holds(sample(node, name)).then_some(()));
}

const STORE_UP: &str = "penstock_control_store_up";

/// The revision each edge serves by.
fn revisions(edges: &[Node]) -> Vec<f64> {
    edges.iter().map(|edge| sample(edge, "penstock_control_client_revision{role=\"edge\"}")).collect()
}

fn etcdctl(cluster: &Cluster, words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints=http://{}", cluster.etcd.addr)).args(words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "etcdctl {words:?}");
    done.stdout
}

#[test]
fn f29_without_a_quorum_of_etcd_for_long_edges_serve_what_they_know_also_across_restarts_of_all_there_is() {
    let mut cluster = Cluster::start(Setup { etcds: 3, ..Default::default() });
    let file = File::of(&cluster);
    for edge in 0..2 {
        assert_eq!(play(cluster.rtmp(edge), PUBLIC, "mp4:first.mp4"), "media");
    }
    let saved = cluster.folder().join("edge-1/last-known-good");
    eventually("the last known good on disk", PATIENCE, || saved.exists().then_some(()));
    // An edge may have heard of the map before the first shield was in it.
    let without_shields = |edge: &Node| edge.process.log().matches("shields=0").count();
    let at_first: Vec<usize> = cluster.edges.iter().map(without_shields).collect();
    for member in &mut cluster.etcd_others {
        member.process.kill();
    }
    until_sample(&cluster.control, STORE_UP, |up| up == 0.0);
    let began = std::time::Instant::now();
    // What must write says so; what only reads is answered.
    assert_ne!(cluster.control_command(&["purge", "E000000000001"]).code, 0);
    let status = cluster.control_command(&["status"]).expect(0).stdout;
    assert!(status.contains(PUBLIC), "{status}");
    // A change meanwhile waits.
    file.add_alias("later.example.com");
    // An edge starts anew while control lives without a store.
    cluster.edges[0].restart();
    cluster.edges[0].wait_ready();
    assert_eq!(play(cluster.rtmp(0), PUBLIC, "mp4:last.mp4"), "media");
    // Control starts anew and finds no store: it confirms nothing to anybody, and takes nothing away.
    cluster.control.restart();
    eventually("control's port", LONG, || {
        http::get(&cluster.control.metrics, "/healthz").is_ok().then_some(())
    });
    cluster.edges[1].restart();
    cluster.edges[1].wait_ready();
    while began.elapsed() < HOUR {
        for edge in 0..2 {
            assert_eq!(play(cluster.rtmp(edge), ALIAS, "mp4:first.mp4"), "media");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(play(cluster.rtmp(0), "later.example.com", "mp4:first.mp4"), "NetConnection.Connect.Rejected");
    for member in &mut cluster.etcd_others {
        member.restart();
    }
    cluster.control.wait_ready();
    until_sample(&cluster.control, STORE_UP, |up| up == 1.0);
    for (edge, at_first) in at_first.into_iter().enumerate() {
        until_plays(cluster.rtmp(edge), "later.example.com");
        assert_eq!(without_shields(&cluster.edges[edge]), at_first, "the shields were never lost");
    }
    eventually("all to count as deployed", LONG, || {
        let status = cluster.control_command(&["status"]);
        (status.code == 0 && status.stdout.contains("deployed: all 4 nodes")).then_some(())
    });
}

#[test]
fn f29_an_etcd_that_stands_still_holds_up_changes_and_nothing_else() {
    let cluster = Cluster::start(Setup::default());
    cluster.etcd.process.signal("STOP");
    until_sample(&cluster.control, STORE_UP, |up| up == 0.0);
    File::of(&cluster).add_alias("later.example.com");
    for edge in 0..2 {
        assert_eq!(play(cluster.rtmp(edge), PUBLIC, "mp4:first.mp4"), "media");
    }
    cluster.etcd.process.signal("CONT");
    for edge in 0..2 {
        until_plays(cluster.rtmp(edge), "later.example.com");
    }
}

#[test]
fn f30_a_replica_whose_watch_was_compacted_away_lists_again_and_its_edges_miss_nothing() {
    let cluster = Cluster::start(Setup::default());
    let (mut other, _) = cluster.another_control("control-2");
    let file = File::of(&cluster);
    cluster.control.process.signal("STOP");
    for n in 0..5 {
        file.add_alias(&format!("while-away-{n}.example.com"));
        until_sample(&other, "penstock_control_applies_total{outcome=\"changed\"}", |applied| {
            applied > f64::from(n)
        });
    }
    let endpoint = etcdctl(&cluster, &["endpoint", "status", "--write-out=json"], b"");
    let endpoint: serde_json::Value = serde_json::from_slice(&endpoint).unwrap();
    let revision = endpoint[0]["Status"]["header"]["revision"].as_u64().unwrap();
    etcdctl(&cluster, &["compaction", "--physical", &revision.to_string()], b"");
    // The edges follow the first replica only.
    assert_eq!(
        play(cluster.rtmp(0), "while-away-4.example.com", "mp4:first.mp4"),
        "NetConnection.Connect.Rejected"
    );
    cluster.control.process.signal("CONT");
    for edge in 0..2 {
        for n in 0..5 {
            until_plays(cluster.rtmp(edge), &format!("while-away-{n}.example.com"));
        }
    }
    assert!(other.process.ended().is_none());
}

#[test]
fn f30_an_etcd_put_back_to_an_older_revision_is_a_new_store_whose_config_counts_whole() {
    let mut cluster = Cluster::start(Setup::default());
    let file = File::of(&cluster);
    file.add_alias("kept.example.com");
    for edge in 0..2 {
        until_plays(cluster.rtmp(edge), "kept.example.com");
    }
    let backup = cluster.folder().join("backup.db").display().to_string();
    etcdctl(&cluster, &["snapshot", "save", &backup], b"");
    let before = file.text();
    for n in 0..20 {
        file.write(&before.replacen(&format!("[{ALIAS}"), &format!("[{ALIAS}, lost-{n}.example.com"), 1));
        until_sample(&cluster.control, "penstock_control_applies_total{outcome=\"changed\"}", |a| {
            a >= f64::from(n + 3)
        });
    }
    for edge in 0..2 {
        until_plays(cluster.rtmp(edge), "lost-19.example.com");
    }
    let known = revisions(&cluster.edges);
    cluster.control.process.kill();
    cluster.etcd.process.kill();
    let data = cluster.folder().join("etcd");
    std::fs::remove_dir_all(&data).unwrap();
    let restore = [
        "snapshot".to_owned(),
        "restore".into(),
        backup,
        "--name=etcd".into(),
        format!("--data-dir={}", data.display()),
        format!("--initial-cluster={}", cluster.etcd.argument("--initial-cluster=")),
        format!("--initial-advertise-peer-urls={}", cluster.etcd.argument("--initial-advertise-peer-urls=")),
    ];
    let restored = Command::new("etcdctl").env("ETCDCTL_API", "3").args(&restore).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    file.write(&before);
    cluster.etcd.restart();
    cluster.control.restart();
    cluster.control.wait_ready();
    for edge in 0..2 {
        eventually("the name that is gone to be refused", LONG, || {
            (play(cluster.rtmp(edge), "lost-19.example.com", "clip") == "NetConnection.Connect.Rejected")
                .then_some(())
        });
        assert_eq!(play(cluster.rtmp(edge), "kept.example.com", "mp4:first.mp4"), "media");
        assert!(cluster.edges[edge].process.log().contains("the store was replaced"));
    }
    assert!(
        revisions(&cluster.edges).iter().zip(known).all(|(now, before)| *now < before),
        "older numbers, another store"
    );
    eventually("all to count as deployed", LONG, || {
        let status = cluster.control_command(&["status"]);
        (status.code == 0 && status.stdout.contains("deployed: all 4 nodes")).then_some(())
    });
}

const DOCUMENT: &str = "/penstock/default/distributions/E000000000001";

#[test]
fn f31_an_invalid_file_changes_nothing_is_counted_and_named_and_the_next_valid_one_counts() {
    let cluster = Cluster::start(Setup::default());
    let file = File::of(&cluster);
    until_sample(&cluster.control, "penstock_control_applies_total{outcome=\"changed\"}", |a| a >= 1.0);
    eventually("the edges to be current", LONG, || {
        let newest = sample(&cluster.control, "penstock_control_revision");
        revisions(&cluster.edges).iter().all(|r| *r == newest).then_some(())
    });
    let (good, known) = (file.text(), revisions(&cluster.edges));
    let invalid = [
        good.replacen("media.s3.amazonaws.com", "not a bucket", 1),
        good.replacen("id: E000000000002", "id: E000000000001", 1),
        good.replacen("origin:", "orign:", 1),
        "distributions: [".to_owned(),
    ];
    for (n, text) in invalid.iter().enumerate() {
        file.write(text);
        let count = "penstock_control_applies_total{outcome=\"invalid\"}";
        until_sample(&cluster.control, count, |refused| refused >= (n + 1) as f64);
    }
    until_sample(&cluster.control, "penstock_control_declared_rejected", |alarm| alarm == 1.0);
    assert!(cluster.control.process.log().contains("origin"), "the log names the field");
    for edge in 0..2 {
        assert_eq!(play(cluster.rtmp(edge), ALIAS, "mp4:first.mp4"), "media");
    }
    assert_eq!(revisions(&cluster.edges), known);
    file.write(&good.replacen(&format!("[{ALIAS}"), &format!("[{ALIAS}, next.example.com"), 1));
    for edge in 0..2 {
        until_plays(cluster.rtmp(edge), "next.example.com");
    }
    until_sample(&cluster.control, "penstock_control_declared_rejected", |alarm| alarm == 0.0);
}

/// Whether `status` has this word for the distribution of [`DOCUMENT`].
fn said_of(cluster: &Cluster, word: &str) -> bool {
    let status = cluster.control_command(&["status"]).expect(0).stdout;
    status.lines().any(|line| line.contains("E000000000001 ") && line.contains(word))
}

#[test]
fn f31_a_document_damaged_in_etcd_leaves_its_older_form_in_force_and_raises_the_alarm() {
    let cluster = Cluster::start(Setup::default());
    let whole = etcdctl(&cluster, &["get", DOCUMENT, "--print-value-only"], b"");
    let whole = &whole[..whole.len() - 1];
    eventually("all to count as deployed", LONG, || said_of(&cluster, "Deployed").then_some(()));
    // No document at all: control keeps the form it could read.
    etcdctl(&cluster, &["put", DOCUMENT], &[0xff; 40]);
    until_sample(&cluster.control, "penstock_control_damaged_documents", |damaged| damaged == 1.0);
    let status = cluster.control_command(&["status"]).expect(0).stdout;
    assert!(said_of(&cluster, "InProgress") && status.contains("can't be read"), "{status}");
    assert!(cluster.control.process.log().contains(&DOCUMENT["/penstock/default/".len()..]));
    for edge in 0..2 {
        assert_eq!(play(cluster.rtmp(edge), ALIAS, "mp4:first.mp4"), "media");
    }
    // One that can be read and is not valid: each node keeps the form that was, and says so.
    let host = b"media.s3.amazonaws.com";
    let at = whole.windows(host.len()).position(|bytes| bytes == host).unwrap();
    let mut wrong = whole.to_vec();
    wrong[at] = b'!';
    etcdctl(&cluster, &["put", DOCUMENT], &wrong);
    until_sample(&cluster.control, "penstock_control_damaged_documents", |damaged| damaged == 0.0);
    for edge in &cluster.edges {
        until_sample(edge, "penstock_control_client_refused_distributions{role=\"edge\"}", |refused| {
            refused == 1.0
        });
        assert_eq!(play(&edge.addr, ALIAS, "mp4:first.mp4"), "media");
    }
    // All have applied the revision, and none serves by it: it is not deployed, and who refuses it says why.
    eventually("each node to be named with its reason", LONG, || {
        let status = cluster.control_command(&["status"]).expect(0).stdout;
        assert!(said_of(&cluster, "InProgress"), "{status}");
        let line = status.lines().find(|line| line.contains("refused by"))?;
        let all = ["edge-1", "edge-2", "shield-1", "shield-2"];
        (all.iter().all(|node| line.contains(node))
            && line.contains("origin: ")
            && line.contains("the form before"))
        .then_some(())
    });
    eventually("the revision to be acknowledged all the same", LONG, || {
        let status = cluster.control_command(&["status"]).expect(0).stdout;
        status.contains("deployed: all 4 nodes").then_some(())
    });
    assert!(said_of(&cluster, "InProgress"));
    let nodes = cluster.control_command(&["nodes"]).expect(0).stdout;
    assert_eq!(nodes.matches("refuses E000000000001: origin: ").count(), 4, "{nodes}");
    let named = |node: &str, role: &str| {
        sample(
            &cluster.control,
            &format!("penstock_control_node_refused_distributions{{node=\"{node}\",role=\"{role}\"}}"),
        )
    };
    assert_eq!((named("edge-2", "edge"), named("shield-1", "shield")), (1.0, 1.0));
    etcdctl(&cluster, &["put", DOCUMENT], whole);
    for edge in &cluster.edges {
        until_sample(edge, "penstock_control_client_refused_distributions{role=\"edge\"}", |refused| {
            refused == 0.0
        });
        assert_eq!(play(&edge.addr, ALIAS, "mp4:first.mp4"), "media");
    }
    eventually("all to count as deployed", LONG, || said_of(&cluster, "Deployed").then_some(()));
    eventually("nobody to be named", LONG, || (named("edge-2", "edge") == -1.0).then_some(()));
}

#[test]
fn f32_two_replicas_publish_one_history_and_either_may_go() {
    let mut cluster = Cluster::start(Setup::default());
    let (mut second, _) = cluster.another_control("control-2");
    let file = File::of(&cluster);
    // One more edge that knows both, one that knows the second only.
    let config = cluster.folder().join("edge-1.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let own = format!("control: ['http://{}']", cluster.control.addr);
    assert!(text.contains(&own));
    std::fs::write(
        &config,
        text.replace(
            &own,
            &format!("control: ['http://{}', 'http://{}']", cluster.control.addr, second.addr),
        ),
    )
    .unwrap();
    let both = cluster.another_edge("edge-3");
    std::fs::write(&config, text.replace(&own, &format!("control: ['http://{}']", second.addr))).unwrap();
    let apart = cluster.another_edge("edge-4");
    std::fs::write(&config, text).unwrap();
    let revision = |node: &Node| sample(node, "penstock_control_client_revision{role=\"edge\"}");
    let published = |node: &Node| sample(node, "penstock_control_revision");

    // Both follow one file: each change is made once, and is one revision everywhere.
    let mut seen = vec![revision(&both)];
    for n in 0..5 {
        file.add_alias(&format!("twice-{n}.example.com"));
        for edge in [cluster.rtmp(0), cluster.rtmp(1), &both.addr, &apart.addr] {
            until_plays(edge, &format!("twice-{n}.example.com"));
        }
        eventually("both replicas to agree", LONG, || {
            let all = [published(&cluster.control), published(&second), revision(&both), revision(&apart)];
            (all.iter().all(|r| *r == all[0])).then_some(())
        });
        seen.push(revision(&both));
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "revisions only rise: {seen:?}");
    let changed = |node: &Node| sample(node, "penstock_control_applies_total{outcome=\"changed\"}").max(0.0);
    assert!(changed(&cluster.control) + changed(&second) >= 5.0);
    // The shield map is one too.
    let generation = |node: &Node| sample(node, "penstock_control_shield_map_generation");
    assert_eq!(generation(&cluster.control), generation(&second));

    // The first goes: who knows both follows the other; who knew the first only serves on.
    cluster.control.process.kill();
    file.add_alias("by-the-second.example.com");
    for edge in [&both.addr, &apart.addr] {
        until_plays(edge, "by-the-second.example.com");
    }
    assert_eq!(play(cluster.rtmp(0), ALIAS, "mp4:first.mp4"), "media");
    // It comes back, the second goes.
    cluster.control.restart();
    cluster.control.wait_ready();
    for edge in 0..2 {
        until_plays(cluster.rtmp(edge), "by-the-second.example.com");
    }
    second.process.kill();
    file.add_alias("by-the-first.example.com");
    for edge in [cluster.rtmp(0), cluster.rtmp(1), &both.addr] {
        until_plays(edge, "by-the-first.example.com");
    }
    assert!(revision(&both) > *seen.last().unwrap());
    assert_eq!(play(&apart.addr, "by-the-second.example.com", "mp4:first.mp4"), "media");
    assert!(!both.process.log().contains("the store was replaced"));
}
