//! Making films with ffmpeg, reading them with ffprobe and with a cursor.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;

use crate::media::{Kind, Limits, Media, MediaError, Sample, Step};
use crate::object::ReadAt;
use crate::object::read::InMemory;

pub(super) const PICTURES: &[&str] = &["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=6"];
pub(super) const SOUND: &[&str] = &["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=6"];
pub(super) const H264: &[&str] =
    &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "3", "-g", "25", "-pix_fmt", "yuv420p"];
pub(super) const AAC: &[&str] = &["-c:a", "aac", "-b:a", "64k"];

/// Runs ffmpeg with the given argument lists and a file of the given extension; gives the file.
pub(super) fn film(extension: &str, arguments: &[&[&str]]) -> Bytes {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film").with_extension(extension);
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-bitexact"])
        .args(arguments.concat())
        .arg(&path)
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(path).unwrap().into()
}

/// Pictures with B-frames and sound.
pub(super) fn common(extension: &str, more: &[&str]) -> Bytes {
    film(extension, &[PICTURES, SOUND, H264, AAC, &["-shortest"], more])
}

/// A packet by ffprobe: decoding time in ms (never negative), presentation time in ms, place, length, keyframe.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Packet {
    pub(super) dts_ms: u64,
    pub(super) pts_ms: i64,
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) key: bool,
}

/// The packets of the first stream of a kind.
pub(super) fn packets(bytes: &Bytes, extension: &str, kind: Kind) -> Vec<Packet> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film").with_extension(extension);
    std::fs::write(&path, bytes).unwrap();
    let stream = if kind == Kind::Video { "v:0" } else { "a:0" };
    let probe = |entries: &str| {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", stream, "-show_entries", entries, "-of", "compact=p=0"])
            .arg(&path)
            .output()
            .expect("ffprobe is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let time_base = probe("stream=time_base");
    let timescale: i64 = time_base.trim().rsplit('/').next().unwrap().parse().unwrap();
    let field = |line: &str, name: &str| {
        let found = line.split('|').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
    };
    probe("packet=pts,dts,size,pos,flags")
        .lines()
        .filter(|line| line.contains("pos="))
        .map(|line| {
            let dts: i64 = field(line, "dts").parse().unwrap();
            let pts: i64 = field(line, "pts").parse().unwrap();
            Packet {
                dts_ms: (dts.max(0) * 1000 / timescale) as u64,
                pts_ms: pts.max(0) * 1000 / timescale,
                offset: field(line, "pos").parse().unwrap(),
                len: field(line, "size").parse().unwrap(),
                key: field(line, "flags").starts_with('K'),
            }
        })
        .collect()
}

/// The same of a sample.
pub(super) fn packet(sample: &Sample) -> Packet {
    let pts = sample.dts as i64 + i64::from(sample.cts);
    Packet {
        dts_ms: sample.time_ms(),
        pts_ms: pts * 1000 / i64::from(sample.timescale),
        offset: sample.offset,
        len: sample.len,
        key: sample.sync,
    }
}

pub(super) async fn open(bytes: &Bytes) -> Result<Arc<Media>, MediaError> {
    crate::media::open(&mut InMemory::new(bytes.clone()), &Limits::default()).await.map(Arc::new)
}

/// All samples from a time on, fetching what the cursor says it needs.
pub(super) async fn samples<R: ReadAt>(
    media: &Arc<Media>,
    reader: &mut R,
    target_ms: u64,
) -> Result<Vec<Sample>, MediaError> {
    let mut cursor = media.cursor(reader, target_ms).await?;
    let mut samples = Vec::new();
    let mut needs = 0;
    loop {
        match cursor.step(reader)? {
            Step::Sample(sample) => samples.push(sample),
            Step::Need { offset, len } => {
                needs += 1;
                assert!(needs < 100_000, "the cursor asks without end");
                reader.read_at(offset, len).await?;
            }
            Step::End => return Ok(samples),
        }
    }
}

/// Checks that a film's samples are the packets ffprobe sees, in order of decoding time.
pub(super) async fn check(bytes: &Bytes, extension: &str, kinds: &[Kind]) -> Arc<Media> {
    let media = open(bytes).await.unwrap();
    let mut reader = InMemory::new(bytes.clone());
    reader.all_buffered = false;
    let all = samples(&media, &mut reader, 0).await.unwrap();
    assert_eq!(media.tracks.iter().map(|track| track.kind).collect::<Vec<_>>(), kinds);
    for &kind in kinds {
        let ours: Vec<Packet> = all.iter().filter(|sample| sample.kind == kind).map(packet).collect();
        let theirs = packets(bytes, extension, kind);
        assert_eq!(ours.len(), theirs.len(), "{kind:?} packets");
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(ours, theirs, "{kind:?} packet {at}");
        }
    }
    assert!(all.windows(2).all(|pair| pair[0].time_ms() <= pair[1].time_ms()), "out of order");
    let end = all.last().unwrap().time_ms() as f64;
    assert!(media.duration_ms >= end && media.duration_ms < end + 200.0, "{} vs {end}", media.duration_ms);
    media
}
