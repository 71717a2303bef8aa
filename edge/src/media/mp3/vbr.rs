//! The frame that describes the others: Xing, Info (the same, of constant bitrate) or VBRI.
//!
//! Sources: Xing's "VBR header" SDK, LAME's tag, Fraunhofer's VBRI as described in G. Bouvigne's "MPEG audio frame header".

use super::frame::Frame;

/// What such a frame says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Header {
    /// It claims constant bitrate (Info).
    pub(super) constant: bool,
    /// Frames of sound.
    pub(super) frames: Option<u64>,
    /// Bytes of the stream, from the start of this frame.
    pub(super) bytes: Option<u64>,
    /// Offsets, from the start of this frame, at even steps of time: the first at 0.
    pub(super) table: Vec<u64>,
    /// Frames a step of `table`; 0 if it spans the whole in 100 steps.
    pub(super) step_frames: u64,
}

/// Where VBRI stands, in whatever version.
const VBRI_AT: usize = 4 + 32;

/// The header in the frame `bytes`, if it is one.
pub(super) fn parse(bytes: &[u8], frame: &Frame) -> Option<Header> {
    if let Some(rest) = bytes.get(4 + frame.side_info_bytes()..) {
        if let Some(rest) = rest.strip_prefix(b"Xing") {
            return Some(xing(rest, false));
        }
        if let Some(rest) = rest.strip_prefix(b"Info") {
            return Some(xing(rest, true));
        }
    }
    bytes.get(VBRI_AT..)?.strip_prefix(b"VBRI").map(vbri)
}

fn xing(mut rest: &[u8], constant: bool) -> Header {
    let mut header = Header { constant, ..Default::default() };
    let flags = word(&mut rest).unwrap_or(0);
    if flags & 1 != 0 {
        header.frames = word(&mut rest).map(u64::from);
    }
    if flags & 2 != 0 {
        header.bytes = word(&mut rest).map(u64::from);
    }
    if let (true, Some(toc), Some(bytes)) = (flags & 4 != 0, rest.first_chunk::<100>(), header.bytes)
        && toc.is_sorted()
    {
        header.table = toc.iter().map(|&part| u64::from(part) * bytes / 256).collect();
    }
    header
}

fn vbri(mut rest: &[u8]) -> Header {
    let mut half = || {
        let (value, tail) = rest.split_first_chunk::<2>()?;
        rest = tail;
        Some(u64::from(u16::from_be_bytes(*value)))
    };
    // Version, delay, quality.
    for _ in 0..3 {
        half();
    }
    let mut next = |size: u64| match size {
        1 => {
            let (value, tail) = rest.split_first()?;
            rest = tail;
            Some(u64::from(*value))
        }
        2 => {
            let (value, tail) = rest.split_first_chunk::<2>()?;
            rest = tail;
            Some(u64::from(u16::from_be_bytes(*value)))
        }
        4 => word(&mut rest).map(u64::from),
        _ => None,
    };
    let (bytes, frames) = (next(4), next(4));
    let mut header = Header { frames, bytes, ..Default::default() };
    let (Some(entries), Some(scale), Some(size), Some(step)) = (next(2), next(2), next(2), next(2)) else {
        return header;
    };
    let mut offset = 0;
    header.table.push(offset);
    for _ in 0..entries {
        let Some(bytes) = next(size) else { break };
        offset += bytes * scale;
        header.table.push(offset);
    }
    header.step_frames = step;
    if step == 0 {
        header.table.clear();
    }
    header
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (value, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*value))
}
