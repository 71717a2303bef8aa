//! From a stream name to an opened file: the slow part of a play, as one future.
//!
//! Each candidate key is one Stat; the first that exists, in their order, is opened. A play then gets its cursor; getStreamLength only wants the duration.

use std::sync::Arc;

use futures::stream::{FuturesOrdered, StreamExt};
use proto::object::{ObjectInfo, ObjectKey, OriginId};

use super::names::StreamName;
use crate::library::{Library, Opened};
use crate::media::{Cursor, Media, MediaError};
use crate::object::{ObjectReader, ReadError};

/// A file that can be played.
pub(crate) struct Ready {
    pub(crate) media: Arc<Media>,
    pub(crate) reader: ObjectReader,
    pub(crate) cursor: Cursor,
}

/// Opens the first of `name`'s candidates that exists in `origin`.
pub(crate) async fn open(
    library: &Arc<Library>,
    origin: &OriginId,
    name: &StreamName,
) -> Result<Opened, MediaError> {
    let stat = |candidate: &String| {
        let object = ObjectKey::new(origin.clone(), candidate);
        async move { library.stat(&object).await }
    };
    let candidates = name.candidates();
    let Some((given, guesses)) = candidates.split_first() else {
        return Err(ReadError::NotFound("no key can have this name".into()).into());
    };
    // The name as given is the usual case and costs one Stat. What is guessed is asked for at once, and judged in order.
    match stat(given).await {
        Err(ReadError::NotFound(missing)) if guesses.is_empty() => {
            return Err(ReadError::NotFound(missing).into());
        }
        Err(ReadError::NotFound(_)) => {}
        found => return read(library, name, found?).await,
    }
    let mut answers: FuturesOrdered<_> = guesses.iter().map(stat).collect();
    let mut missing = ReadError::NotFound(given.clone());
    while let Some(answer) = answers.next().await {
        match answer {
            Err(error @ ReadError::NotFound(_)) => missing = error,
            found => return read(library, name, found?).await,
        }
    }
    Err(missing.into())
}

/// What the name asks for of the object found.
async fn read(library: &Arc<Library>, name: &StreamName, info: ObjectInfo) -> Result<Opened, MediaError> {
    if name.tags_only { library.tags(info).await } else { library.media(info).await }
}

/// Opens `name` with a cursor at `start_ms` of the file.
pub(crate) async fn open_at(
    library: Arc<Library>,
    origin: OriginId,
    name: Arc<StreamName>,
    start_ms: u64,
) -> Result<Ready, MediaError> {
    let mut attempt = 0;
    loop {
        let result = async {
            let Opened { media, mut reader } = open(&library, &origin, &name).await?;
            let cursor = media.cursor(&mut reader, start_ms).await?;
            Ok(Ready { media, reader, cursor })
        }
        .await;
        match result {
            // The object was replaced between its Stat and its first range: the next Stat brings the new version.
            Err(MediaError::Read(ReadError::Retired(_))) if attempt < 3 => attempt += 1,
            other => return other,
        }
    }
}

/// The duration of `name` in seconds; 0 for what can't be played, for whatever reason: players wait for this answer.
pub(crate) async fn length_seconds(library: Arc<Library>, origin: OriginId, mut name: StreamName) -> f64 {
    // Of `id3:song` it is the song's.
    name.tags_only = false;
    match open(&library, &origin, &name).await {
        Ok(opened) => opened.media.duration_ms / 1000.0,
        Err(error) => {
            tracing::debug!(name = name.display, %error, "getStreamLength answers 0");
            0.0
        }
    }
}
