//! Fuzz target: MP3 files.

use crate::media::fuzz::{File, open_and_walk, seek, targets, walk};
use crate::media::{Container, Index, Kind, sniff};
use crate::object::ReadAt;

/// Largest file tried: more than is walked to count frames.
const FILE_BYTES: u64 = 10 << 20;

/// The file that `data` describes is opened, walked and sought in.
pub fn mp3(data: &[u8]) {
    let mut file = File::described(data, FILE_BYTES);
    if file.is_empty() || sniff(&file.slice(0, 16)) != Some(Container::Mp3) {
        return;
    }
    let Some((media, all)) = open_and_walk(&mut file) else { return };
    let Index::Mp3(index) = &media.index else { panic!("an MP3 file opened as {:?}", media.container) };
    assert!(index.first <= index.end && index.end <= file.size());
    assert!(media.weight_bytes < 1 << 20);
    let frame_ticks = u64::from(index.frame.samples());
    let is_frame_of_it = |sample: &crate::media::Sample| {
        sample.kind == Kind::Audio
            && sample.timescale == index.frame.rate_hz
            && (index.first..index.end).contains(&sample.offset)
    };
    assert!(all.samples.iter().all(is_frame_of_it));
    let numbers = all.samples.iter().map(|sample| sample.dts);
    assert!(numbers.eq((0..all.samples.len() as u64).map(|number| number * frame_ticks)));

    for target_ms in targets(&media, &file, data) {
        let Some(cursor) = seek(&media, &mut file, target_ms) else { continue };
        let found = walk(&media, &mut file, cursor);
        if target_ms as f64 > media.duration_ms {
            assert!(found.samples.is_empty() && found.whole, "{target_ms} is past {}", media.duration_ms);
        }
        // Never late: what is asked for must not be missed.
        let first = found.samples.first();
        assert!(first.is_none_or(|first| first.time_ms() <= target_ms), "{first:?} for {target_ms}");
        assert!(found.samples.iter().all(is_frame_of_it) && found.in_order());
    }
}
