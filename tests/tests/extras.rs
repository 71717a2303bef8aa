//! What FMS sends beside pictures and sound: ID3 tags, text tracks, chapters and tags, sample access; and media gathered into aggregates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tests::standalone::{Options, Standalone, shared};
use tests::wire::amf::Value;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{flv, media, own_folder, packets, players};

fn downloading(addr: &str) -> Client {
    let mut client = Client::streaming(addr);
    client.set_buffer(1, 36_000_000);
    client
}

fn finished(client: &mut Client) -> Vec<Message> {
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(30));
    client.messages()
}

// --- id3: ----------------------------------------------------------------------------------------------------------------

#[test]
fn s39_id3_names_give_the_tags_and_the_end() {
    for name in ["id3:cbr", "id3:cbr.mp3", "ID3:cbr"] {
        let mut client = downloading(shared().rtmp());
        client.play(1, name, &[0.0]);
        let all = finished(&mut client);
        let at = |what: &str, fits: &dyn Fn(&Message) -> bool| {
            all.iter().position(fits).unwrap_or_else(|| panic!("{name}: no {what}\n{}", client.outline()))
        };
        let tags = at("onId3", &|m| m.is_data("onId3"));
        let order = [
            at("Play.Start", &|m| m.status_code().as_deref() == Some("NetStream.Play.Start")),
            tags,
            at("Play.Complete", &|m| m.is_data("onPlayStatus")),
            at("StreamEOF", &|m| m.is_event(1, 1)),
            at("Play.Stop", &|m| m.status_code().as_deref() == Some("NetStream.Play.Stop")),
        ];
        assert!(order.is_sorted(), "{name}: {order:?}");
        let said = &all[tags].data().unwrap().1[0];
        for (key, text) in
            [("title", "Tone"), ("songtitle", "Tone"), ("artist", "Penstock"), ("album", "Tests")]
        {
            assert_eq!(said.field(key), text, "{name}: {said:?}");
        }
        assert!(all.iter().all(|m| !m.is_media() && !m.is_data("onMetaData")), "{}", client.outline());
    }
}

#[test]
fn s39_id3_of_a_file_without_tags_is_empty_and_of_no_mp3_an_error() {
    let mut client = downloading(shared().rtmp());
    client.play(1, "id3:bare", &[0.0]);
    let said = client.wait("onId3", PATIENCE, |m| m.is_data("onId3")).data().unwrap().1;
    assert!(matches!(&said[0], Value::Object(fields) if fields.is_empty()), "{said:?}");
    client.wait_status("NetStream.Play.Stop");
    client.play(1, "id3:clip.flv", &[0.0]);
    client.wait_status("NetStream.Play.NoSupportedTrackFound");
    client.play(1, "id3:nosuch", &[0.0]);
    client.wait_status("NetStream.Play.StreamNotFound");
    // The song itself says nothing of its tags, as with FMS; and the connection is as good as before.
    client.play(1, "mp3:cbr", &[0.0]);
    client.wait_status("NetStream.Play.Start");
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(30));
    let songs = client.messages().iter().filter(|m| m.is_data("onId3")).count();
    assert_eq!(songs, 1, "that of bare.mp3");
    assert!(client.messages().iter().any(Message::is_media));
}

// --- films with text, chapters and tags ------------------------------------------------------------------------------------

fn ffmpeg(folder: &Path, text: &str) {
    let done = Command::new("ffmpeg")
        .current_dir(folder)
        .args(["-nostdin", "-v", "error", "-y"])
        .args(text.split_whitespace())
        .status()
        .unwrap();
    assert!(done.success(), "{text}");
}

/// Films with a text track, chapters and tags, in several layouts; the shared media beside them.
fn films() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = own_folder();
        let srt = "1\n00:00:01,000 --> 00:00:02,500\nFirst ü\n\n2\n00:00:03,000 --> 00:00:06,000\nSecond\nline\n\n\
             3\n00:00:07,000 --> 00:00:08,000\nThird\n";
        let chapters = ";FFMETADATA1\ntitle=A film\nartist=Penstock\ndate=2009\ntrack=3/12\n\
             [CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=4000\ntitle=Beginning\n\
             [CHAPTER]\nTIMEBASE=1/1000\nSTART=4000\nEND=10000\ntitle=Das Ende ö\n";
        fs::write(folder.join("text.srt"), srt).unwrap();
        fs::write(folder.join("chapters.txt"), chapters).unwrap();
        let film = media::file("last.mp4");
        let text = format!("-i {} -i text.srt -map 0:v -map 0:a -map 1 -c copy -c:s mov_text -metadata:s:s:0 language=deu", film.display());
        ffmpeg(&folder, &format!("{text} text-last.mp4"));
        ffmpeg(&folder, &format!("{text} -movflags +faststart text-first.mp4"));
        ffmpeg(&folder, &format!("{text} -movflags +frag_keyframe+empty_moov+default_base_moof text-fragments.mp4"));
        let told = format!("-i {} -i chapters.txt -map 0 -map_metadata 1 -map_chapters 1 -c copy", film.display());
        ffmpeg(&folder, &format!("{told} chapters-nero.mp4"));
        ffmpeg(&folder, &format!("{told} -movflags +disable_chpl+faststart chapters-track.mp4"));
        ffmpeg(&folder, &format!("{told} -movflags +disable_chpl -f mov chapters-track.mov"));
        folder
    })
}

/// Standalone over [`films`].
fn told() -> &'static Standalone {
    static TOLD: OnceLock<Standalone> = OnceLock::new();
    TOLD.get_or_init(|| Standalone::over(films()))
}

/// Time and text of each `onTextData`.
fn texts(messages: &[Message]) -> Vec<(u32, String)> {
    let text = |m: &Message| (m.timestamp, m.data().unwrap().1[0].field("text").to_owned());
    messages.iter().filter(|m| m.is_data("onTextData")).map(text).collect()
}

#[test]
fn text_tracks_come_as_data_at_their_time_between_pictures_and_sound() {
    for name in ["text-first.mp4", "text-last.mp4", "text-fragments.mp4"] {
        let mut client = downloading(told().rtmp());
        client.play(1, &format!("mp4:{name}"), &[0.0]);
        let all = finished(&mut client);
        let found = texts(&all);
        let shown: Vec<_> = found.iter().filter(|(_, text)| !text.is_empty()).cloned().collect();
        // Without edit lists ffmpeg moves all tracks of a fragmented film by the delay of its B-frames, two of 40 ms.
        let shift = if name.contains("fragments") { 80 } else { 0 };
        let expected = [(1000, "First ü"), (3000, "Second\nline"), (7000, "Third")];
        assert_eq!(shown, expected.map(|(at, text)| (at + shift, text.to_owned())), "{name}");
        // Each goes when its time is over. In fragments ffmpeg writes no empty sample between two texts, only after the last.
        let between: &[u32] = if name.contains("fragments") { &[] } else { &[2500, 6000] };
        for gone in between.iter().copied().chain([8000]) {
            assert!(found.contains(&(gone + shift, String::new())), "{name}: {found:?}");
        }
        let first = all.iter().find(|m| m.is_data("onTextData")).unwrap();
        assert_eq!(first.data().unwrap().1[0].field("language"), "deu", "{name}");
        assert!(first.data().unwrap().1[0].get("trackid").and_then(Value::number).is_some_and(|id| id > 0.0));
        // In order: none earlier than what it belongs to, none later.
        for (at, text) in all.iter().enumerate().filter(|(_, m)| m.is_data("onTextData")) {
            let media = |m: &&Message| m.is_media() && !m.is_header();
            let before = all[..at].iter().rfind(media).map_or(0, |m| m.timestamp);
            let after = all[at..].iter().find(media).map_or(u32::MAX, |m| m.timestamp);
            assert!(before <= text.timestamp && text.timestamp <= after, "{name}: {before} {text} {after}");
        }
        let metadata = all.iter().find(|m| m.is_data("onMetaData")).unwrap().data().unwrap().1;
        let Some(Value::Strict(tracks)) = metadata[0].get("trackinfo") else {
            panic!("{name}: no trackinfo")
        };
        assert_eq!(tracks.len(), 3, "{name}: {tracks:?}");
        let seconds = metadata[0].get("duration").and_then(Value::number).unwrap();
        assert!((seconds - players::duration(&media::file("last.mp4"))).abs() < 0.1, "{name}: {seconds} s");
    }
}

#[test]
fn after_a_seek_the_text_that_is_on_comes_with_the_first_picture() {
    for name in ["text-first.mp4", "text-last.mp4"] {
        let mut client = downloading(told().rtmp());
        client.play(1, &format!("mp4:{name}"), &[0.0]);
        client.wait("a keyframe", PATIENCE, Message::is_keyframe);
        client.seek(1, 4500.0);
        client.wait_status("NetStream.Seek.Notify");
        let key = client.wait("a keyframe", PATIENCE, Message::is_keyframe);
        // The picture of 4.0 s is decoded two frames earlier.
        assert!((3900..=4000).contains(&key.timestamp), "{name}: {key}");
        let text = client.wait("the text", PATIENCE, |m| m.is_data("onTextData"));
        assert_eq!(texts(&[text]), [(key.timestamp, "Second\nline".to_owned())], "{name}");
        // Where a play begins behind the start, times count from there.
        let mut client = downloading(told().rtmp());
        client.play(1, &format!("mp4:{name}"), &[5000.0]);
        let all = finished(&mut client);
        let shown: Vec<_> = texts(&all).into_iter().filter(|(_, text)| !text.is_empty()).collect();
        assert_eq!(shown, [(0, "Second\nline".to_owned()), (2000, "Third".to_owned())], "{name}");
    }
}

#[test]
fn a_film_with_text_arrives_as_whole_as_one_without() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["text-first.mp4", "text-fragments.mp4"] {
        let to = folder.path().join(name).with_extension("flv");
        players::download(told().rtmp(), &format!("mp4:{name}"), &to);
        let file = fs::read(&to).unwrap();
        let bodies = |kind: u8| -> Vec<Vec<u8>> {
            let tags = flv::tags(&file).unwrap();
            tags.into_iter().filter(|tag| tag.kind == kind).map(|tag| tag.body).collect()
        };
        let source = packets::of(&media::file("last.mp4")).unwrap();
        let got = packets::of(&to).unwrap();
        assert_eq!(packets::difference(&source, &got), None, "{name}");
        assert!(bodies(9).len() > 200 && bodies(8).len() > 200);
        // And resumes, wherever it was cut.
        let cut = flv::tags(&file)
            .unwrap()
            .iter()
            .filter(|tag| tag.timestamp > 6500)
            .map(|tag| tag.end)
            .next()
            .unwrap();
        fs::write(&to, &file[..cut]).unwrap();
        let done = players::rtmpdump(told().rtmp(), &format!("mp4:{name}"), &to, &["-e"]);
        assert!(matches!(done.code, 0 | 2), "{name}: {done:?}");
        let media = |file: &[u8]| -> Vec<flv::Tag> {
            let tags = flv::tags(file).unwrap().into_iter().filter(|tag| tag.kind != 18);
            tags.map(|tag| flv::Tag { offset: 0, end: 0, ..tag }).collect()
        };
        assert!(media(&fs::read(&to).unwrap()) == media(&file), "{name}: the resumed file differs");
    }
}

#[test]
fn s30_chapters_and_tags_are_part_of_on_meta_data_whose_bytes_never_change() {
    for name in ["chapters-nero.mp4", "chapters-track.mp4", "chapters-track.mov"] {
        let mut payloads = Vec::new();
        for start in [0.0, 5000.0, 0.0] {
            let mut client = downloading(told().rtmp());
            client.play(1, &format!("mp4:{name}"), &[start]);
            payloads.push(client.wait("metadata", PATIENCE, |m| m.is_data("onMetaData")));
            client.wait("a keyframe", PATIENCE, Message::is_keyframe);
            client.seek(1, 2000.0);
            client.wait_status("NetStream.Seek.Notify");
            payloads.push(client.wait("metadata", PATIENCE, |m| m.is_data("onMetaData")));
            let all = finished(&mut client);
            assert!(texts(&all).is_empty(), "{name}: names of chapters are no text to show");
        }
        assert!(payloads.iter().all(|m| m.payload == payloads[0].payload), "{name}");
        let metadata = payloads[0].data().unwrap().1;
        assert!(matches!(metadata[0], Value::Ecma(_)), "{name}");
        let Some(Value::Strict(chapters)) = metadata[0].get("chapters") else {
            panic!("{name}: {metadata:?}")
        };
        let chapters: Vec<(f64, &str)> = chapters
            .iter()
            .map(|c| (c.get("time").and_then(Value::number).unwrap(), c.field("name")))
            .collect();
        assert_eq!(chapters, [(0.0, "Beginning"), (4.0, "Das Ende ö")], "{name}");
        if name.ends_with("mp4") {
            let tags = metadata[0].get("tags").unwrap_or_else(|| panic!("{name}: {metadata:?}"));
            for (key, text) in [("©nam", "A film"), ("©ART", "Penstock"), ("©day", "2009"), ("trkn", "3/12")]
            {
                assert_eq!(tags.field(key), text, "{name}: {tags:?}");
            }
        }
    }
}

// --- sample access ---------------------------------------------------------------------------------------------------------

#[test]
fn sample_access_is_what_the_distribution_grants_after_play_and_seek() {
    let config = "distribution: {audio_sample_access: true, video_sample_access: false}".to_owned();
    let server = Standalone::with(Options { config: Some(config), ..Default::default() });
    let mut client = downloading(server.rtmp());
    client.play(1, "mp4:first.mp4", &[0.0]);
    let granted = [Value::Boolean(true), Value::Boolean(false)];
    let access = |m: &Message| m.is_data("|RtmpSampleAccess");
    assert_eq!(client.wait("sample access", PATIENCE, access).data().unwrap().1, granted);
    client.wait("a keyframe", PATIENCE, Message::is_keyframe);
    client.seek(1, 4000.0);
    client.wait_status("NetStream.Seek.Notify");
    assert_eq!(client.wait("sample access", PATIENCE, access).data().unwrap().1, granted);
}

// --- aggregates -------------------------------------------------------------------------------------------------------------

/// Standalone that sends aggregates to who takes them.
fn gathering() -> &'static Standalone {
    static GATHERING: OnceLock<Standalone> = OnceLock::new();
    GATHERING.get_or_init(|| {
        let config = "edge: {aggregate_messages: flash, aggregate_bytes: 65536}".to_owned();
        Standalone::with(Options { config: Some(config), ..Default::default() })
    })
}

/// What is in an aggregate: kind, time of the stream, body. Panics where its form is wrong.
fn taken_apart(message: &Message) -> Vec<(u8, u32, Vec<u8>)> {
    let mut rest = &message.payload[..];
    let mut tags = Vec::new();
    let mut first = None;
    while !rest.is_empty() {
        let len = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let time = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        assert_eq!(rest[8..11], [0; 3], "the stream of a tag is 0");
        assert_eq!(rest[11 + len..15 + len], (11 + len as u32).to_be_bytes(), "a back pointer");
        let first = *first.get_or_insert(time);
        tags.push((rest[0], message.timestamp + (time - first), rest[11..11 + len].to_vec()));
        rest = &rest[15 + len..];
    }
    tags
}

/// Media of a whole play, aggregates taken apart.
fn played(addr: &str, flash_version: &str, name: &str, args: &[f64]) -> (Vec<(u8, u32, Vec<u8>)>, usize) {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{addr}/cfx/st"), &[("flashVer", flash_version.into())]);
    client.wait_answer(1.0, PATIENCE);
    assert_eq!(client.create_stream(), 1);
    client.set_buffer(1, 36_000_000);
    client.play(1, name, args);
    let all = finished(&mut client);
    let gathered: Vec<&Message> = all.iter().filter(|m| m.type_id == 22).collect();
    assert!(gathered.iter().all(|m| m.payload.len() <= 65536 && m.stream_id == 1), "{name}");
    let mut media = Vec::new();
    for message in &all {
        match message.type_id {
            8 | 9 => media.push((message.type_id, message.timestamp, message.payload.clone())),
            22 => media.extend(taken_apart(message)),
            _ => {}
        }
    }
    (media, gathered.len())
}

#[test]
fn aggregates_hold_what_single_messages_would_and_go_to_who_takes_them() {
    for name in ["mp4:first.mp4", "clip", "mp3:cbr", "mp4:fragmented.mp4"] {
        for args in [&[0.0][..], &[3000.0], &[2000.0, 3000.0]] {
            let (single, none) = played(shared().rtmp(), "LNX 10,0,32,18", name, args);
            let (gathered, some) = played(gathering().rtmp(), "LNX 10,0,32,18", name, args);
            assert!(none == 0 && some > 0, "{name} {args:?}: {none}, {some}");
            assert!(single == gathered, "{name} {args:?}: {} and {} messages", single.len(), gathered.len());
            assert!(some * 4 < single.len(), "{name} {args:?}: {some} for {}", single.len());
        }
        let (single, none) = played(gathering().rtmp(), "WIN 9,0,60,0", name, &[0.0]);
        assert!(none == 0 && !single.is_empty(), "{name}: an old player takes none");
    }
}

#[test]
fn rtmpdump_writes_the_same_file_from_aggregates_also_by_windows_and_resuming() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["mp4:first.mp4", "clip", "mp3:cbr"] {
        let (single, gathered) = (folder.path().join("single.flv"), folder.path().join("gathered.flv"));
        players::download(shared().rtmp(), name, &single);
        players::download(gathering().rtmp(), name, &gathered);
        let whole = fs::read(&single).unwrap();
        assert!(whole == fs::read(&gathered).unwrap(), "{name}");
        let tags = flv::tags(&whole).unwrap();
        let cut = tags.iter().find(|tag| tag.timestamp > 5500).unwrap().end;
        fs::write(&gathered, &whole[..cut]).unwrap();
        let done = players::rtmpdump(gathering().rtmp(), name, &gathered, &["-e"]);
        assert!(matches!(done.code, 0 | 2), "{name}: {done:?}");
        assert!(whole == fs::read(&gathered).unwrap(), "{name}: resumed at {cut}");
        for (from, to) in [(single.as_path(), shared()), (gathered.as_path(), gathering())] {
            let done = players::rtmpdump(to.rtmp(), name, from, &["-q", "-A", "4", "-B", "7"]);
            assert!(matches!(done.code, 0 | 2), "{name}: {done:?}");
        }
        assert!(fs::read(&single).unwrap() == fs::read(&gathered).unwrap(), "{name}: the window");
    }
}

#[test]
fn ffmpeg_and_gstreamer_play_aggregates() {
    let folder = tempfile::tempdir().unwrap();
    let sums = |server: &Standalone, to: &str| {
        let to = folder.path().join(to);
        let url = format!("{}/mp4:first.mp4", server.url());
        let before = ["-rtmp_buffer", "100000"];
        let done = players::ffmpeg_copy(&before, &url, &["-f", "framemd5"], &to);
        assert_eq!(done.code, 0, "{done:?}");
        fs::read_to_string(to).unwrap()
    };
    let (single, gathered) = (sums(shared(), "single"), sums(gathering(), "gathered"));
    assert!(single.lines().count() > 400 && single == gathered);
    players::gst_rtmp2src(
        &format!("{}/mp4:first.mp4", gathering().url()),
        100,
        &folder.path().join("gst.flv"),
    )
    .expect(0);
    let location = format!("location={}/mp4:first.mp4", gathering().url());
    players::run(30, "gst-launch-1.0", &["-q", "rtmpsrc", &location, "num-buffers=40", "!", "fakesink"])
        .expect(0);
    // Seeking drops what was gathered with the rest.
    let to = folder.path().join("sought.flv");
    let url = format!("{}/mp4:first.mp4", gathering().url());
    players::ffmpeg_copy(&["-ss", "6"], &url, &["-t", "2"], &to).expect(0);
    assert!(!players::times(&to, "v").is_empty());
}
