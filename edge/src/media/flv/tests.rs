//! Tests of `media/flv`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::header::Class;
use super::*;
use crate::media::{Cursor, Sample};
use crate::object::read::InMemory;
use crate::object::{ReadError, Slices};

// ---- files made by ffmpeg ----

fn made(dir: &Path, name: &str, arguments: &str) -> Bytes {
    let path = dir.join(name);
    let status = Command::new("ffmpeg")
        .args(
            "-v error -y -f lavfi -i testsrc2=size=160x120:rate=25 -f lavfi -i sine=frequency=500".split(' '),
        )
        .args(arguments.split(' '))
        .arg(&path)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg {arguments}");
    std::fs::read(path).unwrap().into()
}

const H264: &str = "-t 12 -c:v libx264 -preset veryfast -g 30 -bf 2 -c:a aac -ar 44100 -b:a 64k";
const SHAPES: [(&str, &str); 6] = [
    ("plain.flv", H264),
    ("indexed.flv", "-t 12 -c:v libx264 -g 30 -bf 2 -c:a aac -ar 44100 -flvflags add_keyframe_index"),
    ("bare.flv", "-t 12 -c:v libx264 -g 50 -bf 0 -c:a libmp3lame -ar 44100 -flvflags no_duration_filesize"),
    ("sorenson.flv", "-t 8 -c:v flv -g 20 -b:v 300k -c:a libmp3lame -ar 22050 -ac 1"),
    ("sound.flv", "-t 9 -map 1:a -c:a aac -ar 48000"),
    ("picture.flv", "-t 9 -map 0:v -c:v flashsv2 -g 25"),
];

/// (kind, dts, hash of the payload without its tag-body head) of each packet, as ffprobe sees the file.
fn probed(path: &Path) -> Vec<(Kind, u64, String)> {
    let out = Command::new("ffprobe")
        .args("-v error -show_packets -show_data_hash sha256 -of json".split(' '))
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    // One field a line; a packet ends with its hash.
    let (mut kind, mut dts, mut packets) = (Kind::Data, 0, Vec::new());
    for line in text.lines() {
        let Some((key, value)) = line.trim().trim_end_matches(',').split_once(": ") else { continue };
        let value = value.trim_matches('"');
        match key {
            "\"codec_type\"" if value == "video" => kind = Kind::Video,
            "\"codec_type\"" if value == "audio" => kind = Kind::Audio,
            "\"codec_type\"" => kind = Kind::Data,
            "\"dts\"" => dts = value.parse().unwrap(),
            "\"data_hash\"" => packets.push((kind, dts, value.trim_start_matches("SHA256:").to_owned())),
            _ => {}
        }
    }
    packets
}

fn probed_duration_s(path: &Path) -> f64 {
    let out = Command::new("ffprobe")
        .args("-v error -show_entries format=duration -of csv=p=0".split(' '))
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
}

async fn opened(bytes: &Bytes) -> Arc<Media> {
    Arc::new(open(&mut InMemory::new(bytes.clone()), &Limits::default()).await.unwrap())
}

/// All samples from `cursor` on, and how it ended. Reads what it is told it needs.
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

fn body<'a>(bytes: &'a [u8], sample: &Sample) -> &'a [u8] {
    &bytes[sample.offset as usize..][..sample.len as usize]
}

fn payload<'a>(bytes: &'a [u8], sample: &Sample) -> &'a [u8] {
    let body = body(bytes, sample);
    match (sample.kind, body[0]) {
        (Kind::Video, first) if first & 15 == 7 => &body[5..],
        (Kind::Audio, first) if first >> 4 == 10 => &body[2..],
        _ => &body[1..],
    }
}

#[tokio::test]
async fn samples_are_the_packets_that_ffprobe_sees() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in SHAPES {
        let bytes = made(dir.path(), name, arguments);
        let media = opened(&bytes).await;
        let mut reader = InMemory { all_buffered: false, ..InMemory::new(bytes.clone()) };
        let mut cursor = media.cursor(&mut reader, 0).await.unwrap();
        let (samples, error) = walked(&mut cursor, &mut reader).await;
        assert_eq!(error, None, "{name}");
        let ours: Vec<_> = samples
            .iter()
            // ffprobe shows no end of sequence.
            .filter(|s| !(s.kind == Kind::Video && body(&bytes, s).starts_with(&[0x17, 2])))
            .map(|s| (s.kind, s.dts, hex::encode(Sha256::digest(payload(&bytes, s)))))
            .collect();
        assert_eq!(ours, probed(&dir.path().join(name)), "{name}");

        let length_s = probed_duration_s(&dir.path().join(name));
        assert!(
            (media.duration_ms / 1000.0 - length_s).abs() < 0.0011,
            "{name}: {} is not {length_s}",
            media.duration_ms
        );
        assert!(media.metadata.iter().any(|(key, _)| key == "duration"));
    }
}

#[tokio::test]
async fn headers_are_the_sequence_headers() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = made(dir.path(), "plain.flv", H264);
    let media = opened(&bytes).await;
    let [(Kind::Video, avc), (Kind::Audio, aac)] = &media.headers[..] else { panic!("{:?}", media.headers) };
    assert_eq!(avc[..6], [0x17, 0, 0, 0, 0, 1]);
    assert_eq!(aac[..2], [0xaf, 0]);
}

/// What a seek to `target_ms` must give, by the full walk.
fn expected(all: &[Sample], target_ms: u64) -> &[Sample] {
    let pictures = all.iter().any(|s| s.kind == Kind::Video);
    if target_ms <= all[0].dts {
        return all;
    }
    let wanted = if pictures { Kind::Video } else { Kind::Audio };
    let at = all.iter().rposition(|s| s.kind == wanted && s.sync && s.dts <= target_ms);
    &all[at.unwrap_or(0)..]
}

#[tokio::test]
async fn every_seek_starts_at_the_last_keyframe_before_its_target() {
    let dir = tempfile::tempdir().unwrap();
    for (name, arguments) in SHAPES {
        let bytes = made(dir.path(), name, arguments);
        let media = opened(&bytes).await;
        let mut reader = InMemory::new(bytes.clone());
        let all = walked(&mut media.cursor(&mut reader, 0).await.unwrap(), &mut reader).await.0;
        for target_ms in (0..=media.duration_ms as u64).step_by(97) {
            let mut cursor = media.cursor(&mut reader, target_ms).await.unwrap();
            let (samples, error) = walked(&mut cursor, &mut reader).await;
            assert_eq!(error, None);
            let expected = expected(&all, target_ms);
            assert!(
                samples == expected,
                "{name} at {target_ms}: {:?} for {:?}",
                samples.first(),
                expected[0]
            );
        }
        let past = all.iter().map(|s| s.dts).max().unwrap().max(media.duration_ms as u64) + 1;
        let mut cursor = media.cursor(&mut reader, past).await.unwrap();
        assert_eq!(cursor.step(&mut reader), Ok(Step::End), "{name}");
    }
}

#[tokio::test]
async fn a_lying_keyframe_index_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (name, arguments) = SHAPES[1];
    let bytes = made(dir.path(), name, arguments);
    let honest = opened(&bytes).await;
    let Index::Flv(index) = &honest.index else { panic!() };
    assert!(index.keyframes.len() >= 10, "{:?}", index.keyframes);
    let mut reader = InMemory::new(bytes.clone());
    let all = walked(&mut honest.cursor(&mut reader, 0).await.unwrap(), &mut reader).await.0;
    for shift in [1.0, -40.0, 5000.0] {
        let mut lying = bytes.to_vec();
        for &(_, at) in &index.keyframes {
            let true_bytes = (at as f64).to_be_bytes();
            let place = lying[..8000].windows(8).position(|eight| eight == true_bytes).unwrap();
            lying[place..place + 8].copy_from_slice(&(at as f64 + shift).to_be_bytes());
        }
        let lying = Bytes::from(lying);
        let media = opened(&lying).await;
        let mut reader = InMemory::new(lying.clone());
        for target_ms in (0..12_000).step_by(431) {
            let mut cursor = media.cursor(&mut reader, target_ms).await.unwrap();
            let samples = walked(&mut cursor, &mut reader).await.0;
            assert!(samples == expected(&all, target_ms), "shift {shift} at {target_ms}");
        }
    }
}

#[tokio::test]
async fn opening_and_indexed_seeking_read_little() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = made(
        dir.path(),
        "big.flv",
        "-t 60 -c:v libx264 -preset ultrafast -crf 1 -g 50 -flvflags add_keyframe_index -c:a aac",
    );
    assert!(bytes.len() > 4 << 20, "{}", bytes.len());
    let mut reader = InMemory { all_buffered: false, ..InMemory::new(bytes) };
    let media = Arc::new(open(&mut reader, &Limits::default()).await.unwrap());
    let read: u64 = reader.reads.iter().map(|r| r.1).sum();
    assert!(read <= 320 << 10, "{:?}", reader.reads);
    reader.reads.clear();
    media.cursor(&mut reader, 31_000).await.unwrap();
    assert_eq!(reader.reads.len(), 1, "{:?}", reader.reads);
}

#[tokio::test]
async fn a_file_cut_anywhere_plays_to_its_last_whole_tag() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = "-t 0.3 -s 32x32 -c:v libx264 -preset ultrafast -g 4 -crf 40 -c:a aac -b:a 16k";
    let bytes = made(dir.path(), "small.flv", arguments);
    let whole = opened(&bytes).await;
    let mut reader = InMemory::new(bytes.clone());
    let all = walked(&mut whole.cursor(&mut reader, 0).await.unwrap(), &mut reader).await.0;
    let mut opened = 0;
    for len in 0..bytes.len() {
        let mut reader = InMemory { all_buffered: false, ..InMemory::new(bytes.slice(..len)) };
        let media = match open(&mut reader, &Limits::default()).await {
            Ok(media) => Arc::new(media),
            Err(MediaError::StructureInvalid(_) | MediaError::NoSupportedTrack(_)) => continue,
            Err(error) => panic!("cut at {len}: {error}"),
        };
        opened += 1;
        let (samples, error) = walked(&mut media.cursor(&mut reader, 0).await.unwrap(), &mut reader).await;
        let held: Vec<_> =
            all.iter().filter(|s| s.offset + u64::from(s.len) <= len as u64).cloned().collect();
        assert_eq!(samples, held, "cut at {len}");
        let end = held.last().map_or(0, |s| s.offset + u64::from(s.len));
        let at_boundary = (end..=end + 4).contains(&(len as u64));
        if !held.is_empty() && error.is_none() {
            assert!(at_boundary, "cut at {len} was not noticed");
        }
        assert!(matches!(error, None | Some(MediaError::StructureInvalid(_))), "cut at {len}: {error:?}");
        if let Some(last) = held.iter().map(|s| s.dts).max() {
            assert!(
                media.duration_ms <= last as f64 + 101.0,
                "cut at {len}: {} after {last}",
                media.duration_ms
            );
        }
        for target_ms in [1, 80, 150, 200] {
            let mut cursor = media.cursor(&mut reader, target_ms).await.unwrap();
            walked(&mut cursor, &mut reader).await;
        }
    }
    assert!(opened > bytes.len() / 2);
}

#[tokio::test]
async fn damaged_files_fail_without_panic() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = "-t 1 -s 64x64 -c:v libx264 -g 4 -c:a aac -flvflags add_keyframe_index";
    let bytes = made(dir.path(), "small.flv", arguments);
    for seed in 0..3000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = bytes.to_vec();
        for _ in 0..random.random_range(1..12) {
            // Where structure is dense, half the time.
            let range = if random.random() { 0..1200 } else { 0..bytes.len() };
            let at = random.random_range(range);
            bytes[at] = if random.random() {
                random.random()
            } else {
                [0, 0xff][usize::from(random.random::<bool>())]
            };
        }
        let mut reader = InMemory::new(bytes);
        let Ok(media) = open(&mut reader, &Limits::default()).await else { continue };
        let media = Arc::new(media);
        for target_ms in [0, 300, 999, 1001, 1 << 40] {
            let mut cursor = media.cursor(&mut reader, target_ms).await.unwrap();
            walked(&mut cursor, &mut reader).await;
        }
    }
}

// ---- files made by hand ----

struct Builder(BytesMut);

impl Builder {
    fn new() -> Self {
        Self(BytesMut::from(&b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[..]))
    }

    fn tag(mut self, type_byte: u8, time_ms: u32, body: &[u8]) -> Self {
        self.0.put_u8(type_byte);
        self.0.put_slice(&(body.len() as u32).to_be_bytes()[1..]);
        self.0.put_slice(&time_ms.to_be_bytes()[1..]);
        self.0.put_u8((time_ms >> 24) as u8);
        self.0.put_slice(&[0; 3]);
        self.0.put_slice(body);
        self.0.put_u32(body.len() as u32 + 11);
        self
    }

    async fn open(&self) -> Result<Media, MediaError> {
        open(&mut self.reader(), &Limits::default()).await
    }

    fn reader(&self) -> InMemory {
        InMemory::new(self.0.clone().freeze())
    }

    /// (type, time, body) of all samples, and how they end.
    async fn played(&self) -> (Vec<(Kind, u64, Vec<u8>)>, Option<MediaError>) {
        let media = Arc::new(self.open().await.unwrap());
        let mut reader = self.reader();
        let (samples, error) = walked(&mut media.cursor(&mut reader, 0).await.unwrap(), &mut reader).await;
        (samples.iter().map(|s| (s.kind, s.dts, body(&self.0, s).to_vec())).collect(), error)
    }
}

const AVC_A: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x64];
const AVC_B: &[u8] = &[0x17, 0, 0, 0, 0, 1, 0x42];
const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 9];

#[tokio::test]
async fn an_announced_header_is_not_repeated_until_another_replaced_it() {
    let file =
        Builder::new().tag(9, 0, AVC_A).tag(9, 0, KEY).tag(9, 40, AVC_A).tag(9, 80, AVC_B).tag(9, 120, AVC_A);
    let video = |time, body: &[u8]| (Kind::Video, time, body.to_vec());
    assert_eq!(file.open().await.unwrap().headers, [(Kind::Video, Bytes::from_static(AVC_A))]);
    let (samples, error) = file.played().await;
    assert_eq!(samples, [video(0, KEY), video(80, AVC_B), video(120, AVC_A)]);
    assert_eq!(error, None);
}

#[tokio::test]
async fn oddities_are_tolerated() {
    let mut script = vec![2, 0, 10];
    script.extend(b"onMetaData");
    script.extend([8, 0, 0, 0, 1, 0, 1, b'a', 1, 1, 0, 0, 9]);
    let cue = [2, 0, 3, b'c', b'u', b'e', 5];
    let far = 0x0123_4567;
    let file = Builder::new()
        .tag(18, 0, &cue)
        .tag(18, 0, &script)
        .tag(9, 0, &[])
        .tag(9, 0, &[0x12, 1])
        .tag(15, 0, b"a type not defined yet")
        .tag(18, 0, &script)
        .tag(9, far, &[0x22, 2])
        .tag(8, 5, &[0x2f]);
    let media = file.open().await.unwrap();
    let duration = ("duration".to_owned(), Value::Number(f64::from(far) / 1000.0));
    assert_eq!(media.metadata, [duration, ("a".to_owned(), Value::Boolean(true))]);
    let (samples, error) = file.played().await;
    let expected: [(Kind, u64, &[u8]); 5] = [
        (Kind::Data, 0, &cue),
        (Kind::Video, 0, &[0x12, 1]),
        (Kind::Data, 0, &script),
        (Kind::Video, u64::from(far), &[0x22, 2]),
        (Kind::Audio, 5, &[0x2f]),
    ];
    assert_eq!(samples, expected.map(|(kind, time, body)| (kind, time, body.to_vec())));
    assert_eq!(error, None);
}

#[tokio::test]
async fn what_is_no_flv_is_refused() {
    let refused = |bytes: Vec<u8>| async move {
        open(&mut InMemory::new(bytes), &Limits::default()).await.unwrap_err()
    };
    let invalid = |error: MediaError| assert!(matches!(error, MediaError::StructureInvalid(_)), "{error}");
    let unsupported =
        |error: MediaError| assert!(matches!(error, MediaError::NoSupportedTrack(_)), "{error}");
    invalid(refused(b"FLV".to_vec()).await);
    invalid(refused(b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec()).await);
    invalid(refused(b"FLV\x01\x05\0\0\0\x04\0\0\0\0\x08\0\0\x01\0\0\0\0\0\0\0\x2f\0\0\0\x0c".to_vec()).await);
    invalid(
        refused(b"FLV\x01\x05\xff\0\0\x09\0\0\0\0\x08\0\0\x01\0\0\0\0\0\0\0\x2f\0\0\0\x0c".to_vec()).await,
    );
    invalid(refused([b"FLV\x01\x05\0\0\0\x09".to_vec(), vec![0x55; 4000]].concat()).await);
    invalid(refused([b"FLV\x01\x05\0\0\0\x09".to_vec(), vec![0; 4000]].concat()).await);
    unsupported(Builder::new().tag(18, 0, &[2, 0, 1, b'x']).open().await.unwrap_err());
    unsupported(Builder::new().tag(0x29, 0, KEY).open().await.unwrap_err());
}

#[test]
fn extended_headers_are_told_by_their_packet_type() {
    assert_eq!(classify(Kind::Video, &[0x90, b'h']), Class::Config);
    assert_eq!(classify(Kind::Video, &[0x91, b'h']), Class::Keyframe);
    assert_eq!(classify(Kind::Video, &[0xa3, b'h']), Class::Other);
    assert_eq!(classify(Kind::Audio, &[0x90, b'O']), Class::Config);
    assert_eq!(classify(Kind::Video, &[0x17, 2]), Class::Other);
    assert_eq!(classify(Kind::Video, &[0x17]), Class::Other);
    assert_eq!(classify(Kind::Video, &[]), Class::Other);
}

// ---- a film too large to have ----

/// A 4 GB file computed as it is read: 25 frames a second of sizes that vary with time, a keyframe each `gop` frames, an audio
/// tag after each frame.
struct Film {
    gop: u64,
    /// Offset of each 1000th frame's tag.
    marks: Vec<u64>,
    size: u64,
    reads: Vec<(u64, u64)>,
}

const FRAMES: u64 = 200_000;
const SOUND: u64 = 200;

impl Film {
    fn new(gop: u64) -> Self {
        let (mut marks, mut at) = (Vec::new(), 13);
        for frame in 0..FRAMES {
            if frame % 1000 == 0 {
                marks.push(at);
            }
            at += Self::stride(gop, frame);
        }
        Self { gop, marks, size: at, reads: Vec::new() }
    }

    /// The busy half has three times the bytes of the calm one.
    fn picture(gop: u64, frame: u64) -> u64 {
        let busy = if frame > FRAMES / 3 { 3 } else { 1 };
        let key = if frame.is_multiple_of(gop) { 10 } else { 1 };
        (6000 + frame * 7919 % 3000) * busy * key
    }

    fn stride(gop: u64, frame: u64) -> u64 {
        Self::picture(gop, frame) + SOUND + 30
    }

    fn tag(type_byte: u8, time_ms: u64, len: u64, first: [u8; 2]) -> Vec<u8> {
        let body = vec![0x5a; len as usize];
        let mut tag = Builder(BytesMut::new()).tag(type_byte, time_ms as u32, &body).0.to_vec();
        tag[11..13].copy_from_slice(&first);
        tag
    }

    fn bytes(&self, offset: u64, len: u64) -> Bytes {
        let mut out = BytesMut::new();
        let mut frame = (self.marks.partition_point(|&at| at <= offset).max(1) - 1) as u64 * 1000;
        let mut at = self.marks[(frame / 1000) as usize];
        if offset < at {
            out.put_slice(&b"FLV\x01\x05\0\0\0\x09\0\0\0\0"[offset as usize..]);
        }
        while at < offset + len && frame < FRAMES {
            let stride = Self::stride(self.gop, frame);
            if at + stride > offset {
                let key = frame.is_multiple_of(self.gop);
                let picture = Self::picture(self.gop, frame);
                let mut both = Self::tag(9, frame * 40, picture, [if key { 0x12 } else { 0x22 }, 0]);
                both.extend(Self::tag(8, frame * 40 + 3, SOUND, [0x2f, 0]));
                out.put_slice(&both[offset.saturating_sub(at) as usize..]);
            }
            at += stride;
            frame += 1;
        }
        out.truncate(len as usize);
        out.freeze()
    }
}

impl ReadAt for Film {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&mut self, offset: u64, len: u64) -> Result<Slices, ReadError> {
        assert!(offset + len <= self.size);
        self.reads.push((offset, len));
        Ok(smallvec::smallvec![self.bytes(offset, len)])
    }

    fn buffered(&mut self, offset: u64, len: u64) -> Option<Slices> {
        (offset + len <= self.size).then(|| smallvec::smallvec![self.bytes(offset, len)])
    }
}

#[tokio::test]
async fn seeking_in_a_large_film_without_index_reads_little() {
    for (gop, most_bytes) in [(50, 5 << 20), (250, 12 << 20)] {
        let mut film = Film::new(gop);
        assert!(film.size > 3 << 30);
        let media = Arc::new(open(&mut film, &Limits::default()).await.unwrap());
        assert_eq!(media.duration_ms, (FRAMES * 40 - 37) as f64);
        let mut random = StdRng::seed_from_u64(gop);
        for _ in 0..60 {
            let target_ms = random.random_range(1..FRAMES * 40);
            film.reads.clear();
            let mut cursor = media.cursor(&mut film, target_ms).await.unwrap();
            let read: u64 = film.reads.iter().map(|r| r.1).sum();
            assert!(film.reads.len() <= 48 && read <= most_bytes, "{target_ms}: {read} in {:?}", film.reads);
            let Ok(Step::Sample(first)) = cursor.step(&mut film) else { panic!() };
            assert_eq!((first.kind, first.dts), (Kind::Video, target_ms / 40 / gop * gop * 40));
        }
    }
}

#[tokio::test]
async fn a_film_of_one_keyframe_starts_over_in_bounded_reads() {
    let mut film = Film::new(u64::MAX);
    let media = Arc::new(open(&mut film, &Limits::default()).await.unwrap());
    film.reads.clear();
    let mut cursor = media.cursor(&mut film, 7_000_000).await.unwrap();
    let read: u64 = film.reads.iter().map(|r| r.1).sum();
    assert!(read < 48 << 20, "{read}");
    assert!(matches!(cursor.step(&mut film), Ok(Step::Sample(first)) if first.dts == 0));
}
