//! The embedded S3 endpoint: local folders, spoken to as Amazon S3.
//!
//! The [`s3s`] crate parses requests, checks signatures and writes the XML; everything that touches a disk is here. The shield
//! of a standalone Penstock reads films through it with the same client it would use against Amazon, so a person's folder and a
//! bucket behave alike: ranges, ETags, `If-Match`, 404 and 403.
//!
//! # What is served
//!
//! * Bucket `media`: the folder named on the command line, or the bundled sample film. Public and read-only. Names that begin
//!   with a dot are left out of it: a whole home folder may have been given.
//! * Every folder `DATA/buckets/NAME`, among them those that [`S3Config::buckets`] has made at start: private, unless a file `DATA/buckets/NAME.public` stands beside it (`touch` makes the
//!   bucket public, `rm` private again, at once). Bucket names that end in `.public` are therefore refused. A symbolic link or a
//!   folder whose name Amazon would refuse isn't a bucket.
//! * A key is the path of a regular file below the bucket's folder. Links are followed as long as they stay inside it; what leads
//!   out, folders, FIFOs and devices don't exist. Keys that no path can carry (`a//b`, `dir/`, `..`, a backslash, NUL) are not
//!   found when read and `InvalidArgument` when written.
//!
//! Our own files stay outside the buckets: `DATA/attributes` (what an upload said about itself, see [`attributes`]),
//! `DATA/uploads` (bodies and multipart parts on their way in), `DATA/sample` (the bundled film).
//!
//! # One version a response
//!
//! An ETag stands for one state of a file. Uploads keep Amazon's (MD5, or MD5 of MD5s and `-N`); a file dropped into the folder gets
//! one made of its time, size and inode, so nothing is hashed on reading. Conditions are judged on the opened handle, the body is
//! read from it, and a file that changes underneath ends the body with an error: bytes of two versions never mix. What goes
//! unseen is a rewrite in place that keeps size and inode within one tick of the file system's clock.
//!
//! # Who may
//!
//! One access key may do everything; anonymous requests may read public buckets (GET, HEAD, listings). What the endpoint doesn't do (ACLs,
//! policies, versions, encryption, tags, form uploads…) it answers with 501 `NotImplemented`, naming the operation or header.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod access;
mod attributes;
mod backend;
mod body;
mod bucket;
mod conditional;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod list;
mod metrics;
mod multipart;
mod object;
mod path;
mod receive;
mod refusal;
mod sample;
mod server;
mod unsupported;
mod version;

/// The name of the read-only bucket.
pub const MEDIA_BUCKET: &str = "media";

/// Where the bucket `media` comes from.
#[derive(Clone, Debug)]
pub enum MediaSource {
    /// A folder of the user's, served as it is.
    Folder(PathBuf),
    /// The sample film that is part of the program; it is written to `DATA/sample` at start.
    Bundled,
}

/// Bounds on what clients may make the endpoint do.
#[derive(Clone, Debug)]
pub struct S3Limits {
    /// Largest object, and largest part, that may be uploaded.
    pub object_bytes: u64,
    /// Bodies received at once; further ones are refused with 503 `SlowDown`.
    pub uploads: usize,
    /// Multipart uploads begun and not finished; further ones are refused with 503 `SlowDown`.
    pub multipart_uploads: usize,
    /// Connections at once; further ones get a 503 and are closed.
    pub connections: usize,
    /// How long a request's head may take, and an idle connection may stay.
    pub header_read: Duration,
    /// How long a request's body may pause.
    pub body_idle: Duration,
    /// How long running requests may go on after shutdown has begun.
    pub drain: Duration,
}

impl Default for S3Limits {
    fn default() -> Self {
        Self {
            object_bytes: 5 << 40,
            uploads: 64,
            multipart_uploads: 1000,
            connections: 1024,
            header_read: Duration::from_secs(60),
            body_idle: Duration::from_secs(60),
            drain: Duration::from_secs(5),
        }
    }
}

/// What the endpoint needs to know.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The data folder; it is made if absent. Buckets live under `buckets` in it.
    pub data_dir: PathBuf,
    /// What bucket `media` shows.
    pub media: MediaSource,
    /// Private buckets that exist from the start; one that is there already stays as it is.
    pub buckets: Vec<String>,
    /// The one access key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Bounds.
    pub limits: S3Limits,
    /// Where the endpoint's metrics are registered. An endpoint takes its names for itself: one endpoint a registry.
    pub registry: prometheus::Registry,
}

/// Why the endpoint can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The media folder is absent, unreadable or no folder.
    #[error("media folder {}: {source}", path.display())]
    Media {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The media folder is the data folder: all there is would be private.
    #[error("media folder {} is the data folder; choose another --data", .0.display())]
    MediaIsData(PathBuf),
    /// The data folder can't be made, read or written.
    #[error("data folder {}: {source}", path.display())]
    Data {
        /// The path concerned.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A bucket that has to exist can't.
    #[error("bucket '{bucket}': {source}")]
    Bucket {
        /// Its name.
        bucket: String,
        /// What is in the way: the name, or what stands in its place.
        source: std::io::Error,
    },
    /// The metrics' names are taken in this registry.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The listener failed for good.
    #[error("accepting connections: {0}")]
    Accept(std::io::Error),
}

/// The endpoint: open folders and a protocol stack over them. Cheap to clone.
#[derive(Clone)]
pub struct S3 {
    service: S3Service,
    metrics: metrics::Metrics,
    limits: S3Limits,
}

impl S3 {
    /// Makes the data folder's layout, clears what a killed run left half received, and writes the sample if it's wanted.
    /// Blocks on the disk.
    pub fn open(config: S3Config) -> Result<Self, S3Error> {
        let metrics = metrics::Metrics::register(&config.registry)?;
        let buckets = Arc::new(bucket::Buckets::open(&config.data_dir, &config.media)?);
        for bucket in &config.buckets {
            buckets.ensure(bucket).map_err(|source| S3Error::Bucket { bucket: bucket.clone(), source })?;
        }
        let backend = backend::Backend::open(Arc::clone(&buckets), &config, metrics.clone())?;
        let mut builder = S3ServiceBuilder::new(backend);
        builder.set_auth(access::OneKey::new(config.access_key_id, &config.secret_access_key));
        builder.set_access(access::Readers::new(buckets));
        builder.set_host(access::Hosts);
        builder.set_config(access::protocol_limits());
        Ok(Self { service: builder.build(), metrics, limits: config.limits })
    }

    /// Serves plain HTTP/1.1 on `listener` until `shutdown`, then lets running requests end within the drain time.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), S3Error> {
        server::serve(self, listener, shutdown).await
    }

    /// How many requests of one S3 operation (`GetObject`, `HeadObject`…) have been answered, whatever the status.
    pub fn requests(&self, operation: &str) -> u64 {
        self.metrics.answered(operation)
    }
}
