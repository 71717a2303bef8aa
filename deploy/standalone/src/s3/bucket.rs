//! Buckets: folders under the data folder, and `media`.
//!
//! A [`Bucket`] is looked up anew for each request, so a folder made, removed, published or hidden by hand counts at once. Its `root` is
//! canonical; [`Bucket::locate`] is the only way from a key to an existing file and answers `NotFound` for whatever lies outside.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{MEDIA_BUCKET, MediaSource, S3Error, path, sample};

/// What ends the name of the file that makes a bucket public.
pub(crate) const PUBLIC_SUFFIX: &str = ".public";

/// All buckets.
pub(crate) struct Buckets {
    /// Canonical data folder.
    data: PathBuf,
    media: Bucket,
}

/// One bucket.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Its name.
    pub(crate) name: String,
    /// Its folder, canonical.
    pub(crate) root: PathBuf,
    /// Whether clients with the key may change it.
    pub(crate) writable: bool,
    /// Whether names beginning with a dot are left out.
    pub(crate) hide_dot_names: bool,
    /// A folder inside `root` that isn't part of the bucket: the data folder, when someone serves the folder above it.
    hole: Option<PathBuf>,
}

impl Buckets {
    /// Makes the data folder's layout and settles where `media` is.
    pub(crate) fn open(data_dir: &Path, media: &MediaSource) -> std::result::Result<Self, S3Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| S3Error::Data { path, source }
        };
        let folder = data_dir.join("buckets");
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let data = fs::canonicalize(data_dir).map_err(failed(data_dir))?;
        let root = match media {
            MediaSource::Folder(path) => {
                let failed = |source| S3Error::Media { path: path.clone(), source };
                let root = fs::canonicalize(path).map_err(failed)?;
                fs::read_dir(&root).map_err(failed)?;
                if root == data {
                    return Err(S3Error::MediaIsData(root));
                }
                root
            }
            MediaSource::Bundled => {
                let folder = data.join("sample");
                sample::write(&folder).map_err(failed(&folder))?;
                folder
            }
        };
        let hole = data.starts_with(&root).then(|| data.clone());
        let media =
            Bucket { name: MEDIA_BUCKET.to_owned(), root, writable: false, hide_dot_names: true, hole };
        Ok(Self { data, media })
    }

    /// The canonical data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.data.join("buckets").join(name)
    }

    /// The bucket of that name; `NotFound` if there is none. `name` must be a valid bucket name, as the protocol layer sees to.
    pub(crate) fn find(&self, name: &str) -> Result<Bucket> {
        if name == MEDIA_BUCKET {
            return Ok(self.media.clone());
        }
        let root = self.folder(name);
        if !is_bucket_name(name) || !fs::symlink_metadata(&root)?.is_dir() {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(Bucket { name: name.to_owned(), root, writable: true, hide_dot_names: false, hole: None })
    }

    /// Whether anyone may read the bucket.
    pub(crate) fn is_public(&self, name: &str) -> bool {
        name == MEDIA_BUCKET
            || fs::symlink_metadata(self.folder(&format!("{name}{PUBLIC_SUFFIX}"))).is_ok_and(|m| m.is_file())
    }

    /// Makes a private bucket; `AlreadyExists` if there is one.
    pub(crate) fn create(&self, name: &str) -> Result<()> {
        if name == MEDIA_BUCKET {
            return Err(ErrorKind::AlreadyExists.into());
        }
        fs::create_dir(self.folder(name))?;
        sync_folder(&self.data.join("buckets"))
    }

    /// Makes a private bucket unless there is one; an error says what stands in its place.
    pub(crate) fn ensure(&self, name: &str) -> Result<()> {
        if !is_bucket_name(name) {
            return Err(Error::new(ErrorKind::InvalidInput, "no name of a bucket"));
        }
        match self.create(name) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        match self.find(name) {
            Ok(bucket) if bucket.writable => Ok(()),
            Ok(_) => Err(Error::new(ErrorKind::ReadOnlyFilesystem, "it is read-only")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::new(ErrorKind::NotADirectory, "what has its name is no folder"))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes a bucket without objects, and its marker; `DirectoryNotEmpty` if it has any.
    pub(crate) fn remove(&self, bucket: &Bucket) -> Result<()> {
        remove_empty_tree(&bucket.root)?;
        match fs::remove_file(self.folder(&format!("{}{PUBLIC_SUFFIX}", bucket.name))) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => sync_folder(&self.data.join("buckets")),
        }
    }

    /// Every bucket's name and when its folder was last changed, in order of name.
    pub(crate) fn list(&self) -> Result<Vec<(String, SystemTime)>> {
        let mut all = vec![(MEDIA_BUCKET.to_owned(), fs::metadata(&self.media.root)?.modified()?)];
        for entry in fs::read_dir(self.data.join("buckets"))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name != MEDIA_BUCKET && entry.file_type()?.is_dir() && is_bucket_name(&name) {
                all.push((name, entry.metadata()?.modified()?));
            }
        }
        all.sort();
        Ok(all)
    }
}

impl Bucket {
    /// Whether an existing, canonical path belongs to the bucket.
    pub(crate) fn holds(&self, canonical: &Path) -> bool {
        canonical.starts_with(&self.root)
            && !self.hole.as_ref().is_some_and(|hole| canonical.starts_with(hole))
    }

    /// The canonical path an existing key leads to; `NotFound` for all that isn't there or isn't ours to show.
    pub(crate) fn locate(&self, key: &str) -> Result<PathBuf> {
        let relative = path::relative(key, self.hide_dot_names).ok_or(ErrorKind::NotFound)?;
        let named = self.root.join(relative);
        let found = self.inside(&named)?;
        // Where links are on the way, each step has to stay inside: not out by one link and back in by the next name.
        if found != named {
            for step in named.ancestors().skip(1).take_while(|step| *step != self.root) {
                self.inside(step)?;
            }
        }
        Ok(found)
    }

    /// The canonical path of one that exists in the bucket.
    fn inside(&self, path: &Path) -> Result<PathBuf> {
        let found = fs::canonicalize(path).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => error,
            // A file where a folder would have to be, a loop of links, a name too long: no such object.
            _ => ErrorKind::NotFound.into(),
        })?;
        if !self.holds(&found) {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(found)
    }

    /// Opens a key's file for reading; `NotFound` unless it's a regular file inside the bucket.
    pub(crate) fn open(&self, key: &str) -> Result<File> {
        let found = self.locate(key)?;
        // Before opening: opening a FIFO would wait for a writer.
        if !fs::metadata(&found)?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let file = File::open(&found)?;
        // A folder on the way may have been swapped for a link since. Where the system tells, the handle itself is asked.
        let elsewhere =
            fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).is_ok_and(|real| !self.holds(&real));
        if elsewhere || !file.metadata()?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        Ok(file)
    }
}

/// Whether a folder or request may carry this bucket name.
pub(crate) fn is_bucket_name(name: &str) -> bool {
    s3s::path::check_bucket_name(name) && !name.ends_with(PUBLIC_SUFFIX)
}

/// Makes a rename or removal in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a folder of folders; anything else in it stops with `DirectoryNotEmpty`. Only ever uses `rmdir`, so a file that
/// appears meanwhile is safe.
fn remove_empty_tree(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            return Err(Error::from(ErrorKind::DirectoryNotEmpty));
        }
        remove_empty_tree(&entry.path())?;
    }
    fs::remove_dir(folder)
}
