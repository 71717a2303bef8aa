//! ID3v1 and 1.1: the last 128 bytes of a file, fields of fixed length in Latin-1.
//!
//! Source: id3.org, "ID3v1"; 1.1 takes the last two bytes of the comment for a track number.

use super::{Field, Tags};
use crate::media::{MediaError, genre};
use crate::object::ReadAt;
use crate::object::read::contiguous;

const TAG_BYTES: u64 = 128;

/// Adds what an ID3v1 tag says and `tags` don't.
pub(super) async fn read<R: ReadAt>(reader: &mut R, tags: &mut Tags) -> Result<(), MediaError> {
    let Some(at) = reader.size().checked_sub(TAG_BYTES) else { return Ok(()) };
    let tag = contiguous(reader.read_at(at, TAG_BYTES).await?);
    if !tag.starts_with(b"TAG") {
        return Ok(());
    }
    let text = |from: usize, len: usize| -> String {
        let field = tag.get(from..from + len).unwrap_or_default();
        field.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect()
    };
    tags.set(Field::Title, &text(3, 30));
    tags.set(Field::Artist, &text(33, 30));
    tags.set(Field::Album, &text(63, 30));
    tags.set(Field::Year, &text(93, 4));
    if let Some(&[0, track]) = tag.get(125..127).filter(|bytes| bytes[1] != 0) {
        tags.set(Field::Comment, &text(97, 28));
        tags.set(Field::Track, &track.to_string());
    } else {
        tags.set(Field::Comment, &text(97, 30));
    }
    if let Some(name) = tag.last().and_then(|&number| genre::name(usize::from(number))) {
        tags.set(Field::Genre, name);
    }
    Ok(())
}
