//! One state of one file, and the ETag made of it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use s3s::dto::Timestamp;

/// Last second a four-digit year can name: the protocol layer can't format later ones.
const LAST_SECOND: i64 = 253_402_300_799;

/// A file's state, as far as the file system tells states apart without reading the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Length in bytes.
    pub(crate) size: u64,
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Version {
    /// The state a stat shows.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            inode: metadata.ino(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        }
    }

    /// The ETag of a file nobody uploaded through us, without quotes. The dashes matter: clients take an ETag without one
    /// for an MD5 and check the body against it.
    pub(crate) fn etag(&self) -> String {
        format!("{:x}-{:x}{:08x}-{:x}", self.inode, self.modified_s, self.modified_ns, self.size)
    }

    /// When it was last changed, in whole seconds, as `Last-Modified` says it.
    pub(crate) fn modified(&self) -> Timestamp {
        let seconds = self.modified_s.clamp(0, LAST_SECOND) as u64;
        Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }
}
