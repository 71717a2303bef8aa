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
    /// File time the cursor was asked for, in ms.
    pub(crate) start_ms: u64,
}

/// What a time given in seconds means in a film of `duration_ms`: AS3 speaks seconds, but some clients of play2 give it milliseconds as
/// `play` has them. Where only those lie within the film, they are meant.
pub(crate) fn fit(ms: u64, duration_ms: f64) -> u64 {
    let duration_ms = duration_ms.max(0.0) as u64;
    if ms >= duration_ms && ms / 1000 < duration_ms { ms / 1000 } else { ms }
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
    let mut missing;
    match stat(given).await {
        Err(error) if is_elsewhere(&error) => missing = error,
        found => return read(library, name, found?).await,
    }
    let mut answers: FuturesOrdered<_> = guesses.iter().map(stat).collect();
    while let Some(answer) = answers.next().await {
        match answer {
            // That something may not be read weighs more than that something else isn't there.
            Err(error) if is_elsewhere(&error) => {
                if !matches!(missing, ReadError::Forbidden(_)) {
                    missing = error;
                }
            }
            found => return read(library, name, found?).await,
        }
    }
    Err(missing.into())
}

/// Whether the name may mean another key: this one isn't there, or may not be read. To those who may read objects but not list the bucket,
/// S3 says 403 of what isn't there.
fn is_elsewhere(error: &ReadError) -> bool {
    matches!(error, ReadError::NotFound(_) | ReadError::Forbidden(_))
}

/// What the name asks for of the object found.
async fn read(library: &Arc<Library>, name: &StreamName, info: ObjectInfo) -> Result<Opened, MediaError> {
    if name.tags_only { library.tags(info).await } else { library.media(info).await }
}

/// Opens `name` with a cursor at `start_ms` of the file; with `seconds`, at what that [`fit`]s.
pub(crate) async fn open_at(
    library: Arc<Library>,
    origin: OriginId,
    name: Arc<StreamName>,
    start_ms: u64,
    seconds: bool,
) -> Result<Ready, MediaError> {
    let mut attempt = 0;
    loop {
        let result = async {
            let Opened { media, mut reader } = open(&library, &origin, &name).await?;
            let start_ms = if seconds { fit(start_ms, media.duration_ms) } else { start_ms };
            let cursor = media.cursor(&mut reader, start_ms).await?;
            Ok(Ready { media, reader, cursor, start_ms })
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

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn a_time_in_seconds_is_taken_for_milliseconds_only_where_those_fit() {
        assert_eq!(fit(12_195, 60_000.0), 12_195);
        assert_eq!(fit(12_195_000, 60_000.0), 12_195);
        assert_eq!(fit(0, 60_000.0), 0);
        assert_eq!(fit(59_000, 60_000.0), 59_000);
        // Neither fits: past the end as it stands.
        assert_eq!(fit(70_000_000, 60_000.0), 70_000_000);
        assert_eq!(fit(5_000, f64::NAN), 5_000);
    }
}
