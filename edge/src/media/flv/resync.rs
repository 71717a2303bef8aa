//! Finding a tag boundary in the middle of a file.
//!
//! FLV has no sync word. A place counts as a boundary if a plausible tag header stands there and the PreviousTagSize at its
//! end agrees, twice in a row where the bytes at hand reach that far. A chance match of one link needs about 56 given bits.

use super::FlvIndex;
use super::header::{HEADER_BYTES, PREVIOUS_BYTES, TagHeader};
use crate::media::window::Window;
use crate::object::{ReadAt, ReadError};

/// Links of tag and PreviousTagSize that settle it.
const LINKS: u32 = 2;
/// Sizes of the runs read in search of a boundary: most tags are small, a keyframe may be large.
const RUNS: [u64; 3] = [64 << 10, 256 << 10, 1 << 20];
/// Candidates whose end must be read to judge them, at most, a run.
const FAR_CANDIDATES: u32 = 4;

enum Verdict {
    No,
    Yes,
    /// The tag's end isn't at hand.
    Far,
}

/// The first tag boundary at or after `from` and before `until`, and the header there.
pub(super) async fn boundary<R: ReadAt>(
    index: &FlvIndex,
    reader: &mut R,
    window: &mut Window,
    from: u64,
    until: u64,
) -> Result<Option<(u64, TagHeader)>, ReadError> {
    let mut at = from;
    for run in RUNS {
        let len = run.min(index.size.saturating_sub(at));
        if at >= until || len < HEADER_BYTES {
            break;
        }
        let bytes = window.fetch(reader, at, len).await?;
        let mut far = 0;
        for pos in 0..=bytes.len() - HEADER_BYTES as usize {
            if at + pos as u64 >= until {
                return Ok(None);
            }
            let found = match judge(index, &bytes, at, pos) {
                Verdict::No => false,
                Verdict::Yes => true,
                Verdict::Far if far == FAR_CANDIDATES => false,
                Verdict::Far => {
                    far += 1;
                    ends_well(index, reader, &bytes[pos..], at + pos as u64).await?
                }
            };
            if found {
                return Ok(TagHeader::parse(&bytes[pos..]).map(|header| (at + pos as u64, header)));
            }
        }
        // A header may straddle the end of this run.
        at += len - (HEADER_BYTES - 1);
    }
    Ok(None)
}

/// Judges the place `pos` of `bytes`, which stand at `base` in the file.
fn judge(index: &FlvIndex, bytes: &[u8], base: u64, mut pos: usize) -> Verdict {
    for link in 0..LINKS {
        let Some(header) = bytes.get(pos..).and_then(TagHeader::parse) else {
            return if link == 0 { Verdict::No } else { Verdict::Yes };
        };
        let end = base + pos as u64 + HEADER_BYTES + u64::from(header.size);
        if !header.plausible() || header.size > index.sample_bytes {
            return Verdict::No;
        }
        if end + PREVIOUS_BYTES > index.size {
            // The last tag of a truncated file.
            return if link == 0 { Verdict::No } else { Verdict::Yes };
        }
        let at = (end - base) as usize;
        match bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            Some(previous) if u32::from_be_bytes(*previous) == header.previous() => {}
            Some(_) => return Verdict::No,
            None if link == 0 => return Verdict::Far,
            None => return Verdict::Yes,
        }
        pos = at + PREVIOUS_BYTES as usize;
    }
    Verdict::Yes
}

/// Whether the tag at `at`, whose end isn't at hand, ends in its own size.
async fn ends_well<R: ReadAt>(
    index: &FlvIndex,
    reader: &mut R,
    bytes: &[u8],
    at: u64,
) -> Result<bool, ReadError> {
    let Some(header) = TagHeader::parse(bytes) else { return Ok(false) };
    let end = at + HEADER_BYTES + u64::from(header.size);
    if end + PREVIOUS_BYTES > index.size {
        return Ok(false);
    }
    let previous = Window::new(PREVIOUS_BYTES).fetch(reader, end, PREVIOUS_BYTES).await?;
    Ok(previous[..] == header.previous().to_be_bytes())
}
