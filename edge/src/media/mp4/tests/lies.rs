//! Damaged and lying files: an error that names what is wrong, never a panic, a hang or a wild allocation.

use bytes::Bytes;

use super::films::*;
use crate::media::{Limits, MediaError};
use crate::object::read::InMemory;

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

async fn refusal(bytes: impl Into<Bytes>) -> String {
    match open(&bytes.into()).await {
        Err(MediaError::StructureInvalid(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A film with one 32-bit word of a box's body replaced.
fn with_word(film: &Bytes, kind: &[u8; 4], at: usize, word: u32) -> Vec<u8> {
    let mut lying = film.to_vec();
    let body = find(film, kind) + 4;
    lying[body + at..body + at + 4].copy_from_slice(&word.to_be_bytes());
    lying
}

#[tokio::test]
async fn each_lying_table_is_named() {
    let film = common("mp4", &[]);
    for (kind, at, word, named) in [
        (b"stts", 4, u32::MAX, "stts"),
        (b"stts", 8, u32::MAX, "stts"),
        (b"stts", 8, 3, "stts"),
        (b"stts", 12, 0x8000_0000, "stts"),
        (b"ctts", 4, u32::MAX, "ctts"),
        (b"ctts", 8, u32::MAX, "ctts"),
        (b"stsc", 4, u32::MAX, "stsc"),
        (b"stsc", 8, 2, "stsc"),
        (b"stsc", 12, 0, "stsc"),
        (b"stsc", 16, 9, "stsc"),
        (b"stsc", 20, 1, "stsc"),
        (b"stsz", 8, u32::MAX, "stsz"),
        (b"stsz", 8, 19_000_000, "stsz"),
        (b"stsz", 4, 1 << 30, "stsz"),
        (b"stsz", 12, 1 << 23, "passes the end"),
        (b"stco", 4, u32::MAX, "stco"),
        (b"stco", 4, 1, "stsc"),
        (b"stco", 8, u32::MAX, "passes the end"),
        (b"stss", 4, u32::MAX, "stss"),
        (b"stss", 8, 0, "stss"),
        (b"stss", 8, 1_000_000, "stss"),
        (b"stsd", 4, 7, "stsd"),
        (b"mdhd", 12, 0, "mdhd"),
        (b"elst", 4, u32::MAX, "elst"),
        (b"avcC", 6, 0xffff_ffff, "avcC"),
    ] {
        let why = refusal(with_word(&film, kind, at, word)).await;
        let lie = String::from_utf8_lossy(kind);
        assert!(why.contains(named), "{lie} at {at} = {word}: {why}");
    }
}

#[tokio::test]
async fn a_file_cut_anywhere_is_refused() {
    for flags in ["+faststart", "+frag_keyframe+empty_moov+default_base_moof+global_sidx"] {
        let film = common("mp4", &["-movflags", flags]);
        let moov_end = find(&film, b"mdat");
        for part in 1..20 {
            let len = film.len() * part / 20;
            // The index at the end of a fragmented film is no part of the film.
            if len < moov_end || flags == "+faststart" || part < 18 {
                refusal(film.slice(..len)).await;
            }
        }
    }
    let last = common("mp4", &[]);
    refusal(last.slice(..last.len() - 1)).await;
    refusal(last.slice(..find(&last, b"moov") - 4)).await;
}

#[tokio::test]
async fn large_indexes_and_samples_are_refused_by_the_limits() {
    let film = common("mp4", &[]);
    for (limits, named) in [
        (Limits { index_bytes: 1000, ..Limits::default() }, "moov"),
        (Limits { samples: 10, ..Limits::default() }, "stsz"),
        (Limits { sample_bytes: 100, ..Limits::default() }, "stsz"),
    ] {
        let error = crate::media::open(&mut InMemory::new(film.clone()), &limits).await.unwrap_err();
        assert!(matches!(&error, MediaError::StructureInvalid(why) if why.contains(named)), "{error}");
    }
}

#[tokio::test]
async fn a_movie_of_unsupported_codecs_names_them() {
    let film = film(
        "mp4",
        &[
            PICTURES,
            SOUND,
            &["-c:v", "libx265", "-x265-params", "log-level=none", "-c:a", "ac3", "-shortest"],
        ],
    );
    match open(&film).await {
        Err(MediaError::NoSupportedTrack(why)) => {
            assert!(why.contains("hev1") && why.contains("ac-3"), "{why}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nested_descriptors_do_not_exhaust_the_stack() {
    // 2 MB of descriptors of streams within descriptors of streams.
    let mut nest = Vec::new();
    for depth in 0..300_000u32 {
        let len = (300_000 - depth) * 8;
        nest.extend([
            3,
            0x80 | (len >> 21) as u8,
            0x80 | (len >> 14) as u8,
            0x80 | (len >> 7) as u8,
            len as u8 & 0x7f,
        ]);
        nest.extend([0, 1, 0]);
    }
    let esds = wrap(b"esds", &[&[0; 4], &nest[..]].concat());
    let entry = wrap(b"mp4a", &[&[0; 28][..], &esds].concat());
    let stsd = wrap(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &entry].concat());
    let described = crate::media::mp4::codec::describe(&stsd[8..], crate::media::Kind::Audio);
    assert!(!matches!(described, Ok((Ok(_), _))));
}

fn wrap(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

/// A generator of its own, so that a failure can be repeated by its seed.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

async fn mutate(film: &Bytes, ranges: &[std::ops::Range<usize>], rounds: u64) {
    let (mut opened, mut refused) = (0, 0);
    for seed in 1..=rounds {
        let mut random = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = film.to_vec();
        for _ in 0..=random.below(4) {
            let range = &ranges[random.below(ranges.len())];
            let at = range.start + random.below(range.len() - 4);
            match random.below(4) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => bytes[at..at + 4].copy_from_slice(&(random.next() as u32).to_be_bytes()),
                _ => bytes[at..at + 4].fill(if random.below(2) == 0 { 0xff } else { 0 }),
            }
        }
        let bytes = Bytes::from(bytes);
        let Ok(media) = open(&bytes).await else {
            refused += 1;
            continue;
        };
        opened += 1;
        let mut reader = InMemory::new(bytes.clone());
        for target in [0, 2500, random.next() % 100_000] {
            let Ok(mut cursor) = media.cursor(&mut reader, target).await else { continue };
            for _ in 0..2000 {
                match cursor.step(&mut reader) {
                    Ok(crate::media::Step::Sample(sample)) => {
                        assert!(sample.offset + u64::from(sample.len) <= bytes.len() as u64, "seed {seed}");
                        assert!(sample.timescale > 0, "seed {seed}");
                    }
                    Ok(crate::media::Step::Need { offset, len }) => {
                        assert!(offset + len <= bytes.len() as u64, "seed {seed}: needs {offset}+{len}");
                    }
                    Ok(crate::media::Step::End) | Err(_) => break,
                }
            }
        }
        assert!(media.weight_bytes < 1 << 20, "seed {seed}: {} bytes", media.weight_bytes);
    }
    println!("{opened} opened, {refused} refused");
    assert!(opened > 0 && refused > 0);
}

#[tokio::test]
async fn a_mutated_moov_is_played_or_refused() {
    let film = common("mov", &[]);
    let moov = find(&film, b"moov");
    mutate(&film, std::slice::from_ref(&(moov..film.len())), 4000).await;
}

#[tokio::test]
async fn mutated_fragments_are_played_or_refused() {
    for flags in ["frag_keyframe+empty_moov+global_sidx", "frag_keyframe+empty_moov+default_base_moof"] {
        let film = common("mp4", &["-movflags", flags]);
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < film.len() {
            let len = u32::from_be_bytes(film[at..at + 4].try_into().unwrap()) as usize;
            if &film[at + 4..at + 8] != b"mdat" {
                ranges.push(at..at + len);
            }
            at += len;
        }
        mutate(&film, &ranges, 2000).await;
    }
}
