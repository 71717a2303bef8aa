//! What a viewer must be sent when it plays a film: the file itself, read by the tests' own reader.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::{flv, media};

/// Time and hash of every audio and video message of a film.
#[derive(Clone, Debug)]
pub struct Film {
    name: String,
    media: Vec<(u32, u64)>,
}

/// The hash of one message: its kind and payload.
pub fn hash(type_id: u8, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (type_id, payload).hash(&mut hasher);
    hasher.finish()
}

impl Film {
    /// An FLV of the test media: it is sent tag by tag, as it is.
    pub fn of_flv(name: &str) -> Self {
        Self::of_file(&media::file(name))
    }

    /// Any FLV.
    pub fn of_file(path: &Path) -> Self {
        let file = std::fs::read(path).unwrap();
        let tags = flv::tags(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let media = tags
            .iter()
            .filter(|t| matches!(t.kind, 8 | 9))
            .map(|t| (t.timestamp, hash(t.kind, &t.body)))
            .collect();
        Self { name: path.display().to_string(), media }
    }

    /// Where it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When that message is due in the film, whatever time it was sent with.
    pub fn time_of(&self, message: &(u32, u64)) -> Option<u32> {
        self.media.iter().find(|m| m.1 == message.1).map(|m| m.0)
    }

    /// Its messages in order.
    pub fn media(&self) -> &[(u32, u64)] {
        &self.media
    }
}
