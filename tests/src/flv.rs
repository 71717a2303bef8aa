//! Tags of an FLV file, as downloads are judged by.

use anyhow::{Context, Result, ensure};

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// 8 audio, 9 video, 18 data.
    pub kind: u8,
    /// Milliseconds.
    pub timestamp: u32,
    /// Where its 11-byte header starts.
    pub offset: usize,
    /// Where the next tag's header starts: after its payload and back pointer.
    pub end: usize,
    /// Its payload.
    pub body: Vec<u8>,
}

impl Tag {
    /// A picture a decoder can start at (an AVC configuration is none).
    pub fn is_keyframe(&self) -> bool {
        self.is_picture() && self.body[0] >> 4 == 1
    }

    /// A picture.
    pub fn is_picture(&self) -> bool {
        self.kind == 9 && self.body.len() > 5 && !(self.body[0] & 15 == 7 && self.body[1] != 1)
    }

    /// Sound (an AAC configuration is none).
    pub fn is_sound(&self) -> bool {
        self.kind == 8 && self.body.len() > 1 && !(self.body[0] >> 4 == 10 && self.body[1] == 0)
    }
}

/// All tags of a file; back pointers are checked.
pub fn tags(file: &[u8]) -> Result<Vec<Tag>> {
    ensure!(file.starts_with(b"FLV") && file.len() >= 13, "no FLV header");
    let mut at = 13;
    let mut all = Vec::new();
    while at < file.len() {
        let h = file.get(at..at + 11).with_context(|| format!("a torn tag header at {at}"))?;
        let len = (h[1] as usize) << 16 | (h[2] as usize) << 8 | h[3] as usize;
        let timestamp = u32::from_be_bytes([h[7], h[4], h[5], h[6]]);
        let body = file.get(at + 11..at + 11 + len).with_context(|| format!("a torn tag at {at}"))?.to_vec();
        let back =
            file.get(at + 11 + len..at + 15 + len).with_context(|| format!("no back pointer at {at}"))?;
        ensure!(back == ((len + 11) as u32).to_be_bytes(), "a wrong back pointer at {at}");
        all.push(Tag { kind: h[0], timestamp, offset: at, end: at + 15 + len, body });
        at += 15 + len;
    }
    Ok(all)
}
