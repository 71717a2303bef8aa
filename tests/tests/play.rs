//! `play`: order and content of what follows, every form of name, windows, and files that aren't there.

use std::time::{Duration, Instant};

use tests::media;
use tests::players;
use tests::standalone::shared;
use tests::wire::amf::Value;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};

fn streaming() -> Client {
    Client::streaming(shared().rtmp())
}

/// As a downloader: the server sends all it has at once.
fn downloading() -> Client {
    let mut client = streaming();
    client.set_buffer(1, 36_000_000);
    client
}

fn refused_names() -> [&'static str; 4] {
    ["nosuch", "mp4:nosuch.mp4", "mp3:nosuch", "flv:folder/nosuch"]
}

#[test]
fn s24_get_stream_length_is_the_duration_ffprobe_finds() {
    let mut client = Client::connected(shared().rtmp());
    for key in [
        "first.mp4",
        "last.mp4",
        "fragmented.mp4",
        "clip.mov",
        "clip.3gp",
        "video-only.mp4",
        "song.m4a",
        "clip.flv",
        "bare.mp3",
        "cbr.mp3",
    ] {
        let tx = client.tx();
        client.command(0, "getStreamLength", tx, &[Value::Null, media::play_name(key).as_str().into()]);
        let seconds = client.wait_answer(tx, PATIENCE).1[1].number().unwrap();
        let expected = players::duration(&media::file(key));
        assert!((seconds - expected).abs() <= 0.001, "{key}: {seconds}, ffprobe says {expected}");
    }
}

#[test]
fn s25_play_is_answered_in_fms_s_order_and_no_media_comes_earlier() {
    let mut client = streaming();
    client.skip_all();
    let from = client.cursor();
    client.play(1, "mp4:first.mp4", &[0.0]);
    client.wait("a keyframe", PATIENCE, Message::is_keyframe);
    let all = client.messages()[from..].to_vec();
    let until = all.iter().position(Message::is_keyframe).unwrap();
    let name = |m: &Message| match (m.type_id, m.status_code(), m.data()) {
        (1, ..) => "SetChunkSize".to_owned(),
        (4, ..) => format!("event {}", m.event().unwrap().0),
        (_, Some(code), _) => code,
        (_, _, Some((name, _))) => name,
        _ if m.is_header() => "header".into(),
        _ if m.is_media() => "media".into(),
        _ => format!("type {}", m.type_id),
    };
    let order: Vec<String> = all[..until].iter().map(name).filter(|n| n != "type 3").collect();
    let expected = [
        "event 4",
        "SetChunkSize",
        "event 0",
        "NetStream.Play.Reset",
        "NetStream.Play.Start",
        "|RtmpSampleAccess",
        "onStatus",
        "onMetaData",
        "header",
        "header",
    ];
    assert_eq!(order, expected);
    let at = |n: usize| &all[n];
    assert!(at(0).is_event(4, 1) && at(2).is_event(0, 1));
    assert_eq!(at(1).payload, 4096u32.to_be_bytes());
    for (n, text) in [(3, "Playing and resetting first.mp4."), (4, "Started playing first.mp4.")] {
        let status = at(n).status().unwrap();
        assert_eq!(
            (at(n).stream_id, status.field("level"), status.field("details")),
            (1, "status", "first.mp4"),
            "{status:?}"
        );
        assert_eq!(status.field("description"), text);
        assert_eq!(status.field("clientid").len(), 8, "{status:?}");
        assert_eq!(at(n).command().unwrap().tx, 0.0);
    }
    assert_eq!(at(5).data().unwrap().1, [Value::Boolean(false), Value::Boolean(false)]);
    assert_eq!(at(6).data().unwrap().1[0].field("code"), "NetStream.Data.Start");
    assert!(matches!(at(7).data().unwrap().1[0], Value::Ecma(_)));
    assert_eq!((at(8).type_id, at(9).type_id), (9, 8), "video's header, then audio's");
}

#[test]
fn s25_without_reset_there_is_no_play_reset() {
    let mut client = streaming();
    client.command(
        1,
        "play",
        0.0,
        &[Value::Null, "clip".into(), Value::Number(0.0), Value::Number(-1.0), Value::Boolean(false)],
    );
    client.wait_status("NetStream.Play.Start");
    assert!(
        client.messages().iter().all(|m| m.status_code().as_deref() != Some("NetStream.Play.Reset")),
        "{}",
        client.outline()
    );
}

#[test]
fn s26_c30_a_missing_file_with_a_start_is_stream_not_found_within_a_second() {
    for name in refused_names() {
        // Names never asked for before, so each is looked up at the origin.
        for n in 0..3 {
            let mut client = streaming();
            let begun = Instant::now();
            client.play(1, &format!("{name}{n}"), &[0.0, -1000.0]);
            let status = client.wait_status_within("NetStream.Play.StreamNotFound", Duration::from_secs(1));
            assert!(begun.elapsed() < Duration::from_secs(1), "{name}{n} took {:?}", begun.elapsed());
            let bare = format!("{}{n}", name.rsplit(':').next().unwrap());
            assert_eq!(
                (status.field("level"), status.field("details")),
                ("error", bare.as_str()),
                "{status:?}"
            );
            assert_eq!(status.field("description"), format!("Failed to play {bare}; stream not found."));
            assert!(!client.messages().iter().any(|m| m.is_event(0, 1)), "no StreamBegin before");
            client.play(1, "clip", &[0.0]);
            client.wait_status("NetStream.Play.Start");
        }
    }
}

#[test]
fn s26_a_missing_file_without_a_start_is_met_with_silence() {
    let mut all: Vec<Client> = [&[-2000.0][..], &[], &[-1000.0], &[-2.0], &[-1.0]]
        .iter()
        .map(|args| {
            let mut client = streaming();
            client.skip_all();
            client.play(1, "mp4:nosuch.mp4", args);
            client.seek(1, 0.0);
            client
        })
        .collect();
    let end = Instant::now() + Duration::from_secs(10);
    for client in &mut all {
        let left = end.saturating_duration_since(Instant::now());
        let status = client.try_wait(left, |m| m.status().is_some() || m.is_media());
        assert!(status.is_none(), "{}", status.unwrap());
        assert!(!client.is_closed());
    }
}

#[test]
fn s26_rtmp2src_s_minus_two_with_transaction_zero_plays_a_file_that_is_there() {
    let mut client = streaming();
    client.play(1, "first.mp4", &[-2.0]);
    client.wait_status("NetStream.Play.Start");
    client.wait("pictures", PATIENCE, Message::is_picture);
}

#[test]
fn live_only_waits_in_silence_even_for_a_file_that_is_there() {
    let mut client = streaming();
    client.skip_all();
    client.play(1, "mp4:first.mp4", &[-1000.0]);
    assert!(
        client
            .try_wait(Duration::from_secs(2), |m| m.is_media()
                || m.status().is_some_and(|s| s.field("level") == "error"))
            .is_none()
    );
}

#[test]
fn s27_length_zero_is_exactly_one_picture() {
    for name in ["mp4:first.mp4", "clip"] {
        let mut client = downloading();
        client.play(1, name, &[3000.0, 0.0]);
        client.wait_status("NetStream.Play.Stop");
        let pictures = client.messages().iter().filter(|m| m.is_picture()).count();
        assert_eq!(pictures, 1, "{name}: {}", client.outline());
    }
}

#[test]
fn s27_a_length_ends_at_start_plus_length_with_the_end_sequence() {
    for name in ["mp4:minute.mp4", "minute"] {
        let mut client = downloading();
        client.play(1, name, &[20_000.0, 10_000.0]);
        client.wait_status("NetStream.Play.Stop");
        let all = client.messages();
        let last = all.iter().filter(|m| m.is_media()).map(|m| m.timestamp).max().unwrap();
        assert!((9_900..=10_050).contains(&last), "{name} ends at {last}");
        ends_as_fms_does(&all);
    }
}

/// onPlayStatus Complete with the final timestamp, StreamEOF, Play.Stop; nothing between them.
fn ends_as_fms_does(all: &[Message]) {
    let stop = all.iter().position(|m| m.status_code().as_deref() == Some("NetStream.Play.Stop")).unwrap();
    let tail: Vec<&Message> =
        all[..=stop].iter().filter(|m| m.type_id != 3 && m.event().is_none_or(|(n, _)| n <= 4)).collect();
    let [.., complete, eof, stop] = &tail[..] else { panic!("too short an end") };
    let (name, values) = complete.data().unwrap_or_else(|| panic!("{complete} instead of onPlayStatus"));
    assert_eq!(name, "onPlayStatus");
    let info = values.last().unwrap();
    assert_eq!(info.keys(), ["code", "level", "duration", "bytes"], "the keys' order");
    assert_eq!((info.field("code"), info.field("level")), ("NetStream.Play.Complete", "status"));
    assert!(info.get("duration").and_then(Value::number).is_some_and(|d| d > 0.0), "{info:?}");
    assert!(info.get("bytes").and_then(Value::number).is_some_and(|d| d > 0.0), "{info:?}");
    assert!(eof.is_event(1, 1), "{eof}");
    let status = stop.status().unwrap();
    assert!(status.field("description").starts_with("Stopped playing "), "{status:?}");
    assert_eq!(status.get("reason"), Some(&Value::String(String::new())), "{status:?}");
}

#[test]
fn t8_a_whole_play_ends_with_complete_end_of_stream_and_stop() {
    for name in ["mp4:first.mp4", "clip", "mp3:bare", "mp4:song.m4a", "sorenson"] {
        let mut client = downloading();
        client.play(1, name, &[0.0]);
        client.wait_status("NetStream.Play.Stop");
        ends_as_fms_does(&client.messages());
    }
}

#[test]
fn s28_after_play_with_a_start_time_begins_at_zero_with_the_headers_first() {
    for name in ["mp4:minute.mp4", "minute"] {
        let mut client = downloading();
        client.play(1, name, &[21_000.0]);
        client.wait_status("NetStream.Play.Stop");
        // An AVC end-of-sequence tag bears the time its file gave it.
        let counted = |m: &Message| m.is_picture() || m.is_header() || m.type_id == 8;
        let media: Vec<Message> = client.messages().into_iter().filter(counted).collect();
        assert!(media[0].is_header() && media[1].is_header(), "{name}: {} {}", media[0], media[1]);
        assert!(media.iter().find(|m| m.type_id == 9 && !m.is_header()).unwrap().is_keyframe());
        assert_eq!(media[0].timestamp, 0, "{name}");
        assert_eq!(media[2].timestamp, 0, "{name}");
        let back = media.windows(2).find(|w| w[0].timestamp > w[1].timestamp);
        assert!(back.is_none(), "{name}: times go backwards: {} then {}", back.unwrap()[0], back.unwrap()[1]);
        let last = media.last().unwrap().timestamp;
        assert!((38_800..=39_100).contains(&last), "{name} ends at {last}");
    }
}

#[test]
fn s30_on_meta_data_is_the_same_bytes_for_every_play_and_seek() {
    for name in
        ["mp4:minute.mp4", "minute", "mp4:fragmented.mp4", "no-index", "mp3:vbr", "mp4:song.m4a", "sorenson"]
    {
        let mut seen = Vec::new();
        for start in [0.0, 3000.0, 7000.0] {
            let mut client = streaming();
            client.play(1, name, &[start]);
            client.wait_status("NetStream.Play.Start");
            seen.push(client.wait("onMetaData", PATIENCE, |m| m.is_data("onMetaData")));
            client.seek(1, 1000.0);
            client.wait_status("NetStream.Seek.Notify");
            seen.push(client.wait("onMetaData after seek", PATIENCE, |m| m.is_data("onMetaData")));
        }
        let values = seen[0].data().unwrap().1;
        assert!(matches!(values[0], Value::Ecma(_)), "{name}: {values:?}");
        assert!(
            values[0].get("duration").and_then(Value::number).is_some_and(|d| d > 9.0 && d < 61.0),
            "t8, {name}: {values:?}"
        );
        assert!(seen.iter().all(|m| m.payload == seen[0].payload), "{name}: {seen:#?}");
    }
}

#[test]
fn t9_audiodelay_of_an_flv_passes_through() {
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::read(media::file("clip.flv")).unwrap();
    // The script tag grows by one property, named first.
    let at = file.windows(10).position(|w| w == b"onMetaData").unwrap() + 10;
    let extra = [&[0, 10][..], b"audiodelay", &[0], &0.25f64.to_be_bytes()].concat();
    let size = u32::from_be_bytes([0, file[14], file[15], file[16]]) + extra.len() as u32;
    let end = 13 + 11 + size as usize;
    let mut made = [&file[..at + 5], &extra, &file[at + 5..]].concat();
    made[14..17].copy_from_slice(&size.to_be_bytes()[1..]);
    made[end..end + 4].copy_from_slice(&(size + 11).to_be_bytes());
    std::fs::write(folder.path().join("delayed.flv"), made).unwrap();
    let server = tests::standalone::Standalone::over(folder.path());
    let mut client = Client::streaming(server.rtmp());
    client.play(1, "delayed", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    let messages = client.messages();
    let (name, values) =
        messages.iter().find_map(|m| m.data().filter(|(name, _)| name == "onMetaData")).unwrap();
    assert_eq!(values[0].get("audiodelay"), Some(&Value::Number(0.25)), "{name} {values:?}");
}

#[test]
fn t11_signed_and_shortened_names_of_jw_resolve() {
    for name in
        ["clip.flv?Expires=1&Signature=a-b_c~&Key-Pair-Id=APKA", "clip?x=.mp3", "cbr", "mp3:cbr", "song.m4a"]
    {
        let mut client = Client::streaming(shared().rtmp());
        client.play(1, name, &[0.0]);
        client.wait_status("NetStream.Play.Start");
        client.wait("media", PATIENCE, Message::is_media);
    }
}

#[test]
fn t14_native_rtmp_plays_on_every_listener() {
    let listen = vec!["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()];
    let server =
        tests::standalone::Standalone::with(tests::standalone::Options { listen, ..Default::default() });
    let addresses = server.ready["rtmp"].as_array().unwrap();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        let mut client = Client::streaming(address.as_str().unwrap());
        client.play(1, "clip", &[0.0]);
        client.wait("pictures", PATIENCE, Message::is_picture);
    }
}

#[test]
fn t9_audiodelay_is_not_invented_for_mp4() {
    let mut client = streaming();
    client.play(1, "mp4:first.mp4", &[0.0]);
    let data = client.wait("onMetaData", PATIENCE, |m| m.is_data("onMetaData")).data().unwrap().1;
    assert!(data[0].get("audiodelay").is_none(), "{data:?}");
}

/// What a play of `name` under `app` brings: the size of the first picture or sound, or the error's code.
fn first_media(app: &str, name: &str) -> Result<Vec<u8>, String> {
    let mut client = Client::open(shared().rtmp());
    client.connect(app, &format!("rtmp://{}/{app}", shared().rtmp()), &[]);
    let (answer, args) = client.wait_answer(1.0, PATIENCE);
    if answer != "_result" {
        return Err(args[1].field("description").to_owned());
    }
    client.create_stream();
    client.play(1, name, &[0.0]);
    let found = client.wait(name, PATIENCE, |m| {
        (m.is_media() && !m.is_header()) || m.status().is_some_and(|s| s.field("level") == "error")
    });
    match found.status() {
        Some(status) => Err(status.field("code").to_owned()),
        None => Ok(found.payload),
    }
}

#[test]
fn s39_c22_c23_c24_every_form_of_name_finds_its_file() {
    let same = |reference: (&str, &str), others: &[(&str, &str)]| {
        let expected = first_media(reference.0, reference.1).unwrap_or_else(|e| panic!("{reference:?}: {e}"));
        for (app, name) in others {
            let got = first_media(app, name);
            assert_eq!(got.as_ref(), Ok(&expected), "{app} {name} is not {reference:?}");
        }
    };
    same(
        ("cfx/st", "clip.flv"),
        &[
            ("cfx/st", "clip"),
            ("cfx/st", "flv:clip"),
            ("cfx/st", "flv:clip.flv"),
            ("cfx/st", "clip?x=y"),
            ("cfx/st", "clip.flv?Expires=1&Signature=a&Key-Pair-Id=b"),
        ],
    );
    same(
        ("cfx/st", "mp4:first.mp4"),
        &[
            ("cfx/st", "mp4:first"),
            ("cfx/st", "first.mp4"),
            ("cfx/st", "mp4:first.mp4?x=y"),
            ("cfx/st", "mp4:first?x=y"),
            ("cfx/st", "first"),
        ],
    );
    same(("cfx/st", "mp4:clip.f4v"), &[("cfx/st", "clip.f4v")]);
    same(("cfx/st", "mp4:song.m4a"), &[("cfx/st", "mp4:song")]);
    same(("cfx/st", "mp4:renamed.aac"), &[("cfx/st", "mp4:renamed")]);
    same(
        ("cfx/st", "mp3:bare"),
        &[
            ("cfx/st", "mp3:bare.mp3"),
            ("cfx/st", "bare.mp3"),
            ("cfx/st", "bare"),
            ("cfx/st", "mp3:XXX"),
            ("cfx/st", "XXX"),
        ],
    );
    same(("cfx/st", "v1.5.flv"), &[("cfx/st", "v1.5"), ("cfx/st", "flv:v1.5")]);
    same(
        ("cfx/st", "mp4:folder/deeper/inside.mp4"),
        &[
            ("cfx/st", "mp4:folder/deeper/inside"),
            ("cfx/st", "folder/deeper/inside.mp4"),
            ("cfx/st/folder", "mp4:deeper/inside"),
            ("cfx/st/folder/", "mp4:deeper/inside.mp4"),
            ("cfx/st/folder/deeper", "inside.mp4"),
            ("cfx/st/folder/deeper", "mp4:inside"),
            ("cfx/st/_definst_", "mp4:folder/deeper/inside.mp4"),
            ("cfx/st/_definst_/folder", "mp4:deeper/inside.mp4"),
            ("cfx/st/mp4:folder/deeper", "inside.mp4"),
            ("cfx/st/mp4:folder", "deeper/inside"),
        ],
    );
    same(("cfx/st", "mp4:a/b/x.mp4"), &[("cfx/st/a", "mp4:b/x"), ("cfx/st/a", "mp4:b/mp4:x")]);
    same(
        ("cfx/st", "folder/inside.flv"),
        &[("cfx/st", "folder/inside"), ("cfx/st/folder", "inside"), ("cfx/st", "flv:folder/inside")],
    );
    same(
        ("cfx/st", "mp3:folder/inside"),
        &[("cfx/st", "mp3:folder/inside.mp3"), ("cfx/st/folder", "mp3:inside")],
    );
    same(
        ("cfx/st", "mp4:with space/two.dots in.name.mp4"),
        &[
            ("cfx/st", "mp4:with space/two.dots in.name"),
            ("cfx/st", "mp4:with%20space/two.dots%20in.name.mp4"),
        ],
    );
}

#[test]
fn s39_no_name_leaves_the_bucket() {
    for name in [
        "../../../etc/passwd",
        "mp4:../../etc/passwd",
        "/etc/passwd",
        "mp4:/etc/passwd",
        "folder/../../x",
        "..",
        "clip\0.flv",
        "mp4:%2e%2e/%2e%2e/etc/passwd",
        "folder/..\\..\\x",
        "mp4:..",
        "flv:../clip",
    ] {
        let got = first_media("cfx/st", name);
        assert!(
            matches!(got.as_deref(), Err(code) if code == "NetStream.Play.StreamNotFound" || code == "NetStream.Failed"),
            "{name:?}: {got:?}"
        );
    }
}

#[test]
fn t13_a_new_stream_on_the_same_connection_takes_up_where_an_old_one_stopped() {
    let mut client = streaming();
    client.play(1, "minute", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    client.pause(1, true, 500.0);
    client.pause(1, false, 500.0);
    client.command(0, "deleteStream", 0.0, &[Value::Null, Value::Number(1.0)]);
    let id = client.create_stream();
    client.skip_all();
    client.play(id, "minute", &[5000.0]);
    client.wait_status("NetStream.Play.Start");
    client.wait("pictures", PATIENCE, |m| m.is_picture() && m.stream_id == id);
    assert_eq!(client.broken(), None);
}

#[test]
fn close_stream_stops_and_the_stream_can_play_again() {
    let mut client = streaming();
    client.play(1, "minute", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    client.command(1, "closeStream", 0.0, &[Value::Null]);
    client.wait("StreamEOF", PATIENCE, |m| m.is_event(1, 1));
    assert!(client.try_wait(Duration::from_secs(1), Message::is_media).is_none());
    client.play(1, "clip", &[0.0]);
    client.wait_status("NetStream.Play.Start");
    client.wait("pictures", PATIENCE, Message::is_picture);
}

#[test]
fn play_with_an_empty_name_or_false_stops() {
    for name in [Value::String(String::new()), Value::Boolean(false)] {
        let mut client = streaming();
        client.play(1, "minute", &[0.0]);
        client.wait("pictures", PATIENCE, Message::is_picture);
        client.command(1, "play", 0.0, &[Value::Null, name]);
        client.wait("StreamEOF", PATIENCE, |m| m.is_event(1, 1));
        assert!(client.try_wait(Duration::from_secs(1), Message::is_media).is_none());
    }
}
