//! Another file that is to take over from the one that plays: what `play2` asks for with switch and swap.
//!
//! A stream has at most one. It is opened beside the file that plays, which goes on undisturbed and loses nothing if the other can't be
//! had; a newer one replaces it, which drops its future. For a switch the future also looks for the place: the first keyframe at
//! or after a time, by reading as little as a seek does. What was found holds an index (shared, weighed in its cache) and a position, but
//! no blocks: those are read when they are due, through the same accounts as any others.
//!
//! It fails as opening fails. A search for a keyframe ends after [`SEARCH_MS`] of media, so that a file without any is not read whole.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use proto::object::OriginId;
use tokio::time::{Instant, sleep_until};

use super::names::StreamName;
use super::opening::{self, Ready};
use super::stream::PlayRequest;
use crate::library::{Library, Opened};
use crate::media::{Cursor, Kind, Media, MediaError, Sample, Step};
use crate::object::{ObjectReader, ReadError};

/// How far behind its place a keyframe is looked for, in ms of media.
const SEARCH_MS: u64 = 60_000;
/// An AVC end-of-sequence tag is marked as a keyframe and is none.
const LEAST_PICTURE_BYTES: u32 = 6;
/// Times the film may overtake what was found before it waits for the next search.
const OVERTAKEN: u32 = 2;

/// A file found, and the place in it from which it is sent.
pub(crate) struct Incoming {
    pub(crate) media: Arc<Media>,
    pub(crate) reader: ObjectReader,
    pub(crate) cursor: Cursor,
    /// The keyframe (sound, where there are no pictures) it begins with; `None` if there is none from the place on.
    pub(crate) first: Option<Sample>,
    /// Sound of the same time, which stood before it.
    pub(crate) then: Option<Sample>,
}

/// What a transition brings about.
#[derive(Clone, Debug)]
pub(crate) enum Aim {
    /// The film goes on in another file from this time of the stream on, or as soon as possible.
    Switch { offset_ms: Option<u64> },
    /// Another film instead of the one that plays.
    Replace,
    /// Another film instead of one that waits in the playlist.
    ReplaceQueued { old: StreamName },
}

/// What was found.
pub(crate) enum Found {
    Opened(Ready),
    Place(Box<Incoming>),
}

/// A search's end.
pub(crate) type Looked = Result<Found, MediaError>;

/// How far a transition is.
pub(crate) enum Stage {
    /// The stream itself is still being opened.
    Early,
    Looking(BoxFuture<'static, Looked>),
    /// The other file takes over at this time of the stream; `u64::MAX`: when all of this one is sent.
    Waits {
        at_ms: u64,
        incoming: Box<Incoming>,
    },
}

/// See the module.
pub(crate) struct Transition {
    /// What is asked for.
    pub(crate) request: PlayRequest,
    pub(crate) aim: Aim,
    pub(crate) stage: Stage,
    /// Its viewer knows that it will come.
    pub(crate) announced: bool,
    /// Times the film was past what had been found.
    overtaken: u32,
}

impl Transition {
    pub(crate) fn new(request: PlayRequest, aim: Aim) -> Self {
        Self { request, aim, stage: Stage::Early, announced: false, overtaken: 0 }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Looked> {
        let Stage::Looking(look) = &mut self.stage else { return Poll::Pending };
        let looked = std::task::ready!(look.poll_unpin(cx));
        // A future that is done is not polled again.
        self.stage = Stage::Early;
        Poll::Ready(looked)
    }

    /// Time of the stream up to which the file that plays is sent.
    pub(crate) fn until_ms(&self) -> Option<u64> {
        match self.stage {
            Stage::Waits { at_ms, .. } => Some(at_ms),
            Stage::Early | Stage::Looking(_) => None,
        }
    }

    /// Whether the end of the file that plays must wait: it isn't known yet whether another one goes on from there, or which is next.
    pub(crate) fn holds_end(&self) -> bool {
        matches!(self.stage, Stage::Looking(_))
    }

    /// Whether the file that plays must wait, because it was faster than the search too often.
    pub(crate) fn holds_all(&self) -> bool {
        self.overtaken >= OVERTAKEN && self.holds_end()
    }

    /// The film was past what had been found.
    pub(crate) fn note_overtaken(&mut self) {
        self.overtaken += 1;
    }
}

/// Opens `name` and finds the place for file time `file_ms`; begins at `turn`.
pub(crate) async fn look(
    library: Arc<Library>,
    origin: OriginId,
    name: Arc<StreamName>,
    file_ms: u64,
    turn: Option<Instant>,
) -> Looked {
    if let Some(turn) = turn {
        sleep_until(turn).await;
    }
    let mut attempt = 0;
    loop {
        let result = async {
            let Opened { media, reader } = opening::open(&library, &origin, &name).await?;
            find(media, reader, file_ms).await
        }
        .await;
        match result {
            // As in a play: replaced between its Stat and its first range.
            Err(MediaError::Read(ReadError::Retired(_))) if attempt < 3 => attempt += 1,
            other => return other,
        }
    }
}

/// Finds the first keyframe at or after `file_ms`.
pub(crate) async fn find(media: Arc<Media>, mut reader: ObjectReader, file_ms: u64) -> Looked {
    let mut cursor = media.cursor(&mut reader, file_ms).await?;
    let has_video = media.has_video();
    let mut sound: Option<Sample> = None;
    let first = loop {
        let sample = match cursor.step(&mut reader)? {
            Step::Sample(sample) => sample,
            Step::Need { offset, len } => {
                let blocks = reader.fetch(offset, len).await?;
                reader.admit(blocks);
                continue;
            }
            Step::End => break None,
        };
        let time_ms = sample.time_ms();
        if time_ms > file_ms.saturating_add(SEARCH_MS) {
            break None;
        }
        match sample.kind {
            Kind::Video if sample.sync && time_ms >= file_ms && sample.len >= LEAST_PICTURE_BYTES => {
                break Some(sample);
            }
            Kind::Audio if !has_video && time_ms >= file_ms => break Some(sample),
            Kind::Audio => sound = Some(sample),
            // Pictures before it, script, text.
            _ => {}
        }
    };
    reader.release();
    let then = first.as_ref().and_then(|first| sound.filter(|sound| sound.time_ms() >= first.time_ms()));
    Ok(Found::Place(Box::new(Incoming { media, reader, cursor, first, then })))
}
