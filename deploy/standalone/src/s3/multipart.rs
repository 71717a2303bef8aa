//! Uploads in parts: a folder an upload, a file a part, joined when the client says so.
//!
//! `DATA/uploads/multipart/ID/` holds `upload.json` and parts named by number and MD5, so that the part a client completes with is found
//! by the ETag it was given, even if the same number is being sent again meanwhile. Uploads nobody finishes are removed at a start a
//! week later; S3's smallest part of 5 MiB isn't insisted on.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::{Deserialize, Serialize};

use super::attributes::Attributes;
use super::receive::{Received, TemporaryFile};
use super::refusal::{from_io, refuse};

/// How long an upload may stay unfinished, at least.
const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
const RECORD: &str = "upload.json";

/// All uploads in parts.
#[derive(Debug)]
pub(crate) struct Multipart {
    folder: PathBuf,
    most: usize,
}

/// What an upload is for.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    bucket: String,
    key: String,
    attributes: Attributes,
}

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Upload {
    folder: PathBuf,
    /// Headers it was begun with.
    pub(crate) attributes: Attributes,
}

/// A part that has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// 1 to 10 000.
    pub(crate) number: i32,
    /// Hexadecimal: its ETag.
    pub(crate) md5: String,
    /// Length in bytes.
    pub(crate) size: u64,
    /// When it arrived.
    pub(crate) arrived: SystemTime,
}

/// An upload as listed: key, id, when begun.
pub(crate) type Unfinished = (String, String, SystemTime);

fn no_such_upload() -> S3Error {
    refuse(
        S3ErrorCode::NoSuchUpload,
        "The specified multipart upload does not exist; it may have been aborted or completed.",
    )
}

fn gone(error: io::Error) -> S3Error {
    if error.kind() == ErrorKind::NotFound { no_such_upload() } else { from_io(error) }
}

impl Multipart {
    /// Over `uploads/multipart` in the data folder. Removes what was abandoned.
    pub(crate) fn open(data: &Path, most: usize) -> io::Result<Self> {
        let folder = data.join("uploads/multipart");
        fs::create_dir_all(&folder)?;
        let now = SystemTime::now();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let age = now.duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > ABANDONED_AFTER {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { folder, most })
    }

    /// Begins one; returns its id.
    pub(crate) fn begin(&self, bucket: &str, key: &str, attributes: Attributes) -> S3Result<String> {
        if fs::read_dir(&self.folder).map_err(from_io)?.count() >= self.most {
            return Err(refuse(
                S3ErrorCode::SlowDown,
                "Too many multipart uploads are unfinished; complete or abort some.",
            ));
        }
        let id = format!("{:032x}", rand::random::<u128>());
        let folder = self.folder.join(&id);
        let record = Record { bucket: bucket.to_owned(), key: key.to_owned(), attributes };
        let json = serde_json::to_vec(&record).map_err(|error| from_io(io::Error::other(error)))?;
        fs::create_dir(&folder).map_err(from_io)?;
        fs::write(folder.join(RECORD), json).map_err(from_io)?;
        Ok(id)
    }

    fn record(&self, id: &str) -> S3Result<(PathBuf, Record)> {
        // The id becomes a folder's name.
        if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(no_such_upload());
        }
        let folder = self.folder.join(id);
        let json = fs::read(folder.join(RECORD)).map_err(gone)?;
        let record = serde_json::from_slice(&json).map_err(|error| from_io(io::Error::other(error)))?;
        Ok((folder, record))
    }

    /// The upload of that id, if it's for this object.
    pub(crate) fn find(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        let (folder, record) = self.record(id)?;
        if record.bucket != bucket || record.key != key {
            return Err(no_such_upload());
        }
        Ok(Upload { folder, attributes: record.attributes })
    }

    /// Every unfinished upload into a bucket whose key begins with `prefix`, by key and id.
    pub(crate) fn list(&self, bucket: &str, prefix: &str) -> S3Result<Vec<Unfinished>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(from_io)? {
            let entry = entry.map_err(from_io)?;
            let Ok(id) = entry.file_name().into_string() else { continue };
            // One that ends or begins just now has no record.
            let Ok((folder, record)) = self.record(&id) else { continue };
            if record.bucket == bucket && record.key.starts_with(prefix) {
                let begun = fs::metadata(folder.join(RECORD)).and_then(|m| m.modified()).map_err(gone)?;
                found.push((record.key, id, begun));
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Upload {
    /// Takes a received part in; an earlier one of its number is forgotten.
    pub(crate) fn add(&self, number: i32, received: &Received) -> S3Result<()> {
        let name = part_name(number, &hex::encode(received.md5));
        fs::rename(&received.file.path, self.folder.join(&name)).map_err(gone)?;
        for entry in fs::read_dir(&self.folder).map_err(gone)? {
            let other = entry.map_err(from_io)?.file_name();
            let same_number = other.to_str().and_then(parse_part_name).is_some_and(|(n, _)| n == number);
            if same_number && other.to_str() != Some(&name) {
                // Absent if the same was sent three times at once.
                let _ = fs::remove_file(self.folder.join(other));
            }
        }
        Ok(())
    }

    /// The parts there are, by number.
    pub(crate) fn parts(&self) -> S3Result<Vec<Part>> {
        let mut parts = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(gone)? {
            let entry = entry.map_err(from_io)?;
            let name = entry.file_name();
            let Some((number, md5)) = name.to_str().and_then(parse_part_name) else { continue };
            let metadata = entry.metadata().map_err(gone)?;
            let arrived = metadata.modified().map_err(from_io)?;
            parts.push(Part { number, md5: md5.to_owned(), size: metadata.len(), arrived });
        }
        parts.sort_by_key(|part| (part.number, part.arrived));
        Ok(parts)
    }

    /// Joins the parts named into one file in `bodies`; returns it and its ETag.
    pub(crate) fn join(
        &self,
        wanted: &[(i32, String)],
        bodies: &Path,
        most_bytes: u64,
    ) -> S3Result<(TemporaryFile, String)> {
        if wanted.is_empty() {
            return Err(refuse(S3ErrorCode::InvalidRequest, "You must specify at least one part."));
        }
        if !wanted.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(refuse(
                S3ErrorCode::InvalidPartOrder,
                "The list of parts was not in ascending order.",
            ));
        }
        let file = TemporaryFile::name(bodies);
        let mut joined = File::create_new(&file.path).map_err(from_io)?;
        let mut md5s = Md5::new();
        let mut bytes = 0u64;
        for (number, etag) in wanted {
            let missing = || {
                refuse(
                    S3ErrorCode::InvalidPart,
                    format!("Part {number} with ETag \"{etag}\" has not been uploaded."),
                )
            };
            let mut digest = [0; 16];
            hex::decode_to_slice(etag, &mut digest).map_err(|_| missing())?;
            let path = self.folder.join(part_name(*number, &hex::encode(digest)));
            let mut part = File::open(path).map_err(|error| match error.kind() {
                ErrorKind::NotFound => missing(),
                _ => from_io(error),
            })?;
            md5s.update(&digest);
            // In the kernel, sharing blocks where the file system can.
            bytes += io::copy(&mut part, &mut joined).map_err(from_io)?;
            if bytes > most_bytes {
                return Err(refuse(
                    S3ErrorCode::EntityTooLarge,
                    format!("This endpoint keeps at most {most_bytes} bytes an object."),
                ));
            }
        }
        joined.flush().and_then(|()| joined.sync_all()).map_err(from_io)?;
        Ok((file, format!("{}-{}", hex::encode(md5s.finalize()), wanted.len())))
    }

    /// Ends it; its parts are gone.
    pub(crate) fn end(self) -> S3Result<()> {
        fs::remove_dir_all(&self.folder).map_err(gone)
    }
}

fn part_name(number: i32, md5: &str) -> String {
    format!("{number:05}-{md5}")
}

fn parse_part_name(name: &str) -> Option<(i32, &str)> {
    let (number, md5) = name.split_once('-')?;
    Some((number.parse().ok()?, md5))
}
