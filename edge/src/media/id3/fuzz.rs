//! Fuzz target: ID3 tags.

use futures::FutureExt;

use super::{Tags, open, read};
use crate::media::fuzz::File;
use crate::media::{Container, MediaError, sniff};
use crate::object::ReadAt;
use crate::rtmp::{amf, reply};

/// Largest file tried: more than a tag can be.
const FILE_BYTES: u64 = 300 << 20;
/// Reads that the tags of a file may cost: two a frame, and the three edges.
const READS: usize = 800;
/// Bytes that they may cost: see [`super::body::READ_BYTES_MAX`]; the last read may pass it.
const READ_BYTES: u64 = super::body::READ_BYTES_MAX + (64 << 10);
/// Text that may be kept: seven fields of 2 KiB, each byte of which may become three.
const TEXT_BYTES: usize = 7 * 3 * (2 << 10);

/// The tags of the file that `data` describes are read.
pub fn id3(data: &[u8]) {
    let mut file = File::described(data, FILE_BYTES);
    let Some(tags) = read(&mut file).now_or_never() else { panic!("a file in memory is waited for") };
    file.check_budget(READS, READ_BYTES);
    let tags: Tags = tags.unwrap_or_else(|error| panic!("{error}"));
    assert!(tags.text_bytes() <= TEXT_BYTES, "{}", tags.text_bytes());
    assert!(tags.0.iter().flatten().all(|text| !text.is_empty() && text.trim() == text));

    let is_mp3 = file.size() > 0 && sniff(&file.slice(0, 16)) == Some(Container::Mp3);
    match open(&mut file).now_or_never() {
        Some(Ok(media)) => {
            assert!(is_mp3 && media.weight_bytes < 1 << 20);
            assert_eq!(media.metadata, tags.properties());
            let sent = reply::id3(&media.metadata);
            let said = amf::decode_all(&sent, &amf::Limits::default());
            assert!(said.is_ok_and(|values| values.len() == 2));
        }
        Some(Err(error)) => {
            assert!(!is_mp3 && !matches!(error, MediaError::Read(_)), "{error}");
        }
        None => panic!("a file in memory is waited for"),
    }
}
