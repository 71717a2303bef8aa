//! Fuzz targets: MP4 files; as they come, and good ones with lies in their boxes.

use super::Mp4Index;
use crate::media::fuzz::{File, STEPS, Walked, open_and_walk, seek, targets, walk};
use crate::media::{Container, Index, Kind, Media, Sample, sniff};
use proto::fuzzing::Input;

/// Largest file tried: only its boxes are read.
const FILE_BYTES: u64 = 1 << 40;

/// Films that lies are told about: moov first, moov last with B-frames and edits, fragments with and without indexes, QuickTime.
const FILMS: &[&[u8]] = &[
    include_bytes!("../../../fuzz/corpus/mp4/first.mp4"),
    include_bytes!("../../../fuzz/corpus/mp4/last.mp4"),
    include_bytes!("../../../fuzz/corpus/mp4/fragments-sidx.mp4"),
    include_bytes!("../../../fuzz/corpus/mp4/fragments-mfra.mp4"),
    include_bytes!("../../../fuzz/corpus/mp4/sound.m4a"),
    include_bytes!("../../../fuzz/corpus/mp4/quicktime.mov"),
];
/// Most lies told about one film.
const LIES: usize = 8;
/// Boxes that hold boxes.
const CONTAINERS: &[&[u8; 4]] = &[
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"mvex", b"moof", b"traf", b"mfra", b"udta",
    b"dinf",
];

/// The file that `data` describes is opened, walked and sought in.
pub fn mp4(data: &[u8]) {
    check(&mut File::described(data, FILE_BYTES), data);
}

/// `data` chooses a film and lies: fields overwritten, boxes renamed, repeated, moved and left out.
pub fn mp4_lies(data: &[u8]) {
    let mut choices = Input::new(data);
    let mut film = choices.choose(FILMS).to_vec();
    for _ in 0..LIES {
        if choices.is_empty() {
            break;
        }
        lie(&mut film, &mut choices);
    }
    let mut file = File::default();
    file.push(&film, 1);
    check(&mut file, data);
}

/// A box in a film: where it starts, its length, and those it stands in, outermost first.
#[derive(Clone, Debug)]
struct Place {
    start: usize,
    len: usize,
    within: Vec<usize>,
}

fn places(film: &[u8], mut at: usize, end: usize, within: &[usize], out: &mut Vec<Place>) {
    while let Some(head) = film.get(at..end).and_then(|rest| rest.first_chunk::<8>()) {
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if len < 8 || len > end - at {
            return;
        }
        out.push(Place { start: at, len, within: within.to_vec() });
        if within.len() < 8 && CONTAINERS.iter().any(|kind| head[4..] == kind[..]) {
            places(film, at + 8, at + len, &[within, &[at]].concat(), out);
        }
        at += len;
    }
}

fn lie(film: &mut Vec<u8>, choices: &mut Input<'_>) {
    let mut found = Vec::new();
    places(film, 0, film.len(), &[], &mut found);
    let Some(place) = found.get(choices.below(found.len())).cloned() else { return };
    let body = place.start + 8..place.start + place.len;
    match choices.below(8) {
        // A word of a table: counts stand in the first few.
        0..=3 => {
            let words = (body.len() / 4).max(1);
            let word = if choices.coin() { choices.below(words.min(6)) } else { choices.below(words) };
            let at = body.start + 4 * word;
            let Some(field) = film.get_mut(at..at + 4) else { return };
            let old = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
            let new = match choices.below(8) {
                0 => 0,
                1 => u32::MAX,
                2 => i32::MAX as u32,
                3 => old.wrapping_add(1),
                4 => old.wrapping_sub(1),
                5 => old.wrapping_mul(2),
                6 => u32::from(choices.u8()),
                _ => choices.u32(),
            };
            field.copy_from_slice(&new.to_be_bytes());
        }
        4 => {
            let kind = *choices.choose(CONTAINERS);
            film[place.start + 4..place.start + 8].copy_from_slice(kind);
        }
        5 => {
            // Out it goes, and perhaps in again elsewhere; those around it shrink, or keep their old lengths.
            let copy: Vec<u8> = film[place.start..place.start + place.len].to_vec();
            film.drain(place.start..place.start + place.len);
            if choices.coin() {
                resize(film, &place.within, -(place.len as i64));
            }
            if choices.coin() {
                let at = place.start + choices.below(film.len() - place.start + 1);
                film.splice(at..at, copy);
            }
        }
        6 => {
            let copy: Vec<u8> = film[place.start..place.start + place.len].to_vec();
            film.splice(place.start..place.start, copy);
            if choices.coin() {
                resize(film, &place.within, place.len as i64);
            }
        }
        _ => {
            let size = choices.u32() >> choices.below(32);
            film[place.start..place.start + 4].copy_from_slice(&size.to_be_bytes());
        }
    }
}

fn resize(film: &mut [u8], boxes: &[usize], by: i64) {
    for &start in boxes {
        if let Some(field) = film.get_mut(start..start + 4) {
            let old = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
            field.copy_from_slice(&((i64::from(old) + by) as u32).to_be_bytes());
        }
    }
}

fn check(file: &mut File, data: &[u8]) {
    if sniff(&file.slice(0, 16)) != Some(Container::Mp4) {
        return;
    }
    let Some((media, all)) = open_and_walk(file) else { return };
    let Index::Mp4(index) = &media.index else { panic!("an MP4 file opened as {:?}", media.container) };
    assert!(media.weight_bytes < 8 << 20, "{} bytes of index", media.weight_bytes);
    // Tables are checked whole when they are read: nothing is left to go wrong.
    let tables_only = index.fragments.is_none();
    if tables_only {
        assert!(!all.damaged && all.in_order());
        assert!(all.whole || all.samples.len() == STEPS);
    }
    for target_ms in targets(&media, file, data) {
        let Some(cursor) = seek(&media, file, target_ms) else {
            assert!(!tables_only, "a seek in tables failed");
            continue;
        };
        let found = walk(&media, file, cursor);
        if target_ms > 0 && target_ms as f64 >= media.duration_ms {
            assert!(found.samples.is_empty() && found.whole, "{target_ms} is past {}", media.duration_ms);
        } else if tables_only && all.whole {
            check_place(&media, index, &all, &found, target_ms);
        }
    }
}

/// The seek starts with the last keyframe at or before its target, and goes on as the walk from the start does.
fn check_place(media: &Media, index: &Mp4Index, all: &Walked, found: &Walked, target_ms: u64) {
    let lead = index.tracks.first().map(|track| track.kind);
    let starts = |sample: &Sample| sample.sync && Some(sample.kind) == lead && sample.time_ms() <= target_ms;
    // A text that is still on is sent again, at the place's own time; where those of its track follow is as before.
    let shown = |samples: &[Sample]| -> Vec<Sample> {
        samples.iter().filter(|sample| !matches!(sample.kind, Kind::Text(_))).cloned().collect()
    };
    let what = || format!("at {target_ms} of {} ms, tracks {:?}", media.duration_ms, media.tracks);
    match all.samples.iter().rposition(starts) {
        // What precedes the start of the presentation is due at 0, and is sent whole.
        Some(key) if all.samples[key].dts > 0 => {
            assert_eq!(shown(&found.samples), shown(&all.samples[key..]), "{}", what());
        }
        Some(_) => assert_eq!(shown(&found.samples), shown(&all.samples), "{}", what()),
        None => assert!(shown(&found.samples).len() <= shown(&all.samples).len(), "{}", what()),
    }
}
