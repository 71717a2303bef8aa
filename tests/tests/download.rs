//! Downloads with rtmpdump: every payload of every file, windows, and resuming from any place.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tests::standalone::shared;
use tests::{flv, media, packets, parallel, players, scale};

/// rtmpdump's own rule (its exit code 0): the last frame it counts starts at 99.9 % of the duration or later.
fn expected_code(file: &[u8]) -> i32 {
    let tags = flv::tags(file).unwrap();
    let counted = |t: &&flv::Tag| (t.kind == 9 && t.body.len() > 5) || (t.kind == 8 && t.body.len() > 1);
    let last = tags.iter().filter(counted).map(|t| t.timestamp).max().unwrap();
    let script = tests::wire::amf::decode_all(&tags.iter().find(|t| t.kind == 18).unwrap().body).unwrap();
    let duration = script[1].get("duration").and_then(|d| d.number()).unwrap();
    if f64::from(last) >= duration * 999.0 { 0 } else { 2 }
}

#[test]
fn s31_every_file_of_the_set_arrives_packet_for_packet() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = Mutex::new(Vec::new());
    parallel(3, media::all(), |key| {
        let to = folder.path().join(key.replace('/', "_") + ".dl.flv");
        let done = players::rtmpdump(shared().rtmp(), &media::play_name(&key), &to, &["-q"]);
        let judge = || -> Option<String> {
            if !matches!(done.code, 0 | 2) {
                return Some(format!("rtmpdump: {} {}", done.code, done.stderr));
            }
            let file = fs::read(&to).unwrap();
            let code = expected_code(&file);
            if done.code != code {
                return Some(format!("exit code {}, expected {code}", done.code));
            }
            let source = packets::of(&media::file(&key)).unwrap();
            match packets::of(&to) {
                Ok(got) => packets::difference(&source, &got),
                Err(e) => Some(format!("{e:#}")),
            }
        };
        if let Some(why) = judge() {
            wrong.lock().unwrap().push(format!("{key}: {why}"));
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Cuts a full download at each of these offsets and lets rtmpdump complete it; every result must be the full file.
fn resumes(play: &str, full: &[u8], cuts: Vec<usize>, folder: &Path) -> Vec<String> {
    let code = expected_code(full);
    let results = parallel(4, cuts, |cut| {
        let to = folder.join(format!("{}-{cut}.flv", play.replace([':', '/'], "_")));
        fs::write(&to, &full[..cut]).unwrap();
        let done = players::rtmpdump(shared().rtmp(), play, &to, &["-e"]);
        let got = fs::read(&to).unwrap();
        fs::remove_file(&to).unwrap();
        if got != full {
            let at = got.iter().zip(full).position(|(a, b)| a != b).unwrap_or(got.len().min(full.len()));
            let said: Vec<&str> =
                done.stderr.lines().filter(|l| l.contains("ERROR") || l.contains("WARN")).take(3).collect();
            return Some(format!(
                "{play} cut at {cut}: exit {}, {} bytes of {}, first difference at {at}: {said:?}",
                done.code,
                got.len(),
                full.len()
            ));
        }
        (done.code != code).then(|| {
            format!("{play} cut at {cut}: the file is right, but exit code {} instead of {code}", done.code)
        })
    });
    results.into_iter().flatten().collect()
}

/// Ends of tags behind which rtmpdump can find the keyframe it resumes from: one that isn't at time 0, or, in files without
/// video, any sound that isn't. (With less it starts over by its own decision, whatever the server does.)
fn boundaries(full: &[u8]) -> Vec<usize> {
    let tags = flv::tags(full).unwrap();
    let has_video = tags.iter().any(|t| t.kind == 9);
    let anchor = |t: &flv::Tag| t.timestamp > 0 && if has_video { t.is_keyframe() } else { t.is_sound() };
    let first = tags.iter().position(anchor).unwrap_or(tags.len());
    tags[first..].iter().map(|t| t.end).filter(|end| *end < full.len()).collect()
}

fn full_download(play: &str, folder: &Path) -> Vec<u8> {
    let to = folder.join("full.flv");
    players::download(shared().rtmp(), play, &to);
    fs::read(&to).unwrap()
}

#[test]
fn s29_resuming_from_every_tag_boundary_of_a_clip_gives_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let full = full_download("mp4:first.mp4", folder.path());
    let cuts = boundaries(&full);
    assert!(cuts.len() > 400, "{} boundaries", cuts.len());
    let wrong = resumes("mp4:first.mp4", &full, cuts, folder.path());
    assert!(wrong.is_empty(), "{} wrong, such as\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
}

#[test]
fn s29_resuming_from_fifty_seeded_boundaries_of_each_container_gives_the_same_file() {
    let mut wrong = Vec::new();
    for key in [
        "clip.flv",
        "no-index.flv",
        "sorenson.flv",
        "song.flv",
        "last.mp4",
        "fragmented.mp4",
        "clip.mov",
        "clip.3gp",
        "song.m4a",
        "cbr.mp3",
        "vbr.mp3",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let play = media::play_name(key);
        let full = full_download(&play, folder.path());
        let mut cuts = boundaries(&full);
        cuts.shuffle(&mut StdRng::seed_from_u64(0x9e37_79b9));
        cuts.truncate(scale(50));
        wrong.extend(resumes(&play, &full, cuts, folder.path()));
    }
    assert!(wrong.is_empty(), "{} wrong, such as\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

#[test]
fn s28_a_window_starts_and_ends_where_it_was_asked_to() {
    for key in [
        "minute.mp4",
        "minute.flv",
        "film.mp4",
        "film-fragmented.mp4",
        "film-no-index.flv",
        "film.m4a",
        "film.mp3",
        "film-vbr.mp3",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("o.flv");
        let play = media::play_name(key);
        // 21 s lies a second after a keyframe.
        let done = players::rtmpdump(shared().rtmp(), &play, &to, &["-q", "-A", "21", "-B", "31"]);
        assert!(matches!(done.code, 0 | 2), "{key}: {done:?}");
        let tags = flv::tags(&fs::read(&to).unwrap()).unwrap();
        let times: Vec<u32> =
            tags.iter().filter(|t| t.is_picture() || t.is_sound()).map(|t| t.timestamp).collect();
        assert!(times.is_sorted(), "{key}: times go backwards");
        assert!((20_950..=21_050).contains(&times[0]), "{key} starts at {}", times[0]);
        assert!((30_850..=31_100).contains(times.last().unwrap()), "{key} ends at {:?}", times.last());
        if tags.iter().any(|t| t.kind == 9) {
            assert!(
                tags.iter().find(|t| t.is_picture()).unwrap().is_keyframe(),
                "{key} starts without a keyframe"
            );
            let decoded = players::run(
                30,
                "ffmpeg",
                &["-nostdin", "-v", "error", "-xerror", "-i", to.to_str().unwrap(), "-f", "null", "-"],
            );
            // Frames before the target all bear time 0, which only ffmpeg's muxer minds.
            let minded = |l: &&str| {
                !l.contains("non monotonically increasing dts") && !l.contains("Last message repeated")
            };
            let complaints: Vec<&str> = decoded.stderr.lines().filter(minded).collect();
            assert!(decoded.code == 0 && complaints.is_empty(), "{key}: {complaints:?}");
        }
    }
}

#[test]
fn s28_a_start_without_an_end_goes_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["minute.mp4", "minute.flv"] {
        let to = folder.path().join("o.flv");
        players::rtmpdump(shared().rtmp(), &media::play_name(key), &to, &["-q", "-A", "21"]);
        let tags = flv::tags(&fs::read(&to).unwrap()).unwrap();
        let last = tags.iter().filter(|t| t.is_picture() || t.is_sound()).map(|t| t.timestamp).max().unwrap();
        assert!(last >= 59_900, "{key} ends at {last}");
    }
}

#[test]
fn s31_two_downloads_of_a_file_are_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for play in ["mp4:last.mp4", "clip", "mp3:vbr"] {
        assert!(full_download(play, folder.path()) == full_download(play, folder.path()), "{play}");
    }
}
