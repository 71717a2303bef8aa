//! FLV files, read for their hashes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::film::{Film, is_frame};

/// The list of a film's messages, read from an FLV file.
pub fn film(path: &Path) -> Result<Film> {
    let file = File::open(path).with_context(|| format!("{}", path.display()))?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut head = [0; 13];
    input.read_exact(&mut head)?;
    ensure!(head.starts_with(b"FLV"), "{} is no FLV file", path.display());
    let mut film = Film::default();
    let (mut tag, mut body) = ([0; 11], Vec::new());
    while input.read_exact(&mut tag).is_ok() {
        let bytes = u32::from_be_bytes([0, tag[1], tag[2], tag[3]]);
        let time_ms = u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]);
        body.resize(bytes as usize + 4, 0);
        input.read_exact(&mut body).with_context(|| format!("{} ends in a tag", path.display()))?;
        let payload = &body[..bytes as usize];
        let lead = [payload.first().copied().unwrap_or(0), payload.get(1).copied().unwrap_or(0)];
        let kind = tag[0] & 31;
        if matches!(kind, 8 | 9) && is_frame(kind, lead, bytes) {
            film.push(kind, crc32fast::hash(payload.get(1..).unwrap_or_default()), bytes);
            film.duration_ms = film.duration_ms.max(time_ms.into());
        }
    }
    film.complete();
    Ok(film)
}
