//! `connect` and the calls around it: what is answered, in what order, and how a viewer is turned away.
//!
//! `sN` names a statement of the wire contract, `cN` one of the viewer-side CloudFront statements, `tN` an item of the list of
//! what players trip over.

use std::time::{Duration, Instant};

use tests::players;
use tests::standalone::shared;
use tests::wire::amf::Value;
use tests::wire::{Client, PATIENCE};

fn open() -> Client {
    Client::open(shared().rtmp())
}

/// Connects with this app and tcUrl, and gives the answer.
fn answer(app: &str, tc_url: &str) -> (Client, String, Value) {
    let mut client = open();
    client.connect(app, tc_url, &[]);
    let (name, args) = client.wait_answer(1.0, PATIENCE);
    (client, name, args.get(1).cloned().unwrap_or(Value::Null))
}

/// Checks a rejection with that code in every respect.
fn rejected(app: &str, tc_url: &str, code: &str) {
    let begun = Instant::now();
    let (mut client, name, info) = answer(app, tc_url);
    assert_eq!(name, "_error", "{app} at {tc_url}");
    assert_eq!(info.field("level"), "error");
    assert_eq!(info.field("code"), "NetConnection.Connect.Rejected");
    assert!(info.field("description").starts_with("[ Server.Reject ] : "), "{info:?}");
    assert!(info.field("description").contains(code), "{info:?}");
    let message = info.get("application").map(|a| a.field("message")).unwrap_or("");
    assert!(message.contains(code), "application.message of {info:?}");
    assert!(info.get("ex").is_none(), "t4: an `ex` that is no redirect breaks JW");
    client.wait("the close command", PATIENCE, |m| {
        m.command().is_some_and(|c| c.name == "close" && c.tx == 0.0)
    });
    client.wait_closed(PATIENCE);
    assert!(begun.elapsed() < Duration::from_secs(2), "t3: reject quickly, not in {:?}", begun.elapsed());
}

#[test]
fn s20_connect_is_answered_in_the_order_and_with_the_fields_of_fms_3_5() {
    let mut client = open();
    client.connect("cfx/st", &shared().url(), &[]);
    client.wait("onBWDone", PATIENCE, |m| m.command().is_some_and(|c| c.name == "onBWDone"));
    let all = client.messages();
    assert_eq!(all.len(), 5, "{}", client.outline());
    assert_eq!((all[0].type_id, &all[0].payload[..]), (5, &2_500_000u32.to_be_bytes()[..]));
    assert_eq!(
        (all[1].type_id, &all[1].payload[..]),
        (6, &[&2_500_000u32.to_be_bytes()[..], &[2]].concat()[..])
    );
    assert!(all[2].is_event(0, 0), "{}", all[2]);
    let result = all[3].command().unwrap();
    assert_eq!((result.name.as_str(), result.tx), ("_result", 1.0));
    let (properties, info) = (&result.args[0], &result.args[1]);
    assert!(properties.field("fmsVer").starts_with("FMS/3,5,"), "{properties:?}");
    assert_eq!(properties.get("capabilities"), Some(&Value::Number(31.0)));
    assert_eq!(properties.get("mode"), Some(&Value::Number(1.0)));
    assert_eq!(info.field("level"), "status");
    assert_eq!(info.field("code"), "NetConnection.Connect.Success");
    assert_eq!(info.field("description"), "Connection succeeded.");
    assert_eq!(info.get("objectEncoding"), Some(&Value::Number(0.0)));
    let Some(Value::Ecma(data)) = info.get("data") else { panic!("data is no ECMA array: {info:?}") };
    assert!(
        data.iter().any(|(k, v)| k == "version" && v.text().is_some_and(|t| t.starts_with("3,5,"))),
        "{data:?}"
    );
    let done = all[4].command().unwrap();
    assert_eq!((done.name.as_str(), done.tx), ("onBWDone", 0.0));
    assert!(
        all.iter().all(|m| matches!(m.type_id, 20) || m.csid == 2),
        "control messages are on chunk stream 2"
    );
}

#[test]
fn s21_object_encoding_3_is_echoed_and_amf3_envelopes_are_understood() {
    let mut client = open();
    client.connect("cfx/st", &shared().url(), &[("objectEncoding", Value::Number(3.0))]);
    let (name, args) = client.wait_answer(1.0, PATIENCE);
    assert_eq!(name, "_result");
    assert_eq!(args[1].get("objectEncoding"), Some(&Value::Number(3.0)));
    let tx = client.tx();
    let mut body = vec![0];
    body.extend(tests::wire::amf::command("createStream", tx, &[Value::Null]));
    client.send(3, 17, 0, &body);
    assert_eq!(client.wait_answer(tx, PATIENCE).1[1], Value::Number(1.0));
    let mut body = vec![0];
    body.extend(tests::wire::amf::command(
        "play",
        0.0,
        &[Value::Null, "mp4:first.mp4".into(), Value::Number(0.0)],
    ));
    client.send(8, 17, 1, &body);
    client.wait_status("NetStream.Play.Start");
}

#[test]
fn s22_c25_every_spelling_of_the_app_connects() {
    let url = shared().url();
    for app in ["cfx/st", "cfx/st/", "/cfx/st/", "/cfx/st", "cfx/st?x=y", "cfx/st/?x=y", "cfx/st/_definst_"] {
        let (_, name, info) = answer(app, &format!("{url}/"));
        assert_eq!(name, "_result", "{app}: {info:?}");
    }
}

#[test]
fn s22_c27_a_wrong_instance_or_application_is_rejected_with_its_code_then_closed() {
    let url = shared().url();
    rejected("cfx/xx", &url, "InvalidInstance");
    rejected("foo", &url, "InvalidURI");
    rejected("foo/st", &url, "InvalidURI");
}

#[test]
fn t3_the_last_resort_of_flvplayback_is_rejected_quickly() {
    let (client, name, info) = answer("cfx", &shared().url());
    assert_eq!(name, "_error", "{info:?}");
    assert!(info.field("description").contains("Invalid"), "{info:?}");
    client.wait_closed(Duration::from_secs(2));
}

#[test]
fn s22_rtmpdump_and_the_others_report_a_rejection_by_their_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    players::rtmpdump_app(shared().rtmp(), "cfx/xx", "mp4:first.mp4", &to, &["-q"]).expect(1);
    players::ffprobe(&format!("rtmp://{}/foo/bar/mp4:first.mp4", shared().rtmp())).expect(1);
}

#[test]
fn c26_an_unknown_host_is_distribution_not_found() {
    for host in
        ["s0000000000000.penstock.localhost", "www.example.com", "s0000000000000.penstock.localhost:1935"]
    {
        rejected("cfx/st", &format!("rtmp://{host}/cfx/st"), "DistributionNotFound");
    }
}

#[test]
fn t12_the_host_of_tc_url_is_read_as_a_host_name() {
    let domain = shared().domain();
    let upper = domain.to_uppercase();
    for host in [
        domain,
        &upper,
        &format!("{domain}."),
        &format!("{domain}:1935"),
        &format!("{domain}.:80"),
        "localhost",
        "127.0.0.1",
        "[::1]:99",
    ] {
        for scheme in ["rtmp", "rtmpt", "RTMP"] {
            let (_, name, info) = answer("cfx/st", &format!("{scheme}://{host}/cfx/st"));
            assert_eq!(name, "_result", "{scheme}://{host}: {info:?}");
        }
    }
}

#[test]
fn t1_auto_sense_bw_measures_before_it_reports() {
    let mut client = open();
    let url = shared().url();
    let object = Value::Object(vec![("app".into(), "cfx/st".into()), ("tcUrl".into(), url.as_str().into())]);
    client.command(0, "connect", 1.0, &[object, Value::Boolean(true)]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    measured(&mut client, "onBWCheck", "onBWDone");
}

/// Answers checks with a counter until the report comes; its figures, of which the first must be above zero.
fn measured(client: &mut Client, check: &str, report: &str) -> Vec<f64> {
    let mut rounds = 0.0;
    loop {
        let next = client
            .wait(report, PATIENCE, |m| m.command().is_some_and(|c| c.name == check || c.name == report));
        let command = next.command().unwrap();
        if command.name == report {
            assert!(rounds > 0.0, "reported without a check");
            let kbps = command.args.iter().find_map(Value::number);
            assert!(kbps.is_some_and(|k| k > 0.0), "t1: {:?}", command.args);
            return command.args.iter().filter_map(Value::number).collect();
        }
        assert!(command.tx != 0.0, "{check} wants an answer, so it carries a transaction");
        rounds += 1.0;
        assert!(rounds < 100.0, "no end of checks");
        client.command(0, "_result", command.tx, &[Value::Null, Value::Number(rounds)]);
    }
}

#[test]
fn t1_check_bandwidth_works_at_any_time() {
    let mut client = Client::connected(shared().rtmp());
    client.wait("onBWDone", PATIENCE, |m| m.command().is_some_and(|c| c.name == "onBWDone"));
    for _ in 0..2 {
        client.command(0, "checkBandwidth", 0.0, &[Value::Null]);
        let figures = measured(&mut client, "onBWCheck", "onBWDone");
        assert_eq!(figures.len(), 4, "kb/s, kbit, seconds, latency: {figures:?}");
    }
}

#[test]
fn t1_the_figure_is_the_line_s() {
    let link = tests::link::Link::start(shared().rtmp());
    let mut client = Client::open(link.addr());
    client.connect("cfx/st", &shared().url(), &[]);
    client.wait("onBWDone", PATIENCE, |m| m.command().is_some_and(|c| c.name == "onBWDone"));
    let before = client.bytes();
    link.set_rate(100_000);
    client.command(0, "checkBandwidth", 0.0, &[Value::Null]);
    let [kbps, kilobits, seconds, latency_ms] = measured(&mut client, "onBWCheck", "onBWDone")[..] else {
        panic!("four figures")
    };
    assert!((300.0..=1200.0).contains(&kbps), "{kbps} kb/s over a line of 800");
    assert!((kilobits / seconds - kbps).abs() <= 1.0, "{kilobits} kbit in {seconds} s is {kbps} kb/s");
    assert!(latency_ms >= 1.0);
    assert!(client.bytes() - before < 256 << 10, "{} bytes to find that out", client.bytes() - before);
}

#[test]
fn check_bandwidth_of_the_native_kind_is_answered() {
    let mut client = Client::connected(shared().rtmp());
    client.wait("onBWDone", PATIENCE, |m| m.command().is_some_and(|c| c.name == "onBWDone"));
    let tx = client.tx();
    client.command(0, "_checkbw", tx, &[Value::Null]);
    client.wait("an answer to _checkbw", PATIENCE, |m| {
        m.command().is_some_and(|c| {
            c.name == "_onbwcheck" || c.name == "_onbwdone" || (c.name == "_result" && c.tx == tx)
        })
    });
}

#[test]
fn t1_get_stream_length_is_always_answered() {
    let mut client = Client::connected(shared().rtmp());
    for name in
        ["nosuch", "mp4:nosuch.mp4", "", "../../etc/passwd", "mp4:nosuch?Expires=1&Signature=x&Key-Pair-Id=y"]
    {
        let tx = client.tx();
        client.command(0, "getStreamLength", tx, &[Value::Null, name.into()]);
        let (answer, args) = client.wait_answer(tx, PATIENCE);
        assert_eq!((answer.as_str(), args.get(1)), ("_result", Some(&Value::Number(0.0))), "{name:?}");
    }
    let tx = client.tx();
    client.command(
        0,
        "getStreamLength",
        tx,
        &[Value::Null, "mp4:first.mp4?Expires=1&Signature=x&Key-Pair-Id=y".into()],
    );
    let length = client.wait_answer(tx, PATIENCE).1.get(1).and_then(Value::number).unwrap();
    assert!((length - 10.0).abs() < 0.1, "{length}");
}

#[test]
fn t10_fc_subscribe_is_answered_even_before_connect_is() {
    let mut client = open();
    client.connect("cfx/st", &shared().url(), &[]);
    client.command(0, "FCSubscribe", 2.0, &[Value::Null, "mp4:first.mp4".into()]);
    let found =
        client.wait("onFCSubscribe", PATIENCE, |m| m.command().is_some_and(|c| c.name == "onFCSubscribe"));
    let info = found.command().unwrap().args.last().cloned().unwrap();
    assert_eq!((info.field("code"), info.field("level")), ("NetStream.Play.Start", "status"), "{info:?}");
}

#[test]
fn t16_an_unknown_call_is_answered_with_nothing() {
    let mut client = Client::connected(shared().rtmp());
    let tx = client.tx();
    client.command(0, "someServerScriptsOwn", tx, &[Value::Null, "x".into()]);
    let (name, args) = client.wait_answer(tx, PATIENCE);
    assert_eq!(name, "_result");
    assert!(args.iter().all(|a| matches!(a, Value::Null | Value::Undefined)), "{args:?}");
    client.command(0, "oneWay", 0.0, &[Value::Null]);
    assert_eq!(client.create_stream(), 1);
}

#[test]
fn publishing_is_refused_and_the_connection_lives() {
    let mut client = Client::streaming(shared().rtmp());
    let tx = client.tx();
    client.command(0, "releaseStream", tx, &[Value::Null, "x".into()]);
    client.command(0, "FCPublish", tx + 1.0, &[Value::Null, "x".into()]);
    client.command(1, "publish", tx + 2.0, &[Value::Null, "x".into(), "live".into()]);
    client.wait("a refusal", PATIENCE, |m| {
        m.status().is_some_and(|s| s.field("level") == "error")
            || m.command().is_some_and(|c| c.name == "_error" && c.tx == tx + 2.0)
    });
    client.play(1, "mp4:first.mp4", &[0.0]);
    client.wait_status("NetStream.Play.Start");
}

#[test]
fn commands_before_connect_don_t_play() {
    let mut client = open();
    client.command(0, "createStream", 1.0, &[Value::Null]);
    client.play(1, "mp4:first.mp4", &[0.0]);
    assert!(client.try_wait(Duration::from_millis(700), |m| m.is_media()).is_none());
}

#[test]
fn s23_each_create_stream_gives_a_new_id_and_two_streams_play_at_once() {
    let mut client = Client::connected(shared().rtmp());
    let (one, two) = (client.create_stream(), client.create_stream());
    assert_ne!(one, two);
    client.play(one, "mp4:first.mp4", &[0.0]);
    client.play(two, "clip", &[0.0]);
    for id in [one, two, one, two] {
        client.wait(&format!("pictures of stream {id}"), PATIENCE, |m| m.is_picture() && m.stream_id == id);
    }
    assert_eq!(client.broken(), None);
    client.command(0, "deleteStream", 0.0, &[Value::Null, Value::Number(f64::from(one))]);
    client.skip_all();
    client.wait("the other stream goes on", PATIENCE, |m| m.is_picture() && m.stream_id == two);
}
