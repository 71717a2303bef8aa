//! Objects: opening one version, putting a new one in place, removing.
//!
//! Writes meet in one lock, held over the look at what is there, the making or pruning of folders and the rename, so that
//! conditions hold against other clients. Receiving and syncing a body happen before it, and readers never take it.

use std::fs::{self, File};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use s3s::S3Result;

use super::attributes::{AttributeStore, Attributes};
use super::bucket::{Bucket, sync_folder};
use super::conditional::Conditions;
use super::path;
use super::receive::TemporaryFile;
use super::refusal::{from_io, unusable_key};
use super::version::Version;

/// One version of an object, open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Reads this version, or fails.
    pub(crate) file: File,
    /// Which.
    pub(crate) version: Version,
    /// Its ETag and headers.
    pub(crate) attributes: Attributes,
}

/// Reads and writes objects.
#[derive(Debug)]
pub(crate) struct Objects {
    /// What uploads said about themselves.
    pub(crate) attributes: AttributeStore,
    writing: Mutex<()>,
}

impl Objects {
    /// Over a data folder.
    pub(crate) fn new(data: &Path) -> Self {
        Self { attributes: AttributeStore::new(data), writing: Mutex::new(()) }
    }

    /// Excludes every other write; also for making and removing buckets. The lock guards no data, so a panic under it spoils nothing.
    pub(crate) fn exclude_writers(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what a key names now.
    pub(crate) fn open(&self, bucket: &Bucket, key: &str) -> Result<Opened> {
        let file = bucket.open(key)?;
        let version = Version::of(&file.metadata()?);
        let attributes = self.attributes.get(&bucket.name, key, &version);
        Ok(Opened { file, version, attributes })
    }

    /// Puts a received file in a key's place, if the conditions allow. Returns the version that then stands there.
    pub(crate) fn commit(
        &self,
        bucket: &Bucket,
        key: &str,
        received: TemporaryFile,
        attributes: &Attributes,
        conditions: &Conditions,
    ) -> S3Result<Version> {
        let Some(relative) = path::relative(key, bucket.hide_dot_names) else {
            return Err(unusable_key(
                "a key is a list of names joined by single slashes, none of them '.' or '..'",
            ));
        };
        let _alone = self.exclude_writers();
        // The bucket may have been removed while the body came in.
        if !fs::symlink_metadata(&bucket.root).is_ok_and(|m| m.is_dir()) {
            return Err(super::refusal::refuse(s3s::S3ErrorCode::NoSuchBucket, "The bucket was removed."));
        }
        let current = self.current(bucket, key)?;
        conditions.judge_write(current.as_ref().map(|(_, etag)| etag.as_str()))?;
        let target = bucket.root.join(&relative);
        if fs::symlink_metadata(&target).is_ok_and(|m| m.is_dir()) {
            return Err(unusable_key("there is a folder of that name, holding other objects"));
        }
        let folder = folder_for(bucket, &relative)?;
        let version = fs::metadata(&received.path).map(|m| Version::of(&m)).map_err(from_io)?;
        self.attributes.put(&bucket.name, key, &version, attributes).map_err(from_io)?;
        if let Err(error) = fs::rename(&received.path, &target) {
            self.attributes.remove(&bucket.name, key, &version);
            return Err(from_io(error));
        }
        if let Some((old, _)) = current {
            self.attributes.remove(&bucket.name, key, &old);
        }
        sync_folder(&folder).map_err(from_io)?;
        Ok(version)
    }

    /// Removes a key. One that isn't there is no error, as in S3.
    pub(crate) fn remove(&self, bucket: &Bucket, key: &str, conditions: &Conditions) -> S3Result<()> {
        let Some(relative) = path::relative(key, bucket.hide_dot_names) else { return Ok(()) };
        let _alone = self.exclude_writers();
        let current = self.current(bucket, key)?;
        conditions.judge_write(current.as_ref().map(|(_, etag)| etag.as_str()))?;
        let Some((version, _)) = current else { return Ok(()) };
        // Through a linked folder it would be another key's file that goes.
        let folder = folder_for(bucket, &relative)?;
        match fs::remove_file(bucket.root.join(&relative)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            done => done.map_err(from_io)?,
        }
        self.attributes.remove(&bucket.name, key, &version);
        prune(&bucket.root, folder).map_err(from_io)
    }

    fn current(&self, bucket: &Bucket, key: &str) -> S3Result<Option<(Version, String)>> {
        match self.open(bucket, key) {
            Ok(opened) => Ok(Some((opened.version, opened.attributes.etag))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(from_io(error)),
        }
    }
}

/// The folder a key's file belongs in, made if absent. Links on the way are refused: a write goes where its key says.
fn folder_for(bucket: &Bucket, relative: &Path) -> S3Result<PathBuf> {
    let mut folder = bucket.root.clone();
    for name in relative.parent().into_iter().flat_map(Path::components) {
        folder.push(name);
        match fs::symlink_metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(unusable_key("a part of it is another object or a link")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir(&folder).map_err(from_io)?;
                folder.parent().map_or(Ok(()), sync_folder).map_err(from_io)?;
            }
            Err(error) => return Err(from_io(error)),
        }
    }
    Ok(folder)
}

/// Removes folders a removal has emptied: S3 has none, and an empty one would keep a key from being written in its place.
fn prune(root: &Path, mut folder: PathBuf) -> Result<()> {
    while folder != root && folder.starts_with(root) {
        if fs::remove_dir(&folder).is_err() {
            break;
        }
        folder.pop();
    }
    sync_folder(&folder)
}
