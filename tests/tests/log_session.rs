//! What one viewer's session leaves in the access log: real players over every variant, exactly their records, and as many bytes as they received.
//!
//! The records are read where a customer reads them, in the files of the distribution's bucket. A session is found by an id that its stream
//! name carries as a query. What the records must be alike for any session is checked of each ([`Session::of`]).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::counting_proxy::CountingProxy;
use tests::standalone::{Standalone, shared};
use tests::tunnel::Bridge;
use tests::tunnel::meter::Meter;
use tests::wire::amf::Value;
use tests::wire::{Client, PATIENCE};
use tests::{media, players, tls};

/// Until a session's last record must be in a file, on a machine that does much else.
const DELIVERED: Duration = Duration::from_secs(120);
/// S0, S1 and S2: what a [`Client`] doesn't count.
const GREETING_BYTES: u64 = 1 + 2 * 1536;

/// The fields of a record that tests name.
#[derive(Clone, Debug)]
struct Record(Vec<String>);

impl Record {
    fn event(&self) -> &str {
        &self.0[4]
    }
    fn bytes(&self) -> u64 {
        self.0[5].parse().unwrap()
    }
    fn client(&self) -> &str {
        &self.0[7]
    }
    /// x-sname, x-sname-query, x-file-ext, x-sid.
    fn stream(&self) -> [&str; 4] {
        [13, 14, 15, 16].map(|at| self.0[at].as_str())
    }
    /// Its place in a session whose clock shows seconds only: the total, then the order of a session's life.
    fn rank(&self) -> (String, u64, u32) {
        let rank = match self.event() {
            "connect" => 0,
            "disconnect" => 2,
            _ => 1,
        };
        (format!("{} {}", self.0[0], self.0[1]), self.bytes(), rank)
    }
}

/// All records of the files in `folder`.
fn records(folder: &Path) -> Vec<Record> {
    let mut all = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return all };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let out = Command::new("zcat").arg(&path).output().unwrap();
        assert!(out.status.success(), "{}", path.display());
        let text = String::from_utf8(out.stdout).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            assert_eq!(fields.len(), 17, "{line}");
            all.push(Record(fields));
        }
    }
    all
}

/// One connection's records, in their order.
#[derive(Debug)]
struct Session(Vec<Record>);

impl Session {
    /// The session that played something with the query `id=ID`, once it has its disconnect; what is true of any session is true of it.
    fn of(server: &Standalone, id: &str) -> Self {
        let folder = Path::new(server.text("/logs/folder"));
        let (query, end) = (format!("id={id}"), Instant::now() + DELIVERED);
        loop {
            let all = records(folder);
            let client = all.iter().find(|record| record.stream()[1] == query).map(|record| record.client());
            let mut own: Vec<Record> =
                all.iter().filter(|record| Some(record.client()) == client).cloned().collect();
            if own.iter().any(|record| record.event() == "disconnect") {
                own.sort_by_key(Record::rank);
                let session = Self(own);
                session.check();
                return session;
            }
            assert!(Instant::now() < end, "no whole session of {id} within {DELIVERED:?}: {own:#?}");
            // Unpacking is work: not as often as the test could.
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn check(&self) {
        let Self(all) = self;
        let (first, last) = (&all[0], &all[all.len() - 1]);
        assert_eq!((first.event(), last.event()), ("connect", "disconnect"), "{self:#?}");
        assert!(all.is_sorted_by_key(Record::bytes), "c39: {self:#?}");
        let mut playing = Vec::new();
        for record in all {
            let stream = record.stream();
            assert_eq!(record.0[6], "OK");
            // The connection's own fields.
            assert_eq!(record.0[7..13], first.0[7..13], "{self:#?}");
            assert!(record.client().len() == 32 && record.client().bytes().all(|b| b.is_ascii_hexdigit()));
            match record.event() {
                "connect" | "disconnect" => assert_eq!(stream, ["-"; 4]),
                "play" => playing.push(stream),
                "stop" => {
                    let at = playing.iter().position(|play| *play == stream);
                    playing.remove(at.unwrap_or_else(|| panic!("a stop of no play: {self:#?}")));
                }
                "pause" | "unpause" | "seek" => assert!(playing.contains(&stream), "{self:#?}"),
                other => panic!("{other}: {self:#?}"),
            }
        }
        assert!(playing.is_empty(), "a play without a stop: {self:#?}");
        let count = |event| all.iter().filter(|record| record.event() == event).count();
        assert_eq!((count("connect"), count("disconnect")), (1, 1), "{self:#?}");
    }

    fn events(&self) -> Vec<&str> {
        self.0.iter().map(Record::event).collect()
    }

    /// Event, name and extension of what happened on streams.
    fn streams(&self) -> Vec<String> {
        let own = &self.0[1..self.0.len() - 1];
        own.iter().map(|r| format!("{} {} {}", r.event(), r.stream()[0], r.stream()[2])).collect()
    }

    /// What was sent on the connection.
    fn total(&self) -> u64 {
        self.0.last().unwrap().bytes()
    }
}

/// A stream name with an id, as players play it.
fn named(key: &str, id: &str) -> String {
    format!("{}?id={id}", media::play_name(key))
}

#[test]
fn c38_the_red5_client_s_session_leaves_exactly_its_records() {
    let relay = CountingProxy::plain(shared().rtmp());
    let steps = [
        "buffer=1000",
        "play=0",
        "until=NetStream.Play.Start",
        "wait=700",
        "pause=600",
        "until=NetStream.Pause.Notify",
        "wait=300",
        "resume=600",
        "until=NetStream.Unpause.Notify",
        "wait=300",
        "seek=100000",
        "until=NetStream.Seek.Notify",
        "wait=700",
        "stop",
        "wait=500",
    ];
    let url = format!("rtmp://{}/cfx/st", relay.addr());
    players::red5(&url, &named("film.mp4", "red5"), &steps).expect(0);
    let session = Session::of(shared(), "red5");
    assert_eq!(
        session.events(),
        ["connect", "play", "pause", "unpause", "seek", "stop", "disconnect"],
        "{session:#?}"
    );
    assert!(session.0[1..6].iter().all(|r| r.stream() == ["film", "id=red5", "mp4", "1"]), "{session:#?}");
    assert_eq!(session.0[0].0[8], url);
    assert_eq!(session.0[0].0[3], "127.0.0.1");
    assert_eq!(session.total(), relay.bytes(), "what the client received");
}

/// What rtmpdump received of RTMP over a variant, as a relay before the edge saw it; `None` where that can't be told from outside.
enum Seen {
    Bytes(CountingProxy),
    Answers(Meter),
    Records(CountingProxy),
}

impl Seen {
    fn over(variant: &str) -> Self {
        let edge = shared().rtmp();
        match variant {
            "rtmpt" | "rtmpte" => Self::Answers(Meter::before(edge)),
            "rtmps" => Self::Records(CountingProxy::plain(edge)),
            _ => Self::Bytes(CountingProxy::plain(edge)),
        }
    }

    fn addr(&self) -> &str {
        match self {
            Self::Bytes(relay) | Self::Records(relay) => relay.addr(),
            Self::Answers(meter) => meter.addr(),
        }
    }

    fn rtmp_bytes(&self) -> Option<u64> {
        match self {
            // RTMPE's bytes are as many as those it encrypts.
            Self::Bytes(relay) => Some(relay.bytes()),
            Self::Answers(meter) => Some(meter.bytes()),
            Self::Records(_) => None,
        }
    }
}

/// Excluded: TLS records, heads of HTTP and the polling byte of each answer, none of which is RTMP's.
#[test]
fn c39_rtmpdump_is_recorded_with_the_bytes_it_received_over_every_variant() {
    let folder = tempfile::tempdir().unwrap();
    let mut totals = Vec::new();
    for variant in ["rtmp", "rtmpe", "rtmpt", "rtmpte", "rtmps"] {
        let relay = Seen::over(variant);
        let to = folder.path().join(variant);
        // The name is told back with each status: one of the same length everywhere.
        let id = format!("{variant:-<8}");
        let done = players::rtmpdump_over(variant, relay.addr(), &named("clip.flv", &id), &to, &["-q"]);
        assert!(matches!(done.code, 0 | 2), "{variant}: {done:?}");
        let session = Session::of(shared(), &id);
        assert_eq!(session.streams(), ["play clip flv", "stop clip flv"], "{variant}");
        assert_eq!(session.0[0].0[8], format!("{variant}://{}/cfx/st", relay.addr()));
        if let Seen::Records(relay) = &relay {
            assert!(session.total() < relay.bytes(), "{variant}: records take more than what is in them");
        }
        totals.push((variant, session.total(), relay.rtmp_bytes()));
    }
    for (variant, total, seen) in &totals {
        // The same film takes the same messages.
        assert_eq!(*total, totals[0].1, "{variant}: {totals:?}");
        assert!(seen.is_none_or(|seen| seen == *total), "{variant}: what the client received: {totals:?}");
    }
}

/// A whole film to a client of ours that is carried there by `addr`: the edge's total is what came out at the client's end.
fn carried(addr: &str, id: &str) {
    let mut client = Client::streaming(addr);
    client.set_buffer(1, 36_000_000);
    client.play(1, &named("last.mp4", id), &[]);
    client.wait_status_within("NetStream.Play.Stop", 3 * PATIENCE);
    client.command(1, "closeStream", 0.0, &[Value::Null]);
    // What answers this comes after all that was on its way.
    assert_eq!(client.create_stream(), 2);
    let received = GREETING_BYTES + client.bytes();
    client.close();
    let session = Session::of(shared(), id);
    assert_eq!(session.streams(), ["play last mp4", "stop last mp4"]);
    assert_eq!(session.total(), received);
}

#[test]
fn c39_through_a_tunnel_rtmp_s_bytes_are_counted_and_http_s_are_not() {
    carried(Bridge::to(shared().rtmp()).addr(), "bridged");
}

#[test]
fn c39_over_tls_rtmp_s_bytes_are_counted_and_those_of_its_records_are_not() {
    carried(&tls::bridge(shared().rtmp()), "over-tls");
}

#[test]
fn ffmpeg_and_mpv_are_recorded_where_they_seek_and_where_they_leave_in_mid_film() {
    let folder = tempfile::tempdir().unwrap();
    let relay = CountingProxy::plain(shared().rtmp());
    let url = |id: &str| format!("rtmp://{}/cfx/st/{}", relay.addr(), named("film.mp4", id));
    let to = folder.path().join("o.flv");
    players::ffmpeg_copy(&[], &url("ffmpeg"), &["-t", "3"], &to).expect(0);
    let session = Session::of(shared(), "ffmpeg");
    assert_eq!(session.streams(), ["play film mp4", "stop film mp4"], "{session:#?}");
    // It breaks off: the relay took from the edge no more than the edge had given its socket.
    assert!(session.total() >= relay.bytes(), "{} {}", session.total(), relay.bytes());

    players::ffmpeg_copy(&["-ss", "100"], &url("ffmpeg-seeks"), &["-t", "3"], &to).expect(0);
    let session = Session::of(shared(), "ffmpeg-seeks");
    assert_eq!(session.streams(), ["play film mp4", "seek film mp4", "stop film mp4"], "{session:#?}");

    players::mpv(&url("mpv"), &["--start=100", "--length=1"]).expect(0);
    let session = Session::of(shared(), "mpv");
    assert_eq!(session.events().iter().filter(|event| **event == "play").count(), 1, "{session:#?}");
    assert!(session.events().contains(&"seek"), "{session:#?}");
}

fn play2(client: &mut Client, fields: &[(&str, Value)]) {
    let options = fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    client.command(1, "play2", 0.0, &[Value::Null, Value::Object(options)]);
}

#[test]
fn a_switch_and_a_swap_are_a_stop_and_a_play_each() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 2000);
    client.play(1, &named("film.mp4", "switched"), &[]);
    client.wait_status("NetStream.Play.Start");
    let other = format!("{}?id=other", media::play_name("film.flv"));
    play2(&mut client, &[("streamName", other.as_str().into()), ("transition", "switch".into())]);
    client.wait_status_within("NetStream.Play.Transition", PATIENCE);
    client.wait("the switch", 3 * PATIENCE, |message| {
        message.payload.windows(18).any(|text| text == b"TransitionComplete")
    });
    play2(&mut client, &[("streamName", "mp4:nosuch.mp4".into()), ("transition", "switch".into())]);
    client.wait_status_within("NetStream.Play.Failed", PATIENCE);
    play2(&mut client, &[("streamName", "mp4:first.mp4".into()), ("transition", "swap".into())]);
    client.wait_status_within("NetStream.Play.Start", 3 * PATIENCE);
    client.close();
    let session = Session::of(shared(), "switched");
    assert_eq!(
        session.streams(),
        [
            "play film mp4",
            "stop film mp4",
            "play film flv",
            "stop film flv",
            "play first mp4",
            "stop first mp4"
        ],
        "{session:#?}"
    );
}

#[test]
fn each_item_of_a_playlist_is_a_play_and_a_missing_one_is_none() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 36_000_000);
    client.play(1, &named("clip.flv", "listed"), &[]);
    for name in ["mp4:nosuch.mp4", "mp3:bare", "mp4:first.mp4"] {
        let args = [Value::Null, name.into(), Value::Number(0.0), Value::Number(-1.0), Value::Boolean(false)];
        client.command(1, "play", 0.0, &args);
    }
    client.wait_status_within("NetStream.Play.Stop", 6 * PATIENCE);
    client.close();
    let session = Session::of(shared(), "listed");
    assert_eq!(
        session.streams(),
        [
            "play clip flv",
            "stop clip flv",
            "play bare mp3",
            "stop bare mp3",
            "play first mp4",
            "stop first mp4"
        ],
        "{session:#?}"
    );
}

#[test]
fn two_streams_of_a_connection_and_a_viewer_that_breaks_off_leave_every_stop() {
    let mut client = Client::streaming(shared().rtmp());
    assert_eq!(client.create_stream(), 2);
    client.set_buffer(1, 1000);
    client.play(1, &named("film.mp4", "both"), &[]);
    client.wait_status("NetStream.Play.Start");
    client.play(2, "flv:film.flv?id=second", &[]);
    client.wait_status("NetStream.Play.Start");
    client.seek(1, 50_000.0);
    client.wait_status("NetStream.Seek.Notify");
    client.close();
    let session = Session::of(shared(), "both");
    let ids: Vec<&str> = session.0.iter().map(|record| record.stream()[3]).collect();
    assert_eq!(session.events()[..4], ["connect", "play", "play", "seek"], "{session:#?}");
    assert_eq!(ids[..4], ["-", "1", "2", "1"]);
    assert_eq!(session.events()[4..], ["stop", "stop", "disconnect"]);
}

#[test]
fn c40_a_field_s_text_is_the_viewer_s_escaped_once() {
    let mut client = Client::open(shared().rtmp());
    let url = format!("rtmp://{}/cfx/st", shared().rtmp());
    let more = [
        ("swfUrl", "http://page.example/a player.swf".into()),
        ("pageUrl", "http://page.example/?q=~é".into()),
        ("tcUrl", Value::from(format!("{url}?who=me&x=~").as_str())),
    ];
    client.connect("cfx/st", &url, &more);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    assert_eq!(client.create_stream(), 1);
    client.play(1, "mp4:first.mp4?id=escaped", &[]);
    client.wait_status("NetStream.Play.Start");
    client.play(1, "mp4:first.mp4?Expires=1&Signature=a~b-c_", &[]);
    client.wait_status("NetStream.Play.Start");
    client.close();
    let session = Session::of(shared(), "escaped");
    assert_eq!(
        session.0[0].0[8..13],
        [
            url.as_str(),
            "who=me&x=%7E",
            "http://page.example/a%20player.swf",
            "http://page.example/?q=%7E%C3%A9",
            "LNX%2010,0,32,18"
        ]
    );
    assert_eq!(session.0[3].stream(), ["first", "Expires=1&Signature=a%7Eb-c_", "mp4", "1"]);
}
