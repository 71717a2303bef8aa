//! Whole sessions, on a transport in memory and in paused time, and what they record.

use proto::clock::Clock;
use proto::v1::LogTarget;

use super::*;
use crate::config::log::LogConfig;
use crate::log::memory::{MemorySink, Pace};
use crate::rtmp::amf::Value;
use crate::session::fuzz::{distribution, records};

mod viewer;

use viewer::{Bench, START_MS, Viewer};

fn label(event: AccessEvent) -> &'static str {
    match event {
        AccessEvent::Connect => "connect",
        AccessEvent::Disconnect => "disconnect",
        AccessEvent::Play => "play",
        AccessEvent::Stop => "stop",
        AccessEvent::Pause => "pause",
        AccessEvent::Unpause => "unpause",
        AccessEvent::Seek => "seek",
        AccessEvent::Request => "request",
        AccessEvent::Unspecified => "unspecified",
    }
}

/// Event, name, extension and stream of each record.
fn told(sink: &MemorySink) -> Vec<String> {
    let line = |record: &AccessRecord| {
        let mut line = label(record.event()).to_owned();
        if record.stream_id > 0 {
            line += &format!(" {} {} {}", record.stream_name, record.file_ext, record.stream_id);
        }
        if record.status.is_empty() { line } else { format!("{line} {}", record.status) }
    };
    kept(sink).iter().map(line).collect()
}

/// What a log keeps: not what only tells it that a connection goes on.
fn kept(sink: &MemorySink) -> Vec<AccessRecord> {
    sink.records().into_iter().filter(|record| record.target.is_some()).collect()
}

fn play(name: &str) -> [Value; 4] {
    [Value::Null, name.into(), 0.0.into(), (-1.0).into()]
}

fn pause(on: bool, ms: f64) -> [Value; 3] {
    [Value::Null, on.into(), ms.into()]
}

#[tokio::test(start_paused = true)]
async fn c38_a_session_of_every_command_leaves_exactly_its_records() {
    let bench = Bench::new(LogConfig { edge_location: "SEA4".into(), ..LogConfig::default() });
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("long.flv?k=v&id=7")).await;
    viewer.until("NetStream.Play.Start").await;
    viewer.wait(1500).await;
    viewer.command(1, "pause", &pause(true, 1000.0)).await;
    viewer.until("NetStream.Pause.Notify").await;
    viewer.wait(3000).await;
    viewer.command(1, "pause", &pause(false, 1000.0)).await;
    viewer.until("NetStream.Unpause.Notify").await;
    viewer.command(1, "seek", &[Value::Null, 5000.0.into()]).await;
    viewer.until("NetStream.Seek.Notify").await;
    viewer.wait(1000).await;
    viewer.command(1, "closeStream", &[Value::Null]).await;
    viewer.wait(100).await;
    let received = viewer.leave().await;

    assert_eq!(
        told(&bench.sink),
        [
            "connect",
            "play long flv 1",
            "pause long flv 1",
            "unpause long flv 1",
            "seek long flv 1",
            "stop long flv 1",
            "disconnect"
        ]
    );
    let all = bench.sink.records();
    records::check(&all, received);
    let first = &all[0];
    assert_eq!(first.distribution_id, distribution().id);
    assert_eq!(first.target, distribution().logging);
    assert_eq!(
        [&first.edge_location, &first.client_ip, &first.uri_stem, &first.uri_query].map(String::as_str),
        ["SEA4", "192.0.2.7", "rtmp://127.0.0.1:1935/cfx/st", "key=value"]
    );
    assert_eq!(
        [&first.referrer, &first.page_url, &first.user_agent].map(String::as_str),
        ["http://page.example/player.swf", "http://page.example/", "LNX 10,0,32,18"]
    );
    assert!(all[1..6].iter().all(|record| record.stream_query == "k=v&id=7"));
    assert_eq!(
        all.iter().map(|record| record.time_ms - first.time_ms).collect::<Vec<_>>()[..3],
        [0, 0, 1500]
    );
}

#[tokio::test(start_paused = true)]
async fn c39_bytes_rise_and_the_disconnect_s_are_what_the_viewer_received() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    // The handshake stands before the connect.
    assert_eq!(bench.sink.records()[0].sc_bytes, 1 + 2 * 1536);
    for name in ["long.flv", "mp4:b", "mp3:folder/c"] {
        let before = viewer.received();
        viewer.command(1, "play", &play(name)).await;
        viewer.until("NetStream.Play.Start").await;
        let play =
            bench.sink.records().into_iter().rfind(|record| record.event() == AccessEvent::Play).unwrap();
        assert_eq!(play.sc_bytes, before, "as of the command");
        viewer.wait(1200).await;
    }
    let received = viewer.leave().await;
    assert_eq!(
        told(&bench.sink)[1..7],
        [
            "play long flv 1",
            "stop long flv 1",
            "play b mp4 1",
            "stop b mp4 1",
            "play folder/c mp3 1",
            "stop folder/c mp3 1"
        ]
    );
    records::check(&bench.sink.records(), received);
}

#[tokio::test(start_paused = true)]
async fn every_end_leaves_one_stop_a_play_and_one_disconnect() {
    for end in ["closed", "deleted", "shutdown", "withdrawn", "aborted", "idle"] {
        let bench = Bench::new(LogConfig::default());
        let mut viewer = Viewer::connect(&bench).await;
        viewer.command(1, "play", &play("long.flv")).await;
        viewer.until("NetStream.Play.Start").await;
        viewer.command(0, "createStream", &[Value::Null]).await;
        viewer.command(2, "play", &play("mp4:b.mp4")).await;
        viewer.until("NetStream.Play.Start").await;
        viewer.wait(300).await;
        match end {
            "deleted" => {
                viewer.command(0, "deleteStream", &[Value::Null, 1.0.into()]).await;
                viewer.wait(10).await;
            }
            "shutdown" => bench.shutdown.cancel(),
            "withdrawn" => bench.publish(None),
            "aborted" => viewer.abort().await,
            "idle" => viewer.wait(3_600_000).await,
            _ => {}
        }
        let received = viewer.leave().await;
        let told = told(&bench.sink);
        assert_eq!(told[..3], ["connect", "play long flv 1", "play b mp4 2"], "{end}");
        let mut stops = told[3..told.len() - 1].to_vec();
        stops.sort();
        assert_eq!(stops, ["stop b mp4 2", "stop long flv 1"], "{end}");
        records::check(&bench.sink.records(), received);
    }
}

#[tokio::test(start_paused = true)]
async fn each_item_of_a_playlist_is_a_play_of_its_own() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("a.flv?n=1")).await;
    for name in ["mp4:b?n=2", "missing?n=3", "mp3:folder/c.mp3?n=4"] {
        let args = [Value::Null, name.into(), 0.0.into(), (-1.0).into(), false.into()];
        viewer.command(1, "play", &args).await;
    }
    for _ in 0..3 {
        viewer.until("NetStream.Play.Start").await;
    }
    viewer.until("NetStream.Play.Stop").await;
    let received = viewer.leave().await;
    let plays = ["a flv 1", "b mp4 1", "folder/c mp3 1"];
    let pairs = plays.iter().flat_map(|play| ["play", "stop"].map(|event| format!("{event} {play}")));
    assert_eq!(told(&bench.sink)[1..7], pairs.collect::<Vec<_>>());
    let all = bench.sink.records();
    let queries: Vec<_> = all[1..7].iter().map(|record| record.stream_query.as_str()).collect();
    assert_eq!(queries, ["n=1", "n=1", "n=2", "n=2", "n=4", "n=4"]);
    // An item's time is its turn, not that of its command.
    assert_eq!(all[3].time_ms, all[2].time_ms);
    records::check(&all, received);
}

#[tokio::test(start_paused = true)]
async fn a_switch_stops_one_file_and_plays_the_other() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("long.flv?q=1")).await;
    viewer.until("NetStream.Play.Start").await;
    viewer.wait(1000).await;
    let options = [("streamName", "other.flv?q=2".into()), ("transition", "switch".into())];
    viewer.command(1, "play2", &[Value::Null, Value::object(options)]).await;
    viewer.until("NetStream.Play.Transition").await;
    assert_eq!(told(&bench.sink).len(), 2, "nothing has changed yet");
    viewer.until("NetStream.Play.TransitionComplete").await;
    viewer.wait(500).await;
    // Another, in place of it; and one that comes to nothing.
    let swap = |name: &'static str| [("streamName", Value::from(name)), ("transition", "swap".into())];
    viewer.command(1, "play2", &[Value::Null, Value::object(swap("mp4:b"))]).await;
    viewer.until("NetStream.Play.Start").await;
    viewer.command(1, "play2", &[Value::Null, Value::object(swap("missing"))]).await;
    viewer.until("NetStream.Play.Failed").await;
    let received = viewer.leave().await;
    assert_eq!(
        told(&bench.sink)[1..7],
        [
            "play long flv 1",
            "stop long flv 1",
            "play other flv 1",
            "stop other flv 1",
            "play b mp4 1",
            "stop b mp4 1"
        ]
    );
    records::check(&bench.sink.records(), received);
}

#[tokio::test(start_paused = true)]
async fn a_seek_back_into_a_film_that_had_ended_is_another_play() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("other.flv")).await;
    viewer.until("NetStream.Play.Stop").await;
    assert_eq!(told(&bench.sink)[1..], ["play other flv 1", "stop other flv 1"]);
    // What its player still shows may be paused: of no account.
    viewer.command(1, "pause", &pause(true, 11_000.0)).await;
    viewer.command(1, "pause", &pause(false, 11_000.0)).await;
    viewer.command(1, "seek", &[Value::Null, 8000.0.into()]).await;
    viewer.until("NetStream.Play.Stop").await;
    viewer.command(1, "closeStream", &[Value::Null]).await;
    let received = viewer.leave().await;
    assert_eq!(
        told(&bench.sink)[3..],
        ["play other flv 1", "seek other flv 1", "stop other flv 1", "disconnect"]
    );
    records::check(&bench.sink.records(), received);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_commands_without_end_is_read_as_fast_as_it_may_make_events() {
    let bench = Bench::new(LogConfig { events_per_second: 5, ..LogConfig::default() });
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    for n in 0..400 {
        viewer.command(1, "pause", &pause(n % 2 == 0, 0.0)).await;
    }
    viewer.wait(1000).await;
    let soon = kept(&bench.sink).len();
    assert!((50..=60).contains(&soon), "ten seconds' worth, not {soon}");
    viewer.wait(20_000).await;
    let later = kept(&bench.sink).len();
    assert!((soon + 95..=soon + 105).contains(&later), "five a second: {soon}, {later}");
    assert!(bench.metrics().log_paced.get() > 0);
    viewer.wait(80_000).await;
    // Late, and all of them.
    let of = |event| kept(&bench.sink).iter().filter(|record| record.event() == event).count();
    assert_eq!((of(AccessEvent::Pause), of(AccessEvent::Unpause)), (200, 200));
    viewer.leave().await;
    assert_eq!(kept(&bench.sink).len(), 404, "and connect, play, stop, disconnect");
}

#[tokio::test(start_paused = true)]
async fn only_what_succeeds_and_changes_something_is_recorded() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "seek", &[Value::Null, 1000.0.into()]).await;
    viewer.command(1, "pause", &pause(true, 0.0)).await;
    viewer.command(1, "pause", &pause(false, 0.0)).await;
    viewer.command(1, "play", &play("missing")).await;
    viewer.until("NetStream.Play.StreamNotFound").await;
    viewer.command(1, "play", &play("text.mp4")).await;
    viewer.until("NetStream.Play.NoSupportedTrackFound").await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    viewer.command(1, "seek", &[Value::Null, (-5.0).into()]).await;
    viewer.until("NetStream.Seek.InvalidTime").await;
    viewer.command(1, "pause", &pause(false, 100.0)).await;
    viewer.until("NetStream.Unpause.Notify").await;
    for _ in 0..2 {
        viewer.command(1, "pause", &pause(true, 100.0)).await;
        viewer.until("NetStream.Pause.Notify").await;
    }
    viewer.command(1, "receiveVideo", &[Value::Null, false.into()]).await;
    viewer.command(1, "receiveVideo", &[Value::Null, true.into()]).await;
    viewer.until("NetStream.Seek.Notify").await;
    // A storm: some of these are skipped.
    for ms in 1..20 {
        viewer.command(1, "seek", &[Value::Null, f64::from(ms * 100).into()]).await;
    }
    viewer.wait(2000).await;
    let notified = viewer.said("NetStream.Seek.Notify") - 1;
    let received = viewer.leave().await;
    let told = told(&bench.sink);
    assert_eq!(told[..3], ["connect", "play long flv 1", "pause long flv 1"]);
    let seeks = told.iter().filter(|event| event.starts_with("seek")).count();
    assert!((1..19).contains(&seeks), "{seeks}");
    assert_eq!((seeks, told.len()), (notified, 5 + seeks), "{told:?}");
    records::check(&bench.sink.records(), received);
}

#[tokio::test(start_paused = true)]
async fn a_film_paused_before_it_was_open_is_played_and_paused() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("slow.mp4")).await;
    viewer.command(1, "pause", &pause(true, 0.0)).await;
    viewer.until("NetStream.Pause.Notify").await;
    let received = viewer.leave().await;
    let all = bench.sink.records();
    assert_eq!(told(&bench.sink)[1..4], ["play slow mp4 1", "pause slow mp4 1", "stop slow mp4 1"]);
    // The play is as old as its command: opening takes that long.
    assert!(all[2].time_ms >= all[1].time_ms + 700, "{} {}", all[1].time_ms, all[2].time_ms);
    records::check(&all, received);
}

#[tokio::test(start_paused = true)]
async fn rejected_connects_and_failed_plays_are_recorded_where_configured() {
    for rejected in [true, false] {
        let bench = Bench::new(LogConfig { rejected, ..LogConfig::default() });
        Viewer::rejected(&bench, "cfx/xx", "rtmp://127.0.0.1/cfx/xx").await;
        Viewer::rejected(&bench, "cfx/st", "rtmp://nobody.example/cfx/st").await;
        let mut viewer = Viewer::connect(&bench).await;
        viewer.command(1, "play", &play("mp4:missing.mp4?id=1")).await;
        viewer.until("NetStream.Play.StreamNotFound").await;
        viewer.command(1, "play", &play("forbidden.flv")).await;
        viewer.until("NetStream.Failed").await;
        viewer.leave().await;
        let failed = [
            "connect InvalidInstance",
            "connect",
            "play missing.mp4  1 NetStream.Play.StreamNotFound",
            "play forbidden.flv  1 NetStream.Failed",
            "disconnect",
        ];
        let expected = if rejected { failed.to_vec() } else { vec!["connect", "disconnect"] };
        assert_eq!(told(&bench.sink), expected);
    }
}

fn logging_to(bucket: &str) -> Option<LogTarget> {
    Some(LogTarget { bucket_host: format!("{bucket}.s3.amazonaws.com"), ..LogTarget::default() })
}

#[tokio::test(start_paused = true)]
async fn logging_that_is_switched_or_moved_counts_for_events_from_then_on() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    let mut pauses = Vec::new();
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    for (on, logging) in [(true, logging_to("one")), (false, None), (true, logging_to("two"))] {
        bench.publish(Some(Distribution { logging: logging.clone(), ..distribution() }));
        viewer.command(1, "pause", &pause(on, 0.0)).await;
        viewer.until(if on { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" }).await;
        pauses.extend(logging);
    }
    // Deleted: what was known last.
    bench.publish(None);
    viewer.until_closed().await;
    viewer.leave().await;
    assert_eq!(
        told(&bench.sink)[2..],
        ["pause long flv 1", "pause long flv 1", "stop long flv 1", "disconnect"]
    );
    let targets: Vec<_> = kept(&bench.sink)[2..].iter().filter_map(|record| record.target.clone()).collect();
    assert_eq!(targets, [&pauses[0], &pauses[1], &pauses[1], &pauses[1]].map(Clone::clone));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_an_hour_disorders_no_session() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    bench.clock.set_ms(bench.clock.now_ms() - 3_600_000);
    viewer.wait(2000).await;
    viewer.leave().await;
    let times: Vec<_> = bench.sink.records().iter().map(|record| record.time_ms - viewer::START_MS).collect();
    assert_eq!(times, [0, 0, 2000, 2000]);
    // Whoever comes now has the new time.
    Viewer::connect(&bench).await.leave().await;
    assert_eq!(bench.sink.records()[4].time_ms, viewer::START_MS - 3_600_000);
}

#[tokio::test(start_paused = true)]
async fn f35_a_session_begun_before_the_clock_was_set_goes_on_by_the_clock() {
    let bench = Bench::new(LogConfig::default());
    // Forty seconds after 1970 began; then set.
    bench.clock.set_ms(40_000);
    let mut viewer = Viewer::connect(&bench).await;
    viewer.wait(1000).await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    bench.clock.set_ms(START_MS);
    viewer.command(1, "pause", &pause(true, 0.0)).await;
    viewer.until("NetStream.Pause.Notify").await;
    viewer.wait(5000).await;
    // A battery is empty: that is no time to go by.
    bench.clock.set_ms(0);
    viewer.command(1, "pause", &pause(false, 0.0)).await;
    viewer.until("NetStream.Unpause.Notify").await;
    viewer.leave().await;
    let times: Vec<u64> = bench.sink.records().iter().map(|record| record.time_ms).collect();
    assert_eq!(times[..2], [40_000, 41_000]);
    assert!((START_MS..START_MS + 100).contains(&times[2]), "{times:?}");
    assert!(times[3..].iter().all(|time| (START_MS + 5000..START_MS + 6000).contains(time)), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn f35_a_session_goes_on_by_a_clock_that_is_more_than_a_day_away_and_by_its_own_time_until_then() {
    const HOUR_MS: u64 = 3_600_000;
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    let mut apart = Vec::new();
    for hours in [23, 30, 1, -30, 0] {
        bench.clock.set_ms(START_MS.saturating_add_signed(hours * HOUR_MS as i64));
        viewer.command(1, "seek", &[Value::Null, 5000.0.into()]).await;
        viewer.until("NetStream.Seek.Notify").await;
        let told = bench.sink.records().last().unwrap().time_ms;
        apart.push((told as i64 - START_MS as i64 + 60_000).div_euclid(HOUR_MS as i64));
    }
    viewer.leave().await;
    assert_eq!(apart, [0, 30, 1, -30, 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_its_event_is_written() {
    let bench = Bench::new(LogConfig::default());
    bench.sink.set_pace(Pace::Hangs);
    let mut viewer = Viewer::greet(&bench).await;
    let greeted = viewer.received();
    viewer.say_connect("cfx/st", "rtmp://127.0.0.1/cfx/st").await;
    viewer.wait(400).await;
    assert_eq!(told(&bench.sink), ["connect"]);
    assert_eq!(viewer.received(), greeted, "the connect isn't written");
    bench.sink.set_pace(Pace::Takes(Duration::from_millis(100)));
    viewer.wait(99).await;
    assert_eq!(viewer.received(), greeted);
    viewer.until("NetConnection.Connect.Success").await;

    // What was to be sent before an event waits with it; the media of the play goes on being read meanwhile.
    viewer.command(0, "createStream", &[Value::Null]).await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    bench.sink.set_pace(Pace::Hangs);
    viewer.wait(500).await;
    viewer.command(1, "pause", &pause(true, 400.0)).await;
    viewer.wait(10).await;
    let before = viewer.received();
    viewer.wait(800).await;
    assert_eq!(viewer.received(), before);
    bench.sink.set_pace(Pace::AtOnce);
    viewer.until("NetStream.Pause.Notify").await;
    let received = viewer.leave().await;
    records::check(&bench.sink.records(), received);
    assert_eq!(bench.metrics().log_hold_seconds.get_sample_count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_slow_log_costs_each_event_its_time_and_stops_nothing() {
    let bench = Bench::new(LogConfig::default());
    bench.sink.set_pace(Pace::Takes(Duration::from_millis(250)));
    let begun = Instant::now();
    let mut viewer = Viewer::connect(&bench).await;
    assert_eq!(begun.elapsed().as_millis(), 250);
    viewer.command(1, "play", &play("other.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    assert_eq!(begun.elapsed().as_millis(), 500);
    viewer.until("NetStream.Play.Stop").await;
    let received = viewer.leave().await;
    records::check(&bench.sink.records(), received);
    assert_eq!(viewer::events(&bench.sink), ["connect", "play", "stop", "disconnect"]);
    assert_eq!(bench.metrics().log_hold_seconds.get_sample_sum(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn an_open_connection_s_bytes_are_told_while_they_change() {
    let bench = Bench::new(LogConfig::default());
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    viewer.wait(15_000).await;
    viewer.command(1, "pause", &pause(true, 14_000.0)).await;
    viewer.until("NetStream.Pause.Notify").await;
    let paused_at = bench.sink.records().last().unwrap().time_ms;
    viewer.wait(50_000).await;
    let reports = bench.sink.progress_reports();
    let id = bench.sink.records()[0].client_id.clone();
    assert!(reports.iter().all(|(client_id, ..)| *client_id == id));
    // One while it plays, and one of what was sent with the pause itself; then nothing changes.
    assert_eq!(reports.len(), 2, "{reports:?}");
    assert!(reports[0].1 < paused_at && reports[1].1 > paused_at + 7_000, "{reports:?} {paused_at}");
    assert_eq!(reports[1].2, viewer.received());
    viewer.leave().await;
}

#[tokio::test(start_paused = true)]
async fn texts_that_are_too_long_are_cut_and_counted() {
    let bench = Bench::new(LogConfig { field_bytes: 64, ..LogConfig::default() });
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play(&format!("long.flv?{}", "é".repeat(40)))).await;
    viewer.until("NetStream.Play.Start").await;
    viewer.leave().await;
    assert_eq!(bench.sink.records()[1].stream_query, "é".repeat(32));
    assert_eq!(bench.metrics().log_cut.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_log_nothing_is_held_back_and_nothing_kept() {
    let bench = Bench::new(LogConfig::default());
    bench.publish(Some(Distribution { logging: None, ..distribution() }));
    bench.sink.set_pace(Pace::Hangs);
    let begun = Instant::now();
    let mut viewer = Viewer::connect(&bench).await;
    viewer.command(1, "play", &play("long.flv")).await;
    viewer.until("NetStream.Play.Start").await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    viewer.wait(12_000).await;
    viewer.leave().await;
    assert_eq!((told(&bench.sink), bench.sink.progress_reports()), (Vec::new(), Vec::new()));
}

#[test]
fn a_name_keeps_an_extension_that_isn_t_told_beside_it() {
    for (folders, played, file_ext, logged) in [
        ("", "mp4:a/b.mp4", "mp4", "a/b"),
        ("", "a", "flv", "a"),
        ("", "mp4:a.mov", "mp4", "a.mov"),
        ("", "flv:a.FLV", "flv", "a.FLV"),
        ("", "mp4:a.mp4.mp4", "mp4", "a.mp4"),
        ("", "xmp4", "mp4", "xmp4"),
        ("folder", "mp3:b.mp3?q", "mp3", "folder/b"),
        ("mp4:folder", "b.mp4", "mp4", "folder/b"),
        ("", "folder/.mp4", "mp4", "folder/.mp4"),
        ("", "missing.mp4", "", "missing.mp4"),
        ("", "a%20b.flv", "flv", "a%20b"),
        ("", "../x", "", "../x"),
    ] {
        assert_eq!(name_of(&StreamName::parse(folders, played), file_ext), logged, "{played}");
    }
}
