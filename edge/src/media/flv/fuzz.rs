//! Fuzz target: FLV files.

use super::header::{Class, classify};
use super::seek::NEAR_BYTES;
use crate::media::fuzz::{File, Walked, open_and_walk, seek, targets, walk};
use crate::media::{Index, Kind, Sample};
use crate::object::ReadAt;

/// Largest file tried: several times what is walked without a guess, a few steps back.
const FILE_BYTES: u64 = 2 << 20;

/// The file that `data` describes is opened, walked and sought in.
pub fn flv(data: &[u8]) {
    let mut file = File::described(data, FILE_BYTES);
    if !file.slice(0, 3).starts_with(b"FLV") {
        return;
    }
    let Some((media, all)) = open_and_walk(&mut file) else { return };
    let Index::Flv(index) = &media.index else { panic!("an FLV file opened as {:?}", media.container) };
    assert!(media.headers.len() <= 2);
    let header_bytes: usize = media.headers.iter().map(|(_, body)| body.len()).sum();
    assert!(media.weight_bytes >= header_bytes && media.weight_bytes < 4096 + 256 * data.len());

    // Where the file proves itself in order and is small enough to be walked, a seek has one right answer.
    let plain = index.keyframes.is_empty() && file.size() < NEAR_BYTES;
    let exact = plain && all.whole && all.in_order() && !has_late_config(&file, &all);
    for target_ms in targets(&media, &file, data) {
        let Some(cursor) = seek(&media, &mut file, target_ms) else { continue };
        let found = walk(&media, &mut file, cursor);
        let end_ms = media.duration_ms.max(f64::from(index.last_ms));
        if target_ms as f64 > end_ms {
            assert!(found.samples.is_empty() && found.whole, "{target_ms} is past the end at {end_ms}");
        } else if exact && target_ms > u64::from(index.first_ms) {
            check_place(&all, &found, target_ms);
        }
    }
}

/// The seek starts with the last keyframe at or before its target, and goes on as the walk from the start does.
fn check_place(all: &Walked, found: &Walked, target_ms: u64) {
    let starts = |sample: &&Sample| sample.kind == Kind::Video && sample.sync && sample.dts <= target_ms;
    let Some(key) = all.samples.iter().rfind(starts) else { return };
    let first = found.samples.first();
    assert_eq!(first, Some(key), "at {target_ms}");
    let from = all.samples.iter().position(|sample| sample == key).unwrap_or(0);
    assert_eq!(found.samples, &all.samples[from..], "at {target_ms}");
}

/// Whether a codec configuration stands among the samples: a seek may miss it.
fn has_late_config(file: &File, all: &Walked) -> bool {
    all.samples.iter().any(|sample| {
        let head = file.slice(sample.offset, u64::from(sample.len.min(2)));
        classify(sample.kind, &head) == Class::Config
    })
}
