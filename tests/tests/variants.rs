//! Every variant with the players people use: one list of steps, one row a player and variant, so that a failure names both.
//!
//! What arrives is held against the file, payload for payload; downloads of rtmpdump even byte for byte against plain RTMP's. Each row
//! has a server of its own with two listeners, as one at 1935 and one at 80 would be: a seek can be seen in its log, and one
//! row's failure isn't another's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::packets::{self, Packets};
use tests::standalone::{Options, Standalone};
use tests::{eventually, flv, media, parallel, players, red5};

/// A server with two listeners, and a folder for what players write.
struct Stage {
    server: Standalone,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self::over(media::folder())
    }

    fn over(media: &Path) -> Self {
        let listen = vec!["127.0.0.1:0".to_owned(); 2];
        let server =
            Standalone::with(Options { media: Some(media.to_owned()), listen, ..Options::default() });
        assert_eq!(server.listeners().len(), 2);
        Self { server, folder: tempfile::tempdir().unwrap() }
    }

    /// `SCHEME://IP:PORT/cfx/st` of a listener.
    fn url(&self, variant: &str, listener: usize) -> String {
        format!("{variant}://{}/cfx/st", self.server.listeners()[listener])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Seek commands the server has had.
    fn seeks(&self) -> usize {
        self.server.log().lines().filter(|l| l.contains(" seek ")).count()
    }
}

type Judged = Result<(), String>;

/// `ok`, or what was wrong.
fn judge(ok: bool, wrong: impl FnOnce() -> String) -> Judged {
    if ok { Ok(()) } else { Err(wrong()) }
}

/// Whether what a player wrote is the beginning of this file: at least `least` pictures (or sounds, where there are none), each its payload.
fn begins(file: &str, written: &Path, least: usize) -> Judged {
    let source = packets::of(&media::file(file)).map_err(|e| format!("{e:#}"))?;
    let got = packets::of(written).map_err(|e| format!("{e:#}"))?;
    let main = if source.contains_key("video") { "video" } else { "audio" };
    // A file that ends in mid-tag has a last packet that isn't whole.
    let whole = |kind: &str| got.get(kind).map_or(&[][..], |all| &all[..all.len().saturating_sub(1)]);
    judge(whole(main).len() >= least, || format!("{file}: {} packets of {main}", whole(main).len()))?;
    let is_same = |(kind, all): (&String, &Vec<String>)| all.starts_with(whole(kind));
    judge(source.iter().all(is_same), || format!("{file}: other packets than the file's"))
}

/// One player.
struct Player {
    name: &'static str,
    variants: &'static [&'static str],
    /// Plays the beginning of a film at this URL.
    play: fn(&Stage, url: &str) -> Judged,
    /// Plays from the middle of a film of 200 s, by a seek or a start there; where it can.
    seek: Option<fn(&Stage, url: &str) -> Judged>,
}

const FILM: &str = "film.mp4";

fn rtmpdump(url: &str, play: &str, to: &Path, more: &[&str]) -> Judged {
    let done = players::rtmpdump_url(url, "cfx/st", play, to, more);
    judge(matches!(done.code, 0 | 2), || format!("{done:?}"))
}

fn rtmpdump_plays(stage: &Stage, url: &str) -> Judged {
    let to = stage.file("o.flv");
    rtmpdump(url, &media::play_name("last.mp4"), &to, &["-q"])?;
    let (source, got) = (packets::of(&media::file("last.mp4")), packets::of(&to));
    match packets::difference(&source.unwrap(), &got.map_err(|e| format!("{e:#}"))?) {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

fn rtmpdump_starts_in_the_middle(stage: &Stage, url: &str) -> Judged {
    let to = stage.file("middle.flv");
    rtmpdump(url, &media::play_name(FILM), &to, &["-q", "-A", "100", "-B", "103"])?;
    let tags = flv::tags(&fs::read(&to).unwrap()).map_err(|e| format!("{e:#}"))?;
    let times: Vec<u32> = tags.iter().filter(|t| t.is_picture()).map(|t| t.timestamp).collect();
    let right = times.first().is_some_and(|t| (99_900..=100_100).contains(t))
        && times.last().is_some_and(|t| (102_500..=103_200).contains(t));
    judge(right, || format!("pictures from {:?} to {:?}", times.first(), times.last()))
}

fn rtmpsrc_plays(stage: &Stage, url: &str) -> Judged {
    let to = stage.file("o.flv");
    let done = players::gst_rtmpsrc_to(&format!("{url}/mp4:{FILM}"), 100, &to);
    judge(done.code == 0, || format!("{done:?}"))?;
    begins(FILM, &to, 100)
}

fn rtmpsrc_starts_in_the_middle(stage: &Stage, url: &str) -> Judged {
    let to = stage.file("middle.flv");
    let done = players::gst_rtmpsrc_to(&format!("{url}/mp4:{FILM} start=100000"), 40, &to);
    judge(done.code == 0, || format!("{done:?}"))?;
    let times = players::times(&to, "v");
    judge(times.len() > 20, || format!("{} pictures", times.len()))
}

fn rtmp2src_plays(stage: &Stage, url: &str) -> Judged {
    let to = stage.file("o.flv");
    // It asks for 30 s at most, and its buffers are messages.
    let done = players::gst_rtmp2src(&format!("{url}/{FILM}"), 400, &to);
    judge(done.code == 0, || format!("{done:?}"))?;
    begins(FILM, &to, 100)
}

fn ffmpeg_plays(stage: &Stage, url: &str) -> Judged {
    let to = stage.file("o.flv");
    let done = players::ffmpeg_copy(&[], &format!("{url}/mp4:{FILM}"), &["-t", "6"], &to);
    judge(done.code == 0, || format!("{done:?}"))?;
    begins(FILM, &to, 100)
}

fn ffmpeg_seeks(stage: &Stage, url: &str) -> Judged {
    let (to, before) = (stage.file("middle.flv"), stage.seeks());
    let done = players::ffmpeg_copy(&["-ss", "100"], &format!("{url}/mp4:{FILM}"), &["-t", "3"], &to);
    judge(done.code == 0, || format!("{done:?}"))?;
    let times = players::times(&to, "v");
    judge(times.len() > 50 && times[0] < 5.0, || {
        format!("{} pictures from {:?}", times.len(), times.first())
    })?;
    seen(stage, before)
}

fn mpv_plays(_: &Stage, url: &str) -> Judged {
    let done = players::mpv(&format!("{url}/mp4:{FILM}"), &["--length=2"]);
    judge(done.code == 0, || format!("{done:?}"))
}

fn mpv_seeks(stage: &Stage, url: &str) -> Judged {
    let before = stage.seeks();
    let done = players::mpv(&format!("{url}/mp4:{FILM}"), &["--start=100", "--length=1"]);
    judge(done.code == 0, || format!("{done:?}"))?;
    seen(stage, before)
}

fn vlc_plays(_: &Stage, url: &str) -> Judged {
    let done = players::vlc(&format!("{url}/mp4:{FILM}"), 3);
    let is_open = !done.stderr.contains("unable to open the MRL");
    let tail: Vec<&str> = done.stderr.lines().rev().take(15).collect();
    judge(is_open && done.stderr.contains("Received first picture"), || {
        format!("no picture; its last words, backwards:\n{}", tail.join("\n"))
    })
}

fn red5_plays(stage: &Stage, url: &str) -> Judged {
    let to = stage.file("o.flv");
    let record = format!("record={}", to.display());
    let steps = [&record, "buffer=1000", "play=0", "until=NetStream.Play.Start", "wait=3500", "count"];
    let done = players::red5(url, &media::play_name(FILM), &steps);
    judge(done.code == 0, || format!("{done:?}"))?;
    begins(FILM, &to, 75)
}

fn red5_seeks(_: &Stage, url: &str) -> Judged {
    red5::seek_pause_and_resume(url, &media::play_name(FILM))
}

/// The server has had a seek since.
fn seen(stage: &Stage, before: usize) -> Judged {
    eventually("a seek in the log", Duration::from_secs(5), || (stage.seeks() > before).then_some(()));
    Ok(())
}

/// The variants rtmpdump has.
const RTMPDUMP: [&str; 6] = ["rtmp", "rtmpe", "rtmpt", "rtmpte", "rtmps", "rtmpts"];

const PLAYERS: [Player; 7] = [
    Player {
        name: "rtmpdump",
        variants: &RTMPDUMP,
        play: rtmpdump_plays,
        seek: Some(rtmpdump_starts_in_the_middle),
    },
    Player {
        name: "gst rtmpsrc",
        variants: &["rtmp", "rtmpe", "rtmpt", "rtmpte"],
        play: rtmpsrc_plays,
        seek: Some(rtmpsrc_starts_in_the_middle),
    },
    Player { name: "gst rtmp2src", variants: &["rtmp", "rtmps"], play: rtmp2src_plays, seek: None },
    Player {
        name: "ffmpeg",
        variants: &["rtmp", "rtmpt", "rtmps", "rtmpts"],
        play: ffmpeg_plays,
        seek: Some(ffmpeg_seeks),
    },
    Player {
        name: "mpv",
        variants: &["rtmp", "rtmpt", "rtmps", "rtmpts"],
        play: mpv_plays,
        seek: Some(mpv_seeks),
    },
    // Told to start in the middle it reads through, in real time, whatever the server: there is no seek to judge.
    Player { name: "VLC", variants: &["rtmp", "rtmpt", "rtmps", "rtmpts"], play: vlc_plays, seek: None },
    Player {
        name: "Red5",
        variants: &["rtmp", "rtmpe", "rtmpt", "rtmps"],
        play: red5_plays,
        seek: Some(red5_seeks),
    },
];

/// All steps of one row, the failures named.
fn row(player: &Player, variant: &str) -> Vec<String> {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    let mut step = |what: &str, outcome: std::thread::Result<Judged>| {
        let why = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_) => "panicked (above)".into(),
        };
        wrong.push(format!("{} over {variant}: {what}: {why}", player.name));
    };
    let guarded = |act: &dyn Fn() -> Judged| std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    for (listener, name) in ["first", "second"].iter().enumerate() {
        let url = stage.url(variant, listener);
        step(&format!("play at the {name} listener"), guarded(&|| (player.play)(&stage, &url)));
    }
    if let Some(seek) = player.seek {
        step("seek", guarded(&|| seek(&stage, &stage.url(variant, 1))));
    }
    wrong
}

/// Runs every row of these players, some at a time.
fn rows(names: &[&str]) {
    let rows: Vec<_> = PLAYERS
        .iter()
        .filter(|p| names.contains(&p.name))
        .flat_map(|p| p.variants.iter().map(move |v| (p, *v)))
        .collect();
    assert!(rows.len() >= names.len());
    let wrong: Vec<String> = parallel(2, rows, |(player, variant)| row(player, variant)).concat();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn s10_s19_gstreamer_plays_every_variant_it_has() {
    rows(&["gst rtmpsrc", "gst rtmp2src"]);
}

#[test]
fn s32_ffmpeg_and_mpv_play_and_seek_over_every_variant_they_have() {
    rows(&["ffmpeg", "mpv"]);
}

#[test]
fn vlc_shows_a_picture_over_every_variant_it_has() {
    rows(&["VLC"]);
}

#[test]
fn s32_s34_the_red5_client_plays_seeks_pauses_and_resumes_over_every_variant_it_has() {
    rows(&["Red5"]);
}

#[test]
fn s5_s19_rtmpdump_plays_every_variant_it_has_from_the_start_and_from_the_middle() {
    rows(&["rtmpdump"]);
}

/// What one download is.
#[derive(Clone, Copy)]
struct Download {
    file: &'static str,
    more: &'static [&'static str],
}

#[test]
fn s5_s19_s28_s31_rtmpdump_s_files_and_windows_are_the_same_bytes_over_every_variant_and_listener() {
    let stage = Stage::new();
    let whole = |file| Download { file, more: &["-q"] };
    let window = |file| Download { file, more: &["-q", "-A", "10", "-B", "20"] };
    let downloads = [
        whole("clip.flv"),
        whole("first.mp4"),
        whole("last.mp4"),
        whole("cbr.mp3"),
        window("minute.flv"),
        window("minute.mp4"),
        window("film.mp3"),
    ];
    let wrong = parallel(2, downloads.iter().enumerate().collect(), |(n, download)| {
        let play = media::play_name(download.file);
        let get = |variant: &str, listener: usize| {
            let to = stage.file(&format!("{n}-{variant}-{listener}.flv"));
            rtmpdump(&stage.url(variant, listener), &play, &to, download.more)?;
            fs::read(&to).map_err(|e| e.to_string())
        };
        let plain = get("rtmp", 0).unwrap_or_else(|why| panic!("{play} over rtmp: {why}"));
        let mut wrong = Vec::new();
        for variant in RTMPDUMP {
            for listener in 0..2 {
                let why = match get(variant, listener) {
                    Ok(bytes) if bytes == plain => continue,
                    Ok(bytes) => format!("{} bytes, plain RTMP's has {}", bytes.len(), plain.len()),
                    Err(why) => why,
                };
                wrong
                    .push(format!("{play} {:?} over {variant} at listener {listener}: {why}", download.more));
            }
        }
        wrong
    })
    .concat();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn s29_rtmpdump_resumes_over_every_variant() {
    let stage = Stage::new();
    let files = ["clip.flv", "last.mp4", "cbr.mp3"];
    let rows = files.iter().flat_map(|file| RTMPDUMP.map(|v| (*file, v)));
    let wrong = parallel(3, rows.collect(), |(file, variant)| -> Result<(), String> {
        let (url, play) = (stage.url(variant, 1), media::play_name(file));
        let to = stage.file(&format!("{variant}-{file}.flv"));
        rtmpdump(&url, &play, &to, &["-q"])?;
        let full = fs::read(&to).unwrap();
        let tags = flv::tags(&full).unwrap();
        let has_video = tags.iter().any(|t| t.kind == 9);
        let anchor = |t: &flv::Tag| t.timestamp > 0 && if has_video { t.is_keyframe() } else { t.is_sound() };
        let from = tags.iter().position(anchor).ok_or("no place to resume from")?;
        for share in [0, 30, 60, 95] {
            let cut = tags[from + (tags.len() - 1 - from) * share / 100].end;
            fs::write(&to, &full[..cut]).unwrap();
            rtmpdump(&url, &play, &to, &["-q", "-e"]).map_err(|e| format!("cut at {cut}: {e}"))?;
            judge(fs::read(&to).unwrap() == full, || format!("cut at {cut}: another file"))?;
        }
        Ok(())
    });
    let named: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
    assert!(named.is_empty(), "{} wrong:\n{}", named.len(), named.join("\n"));
}

/// Which film each picture of a recording is from, runs of the same put together; a picture of none is `usize::MAX`.
fn films_in(recording: &Packets, films: &[Packets]) -> Vec<usize> {
    let of = |hash: &String| films.iter().position(|f| f["video"].contains(hash)).unwrap_or(usize::MAX);
    let mut runs: Vec<usize> = recording["video"].iter().map(of).collect();
    runs.dedup();
    runs
}

#[test]
fn s38_the_red5_client_switches_between_three_bit_rates_over_every_variant_it_has() {
    let folder = media::bitrates();
    let films: Vec<Packets> = media::BITRATES.iter().map(|n| packets::of(&folder.join(n)).unwrap()).collect();
    let plays: Vec<String> = media::BITRATES.iter().map(|n| format!("mp4:{n}")).collect();
    let plays: Vec<&str> = plays.iter().map(String::as_str).collect();
    let outcomes = parallel(2, vec!["rtmp", "rtmpe", "rtmpt", "rtmps"], |variant| {
        let stage = Stage::over(&folder);
        let to = stage.file("recording.flv");
        let judged = || -> Judged {
            let codes = red5::switch(&stage.url(variant, 0), &plays, &to)?;
            let transitions: Vec<&str> = codes
                .iter()
                .filter_map(|c| c.strip_prefix("NetStream.Play."))
                .filter(|c| ["Start", "Transition", "TransitionComplete", "Failed", "Stop"].contains(c))
                .collect();
            let wanted =
                ["Start", "Transition", "TransitionComplete", "Transition", "TransitionComplete", "Failed"];
            judge(transitions == wanted, || format!("events {transitions:?}"))?;
            let tags = flv::tags(&fs::read(&to).unwrap()).map_err(|e| format!("{e:#}"))?;
            for kind in [8, 9] {
                let times: Vec<u32> = tags.iter().filter(|t| t.kind == kind).map(|t| t.timestamp).collect();
                judge(times.is_sorted(), || format!("times of kind {kind} go backwards: {times:?}"))?;
            }
            let headers: Vec<usize> = (0..tags.len())
                .filter(|i| tags[*i].kind == 9 && !tags[*i].is_picture() && tags[*i].body.get(1) == Some(&0))
                .collect();
            judge(headers.len() == 3, || format!("{} headers of pictures, not 3", headers.len()))?;
            for header in headers {
                let first = tags[header..].iter().find(|t| t.is_picture());
                judge(first.is_some_and(flv::Tag::is_keyframe), || "a switch without a keyframe".into())?;
            }
            let runs = films_in(&packets::of(&to).map_err(|e| format!("{e:#}"))?, &films);
            judge(runs == [0, 1, 2], || format!("pictures of films {runs:?}"))?;
            let file = to.to_str().unwrap();
            let decode = ["-nostdin", "-v", "error", "-xerror", "-i", file, "-f", "null", "-"];
            let decoded = players::run(60, "ffmpeg", &decode);
            judge(decoded.code == 0 && decoded.stderr.is_empty(), || format!("{decoded:?}"))
        };
        judged().err().map(|why| format!("Red5 over {variant}: {why}"))
    });
    let wrong: Vec<String> = outcomes.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
