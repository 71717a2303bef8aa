//! Finding the frame of a time.

use super::timing::{Timing, average_bytes, walk};
use super::{CONFIRM_BYTES, GARBAGE_BYTES, Mp3Cursor, Mp3Index, frame};
use crate::media::MediaError;
use crate::media::window::Window;
use crate::object::ReadAt;

/// How far before its arithmetic place a frame of constant bitrate is looked for: encoders pad differently.
const EARLY_BYTES: u64 = 8;

/// A cursor at the last frame whose time in whole milliseconds is at or before `target_ms`.
pub(super) async fn place<R: ReadAt>(
    index: &Mp3Index,
    reader: &mut R,
    target_ms: u64,
) -> Result<Mp3Cursor, MediaError> {
    let number = number(index, target_ms);
    if number == 0 {
        return Ok(Mp3Cursor { offset: index.first, frame: 0 });
    }
    match &index.timing {
        Timing::Constant { padded } => {
            constant(index, reader, number, average_bytes(&index.frame, *padded)).await
        }
        Timing::Walk => {
            let mut cursor = Mp3Cursor { offset: index.first, frame: 0 };
            walk(index, reader, &mut cursor, number).await?;
            Ok(cursor)
        }
        Timing::Points(points) => {
            let guess = between(points, number, |&(n, at)| (n, at));
            let Some(offset) = resync(index, reader, guess).await? else {
                return Ok(Mp3Cursor { offset: index.end, frame: index.frames });
            };
            let frame = between(points, offset, |&(n, at)| (at, n)).min(number);
            Ok(Mp3Cursor { offset, frame })
        }
    }
}

/// The last frame whose time, rounded down to milliseconds, is at or before `target_ms`.
fn number(index: &Mp3Index, target_ms: u64) -> u64 {
    let ticks = (u128::from(target_ms) + 1) * u128::from(index.frame.rate_hz);
    let frame_ticks = u128::from(index.frame.samples()) * 1000;
    let number = ticks.div_ceil(frame_ticks).saturating_sub(1);
    u64::try_from(number).unwrap_or(u64::MAX).min(index.frames.saturating_sub(1))
}

async fn constant<R: ReadAt>(
    index: &Mp3Index,
    reader: &mut R,
    number: u64,
    average: f64,
) -> Result<Mp3Cursor, MediaError> {
    let mut guess = (number as f64 * average) as u64;
    // A second try from a frame earlier if the first lands late.
    for _ in 0..2 {
        let from = index.first + guess.saturating_sub(EARLY_BYTES);
        let Some(offset) = resync(index, reader, from).await? else { break };
        let found = ((offset - index.first) as f64 / average).round() as u64;
        if found <= number {
            let mut cursor = Mp3Cursor { offset, frame: found };
            walk(index, reader, &mut cursor, number).await?;
            return Ok(cursor);
        }
        guess = guess.saturating_sub(average as u64 * (found - number));
    }
    // Lost: from the start, then, as far as it is reasonable to walk.
    let mut cursor = Mp3Cursor { offset: index.first, frame: 0 };
    walk(index, reader, &mut cursor, number).await?;
    Ok(cursor)
}

/// The first frame at or after `from`.
async fn resync<R: ReadAt>(index: &Mp3Index, reader: &mut R, from: u64) -> Result<Option<u64>, MediaError> {
    let left = index.end.saturating_sub(from);
    if left < 4 {
        return Ok(None);
    }
    // Almost always the next frame is near; garbage may stand in between.
    for span in [2 * CONFIRM_BYTES, GARBAGE_BYTES + CONFIRM_BYTES] {
        let len = span.min(left);
        let bytes = Window::new(len).fetch(reader, from, len).await?;
        if let Some((pos, _)) = frame::find(&bytes, Some(&index.frame), len == left) {
            return Ok(Some(from + pos as u64));
        }
    }
    Ok(None)
}

/// The y of `x` on the line through points given as (x, y), rising in both.
fn between(points: &[(u64, u64)], x: u64, xy: impl Fn(&(u64, u64)) -> (u64, u64)) -> u64 {
    let after = points.partition_point(|point| xy(point).0 <= x).clamp(1, points.len().max(2) - 1);
    let (Some(a), Some(b)) = (points.get(after - 1).map(&xy), points.get(after).map(&xy)) else {
        return points.first().map_or(0, |point| xy(point).1);
    };
    let along = u128::from(x.saturating_sub(a.0)) * u128::from(b.1 - a.1) / u128::from((b.0 - a.0).max(1));
    a.1 + along as u64
}
