//! Nodes and their operators: tokens by role, draining by order, and when a change counts as deployed. Real processes.

use std::time::Duration;

use tests::api::Api;
use tests::api::page::Visitor;
use tests::cluster::{ALIAS, Cluster, Node, PUBLIC, READER, Setup};
use tests::deaf::Deaf;
use tests::process::product;
use tests::tokens::{MASTER, derived};
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{eventually, http, players};

const LONG: Duration = Duration::from_secs(90);

fn control(args: &[&str]) -> players::Outcome {
    players::run(20, product("penstock-control").to_str().unwrap(), args)
}

/// The answer to a connect: `_result`, or the rejection's description.
fn connect(addr: &str) -> String {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
    let (answer, args) = client.wait_answer(1.0, PATIENCE);
    match args.get(1) {
        Some(info) if answer != "_result" => info.field("description").to_owned(),
        _ => answer,
    }
}

fn is_ready(node: &Node) -> bool {
    http::get(&node.metrics, "/readyz").is_ok_and(|answer| answer.status == 200)
}

fn nodes_in(cluster: &Cluster, role: &str, condition: &str) -> f64 {
    let name = format!("penstock_control_nodes{{condition=\"{condition}\",role=\"{role}\"}}");
    http::metrics(&cluster.control.metrics).unwrap_or_default().get(&name).copied().unwrap_or(-1.0)
}

/// Waits until control knows a node: one may serve before it was heard of.
fn until_known(cluster: &Cluster, name: &str) {
    eventually(&format!("{name} to be known"), LONG, || {
        cluster.control_command(&["nodes"]).expect(0).stdout.contains(name).then_some(())
    });
}

fn status(cluster: &Cluster) -> String {
    cluster.control_command(&["status"]).expect(0).stdout
}

#[test]
fn the_command_line_derives_tokens_by_the_published_rule() {
    for role in ["edge", "shield", "operator"] {
        assert_eq!(control(&["token", role, "--token", MASTER]).expect(0).stdout.trim(), derived(role, "*"));
        let bound = control(&["token", role, "a-node.1", "--token", MASTER]).expect(0).stdout;
        assert_eq!(bound.trim(), derived(role, "a-node.1"));
    }
    assert_ne!(control(&["token", "king", "--token", MASTER]).code, 0);
    assert_ne!(control(&["token", "edge", "a node", "--token", MASTER]).code, 0);
    let derived_from_derived = control(&["token", "edge", "--token", &derived("operator", "*")]);
    assert!(derived_from_derived.stderr.contains("master token"), "{derived_from_derived:?}");
}

#[test]
fn nodes_do_not_start_with_the_master_token_or_another_s() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.yaml");
    for (program, own, other) in [("penstock-edge", "edge", "shield"), ("penstock-shield", "shield", "edge")]
    {
        let cases = [
            (MASTER.to_owned(), "penstock-control token edge|shield|operator"),
            (derived(other, "*"), "this token is for the role"),
            (derived(own, "another"), "belongs to the node 'another'"),
        ];
        for (token, says) in cases {
            let text = format!(
                "node_id: mine\ntoken: '{token}'\ncontrol: ['http://127.0.0.1:1']\nstate_dir: /nowhere\naddress: '127.0.0.1:2'\n"
            );
            std::fs::write(&config, text).unwrap();
            let args = ["--config", config.to_str().unwrap(), "--check-config"];
            let refused = players::run(20, product(program).to_str().unwrap(), &args);
            assert_ne!(refused.code, 0, "{program}");
            assert!(refused.stderr.contains(says), "{program}: {refused:?}");
        }
    }
}

#[test]
fn who_is_no_operator_is_told_so() {
    let cluster = Cluster::start(Setup::default());
    let endpoint = format!("http://{}", cluster.control.addr);
    for (token, says) in [
        (derived("edge", "*"), "operator is needed"),
        (MASTER.to_owned(), "penstock-control token"),
        (derived("operator", "*").replace("operator.*", "operator.x"), "neither a token of this cluster"),
    ] {
        let refused = control(&["--control", &endpoint, "--token", &token, "nodes"]);
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
}

#[test]
fn an_edge_drains_by_order_without_ending_and_comes_back() {
    let mut cluster =
        Cluster::start(Setup { edge: "settle_ms: 500\ndrain_ms: 4000".into(), ..Default::default() });
    until_known(&cluster, "edge-1");
    let mut viewer = Client::open(cluster.rtmp(0));
    viewer.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
    assert_eq!(viewer.wait_answer(1.0, PATIENCE).0, "_result");
    cluster.control_command(&["drain", "edge-1"]).expect(0);
    eventually("the edge not to be ready", LONG, || (!is_ready(&cluster.edges[0])).then_some(()));
    eventually("newcomers to be sent elsewhere", LONG, || {
        connect(cluster.rtmp(0)).contains("ServerDraining").then_some(())
    });
    // The viewer who was there is told goodbye, and the process goes on.
    viewer.wait_status_within("NetConnection.Connect.Closed", LONG);
    viewer.wait_closed(LONG);
    assert!(cluster.edges[0].process.ended().is_none());
    assert_eq!(connect(cluster.rtmp(1)), "_result");
    let nodes = cluster.control_command(&["nodes"]).expect(0).stdout;
    let line = nodes.lines().find(|line| line.starts_with("edge-1 ")).unwrap();
    assert!(line.contains("draining"), "{nodes}");
    assert_eq!(nodes_in(&cluster, "edge", "draining"), 1.0);

    cluster.control_command(&["drain", "edge-1", "--undo"]).expect(0);
    eventually("the edge to be ready again", LONG, || is_ready(&cluster.edges[0]).then_some(()));
    assert_eq!(connect(cluster.rtmp(0)), "_result");

    // A restart takes the order back too.
    cluster.control_command(&["drain", "edge-1"]).expect(0);
    eventually("the edge not to be ready", LONG, || (!is_ready(&cluster.edges[0])).then_some(()));
    cluster.edges[0].restart();
    cluster.edges[0].wait_ready();
    eventually("nobody to drain", LONG, || (nodes_in(&cluster, "edge", "draining") == 0.0).then_some(()));
    eventually("the edge to serve", LONG, || (connect(cluster.rtmp(0)) == "_result").then_some(()));
    assert_ne!(cluster.control_command(&["drain", "edge-9"]).code, 0);
}

#[test]
fn a_shield_drains_by_order_and_still_answers() {
    let cluster = Cluster::start(Setup::default());
    until_known(&cluster, "shield-1");
    cluster.control_command(&["drain", "shield-1"]).expect(0);
    eventually("the map to say so", LONG, || {
        let nodes = cluster.control_command(&["nodes"]).expect(0).stdout;
        let line = nodes.lines().find(|line| line.starts_with("shield-1 "))?.to_owned();
        line.contains("draining").then_some(())
    });
    for edge in 0..2 {
        let mut client = Client::open(cluster.rtmp(edge));
        client.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
        assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
        client.create_stream();
        client.play(1, "mp4:first.mp4", &[0.0]);
        client.wait("media", PATIENCE, Message::is_media);
    }
    cluster.control_command(&["drain", "shield-1", "--undo"]).expect(0);
    eventually("the shield to be back", LONG, || {
        let nodes = cluster.control_command(&["nodes"]).expect(0).stdout;
        let line = nodes.lines().find(|line| line.starts_with("shield-1 "))?.to_owned();
        line.contains("ready").then_some(())
    });
}

#[test]
fn a_node_that_stands_still_holds_up_deployed_is_named_then_excluded_and_must_catch_up() {
    let cluster = Cluster::start(Setup { control: "exclude_after_ms: 12000\n".into(), ..Default::default() });
    eventually("all to be deployed", LONG, || {
        status(&cluster).contains("deployed: all 4 nodes").then_some(())
    });
    cluster.edges[1].process.signal("STOP");
    let file = cluster.folder().join("distributions.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let new = file.with_extension("new");
    std::fs::write(&new, text.replacen(&format!("[{ALIAS}"), &format!("[{ALIAS}, news.example.com"), 1))
        .unwrap();
    std::fs::rename(new, &file).unwrap();
    let deployed = |line: &str| line.contains("news.example.com") && line.contains("Deployed");
    // Its lease still runs: behind; then it lapses, and still counts.
    for condition in ["behind", "lapsed"] {
        eventually(&format!("edge-2 to be named as {condition}"), LONG, || {
            let status = status(&cluster);
            assert!(
                !status.lines().any(deployed) || nodes_in(&cluster, "edge", "excluded") == 1.0,
                "{status}"
            );
            let named =
                status.lines().any(|l| l.contains("not yet applied by edge-2") && l.contains(condition));
            named.then_some(())
        });
    }
    eventually("edge-2 to be excluded", LONG, || {
        (nodes_in(&cluster, "edge", "excluded") == 1.0).then_some(())
    });
    assert_eq!(named_as(&cluster, "edge-2"), ["excluded"]);
    eventually("the change to be deployed without it", LONG, || {
        let status = status(&cluster);
        (status.lines().any(deployed) && status.contains("excluded") && status.contains("edge-2"))
            .then_some(())
    });
    assert!(cluster.control.process.log().contains("excluded"));
    cluster.edges[1].process.signal("CONT");
    eventually("edge-2 to count again", LONG, || {
        let all =
            nodes_in(&cluster, "edge", "excluded") == 0.0 && nodes_in(&cluster, "edge", "current") == 2.0;
        all.then_some(())
    });
    eventually("edge-2 not to be named", LONG, || named_as(&cluster, "edge-2").is_empty().then_some(()));
    eventually("edge-2 to serve by the change", LONG, || {
        let mut client = Client::open(cluster.rtmp(1));
        client.connect("cfx/st", "rtmp://news.example.com/cfx/st", &[]);
        (client.wait_answer(1.0, PATIENCE).0 == "_result").then_some(())
    });
    assert!(is_ready(&cluster.edges[1]));
    assert!(status(&cluster).contains("deployed: all 4 nodes"));
}

/// The series of `node_condition` that name `node`: its conditions.
fn named_as(cluster: &Cluster, node: &str) -> Vec<String> {
    let page = http::metrics(&cluster.control.metrics).unwrap_or_default();
    let series = page.keys().filter(|series| series.starts_with("penstock_control_node_condition{"));
    let of_node = series.filter(|series| series.contains(&format!("node=\"{node}\"")));
    of_node
        .filter_map(|series| Some(series.split("condition=\"").nth(1)?.split('"').next()?.to_owned()))
        .collect()
}

#[test]
fn an_edge_that_lives_and_does_not_apply_the_config_is_named_as_hanging_in_metrics_console_and_status() {
    let api = Api::start(Setup { control: "hang_after_ms: 3000\n".into(), ..Default::default() });
    let cluster = &api.cluster;
    let keys = api.account();
    // The config comes to this edge by a way that can be made silent; heartbeats share it.
    let deaf = Deaf::start(&cluster.control.addr);
    let config = cluster.folder().join("edge-1.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let own = format!("control: ['http://{}']", cluster.control.addr);
    assert!(text.contains(&own));
    std::fs::write(&config, text.replace(&own, &format!("control: ['http://{}']", deaf.addr()))).unwrap();
    let edge = cluster.another_edge("edge-3");
    std::fs::write(&config, &text).unwrap();
    let before = api.create(&keys, &[]);
    api.wait_deployed(&keys, &before.id);
    eventually("edge-3 to be current", LONG, || {
        (nodes_in(cluster, "edge", "current") == 3.0 && named_as(cluster, "edge-3").is_empty()).then_some(())
    });
    deaf.hush();
    let made = api.create(&keys, &[]);
    eventually("edge-3 to be named as hanging", LONG, || {
        assert_eq!(api.status(&keys, &made.id), "InProgress");
        (named_as(cluster, "edge-3") == ["hanging"]).then_some(())
    });
    assert!(deaf.dropped() > 0);
    assert_eq!(nodes_in(cluster, "edge", "hanging"), 1.0);
    assert!(["edge-1", "edge-2", "shield-1"].iter().all(|node| named_as(cluster, node).is_empty()));
    let line = |words: &str, start: &str| {
        let said = cluster.control_command(&[words]).expect(0).stdout;
        said.lines().find(|line| line.contains(start)).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let nodes = line("nodes", "edge-3 ");
    assert!(nodes.contains("ready") && nodes.contains("hanging"), "it lives: {nodes}");
    let status = line("status", "not yet applied by edge-3");
    assert!(status.contains("hanging for") && !status.contains("edge-1"), "{status}");
    let mut visitor = Visitor::log_in(api.addr(), &keys);
    let page = visitor.get("/console/nodes").text();
    let row = page.split("<tr>").find(|row| row.contains(">edge-3<")).unwrap_or_else(|| panic!("{page}"));
    assert!(row.contains("hangs: has not moved on for"), "{row}");
    assert_eq!(page.matches("hangs: ").count(), 1, "{page}");
    assert!(cluster.control.process.log().contains("lives but does not apply the config"));
    // It outlives leases and the silence after which a node asks anew: it renews, and hangs still.
    let counted = |name: &str| edge.metric(&format!("penstock_control_client_{name}"));
    let (beats, failures) = (counted("heartbeats_total"), counted("subscription_failures_total"));
    eventually("the edge to have asked anew", LONG, || {
        let goes_on =
            counted("subscription_failures_total") > failures && counted("heartbeats_total") > beats + 5.0;
        assert_eq!(named_as(cluster, "edge-3"), ["hanging"]);
        goes_on.then_some(())
    });
    assert_eq!(api.status(&keys, &made.id), "InProgress");
    // Over, it is named no more.
    deaf.listen();
    api.wait_deployed(&keys, &made.id);
    eventually("edge-3 not to be named", LONG, || {
        (named_as(cluster, "edge-3").is_empty() && nodes_in(cluster, "edge", "hanging") == 0.0).then_some(())
    });
}

#[test]
fn a_cluster_by_tls_needs_no_token_and_lets_nobody_in_without_a_certificate() {
    let cluster = Cluster::start(Setup { tls: true, ..Default::default() });
    for edge in 0..2 {
        let mut client = Client::open(cluster.rtmp(edge));
        client.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
        assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
        client.create_stream();
        client.play(1, "mp4:first.mp4", &[0.0]);
        client.wait("media", PATIENCE, Message::is_media);
    }
    // Control reaches both shields by its own certificate.
    let purged = cluster.control_command(&["purge", "E000000000001"]).expect(0).stdout;
    assert!(!purged.contains("not reached"), "{purged}");
    assert!(!purged.starts_with("0 cache entries"), "{purged}");
    let plain = format!("http://{}", cluster.control.addr);
    assert_ne!(control(&["--control", &plain, "--token", &derived("operator", "*"), "nodes"]).code, 0);
    let tls = format!("https://{}", cluster.control.addr);
    let ca = cluster.folder().join("ca.pem").display().to_string();
    let refused = control(&["--control", &tls, "--tls-ca", &ca, "--token", &derived("edge", "*"), "nodes"]);
    assert!(refused.stderr.contains("operator is needed"), "{refused:?}");
    control(&["--control", &tls, "--tls-ca", &ca, "--token", &derived("operator", "*"), "nodes"]).expect(0);
    // A node's certificate is no operator's.
    let [cert, key] = ["edge-1.crt", "edge-1.key"].map(|f| cluster.folder().join(f).display().to_string());
    let refused =
        control(&["--control", &tls, "--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key, "nodes"]);
    assert!(refused.stderr.contains("needs the role operator; this caller has the role edge"), "{refused:?}");
}

/// What `play` of a file of the private bucket brings first.
fn play(addr: &str, name: &str) -> String {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{READER}/cfx/st"), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    client.create_stream();
    client.play(1, name, &[0.0]);
    let told = client.wait("media or an error", LONG, |m: &Message| {
        m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
    });
    told.status_code().unwrap_or_else(|| "media".into())
}

#[test]
fn a_purge_forgets_cached_errors_too() {
    let cluster = Cluster::start(Setup { shield: "negative_ttl_s: 3600".into(), ..Default::default() });
    for edge in 0..2 {
        assert_eq!(play(cluster.rtmp(edge), "mp4:later.mp4"), "NetStream.Play.StreamNotFound");
    }
    let film = std::fs::read(tests::media::file("first.mp4")).unwrap();
    cluster.s3.bucket("vault").put("later.mp4", &film, &[]);
    assert_eq!(
        play(cluster.rtmp(0), "mp4:later.mp4"),
        "NetStream.Play.StreamNotFound",
        "the error is cached"
    );
    cluster.control_command(&["purge", "E000000000004", "later.mp4"]).expect(0);
    for edge in 0..2 {
        eventually("the film that came later", LONG, || {
            (play(cluster.rtmp(edge), "mp4:later.mp4") == "media").then_some(())
        });
    }
}
