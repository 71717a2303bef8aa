//! The players people use, on every container: play, seek, pause; and how little a seek costs.

use std::time::Duration;

use tests::counting_proxy::CountingProxy;
use tests::standalone::{Standalone, shared};
use tests::{eventually, media, packets, parallel, players, red5, rml};

const FILMS: [&str; 11] = [
    "film.mp4",
    "film-first.mp4",
    "film-fragmented.mp4",
    "film-fragmented-no-mfra.mp4",
    "film.mov",
    "film.3gp",
    "film.flv",
    "film-no-index.flv",
    "film.m4a",
    "film.mp3",
    "film-vbr.mp3",
];

fn url(key: &str) -> String {
    format!("{}/{}", shared().url(), media::play_name(key))
}

#[test]
fn ffprobe_names_the_codecs_and_duration_of_every_container() {
    for key in [
        "first.mp4",
        "last.mp4",
        "fragmented.mp4",
        "clip.mov",
        "clip.m4v",
        "clip.f4v",
        "clip.3gp",
        "clip.flv",
        "no-index.flv",
        "song.m4a",
        "bare.mp3",
        "sorenson.flv",
    ] {
        let seen = players::ffprobe(&url(key)).expect(0).stdout;
        let codecs: &[&str] = match key {
            "sorenson.flv" => &["flv1", "mp3"],
            "bare.mp3" => &["mp3"],
            "song.m4a" => &["aac"],
            _ => &["h264", "aac"],
        };
        assert!(codecs.iter().all(|c| seen.contains(c)), "{key}: {seen}");
        let duration: f64 = seen.lines().find_map(|l| l.strip_prefix("format,")).unwrap().parse().unwrap();
        assert!((duration - 10.0).abs() < 0.2, "{key}: {duration}");
    }
}

#[test]
fn mpv_plays_and_reports_what_it_can_t() {
    for key in ["first.mp4", "clip.flv", "clip.mov", "song.m4a"] {
        players::mpv(&url(key), &["--length=2"]).expect(0);
    }
    players::mpv(&format!("rtmp://{}/foo/bar/mp4:first.mp4", shared().rtmp()), &[]).expect(2);
}

#[test]
fn gstreamer_s_own_rtmp_source_plays() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["first.mp4", "clip.flv", "folder/deeper/inside.mp4", "minute.mp4"] {
        let to = folder.path().join("o.flv");
        players::gst_rtmp2src(&format!("{}/{name}", shared().url()), 100, &to).expect(0);
        let source = packets::of(&media::file(name)).unwrap();
        let got = packets::of(&to).unwrap();
        assert!(
            got["video"].len() > 20 && source["video"].starts_with(&got["video"]),
            "{name}: other pictures"
        );
    }
}

#[test]
fn ffmpeg_says_what_the_server_said_of_a_missing_file() {
    let folder = tempfile::tempdir().unwrap();
    let input = format!("{}/mp4:nosuch.mp4", shared().url());
    let done =
        players::ffmpeg_copy(&["-rtmp_live", "recorded"], &input, &["-t", "1"], &folder.path().join("o.flv"))
            .expect(1);
    assert!(done.stderr.contains("stream not found"), "{}", done.stderr);
}

#[test]
fn the_client_of_rml_rtmp_plays_every_payload() {
    for key in ["clip.flv", "first.mp4", "fragmented.mp4", "bare.mp3", "song.m4a"] {
        let got = rml::play(shared().rtmp(), "cfx/st", &media::play_name(key), Duration::from_secs(20));
        assert_eq!(got.unhandled, Vec::<String>::new(), "{key}");
        let source = packets::of(&media::file(key)).unwrap();
        let count = |kind: &str| source.get(kind).map_or(0, Vec::len);
        // Each picture or sound of the file, and a codec header of each kind that has one.
        let pictures = got.video.iter().filter(|(_, b)| b.len() > 5 && b[1] == 1).count();
        let sounds = got.audio.iter().filter(|(_, b)| b[0] >> 4 == 2 || (b.len() > 2 && b[1] == 1)).count();
        assert_eq!((pictures, sounds), (count("video"), count("audio")), "{key}");
        assert!(got.video.is_sorted_by_key(|(t, _)| *t) && got.audio.is_sorted_by_key(|(t, _)| *t), "{key}");
    }
}

/// How often the log tells of a seek command.
fn seeks(server: &Standalone) -> usize {
    server.log().lines().filter(|l| l.to_lowercase().contains("seek")).count()
}

#[test]
fn s32_ffmpeg_seeks_in_every_container_and_little_of_the_film_is_sent() {
    let server = Standalone::start();
    let folder = tempfile::tempdir().unwrap();
    for key in FILMS {
        let relay = CountingProxy::plain(server.rtmp());
        let before = seeks(&server);
        let to = folder.path().join(format!("{key}.flv"));
        let input = format!("rtmp://{}/cfx/st/{}", relay.addr(), media::play_name(key));
        players::ffmpeg_copy(&["-ss", "100"], &input, &["-t", "3"], &to).expect(0);
        let film = std::fs::metadata(media::file(key)).unwrap().len();
        let share = relay.bytes() as f64 / film as f64;
        assert!(share < 0.15, "{key}: {:.1} % of the film was sent", share * 100.0);
        eventually("a seek in the log", Duration::from_secs(2), || (seeks(&server) > before).then_some(()));
        let kind = if matches!(key, "film.m4a" | "film.mp3" | "film-vbr.mp3") { "a" } else { "v" };
        let times = players::times(&to, kind);
        assert!(
            times.len() > 50 && times[0] < 5.0,
            "{key}: {} packets from {:?}",
            times.len(),
            times.first()
        );
    }
}

#[test]
fn s32_a_seek_in_a_file_shorter_than_the_buffer_works() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["first.mp4", "clip.flv"] {
        let to = folder.path().join("o.flv");
        players::ffmpeg_copy(&["-rtmp_buffer", "30000", "-ss", "6"], &url(key), &["-t", "2"], &to).expect(0);
        assert!(players::times(&to, "v").len() >= 40, "{key}");
        players::mpv(&url(key), &["--start=6", "--length=1"]).expect(0);
    }
}

#[test]
fn s32_mpv_starts_in_the_middle_of_every_container() {
    let server = Standalone::start();
    let failed: Vec<String> = parallel(2, FILMS.to_vec(), |key| {
        let input = format!("{}/{}", server.url(), media::play_name(key));
        let done = players::mpv(&input, &["--start=100", "--length=1"]);
        (done.code != 0).then(|| format!("{key}: {done:?}"))
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    eventually("seeks in the log", Duration::from_secs(2), || (seeks(&server) >= FILMS.len()).then_some(()));
}

#[test]
fn s32_s34_the_red5_client_seeks_pauses_and_resumes_on_every_container() {
    for key in FILMS {
        let relay = CountingProxy::plain(shared().rtmp());
        red5::seek_pause_and_resume(&format!("rtmp://{}/cfx/st", relay.addr()), &media::play_name(key))
            .unwrap_or_else(|why| panic!("{key}: {why}"));
        let share = relay.bytes() as f64 / std::fs::metadata(media::file(key)).unwrap().len() as f64;
        assert!(share < 0.15, "{key}: {:.1} % of the film was sent", share * 100.0);
    }
}
