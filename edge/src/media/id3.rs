//! ID3: what an MP3 file says of itself, for names that ask for nothing else (`id3:song`).
//!
//! ```text
//! v2 ──── walks the frames of an ID3v2.2, 2.3 or 2.4 tag at the file's start, stepping over pictures
//! body ── the tag's bytes, by ranges; undoes unsynchronisation
//! text ── a frame's text in any of the four encodings, several values, genres by number
//! v1 ──── the last 128 bytes; fills what ID3v2 left out
//! ```
//!
//! A tag is some stranger's bytes: few frames are looked at, little of each is kept, and what is skipped isn't read. Whatever is damaged
//! ends the walk, and what was found until then stands. Only bytes that can't be had are an error, and a file that is no MP3.

use super::{Container, Index, Media, MediaError, sniff};
use crate::object::ReadAt;
use crate::object::read::contiguous;
use crate::rtmp::amf::Value;

mod body;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
mod text;
mod v1;
mod v2;

/// The fields that are told, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// The song's title.
    Title,
    /// Who performs it.
    Artist,
    /// The album.
    Album,
    /// Four digits, usually.
    Year,
    /// A comment.
    Comment,
    /// A name, never a number that has one.
    Genre,
    /// `3`, or `3/12`.
    Track,
}

/// Their names in `onId3`. The title goes by two: scripts of the time look for either.
const NAMES: [(&str, Field); 8] = [
    ("songtitle", Field::Title),
    ("title", Field::Title),
    ("artist", Field::Artist),
    ("album", Field::Album),
    ("year", Field::Year),
    ("comment", Field::Comment),
    ("genre", Field::Genre),
    ("track", Field::Track),
];

/// What a file's tags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tags([Option<String>; 7]);

impl Tags {
    /// A field, if it is known.
    pub(crate) fn get(&self, field: Field) -> Option<&str> {
        self.0[field as usize].as_deref()
    }

    /// Sets a field that isn't known yet. Text of nothing but blanks says nothing.
    fn set(&mut self, field: Field, text: &str) {
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        let slot = &mut self.0[field as usize];
        if slot.is_none() && !text.is_empty() {
            *slot = Some(text.to_owned());
        }
    }

    fn is_complete(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// Bytes of text held.
    fn text_bytes(&self) -> usize {
        self.0.iter().flatten().map(String::len).sum()
    }

    /// The properties of `onId3`: those that are known.
    fn properties(&self) -> Vec<(String, Value)> {
        let known = |(name, field): &(&str, Field)| {
            self.get(*field).map(|text| ((*name).to_owned(), Value::String(text.to_owned())))
        };
        NAMES.iter().filter_map(known).collect()
    }
}

/// Reads the tags at both ends of a file, ID3v2's first.
async fn read<R: ReadAt>(reader: &mut R) -> Result<Tags, MediaError> {
    let mut tags = Tags::default();
    v2::read(reader, &mut tags).await?;
    if !tags.is_complete() {
        v1::read(reader, &mut tags).await?;
    }
    Ok(tags)
}

/// An MP3 file of which only the tags are wanted: it has them as metadata, and no samples.
///
/// # Errors
/// [`MediaError::NoSupportedTrack`] if it is no MP3; [`MediaError::StructureInvalid`] if it is empty; [`MediaError::Read`].
pub async fn open<R: ReadAt>(reader: &mut R) -> Result<Media, MediaError> {
    let size = reader.size();
    if size == 0 {
        return Err(MediaError::StructureInvalid("the file is empty".into()));
    }
    let head = contiguous(reader.read_at(0, size.min(16)).await?);
    if sniff(&head) != Some(Container::Mp3) {
        return Err(MediaError::NoSupportedTrack("only MP3 files have ID3 tags".into()));
    }
    let tags = read(reader).await?;
    Ok(Media {
        container: Container::Id3,
        duration_ms: 0.0,
        tracks: Vec::new(),
        metadata: tags.properties(),
        headers: Vec::new(),
        bytes_per_second: 1,
        weight_bytes: size_of::<Media>() + 512 + 2 * tags.text_bytes(),
        index: Index::Tags,
    })
}
