//! One fragment: a `moof` box and the samples it lists.
//!
//! `tfhd` and `tfdt` are decoded by `mp4-atom`; `trun` is read here, sample by sample into the queue of its track, because
//! a decoded run would take eight times the box's size for a moment. A run that says more samples than its box can hold, or
//! samples that pass the end of the file, are [`MediaError::StructureInvalid`].
//!
//! Source: ISO/IEC 14496-12, 8.8.4 to 8.8.12.

use mp4_atom::{Tfdt, Tfhd, Trex};

use super::LANES_MAX;
use super::boxes::{self, invalid};
use super::edit_list::Timeline;
use super::sample_table::RawSample;
use super::text_track::SAMPLE_BYTES_MAX;
use crate::media::{Kind, MediaError};

/// Most samples of one fragment: over an hour of film in a single one. A run needs no byte a sample, so its box is no bound.
const SAMPLES_MAX: usize = 1 << 19;

/// Flags of a sample that is no sync sample, or that depends on others.
const NOT_SYNC: u32 = 0x0101_0000;

/// What is known of a track before its fragments.
#[derive(Clone, Debug)]
pub(crate) struct FragmentTrack {
    /// Audio or video.
    pub(crate) kind: Kind,
    /// What `tfhd` leaves out.
    pub(crate) defaults: Trex,
}

/// A fragment's samples, in the tracks' own times.
#[derive(Debug, Default)]
pub(crate) struct Fragment {
    /// Where its `moof` starts.
    pub(crate) offset: u64,
    /// Samples by track.
    pub(crate) samples: [Vec<RawSample>; LANES_MAX],
    /// Where each track's samples end, ticks; `None` for a track it has nothing of.
    pub(crate) ends: [Option<u64>; LANES_MAX],
    /// Whether all its tracks said when they start.
    pub(crate) timed: bool,
}

impl Fragment {
    /// Reads a `moof` body. `next_dts` says where each track's samples should go on if the fragment doesn't say.
    pub(crate) fn read(
        moof: &[u8],
        offset: u64,
        file_bytes: u64,
        sample_bytes_max: u32,
        tracks: &[FragmentTrack],
        next_dts: [u64; LANES_MAX],
    ) -> Result<Self, MediaError> {
        let mut fragment = Self { offset, timed: true, ..Self::default() };
        let mut run = Run { data: offset, file_bytes, sample_bytes_max, held: 0 };
        for found in boxes::children(moof) {
            let (kind, traf) = found?;
            if kind != *b"traf" {
                continue;
            }
            let tfhd = boxes::decode::<Tfhd>(boxes::required(traf, b"tfhd")?)?;
            let lane = tracks.iter().position(|track| track.defaults.track_id == tfhd.track_id);
            let base = match tfhd.base_data_offset {
                Some(base) => base,
                None if tfhd.default_base_is_moof => offset,
                None => run.data,
            };
            run.data = base;
            let start = match boxes::child(traf, b"tfdt")? {
                Some(body) => boxes::decode::<Tfdt>(body)?.base_media_decode_time,
                None => {
                    fragment.timed = false;
                    lane.map_or(0, |lane| fragment.ends[lane].unwrap_or(next_dts[lane]))
                }
            };
            let mut dts = Timeline::check(start)?;
            let other = FragmentTrack { kind: Kind::Data, defaults: Trex::default() };
            let track = lane.and_then(|lane| tracks.get(lane)).unwrap_or(&other);
            let mut ignored = Vec::new();
            for found in boxes::children(traf) {
                let (kind, trun) = found?;
                if kind == *b"trun" {
                    let into = match lane {
                        Some(lane) => &mut fragment.samples[lane],
                        None => &mut ignored,
                    };
                    dts = run.read(trun, base, &tfhd, track, dts, into)?;
                    ignored.clear();
                }
            }
            if let Some(lane) = lane {
                fragment.ends[lane] = Some(dts);
            }
        }
        Ok(fragment)
    }
}

/// What runs of one fragment hand to each other.
struct Run {
    /// Where the next sample's bytes stand, unless its run says otherwise.
    data: u64,
    file_bytes: u64,
    sample_bytes_max: u32,
    held: usize,
}

impl Run {
    /// Reads one `trun` body; gives the decoding time after it.
    fn read(
        &mut self,
        trun: &[u8],
        base: u64,
        tfhd: &Tfhd,
        track: &FragmentTrack,
        mut dts: u64,
        into: &mut Vec<RawSample>,
    ) -> Result<u64, MediaError> {
        let flags = boxes::u32_at(trun, 0)?;
        let count = boxes::u32_at(trun, 4)? as usize;
        let mut at = 8;
        if flags & 1 != 0 {
            let relative = i64::from(boxes::u32_at(trun, at)? as i32);
            self.data = base
                .checked_add_signed(relative)
                .ok_or_else(|| invalid(format!("trun stands at {base}{relative:+}")))?;
            at += 4;
        }
        let mut first_flags = None;
        if flags & 4 != 0 {
            first_flags = Some(boxes::u32_at(trun, at)?);
            at += 4;
        }
        let fields = (flags >> 8 & 15).count_ones() as usize;
        let rest = trun.get(at..).unwrap_or_default();
        self.held = self.held.saturating_add(count);
        if count.checked_mul(fields * 4).is_none_or(|bytes| bytes > rest.len()) || self.held > SAMPLES_MAX {
            return Err(invalid(format!("trun says {count} samples in {} bytes", rest.len())));
        }
        into.reserve(count);
        let mut words =
            rest.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        let mut field =
            |bit: u32, default: u32| if flags & bit != 0 { words.next().unwrap_or(default) } else { default };
        let defaults = &track.defaults;
        for index in 0..count {
            let duration =
                field(0x100, tfhd.default_sample_duration.unwrap_or(defaults.default_sample_duration));
            let len = field(0x200, tfhd.default_sample_size.unwrap_or(defaults.default_sample_size));
            let mut sample_flags =
                field(0x400, tfhd.default_sample_flags.unwrap_or(defaults.default_sample_flags));
            let cts = field(0x800, 0) as i32;
            if index == 0 && flags & 0x400 == 0 {
                sample_flags = first_flags.unwrap_or(sample_flags);
            }
            let end = self.data.checked_add(u64::from(len)).filter(|&end| end <= self.file_bytes);
            let Some(end) = end else {
                return Err(invalid(format!(
                    "trun has a sample at {}+{len} that passes the end of the file at {}",
                    self.data, self.file_bytes
                )));
            };
            // A text too long for anyone to read is left out; it must not end the film.
            let passed_over = match track.kind {
                Kind::Data => true,
                Kind::Text(_) => len > SAMPLE_BYTES_MAX,
                Kind::Video | Kind::Audio => false,
            };
            if !passed_over {
                if len > self.sample_bytes_max {
                    let most = self.sample_bytes_max;
                    return Err(invalid(format!("trun has a sample of {len} bytes; at most {most}")));
                }
                let sync = track.kind != Kind::Video || sample_flags & NOT_SYNC == 0;
                into.push(RawSample { dts, offset: self.data, len, cts, sync });
            }
            self.data = end;
            dts = Timeline::check(dts.saturating_add(u64::from(duration)))?;
        }
        Ok(dts)
    }
}
