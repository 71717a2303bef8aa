//! What an upload said about itself: its ETag and headers, kept beside the bucket, never in it.
//!
//! One small JSON file an object version, under `DATA/attributes/BUCKET/`, named by a hash of the key and by the version. A file
//! edited or replaced by hand has another version and so finds nothing: it falls back to what its name and state tell. Old and new
//! version of an object each have their own, so a reader of either sees the right one at every moment of a replacement.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::version::Version;

/// Headers an object was uploaded with, given back with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    /// Without quotes; empty until the body is there.
    pub(crate) etag: String,
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    /// Seconds of the Unix epoch.
    pub(crate) expires: Option<String>,
    /// `x-amz-meta-*`, names without the prefix.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The folder of them.
#[derive(Clone, Debug)]
pub(crate) struct AttributeStore {
    folder: PathBuf,
}

impl AttributeStore {
    /// Keeps them under the data folder.
    pub(crate) fn new(data: &Path) -> Self {
        Self { folder: data.join("attributes") }
    }

    fn path(&self, bucket: &str, key: &str, version: &Version) -> PathBuf {
        let hash = hex::encode(Sha256::digest(key.as_bytes()));
        self.folder.join(bucket).join(&hash[..2]).join(format!("{hash}.{}", version.etag()))
    }

    /// Those of one version; defaults for a file that wasn't uploaded. An unreadable record counts as none: the object is still whole.
    pub(crate) fn get(&self, bucket: &str, key: &str, version: &Version) -> Attributes {
        let record = fs::read(self.path(bucket, key, version)).ok();
        let mut attributes: Attributes =
            record.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if attributes.etag.is_empty() {
            attributes.etag = version.etag();
        }
        attributes
    }

    /// Records those of a version about to appear.
    pub(crate) fn put(
        &self,
        bucket: &str,
        key: &str,
        version: &Version,
        attributes: &Attributes,
    ) -> Result<()> {
        let path = self.path(bucket, key, version);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create(path)?;
        file.write_all(&serde_json::to_vec(attributes).map_err(Error::other)?)?;
        file.sync_all()
    }

    /// Forgets a version that is gone.
    pub(crate) fn remove(&self, bucket: &str, key: &str, version: &Version) {
        let gone = fs::remove_file(self.path(bucket, key, version));
        if let Err(error) = gone
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, bucket, key, "s3: a stale attribute record stays");
        }
    }

    /// Forgets a whole bucket.
    pub(crate) fn remove_bucket(&self, bucket: &str) -> Result<()> {
        match fs::remove_dir_all(self.folder.join(bucket)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What a file is, going by its name; S3's default for an unknown one.
pub(crate) fn content_type_of(key: &str) -> &'static str {
    let extension = key.rsplit(['.', '/']).next().unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "flv" => "video/x-flv",
        "mp4" | "m4v" | "f4v" => "video/mp4",
        "mov" => "video/quicktime",
        "3gp" => "video/3gpp",
        "m4a" | "f4a" => "audio/mp4",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "m3u8" => "application/vnd.apple.mpegurl",
        "mpd" => "application/dash+xml",
        "ts" => "video/mp2t",
        "vtt" => "text/vtt",
        "srt" | "txt" => "text/plain",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "js" => "text/javascript",
        "json" => "application/json",
        "xml" => "application/xml",
        "swf" => "application/x-shockwave-flash",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "gz" => "application/gzip",
        _ => "binary/octet-stream",
    }
}
