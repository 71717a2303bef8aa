//! How time and place relate in an MP3 file, and how many frames it has.

use super::frame::{self, Frame};
use super::{CONFIRM_BYTES, Mp3Cursor, Mp3Index, advance, vbr};
use crate::media::window::Window;
use crate::media::{MediaError, Step};
use crate::object::{ReadAt, ReadError};

/// Most bytes of sound whose frame headers are walked to count frames or to seek.
pub(super) const WALK_BYTES: u64 = 8 << 20;
/// Bytes read at a time in such a walk.
const RUN_BYTES: u64 = 256 << 10;
/// Places where the bitrate is looked at if no header tells it.
const PROBES: u64 = 8;
/// Bytes read at each.
const PROBE_BYTES: u64 = 16 << 10;

/// How a time's place is found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Timing {
    /// By arithmetic: the bitrate is constant. Some encoders never pad, whatever the bitrate asks for.
    Constant {
        /// Frames are padded so that their average is what the bitrate says.
        padded: bool,
    },
    /// By walking frame headers: little enough to do so.
    Walk,
    /// Between points: (frame number, offset), both rising, the first frame and the end included.
    Points(Vec<(u64, u64)>),
}

impl Timing {
    /// Memory held.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::Points(points) => points.len() * size_of::<(u64, u64)>(),
            _ => 0,
        }
    }
}

/// Sets `index.frames` and `index.timing`. `header` is what the frame at `header_at` says.
pub(super) async fn learn<R: ReadAt>(
    index: &mut Mp3Index,
    reader: &mut R,
    header: Option<vbr::Header>,
    header_at: u64,
) -> Result<(), MediaError> {
    let sound_bytes = index.end.saturating_sub(index.first);
    let whole_bytes = index.end - header_at;
    let header =
        header.filter(|header| header.frames.is_some_and(|n| credible(&index.frame, n, header, whole_bytes)));
    if let Some(header) = header {
        let claimed_bytes = header.bytes.unwrap_or(whole_bytes);
        let frames = header.frames.unwrap_or(0);
        index.frames = frames;
        let fits = |padded: &bool| {
            let average = average_bytes(&index.frame, *padded);
            (frames as f64 * average - sound_bytes as f64).abs() <= 2.0 * average
        };
        if let (true, Some(padded)) = (header.constant, [true, false].into_iter().find(fits)) {
            index.timing = Timing::Constant { padded };
            return Ok(());
        }
        // More than a frame missing: the file is cut, the count wrong.
        let cut = whole_bytes + u64::from(index.frame.len) < claimed_bytes;
        if sound_bytes <= WALK_BYTES {
            if cut {
                index.frames = count(index, reader).await?;
            }
            return Ok(());
        }
        if cut {
            index.frames = (u128::from(frames) * u128::from(whole_bytes) / u128::from(claimed_bytes)) as u64;
        }
        index.timing = Timing::Points(points(index, &header, header_at, frames));
        return Ok(());
    }
    match probe(index, reader).await? {
        Probe::Constant { padded } => {
            // Rounding must not cost a frame.
            index.frames = ((sound_bytes + 2) as f64 / average_bytes(&index.frame, padded)) as u64;
            index.timing = Timing::Constant { padded };
        }
        _ if sound_bytes <= WALK_BYTES => index.frames = count(index, reader).await?,
        Probe::Variable { average } => {
            index.frames = (sound_bytes as f64 / average) as u64;
            index.timing = Timing::Points(vec![(0, index.first), (index.frames, index.end)]);
        }
    }
    Ok(())
}

/// Bytes a frame if all have the bitrate of `frame`.
pub(super) fn average_bytes(frame: &Frame, padded: bool) -> f64 {
    let average = f64::from(frame.samples() / 8) * f64::from(frame.bitrate_bps) / f64::from(frame.rate_hz);
    if padded { average } else { average.floor() }
}

/// Whether a header's numbers are possible: it may be a lie, or of another file.
fn credible(frame: &Frame, frames: u64, header: &vbr::Header, whole_bytes: u64) -> bool {
    let seconds = frames as f64 * f64::from(frame.samples()) / f64::from(frame.rate_hz);
    let bits = header.bytes.unwrap_or(whole_bytes) as f64 * 8.0;
    let (low, high) = frame.bitrates_bps();
    let cut_or_grown = header.bytes.is_some_and(|bytes| bytes > whole_bytes.saturating_mul(1000));
    // Header frame, stray bytes and rounding leave room at both sides; a few frames prove nothing.
    let bitrate = bits / seconds.max(0.001);
    let possible =
        (f64::from(low) * 0.8..f64::from(high) * 1.2).contains(&bitrate) || frames <= 16 && bits < 3e5;
    frames > 0 && possible && !cut_or_grown
}

fn points(index: &Mp3Index, header: &vbr::Header, header_at: u64, frames: u64) -> Vec<(u64, u64)> {
    let mut points = vec![(0, index.first)];
    for (i, &offset) in header.table.iter().enumerate() {
        let number = match header.step_frames {
            0 => frames * i as u64 / 100,
            step => step * i as u64,
        };
        let at = header_at + offset;
        let rises = points.last().is_some_and(|&(n, o)| n < number && o < at);
        if rises && at < index.end && number < index.frames {
            points.push((number, at));
        }
    }
    if points.last().is_some_and(|&(n, o)| n < index.frames && o < index.end) {
        points.push((index.frames, index.end));
    }
    points
}

/// Counts whole frames by their headers.
async fn count<R: ReadAt>(index: &Mp3Index, reader: &mut R) -> Result<u64, ReadError> {
    let mut cursor = Mp3Cursor { offset: index.first, frame: 0 };
    walk(index, reader, &mut cursor, u64::MAX).await?;
    Ok(cursor.frame)
}

/// Moves `cursor` on to frame `number`, or to the last place it can get to within the bytes a walk may read.
pub(super) async fn walk<R: ReadAt>(
    index: &Mp3Index,
    reader: &mut R,
    cursor: &mut Mp3Cursor,
    number: u64,
) -> Result<(), ReadError> {
    let mut window = Window::new(RUN_BYTES);
    while cursor.frame < number && window.read_bytes <= WALK_BYTES + RUN_BYTES {
        match advance(index, cursor, |offset, len| window.get(offset, len)) {
            Ok(Step::Sample(_)) => {}
            Ok(Step::Need { offset, len }) => {
                window.fetch(reader, offset, len).await?;
            }
            Ok(Step::End) | Err(_) => break,
        }
    }
    Ok(())
}

enum Probe {
    Constant { padded: bool },
    Variable { average: f64 },
}

/// Looks at the bitrate in a few places across the file.
async fn probe<R: ReadAt>(index: &Mp3Index, reader: &mut R) -> Result<Probe, ReadError> {
    let (mut constant, mut padded) = (true, false);
    let (mut bytes, mut frames) = (0u64, 0u64);
    let span = index.end - index.first.min(index.end);
    for i in 0..PROBES {
        let at = index.first + span / PROBES * i;
        let len = (PROBE_BYTES + CONFIRM_BYTES).min(index.end - at);
        let run = Window::new(len).fetch(reader, at, len).await?;
        let Some((mut pos, _)) = frame::find(&run, Some(&index.frame), false) else { continue };
        while let Some(found) = run.get(pos..).and_then(Frame::parse).filter(|found| found.fits(&index.frame))
        {
            constant &= found.bitrate_bps == index.frame.bitrate_bps;
            padded |= found.padded;
            bytes += u64::from(found.len);
            frames += 1;
            pos += found.len as usize;
        }
    }
    if constant || frames == 0 {
        return Ok(Probe::Constant { padded });
    }
    Ok(Probe::Variable { average: bytes as f64 / frames as f64 })
}
