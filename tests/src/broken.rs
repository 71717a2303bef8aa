//! Damaged and lying files, made from the sound ones: what a bucket holds after an aborted upload, and what an attacker puts there.

use std::path::Path;

use crate::media;

/// What a play of such a file must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `NetStream.Play.FileStructureInvalid` or `NoSupportedTrackFound`.
    Refused,
    /// `NetStream.Play.NoSupportedTrackFound`.
    NoTrack,
    /// `NetStream.Play.FileStructureInvalid`.
    Invalid,
    /// A refusal, or what is whole of it, and then an end: the server must survive, that's all.
    Either,
}

/// Writes them all into `folder`; gives name and verdict.
pub fn write(folder: &Path) -> Vec<(String, Verdict)> {
    let mut made = Vec::new();
    let mut put = |name: &str, bytes: &[u8], verdict| {
        std::fs::write(folder.join(name), bytes).unwrap();
        made.push((name.to_owned(), verdict));
    };
    let read = |name: &str| std::fs::read(media::file(name)).unwrap();
    let (first, last, flv, mp3, frag) =
        (read("first.mp4"), read("last.mp4"), read("clip.flv"), read("bare.mp3"), read("fragmented.mp4"));

    put("empty.mp4", b"", Verdict::Invalid);
    put("empty.flv", b"", Verdict::Invalid);
    put("empty.mp3", b"", Verdict::Invalid);
    put("text.mp4", "This is no film. ".repeat(400).as_bytes(), Verdict::NoTrack);
    put("text.flv", b"hello", Verdict::NoTrack);
    put("picture.mp4", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01", Verdict::NoTrack);
    put("zeros.mp3", &[0; 100_000], Verdict::NoTrack);

    put("no-moov.mp4", &last[..last.len() / 2], Verdict::Refused);
    put("half-moov.mp4", &last[..last.len() - 2000], Verdict::Refused);
    put("head.mp4", &first[..40], Verdict::Refused);
    put("byte.mp4", &first[..1], Verdict::Refused);
    put("half-data.mp4", &first[..first.len() / 2], Verdict::Either);
    put("half-fragment.mp4", &frag[..frag.len() / 2], Verdict::Either);
    put("huge-box.mp4", &lie(&first, b"moov", -4, &[0x7f, 0xff, 0xff, 0xff]), Verdict::Refused);
    put("tiny-box.mp4", &lie(&first, b"moov", -4, &[0, 0, 0, 3]), Verdict::Refused);
    put("huge-count.mp4", &lie(&first, b"stsz", 12, &[0xff; 4]), Verdict::Refused);
    put("huge-chunks.mp4", &lie(&first, b"stco", 8, &[0xff; 4]), Verdict::Refused);
    put("huge-runs.mp4", &lie(&first, b"stts", 8, &[0xff; 4]), Verdict::Refused);
    put("long-run.mp4", &lie(&first, b"stts", 12, &[0xff; 4]), Verdict::Either);
    put("far-chunks.mp4", &lie(&first, b"stco", 12, &[0xff; 4]), Verdict::Either);
    put("big-sample.mp4", &lie(&first, b"stsz", 16, &[0x7f, 0xff, 0xff, 0xff]), Verdict::Either);
    put(
        "no-codec.mp4",
        &first.windows(4).position(|w| w == b"avc1").map_or_else(Vec::new, |_| relabel(&first)),
        Verdict::NoTrack,
    );

    put("head.flv", &flv[..5], Verdict::Refused);
    put("only-head.flv", &flv[..13], Verdict::Refused);
    put("half-tag.flv", &flv[..20], Verdict::Refused);
    put("half.flv", &flv[..flv.len() / 2], Verdict::Either);
    let mut liar = flv[..13].to_vec();
    liar.extend([9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x17, 1]);
    put("huge-tag.flv", &liar, Verdict::Refused);
    let mut noise = flv[..13].to_vec();
    noise.extend(crate::wire::handshake::filler(3));
    put("noise.flv", &noise, Verdict::Refused);

    put("half.mp3", &mp3[..mp3.len() / 2 + 7], Verdict::Either);
    put("header.mp3", &mp3[..4], Verdict::Refused);
    put("huge-id3.mp3", &[b"ID3\x04\0\0\x7f\x7f\x7f\x7f".as_slice(), &mp3].concat(), Verdict::Refused);
    made
}

/// `file` with `bytes` written at `shift` from the first box type `name`.
fn lie(file: &[u8], name: &[u8; 4], shift: isize, bytes: &[u8]) -> Vec<u8> {
    let at = file.windows(4).position(|w| w == name).unwrap_or_else(|| panic!("no {name:?}"));
    let from = at.checked_add_signed(shift).unwrap();
    let mut out = file.to_vec();
    out[from..from + bytes.len()].copy_from_slice(bytes);
    out
}

/// `file` with sample entries of codecs nobody plays.
fn relabel(file: &[u8]) -> Vec<u8> {
    let mut out = file.to_vec();
    for (from, to) in [(b"avc1", b"xyz1"), (b"mp4a", b"xyz2")] {
        while let Some(at) = out.windows(4).position(|w| w == from) {
            out[at..at + 4].copy_from_slice(to);
        }
    }
    out
}
