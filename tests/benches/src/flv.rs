//! What a film's messages must be, read from an FLV file or from a list made of one.
//!
//! A list (`.prints`) is a few bytes a message, so a film of many gigabytes in another container needs no FLV beside it:
//! a magic word, the duration in ms, then kind, hash and length of each message, all big-endian.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::film::{Film, is_frame};

/// How a list begins.
const MAGIC: &[u8; 8] = b"prints 1";

/// The list of a film's messages, read from an FLV file or a list made of one.
pub fn film(path: &Path) -> Result<Film> {
    let mut film = Film::default();
    film.duration_ms = read(path, |kind, hash, bytes| film.push(kind, hash, bytes))?;
    film.complete();
    Ok(film)
}

/// Makes the list of an FLV file's messages.
pub fn write_prints(flv: &Path, prints: &Path) -> Result<()> {
    let mut list = Vec::new();
    let duration_ms = read(flv, |kind, hash, bytes| {
        list.push(kind);
        list.extend(hash.to_be_bytes());
        list.extend(bytes.to_be_bytes());
    })?;
    let mut out = BufWriter::new(File::create(prints).with_context(|| prints.display().to_string())?);
    out.write_all(MAGIC)?;
    out.write_all(&duration_ms.to_be_bytes())?;
    out.write_all(&list)?;
    Ok(out.flush()?)
}

/// Tells of each frame: kind, hash, length. Answers the duration in ms.
fn read(path: &Path, mut frame: impl FnMut(u8, u32, u32)) -> Result<u64> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut head = [0; 13];
    input.read_exact(&mut head).with_context(|| path.display().to_string())?;
    if head.starts_with(MAGIC) {
        let mut rest = head[8..].to_vec();
        input.read_to_end(&mut rest)?;
        let (duration, list) = rest.split_first_chunk().context("no duration")?;
        for one in list.chunks_exact(9) {
            let word = |at: usize| u32::from_be_bytes([one[at], one[at + 1], one[at + 2], one[at + 3]]);
            frame(one[0], word(1), word(5));
        }
        return Ok(u64::from_be_bytes(*duration));
    }
    ensure!(head.starts_with(b"FLV"), "{} is no FLV file", path.display());
    let mut duration_ms = 0;
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
            frame(kind, crc32fast::hash(payload.get(1..).unwrap_or_default()), bytes);
            duration_ms = duration_ms.max(time_ms.into());
        }
    }
    Ok(duration_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_the_file_says() {
        let folder = std::env::temp_dir().join(format!("penstock-prints-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (flv, prints) = (folder.join("a.flv"), folder.join("a.prints"));
        let mut bytes = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        let tags = [(9, 0, &[0x17, 0, 1][..]), (9, 40, &[0x17, 1, 7][..]), (8, 50, &[0xaf, 1, 8, 9][..])];
        for (kind, time, payload) in tags {
            bytes.extend([kind, 0, 0, payload.len() as u8, 0, 0, time, 0, 0, 0, 0]);
            bytes.extend(payload);
            bytes.extend([0, 0, 0, payload.len() as u8 + 11]);
        }
        std::fs::write(&flv, bytes).unwrap();
        write_prints(&flv, &prints).unwrap();
        let all = |path: &Path| {
            let mut frames = Vec::new();
            let duration_ms = read(path, |kind, hash, bytes| frames.push((kind, hash, bytes))).unwrap();
            (duration_ms, frames)
        };
        let frames = vec![(9, crc32fast::hash(&[1, 7]), 3), (8, crc32fast::hash(&[1, 8, 9]), 4)];
        assert_eq!(all(&flv), (50, frames), "the codec header isn't among them");
        assert_eq!(all(&prints), all(&flv));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
