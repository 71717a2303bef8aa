//! Dynamic streaming: `play2` on the wire, and what its recording is worth.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tests::players;
use tests::standalone::{Options, Standalone};
use tests::wire::amf::{self, Value};
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};

/// One film of 40 s in several files, of different sizes and keyframes; and others.
fn films() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = tests::own_folder();
        let ffmpeg = |text: String, name: &str| {
            let done = Command::new("ffmpeg")
                .args("-nostdin -v error -y".split(' '))
                .args(text.split_whitespace())
                .arg(folder.join(name))
                .status()
                .unwrap();
            assert!(done.success(), "{name}");
        };
        let film = |size: &str, gop: u32, seconds: u32| {
            format!(
                "-f lavfi -i testsrc2=size={size}:rate=25:duration={seconds} -f lavfi -i sine=440:d={seconds} \
                 -c:v libx264 -preset ultrafast -profile:v main -pix_fmt yuv420p -g {gop} -keyint_min {gop} -sc_threshold 0 \
                 -bf 2 -c:a aac -b:a 64k -fflags +bitexact"
            )
        };
        ffmpeg(film("160x90", 50, 40), "low.mp4");
        ffmpeg(film("320x180", 25, 40) + " -movflags +faststart", "high.mp4");
        ffmpeg(film("240x136", 75, 40), "middle.flv");
        ffmpeg(film("160x90", 50, 6), "short.mp4");
        ffmpeg("-f lavfi -i sine=440:d=40 -c:a aac -b:a 64k".into(), "sound.m4a");
        std::fs::write(folder.join("broken.mp4"), "no film at all").unwrap();
        folder
    })
}

fn server() -> &'static Standalone {
    static SERVER: OnceLock<Standalone> = OnceLock::new();
    SERVER.get_or_init(|| Standalone::over(films()))
}

/// Plays with a buffer of 1 s and waits for pictures of the second second.
fn playing(name: &str) -> Client {
    let mut client = Client::streaming(server().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, name, &[0.0]);
    client.wait_status("NetStream.Play.Start");
    client.wait("media past 1 s", PATIENCE, |m| m.is_media() && m.timestamp >= 1000);
    client
}

fn object(fields: &[(&str, Value)]) -> Value {
    Value::Object(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn play2(client: &mut Client, fields: &[(&str, Value)]) {
    client.command(1, "play2", 0.0, &[Value::Null, object(fields)]);
}

/// As JW Player does it: nothing but the name and the word.
fn switch(client: &mut Client, name: &str) {
    play2(client, &[("streamName", name.into()), ("transition", "switch".into())]);
}

fn status_of(m: &Message) -> Option<String> {
    m.status_code().or_else(|| {
        let (name, values) = m.data()?;
        (name == "onPlayStatus").then(|| values[0].field("code").to_owned())
    })
}

/// The onPlayStatus of that code.
fn wait_play_status(client: &mut Client, code: &str) -> (Message, Value) {
    let found = client
        .wait(code, Duration::from_secs(20), |m| m.type_id == 18 && status_of(m).as_deref() == Some(code));
    let info = found.data().unwrap().1[0].clone();
    (found, info)
}

fn codes(client: &Client) -> Vec<String> {
    let all = client.messages();
    let codes = all.iter().filter_map(status_of).filter(|code| code.starts_with("NetStream.Play."));
    codes.map(|code| code["NetStream.Play.".len()..].to_owned()).collect()
}

/// Everything of one stream that can be recorded, as an FLV file.
fn record(client: &Client, to: &std::path::Path) {
    let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    for m in client.messages().into_iter().filter(|m| m.is_media() || m.is_data("onMetaData")) {
        let (len, time) = ((m.payload.len() as u32).to_be_bytes(), m.timestamp.to_be_bytes());
        file.extend([m.type_id, len[1], len[2], len[3], time[1], time[2], time[3], time[0], 0, 0, 0]);
        file.extend(&m.payload);
        file.extend((m.payload.len() as u32 + 11).to_be_bytes());
    }
    std::fs::write(to, file).unwrap();
}

/// Times go up, each picture after a header is a keyframe, and ffmpeg decodes all of it without a word.
fn is_one_film(client: &Client, headers: usize) {
    let all: Vec<Message> = client.messages().into_iter().filter(Message::is_media).collect();
    for kind in [8, 9] {
        let times: Vec<u32> = all.iter().filter(|m| m.type_id == kind).map(|m| m.timestamp).collect();
        let back = times.windows(2).find(|pair| pair[1] < pair[0]);
        assert!(back.is_none(), "type {kind}: {back:?}\n{}", client.outline());
        let hole = times.windows(2).find(|pair| pair[1] - pair[0] > 130);
        assert!(hole.is_none(), "type {kind}: {hole:?}");
    }
    let found: Vec<usize> = (0..all.len()).filter(|i| all[*i].type_id == 9 && all[*i].is_header()).collect();
    assert_eq!(found.len(), headers, "headers of pictures\n{}", client.outline());
    for at in found {
        let first = all[at..].iter().find(|m| m.is_picture()).expect("a picture after its header");
        assert!(first.is_keyframe(), "{first}");
    }
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("recording.flv");
    record(client, &to);
    let decode = ["-nostdin", "-v", "error", "-xerror", "-i", to.to_str().unwrap(), "-f", "null", "-"];
    let done = players::run(60, "ffmpeg", &decode);
    // A file cut between its B-frames may show its last picture when the new keyframe is due: nothing a decoder minds.
    let told = done.stderr.lines().find(|line| !line.contains("non monotonically increasing dts to muxer"));
    assert!(done.code == 0 && told.is_none(), "{done:?}");
}

/// Size of the pictures that a header announces, by its bytes.
fn header(client: &Client, n: usize) -> Vec<u8> {
    let headers: Vec<Message> =
        client.messages().into_iter().filter(|m| m.type_id == 9 && m.is_header()).collect();
    headers[n].payload.clone()
}

#[test]
fn s38_a_switch_changes_files_on_a_keyframe_with_headers_and_time_goes_on() {
    for (from, to) in [("mp4:low.mp4", "mp4:high.mp4"), ("mp4:high", "middle"), ("middle", "mp4:low")] {
        let mut client = playing(from);
        let bare = to.trim_start_matches("mp4:");
        switch(&mut client, to);
        let announced = client.wait_status("NetStream.Play.Transition");
        assert_eq!(
            (announced.field("level"), announced.field("details"), announced.field("reason")),
            ("status", bare, "NetStream.Transition.Success"),
            "{announced:?}"
        );
        let at = client.cursor();
        let (complete, info) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
        assert_eq!(info.keys(), ["code", "level", "details", "duration", "bytes"]);
        assert_eq!((info.field("level"), info.field("details")), ("status", bare));
        let number = |key: &str| info.get(key).and_then(Value::number).unwrap();
        assert!((39.9..40.2).contains(&number("duration")) && number("bytes") > 1000.0, "{info:?}");
        // The old file goes on until the place of the switch, which is past where the viewer is by 3 s.
        let all = client.messages();
        let old = all[at..].iter().filter(|m| m.is_picture()).take_while(|m| !m.is_keyframe()).count();
        assert!(old > 0, "{from}: nothing of the old file after Transition\n{}", client.outline());
        assert!(complete.timestamp >= 3000, "{from}: at {}", complete.timestamp);
        client.wait("media of the new file", PATIENCE, |m| {
            m.is_picture() && m.timestamp >= complete.timestamp + 1500
        });
        assert_eq!(codes(&client), ["Reset", "Start", "Transition", "TransitionComplete"], "{from}");
        assert_ne!(header(&client, 0), header(&client, 1), "{from}: a new header");
        assert_eq!(client.broken(), None);
        is_one_film(&client, 2);
    }
}

#[test]
fn s38_up_and_down_again_while_it_plays() {
    let mut client = playing("mp4:low.mp4");
    for (n, name) in ["middle", "mp4:high.mp4", "mp4:low.mp4"].iter().enumerate() {
        switch(&mut client, name);
        client.wait_status("NetStream.Play.Transition");
        // As JW does when its buffer fills and empties.
        client.set_buffer(1, [4000, 1000, 2000][n]);
        wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    }
    client.skip_all();
    client.wait("media goes on", PATIENCE, Message::is_picture);
    is_one_film(&client, 4);
    assert_eq!(header(&client, 0), header(&client, 3));
}

#[test]
fn s38_what_can_t_be_switched_to_leaves_the_old_stream_running() {
    let forms: [&[(&str, Value)]; 6] = [
        &[("streamName", "mp4:nosuch.mp4".into()), ("transition", "switch".into())],
        &[("streamName", "mp4:broken.mp4".into()), ("transition", "switch".into())],
        &[("streamName", "mp4:short.mp4".into()), ("transition", "switch".into()), ("offset", 20.0.into())],
        &[("streamName", "mp4:high.mp4".into()), ("transition", "leap".into())],
        &[("streamName", "mp4:high.mp4".into()), ("transition", "switch".into()), ("offset", 0.0.into())],
        &[("transition", "switch".into())],
    ];
    for fields in forms {
        let mut client = playing("mp4:low.mp4");
        // Two seconds are sent ahead: the viewer is past the offset of 0.
        client.wait("media past 3 s", PATIENCE, |m| m.is_media() && m.timestamp >= 3000);
        play2(&mut client, fields);
        let status = client.wait_status("NetStream.Play.Failed");
        assert_eq!(status.field("level"), "error", "{fields:?}");
        client.skip_all();
        let next = client.wait("the old film goes on", PATIENCE, Message::is_picture);
        client.wait("and on", PATIENCE, |m| m.is_picture() && m.timestamp >= next.timestamp + 1500);
        assert_eq!(codes(&client), ["Reset", "Start", "Failed"], "{fields:?}");
        is_one_film(&client, 1);
    }
}

#[test]
fn s38_an_offset_says_where_in_seconds_or_milliseconds() {
    for offset in [9.5, 9500.0] {
        let mut client = playing("mp4:low.mp4");
        play2(
            &mut client,
            &[
                ("streamName", "mp4:high.mp4".into()),
                ("oldStreamName", "mp4:low.mp4".into()),
                ("start", (-2.0).into()),
                ("len", (-1.0).into()),
                ("offset", offset.into()),
                ("transition", "switch".into()),
            ],
        );
        client.wait_status("NetStream.Play.Transition");
        let (complete, _) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
        // Keyframes of the new file stand a second apart; its first frame is decoded a little before it is shown.
        assert!((9_500..10_600).contains(&complete.timestamp), "{offset}: {}", complete.timestamp);
        is_one_film(&client, 2);
    }
}

#[test]
fn s38_a_newer_switch_replaces_one_that_waits() {
    let mut client = playing("mp4:low.mp4");
    play2(
        &mut client,
        &[("streamName", "middle".into()), ("transition", "switch".into()), ("offset", 30.0.into())],
    );
    client.wait_status("NetStream.Play.Transition");
    switch(&mut client, "mp4:high.mp4");
    let (complete, info) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    assert_eq!(info.field("details"), "high.mp4");
    assert!(complete.timestamp < 15_000, "{}", complete.timestamp);
    is_one_film(&client, 2);
}

#[test]
fn s38_options_may_be_an_amf3_object_or_single_values() {
    // Type 17: a zero, AMF0 values, and an AMF3 object of no class with dynamic members.
    let text = |s: &str| [&[((s.len() as u8) << 1) | 1][..], s.as_bytes()].concat();
    let member = |name: &str, value: &str| [text(name), vec![6], text(value)].concat();
    let mut amf3 = [&[0][..], &amf::command("play2", 0.0, &[Value::Null]), &[0x11, 0x0a, 0x0b, 1]].concat();
    amf3.extend(member("streamName", "mp4:high.mp4"));
    amf3.extend(member("transition", "switch"));
    amf3.extend([text("offset"), vec![5], (-1.0f64).to_be_bytes().to_vec(), vec![1]].concat());
    let mut client = playing("mp4:low.mp4");
    client.send(8, 17, 1, &amf3);
    client.wait_status("NetStream.Play.Transition");
    wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    client.command(
        1,
        "play2",
        0.0,
        &[
            Value::Null,
            "middle".into(),
            "mp4:high.mp4".into(),
            Value::Number(-2.0),
            Value::Number(-1.0),
            Value::Number(-1.0),
            "switch".into(),
        ],
    );
    client.wait_status("NetStream.Play.Transition");
    let (_, info) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    assert_eq!(info.field("details"), "middle");
    is_one_film(&client, 3);
}

#[test]
fn s38_a_seek_during_a_switch_moves_it_and_one_after_it_is_in_the_new_file() {
    let mut client = playing("mp4:low.mp4");
    switch(&mut client, "mp4:high.mp4");
    client.wait_status("NetStream.Play.Transition");
    client.seek(1, 20_000.0);
    client.wait_status("NetStream.Seek.Notify");
    let first = client.wait("a picture", PATIENCE, Message::is_picture);
    assert!(first.is_keyframe() && (17_900..=20_000).contains(&first.timestamp), "{first}");
    let (complete, _) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    assert!((23_000..26_000).contains(&complete.timestamp), "{}", complete.timestamp);
    client.seek(1, 10_900.0);
    client.wait_status("NetStream.Seek.Notify");
    let first = client.wait("a picture", PATIENCE, Message::is_picture);
    // Only the new file has a keyframe each second.
    assert!(first.is_keyframe() && (9_900..=10_900).contains(&first.timestamp), "{first}");
    assert_eq!(header(&client, 3), header(&client, 2));
    assert_eq!(codes(&client).iter().filter(|code| *code == "Transition").count(), 1);
}

#[test]
fn s38_a_switch_while_paused_takes_place_after_the_unpause() {
    let mut client = playing("mp4:low.mp4");
    client.pause(1, true, 1500.0);
    client.wait_status("NetStream.Pause.Notify");
    switch(&mut client, "mp4:high.mp4");
    client.wait_status("NetStream.Play.Transition");
    let late = client.try_wait(Duration::from_secs(1), Message::is_media);
    assert!(late.is_none(), "{} while paused", late.unwrap());
    client.pause(1, false, 1500.0);
    client.wait_status("NetStream.Unpause.Notify");
    let (complete, _) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    assert!((4_400..8_000).contains(&complete.timestamp), "{}", complete.timestamp);
}

#[test]
fn s38_near_the_end_the_switch_completes_before_the_end_is_said() {
    let mut client = Client::streaming(server().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "mp4:low.mp4", &[37_000.0]);
    client.wait("media", PATIENCE, Message::is_picture);
    switch(&mut client, "mp4:high.mp4");
    client.wait_status("NetStream.Play.Transition");
    client.wait_status("NetStream.Play.Stop");
    let said = codes(&client);
    assert_eq!(said, ["Reset", "Start", "Transition", "TransitionComplete", "Complete", "Stop"]);
    client.seek(1, 0.0);
    client.wait_status("NetStream.Seek.Notify");
    client.wait("pictures again", PATIENCE, Message::is_picture);
}

#[test]
fn s38_between_sound_and_pictures_and_back() {
    let mut client = playing("mp4:low.mp4");
    switch(&mut client, "mp4:sound.m4a");
    let (complete, _) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    client.wait("sound goes on", PATIENCE, |m| m.type_id == 8 && m.timestamp > complete.timestamp + 1000);
    switch(&mut client, "mp4:high.mp4");
    let (complete, _) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    let all = client.messages();
    let first = all.iter().filter(|m| m.is_picture()).find(|m| m.timestamp >= complete.timestamp).unwrap();
    assert!(first.is_keyframe(), "{first}");
    let sounds: Vec<u32> =
        all.iter().filter(|m| m.type_id == 8 && !m.is_header()).map(|m| m.timestamp).collect();
    assert!(sounds.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] - pair[0] < 130), "{sounds:?}");
}

#[test]
fn s38_switches_right_behind_play_and_in_a_storm_end_in_the_last_one() {
    let mut client = Client::streaming(server().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "mp4:low.mp4", &[0.0]);
    for n in 0..200 {
        switch(&mut client, ["middle", "mp4:nosuch.mp4", "mp4:high.mp4"][n % 3]);
    }
    switch(&mut client, "mp4:high.mp4");
    client.wait_status("NetStream.Play.Start");
    let (_, info) = wait_play_status(&mut client, "NetStream.Play.TransitionComplete");
    assert_eq!(info.field("details"), "high.mp4");
    is_one_film(&client, 2);
}

#[test]
fn s38_a_switch_right_behind_a_play_of_a_name_that_is_missing_plays() {
    let mut client = Client::streaming(server().rtmp());
    // Live or recorded: a missing name is waited for in silence. The switch must not be lost, however soon it comes.
    client.play(1, "mp4:nosuch.mp4", &[]);
    switch(&mut client, "mp4:high.mp4");
    let start = client.wait_status("NetStream.Play.Start");
    assert_eq!(start.field("details"), "high.mp4");
    client.wait("media", PATIENCE, Message::is_picture);
}

#[test]
fn s38_with_nothing_playing_there_is_nothing_to_switch() {
    let mut client = Client::streaming(server().rtmp());
    switch(&mut client, "mp4:high.mp4");
    client.wait_status("NetStream.Play.Failed");
    play2(
        &mut client,
        &[("streamName", "mp4:low.mp4".into()), ("transition", "reset".into()), ("start", 5.0.into())],
    );
    client.wait_status("NetStream.Play.Reset");
    client.wait_status("NetStream.Play.Start");
    let last = client.wait("media", PATIENCE, Message::is_picture);
    assert_eq!(last.timestamp, 0);
}

#[test]
fn s38_stop_and_resume() {
    let mut client = playing("mp4:low.mp4");
    play2(&mut client, &[("transition", "stop".into())]);
    client.wait_status("NetStream.Play.Stop");
    assert!(client.try_wait(Duration::from_secs(1), Message::is_media).is_none(), "media after stop");
    client.skip_all();
    play2(
        &mut client,
        &[("streamName", "mp4:low.mp4".into()), ("transition", "resume".into()), ("start", 12.0.into())],
    );
    client.wait_status("NetStream.Play.Start");
    let first = client.wait("a picture", PATIENCE, Message::is_picture);
    assert!((9_900..=12_000).contains(&first.timestamp), "times are the film's own: {first}");
    assert_eq!(codes(&client), ["Reset", "Start", "Stop", "Start"], "no Reset");
}

#[test]
fn s38_swap_puts_another_film_in_the_place_of_one() {
    // Of the one that plays: once that is open.
    let mut client = playing("mp4:low.mp4");
    play2(
        &mut client,
        &[
            ("streamName", "mp4:nosuch".into()),
            ("oldStreamName", "mp4:low".into()),
            ("transition", "swap".into()),
        ],
    );
    client.wait_status("NetStream.Play.Failed");
    play2(
        &mut client,
        &[
            ("streamName", "mp4:short".into()),
            ("oldStreamName", "mp4:low".into()),
            ("transition", "swap".into()),
        ],
    );
    client.wait_status("NetStream.Play.Transition");
    client.wait_status("NetStream.Play.Start");
    client.wait("pictures", PATIENCE, Message::is_picture);
    assert_eq!(codes(&client), ["Reset", "Start", "Failed", "Transition", "Start"]);
    // Of one in the playlist.
    let mut client = Client::streaming(server().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "mp4:short", &[0.0, 5000.0]);
    let append = |name: &str| {
        [
            ("streamName", name.into()),
            ("transition", "append".into()),
            ("start", Value::Number(0.0)),
            ("len", Value::Number(1.0)),
        ]
    };
    play2(&mut client, &append("mp4:nosuch1"));
    play2(
        &mut client,
        &[
            ("streamName", "mp4:high".into()),
            ("oldStreamName", "mp4:nosuch2".into()),
            ("transition", "swap".into()),
        ],
    );
    client.wait_status("NetStream.Play.Failed");
    play2(
        &mut client,
        &[
            ("streamName", "mp4:high".into()),
            ("oldStreamName", "mp4:nosuch1".into()),
            ("transition", "swap".into()),
            ("len", 1.0.into()),
            ("start", 0.0.into()),
        ],
    );
    client.wait_status("NetStream.Play.Transition");
    wait_play_status(&mut client, "NetStream.Play.Switch");
    let start = client.wait_status("NetStream.Play.Start");
    assert_eq!(start.field("details"), "high");
    client.wait_status("NetStream.Play.Stop");
}

#[test]
fn a_viewer_whose_line_is_too_slow_is_told_so_and_others_are_not() {
    let config = "edge:\n  insufficient_bandwidth_ms: 1000\n".to_owned();
    let server = Standalone::with(Options {
        media: Some(films().clone()),
        config: Some(config),
        ..Default::default()
    });
    let film = tests::viewer::Film::noise(7, 30, 2000);
    film.put(films(), "noise");
    let link = tests::link::Link::start(server.rtmp());
    let mut slow = Client::open(link.addr());
    slow.connect("cfx/st", &format!("rtmp://{}/cfx/st", server.rtmp()), &[]);
    assert_eq!(slow.wait_answer(1.0, PATIENCE).0, "_result");
    slow.create_stream();
    // The relay holds what the kernel gives it; the film brings 250 KB a second.
    link.set_rate(60_000);
    slow.set_buffer(1, 1000);
    slow.play(1, "noise", &[0.0]);
    let mut paused = Client::streaming(server.rtmp());
    paused.set_buffer(1, 1000);
    paused.play(1, "noise", &[0.0]);
    paused.wait("pictures", PATIENCE, Message::is_picture);
    paused.pause(1, true, 500.0);
    let mut fast = Client::streaming(server.rtmp());
    fast.set_buffer(1, 1000);
    fast.play(1, "noise", &[0.0]);
    let status = |m: &Message| m.status_code().as_deref() == Some("NetStream.Play.InsufficientBW");
    // It travels behind what is queued, so it is looked for in the server's figures too.
    tests::eventually("a warning", Duration::from_secs(60), || {
        (server.metric("penstock_edge_insufficient_bandwidth_total") >= 1.0).then_some(())
    });
    link.set_rate(0);
    let warning = slow.wait("the warning", Duration::from_secs(60), status).status().unwrap();
    assert_eq!((warning.field("level"), warning.field("details")), ("warning", "noise"), "{warning:?}");
    for client in [&paused, &fast] {
        assert!(!client.messages().iter().any(status), "{}", client.outline());
    }
}
