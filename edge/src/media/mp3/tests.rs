//! Tests of `media/mp3`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::*;
use crate::media::Cursor;
use crate::object::read::InMemory;

fn made(dir: &Path, name: &str, arguments: &str) -> Bytes {
    let path = dir.join(name);
    // Noise and silence by turns, so that variable bitrate varies.
    let sound = "anoisesrc=amplitude=0.3:seed=1,volume='if(lt(mod(t,4),2),1,0.001)':eval=frame";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", sound])
        .args(arguments.split(' '))
        .arg(&path)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg {arguments}");
    std::fs::read(path).unwrap().into()
}

const SHAPES: [(&str, &str); 8] = [
    ("cbr.mp3", "-t 12 -ac 2 -ar 44100 -b:a 128k"),
    ("vbr.mp3", "-t 12 -ac 2 -ar 44100 -q:a 4"),
    ("mono.mp3", "-t 12 -ac 1 -ar 22050 -b:a 32k"),
    ("bare.mp3", "-t 12 -ac 2 -ar 44100 -b:a 128k -write_xing 0 -id3v2_version 0"),
    ("bare-vbr.mp3", "-t 12 -ac 2 -ar 48000 -q:a 3 -write_xing 0"),
    ("tagged.mp3", "-t 12 -ac 2 -ar 44100 -b:a 96k -metadata title=T -write_id3v1 1 -write_apetag 1"),
    ("low.mp3", "-t 12 -ac 1 -ar 8000 -b:a 16k"),
    ("odd.mp3", "-t 12 -ac 2 -ar 32000 -b:a 112k -write_xing 0"),
];

/// (place, hash) of each packet, as ffprobe sees the file.
fn probed(path: &Path) -> Vec<(u64, String)> {
    let out = Command::new("ffprobe")
        .args("-v error -show_packets -show_data_hash sha256 -of json".split(' '))
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let (mut at, mut packets) = (0, Vec::new());
    for line in text.lines() {
        let Some((key, value)) = line.trim().trim_end_matches(',').split_once(": ") else { continue };
        let value = value.trim_matches('"');
        match key {
            "\"pos\"" => at = value.parse().unwrap(),
            "\"data_hash\"" => packets.push((at, value.trim_start_matches("SHA256:").to_owned())),
            _ => {}
        }
    }
    packets
}

async fn opened(bytes: impl Into<Bytes>) -> Result<Arc<Media>, MediaError> {
    open(&mut InMemory::new(bytes), &Limits::default()).await.map(Arc::new)
}

async fn walked<R: ReadAt>(cursor: &mut Cursor, reader: &mut R) -> (Vec<Sample>, Option<MediaError>) {
    let mut samples = Vec::new();
    loop {
        match cursor.step(reader) {
            Ok(Step::Sample(sample)) => samples.push(sample),
            Ok(Step::Need { offset, len }) => {
                reader.read_at(offset, len).await.unwrap();
            }
            Ok(Step::End) => return (samples, None),
            Err(error) => return (samples, Some(error)),
        }
    }
}

/// All samples of a file from `target_ms` on.
async fn from(bytes: &Bytes, media: &Arc<Media>, target_ms: u64) -> (Vec<Sample>, Option<MediaError>) {
    let mut reader = InMemory { all_buffered: false, ..InMemory::new(bytes.clone()) };
    let mut cursor = media.cursor(&mut reader, target_ms).await.unwrap();
    walked(&mut cursor, &mut reader).await
}

#[tokio::test]
async fn samples_are_the_packets_that_ffprobe_sees() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in SHAPES {
        let bytes = made(dir.path(), name, arguments);
        let media = opened(bytes.clone()).await.unwrap();
        let (samples, error) = from(&bytes, &media, 0).await;
        assert_eq!(error, None, "{name}");
        let ours: Vec<_> = samples
            .iter()
            .map(|s| (s.offset, hex::encode(Sha256::digest(&bytes[s.offset as usize..][..s.len as usize]))))
            .collect();
        assert_eq!(ours, probed(&dir.path().join(name)), "{name}");

        let Index::Mp3(index) = &media.index else { panic!() };
        assert_eq!(index.frames, samples.len() as u64, "{name}");
        let last = samples.last().unwrap();
        let end_ms =
            (last.dts + u64::from(index.frame.samples())) as f64 * 1000.0 / f64::from(last.timescale);
        assert!((media.duration_ms - end_ms).abs() < 0.001, "{name}: {} is not {end_ms}", media.duration_ms);
    }
}

#[tokio::test]
async fn every_seek_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in SHAPES {
        let bytes = made(dir.path(), name, arguments);
        let media = opened(bytes.clone()).await.unwrap();
        let all = from(&bytes, &media, 0).await.0;
        // Each frame's own time in whole milliseconds, as a player resumes at it, and the millisecond before.
        let own = all.iter().step_by(7).flat_map(|s| [s.time_ms(), s.time_ms().saturating_sub(1)]);
        for target_ms in own {
            let at = all.iter().rposition(|s| s.time_ms() <= target_ms).unwrap();
            let samples = from(&bytes, &media, target_ms).await.0;
            assert!(samples == all[at..], "{name} at {target_ms}: {:?} for {:?}", samples.first(), all[at]);
        }
        assert!(from(&bytes, &media, media.duration_ms as u64 + 1).await.0.is_empty());
    }
}

#[tokio::test]
async fn timing_is_learnt_from_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in SHAPES {
        let bytes = made(dir.path(), name, arguments);
        let media = opened(bytes).await.unwrap();
        let Index::Mp3(index) = &media.index else { panic!() };
        let walk = index.timing == timing::Timing::Walk;
        assert_eq!(walk, name.contains("vbr"), "{name}: {:?}", index.timing);
    }
}

/// Frames of `kbps` by number, of MPEG-1 at 44.1 kHz stereo, after an optional header frame.
fn frames(count: usize, kbps: impl Fn(usize) -> usize, header: Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(body) = header {
        let mut frame = vec![0xff, 0xfb, 0x90, 0x40];
        frame.resize(4 + 32, 0);
        frame.extend(body);
        frame.resize(417, 0);
        out.extend(frame);
    }
    let known = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    for number in 0..count {
        let kbps = kbps(number);
        let index = known.iter().position(|&k| k == kbps).unwrap() as u8 + 1;
        let start = out.len();
        out.extend([0xff, 0xfb, index << 4, 0x40]);
        out.resize(start + 144_000 * kbps / 44_100, 0x11);
    }
    out
}

fn xing(frames: u32, bytes: u32, toc: &[u8]) -> Vec<u8> {
    let flags = if toc.is_empty() { 3u32 } else { 7 };
    [b"Xing".as_slice(), &flags.to_be_bytes(), &frames.to_be_bytes(), &bytes.to_be_bytes(), toc].concat()
}

const COUNT: usize = 40_000;

fn varying(number: usize) -> usize {
    if number < COUNT / 2 { 64 } else { 256 }
}

#[tokio::test]
async fn a_large_variable_file_is_sought_by_its_table() {
    let plain = frames(COUNT, varying, None);
    assert!(plain.len() as u64 > timing::WALK_BYTES);
    // Half the time holds a fifth of the bytes.
    let toc: Vec<u8> = (0..100)
        .map(|i| if i < 50 { i * 256 / 250 } else { (50 + (i - 50) * 4) * 256 / 250 })
        .map(|v| v as u8)
        .collect();
    let with_toc = frames(COUNT, varying, Some(xing(COUNT as u32, plain.len() as u32 + 417, &toc)));
    for (bytes, part) in [(with_toc, 0.012), (plain, 0.35)] {
        let mut reader = InMemory { all_buffered: false, ..InMemory::new(bytes.clone()) };
        let media = Arc::new(open(&mut reader, &Limits::default()).await.unwrap());
        let bytes = Bytes::from(bytes);
        let whole = from(&bytes, &media, 0).await.0;
        for percent in [1, 20, 49, 60, 90] {
            let target_ms = media.duration_ms as u64 * percent / 100;
            reader.reads.clear();
            let mut cursor = media.cursor(&mut reader, target_ms).await.unwrap();
            assert!(reader.reads.len() <= 2 && reader.reads[0].1 <= 8 << 10, "{:?}", reader.reads);
            let (samples, error) = walked(&mut cursor, &mut reader).await;
            assert_eq!(error, None);
            let first = &samples[0];
            assert!(first.time_ms() <= target_ms && target_ms - first.time_ms() < 60);
            let truly = whole.iter().position(|s| s.offset == first.offset).expect("a frame of the file");
            let off = (truly as f64 / COUNT as f64 - percent as f64 / 100.0).abs();
            assert!(off < part, "{percent} %: off by {off}");
        }
    }
}

#[tokio::test]
async fn a_header_that_lies_is_not_believed() {
    for (claimed, bytes) in [(9_000_000, 1_000_000), (3, 400_000), (0, 0), (u32::MAX, u32::MAX)] {
        let file = frames(1000, |_| 128, Some(xing(claimed, bytes, &[])));
        let media = opened(file).await.unwrap();
        assert!(
            (media.duration_ms - 1000.0 * 1152.0 / 44.1).abs() < 27.0,
            "{claimed}: {}",
            media.duration_ms
        );
    }
    // A cut file's header tells of what is gone.
    let mut file = frames(1000, |n| if n % 2 == 0 { 128 } else { 64 }, None);
    let mut cut = frames(0, |_| 128, Some(xing(1000, file.len() as u32 + 417, &[])));
    file.truncate(file.len() / 2);
    cut.extend(file);
    let media = opened(cut).await.unwrap();
    assert!((media.duration_ms - 500.0 * 1152.0 / 44.1).abs() < 27.0, "{}", media.duration_ms);
}

#[test]
fn vbri_is_read() {
    let frame = Frame::parse(&[0xff, 0xfb, 0x90, 0x40]).unwrap();
    let mut bytes = vec![0; 36];
    bytes.extend(b"VBRI\0\x01\0\0\0\x4b");
    bytes.extend([0, 0, 0x10, 0, 0, 0, 1, 0, 0, 3, 0, 2, 0, 2, 0, 100]);
    bytes.extend([0, 5, 0, 6, 0, 7]);
    let header = vbr::parse(&bytes, &frame).unwrap();
    assert_eq!((header.bytes, header.frames, header.step_frames), (Some(4096), Some(256), 100));
    assert_eq!(header.table, [0, 10, 22, 36]);
}

#[tokio::test]
async fn tags_are_stepped_over_without_reading_them() {
    let id3 = |len: u32| {
        let size = [len >> 21, len >> 14 & 127, len >> 7 & 127, len & 127].map(|b| b as u8);
        [b"ID3\x04\0\0".as_slice(), &size, &vec![0xff; len as usize]].concat()
    };
    let sound = frames(200, |_| 128, None);
    let bytes =
        [id3(3 << 20), id3(500), sound.clone(), id3(300_000), sound.clone(), vec![b'j'; 999], sound].concat();
    let mut reader = InMemory { all_buffered: false, ..InMemory::new(bytes.clone()) };
    let media = Arc::new(open(&mut reader, &Limits::default()).await.unwrap());
    let read_inside = reader.reads.iter().any(|&(at, len)| at < 3 << 20 && at + len > 1 << 20);
    assert!(!read_inside, "{:?}", reader.reads);
    let (samples, error) = from(&bytes.into(), &media, 0).await;
    assert_eq!((samples.len(), error), (600, None));
}

#[tokio::test]
async fn garbage_without_end_is_invalid_where_it_stands() {
    let bytes = [frames(50, |_| 128, None), vec![0x33; 200_000], frames(50, |_| 128, None)].concat();
    let media = opened(bytes.clone()).await.unwrap();
    let (samples, error) = from(&bytes.into(), &media, 0).await;
    assert_eq!(samples.len(), 50);
    assert!(matches!(error, Some(MediaError::StructureInvalid(_))), "{error:?}");
}

#[tokio::test]
async fn what_is_no_mp3_is_refused() {
    let unsupported = |bytes: Vec<u8>| async move {
        let error = opened(bytes).await.unwrap_err();
        assert!(matches!(error, MediaError::NoSupportedTrack(_)), "{error}");
    };
    let invalid = |bytes: Vec<u8>| async move {
        let error = opened(bytes).await.unwrap_err();
        assert!(matches!(error, MediaError::StructureInvalid(_)), "{error}");
    };
    unsupported(vec![0; 100_000]).await;
    unsupported(vec![0xff; 100_000]).await;
    unsupported([b"ID3\x04\0\0\0\0\0\x05".to_vec(), vec![7; 1000]].concat()).await;
    // Free format.
    unsupported([vec![0xff, 0xfb, 0, 0x40], vec![0; 400]].concat().repeat(20)).await;
    invalid(b"ID3\x04\0\0\x7f\0\0\x05".to_vec()).await;
    invalid(b"ID3\x04\0\0\0\0\0\0".to_vec()).await;
    invalid(frames(1, |_| 128, None)[..300].to_vec()).await;
}

#[tokio::test]
async fn a_file_cut_anywhere_plays_to_its_last_whole_frame() {
    let bytes = Bytes::from(frames(12, |n| if n % 3 == 0 { 128 } else { 64 }, None));
    let all = from(&bytes, &opened(bytes.clone()).await.unwrap(), 0).await.0;
    for len in 0..bytes.len() {
        let cut = bytes.slice(..len);
        let Ok(media) = opened(cut.clone()).await else {
            assert!(len < all[0].len as usize + 4, "cut at {len}");
            continue;
        };
        let (samples, error) = from(&cut, &media, 0).await;
        let held = all.iter().filter(|s| s.offset + u64::from(s.len) <= len as u64).count();
        assert_eq!(samples, all[..held], "cut at {len}");
        let end = all[held - 1].offset + u64::from(all[held - 1].len);
        assert_eq!(error.is_some(), len as u64 - end >= 4, "cut at {len}");
        for target_ms in [10, 100, 300] {
            from(&cut, &media, target_ms).await;
        }
    }
}

#[tokio::test]
async fn damaged_files_fail_without_panic() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = made(dir.path(), "small.mp3", "-t 1 -ac 2 -ar 44100 -q:a 4 -metadata title=T");
    for seed in 0..3000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = bytes.to_vec();
        for _ in 0..random.random_range(1..12) {
            let range = if random.random() { 0..600 } else { 0..bytes.len() };
            let at = random.random_range(range);
            bytes[at] = if random.random() {
                random.random()
            } else {
                [0, 0xff][usize::from(random.random::<bool>())]
            };
        }
        let bytes = Bytes::from(bytes);
        let Ok(media) = opened(bytes.clone()).await else { continue };
        for target_ms in [0, 300, 999, 1 << 40] {
            from(&bytes, &media, target_ms).await;
        }
    }
}

#[test]
fn sniffing_takes_only_definite_headers() {
    assert!(is_frame_header(&[0xff, 0xfb, 0x90, 0x64]));
    for not in
        [[0xff, 0xff, 0xff, 0xff], [0xff, 0xfb, 0, 0x64], [0xff, 0xfb, 0xf0, 0x64], [0xff, 0xfb, 0x9c, 0x64]]
    {
        assert!(!is_frame_header(&not), "{not:x?}");
    }
    assert!(!is_frame_header(&[0xff, 0xfb, 0x90]));
    let flags = |b1, b2, b3| Frame::parse(&[0xff, b1, b2, b3]).unwrap().flags();
    assert_eq!((flags(0xfb, 0x90, 0x40), flags(0xfb, 0x90, 0xc0)), (0x2f, 0x2e));
    assert_eq!(
        (flags(0xf3, 0x90, 0xc0), flags(0xe3, 0x90, 0xc0), flags(0xe3, 0x98, 0xc0)),
        (0x2a, 0x26, 0xe2)
    );
}
