//! # Penstock standalone
//!
//! Edge, shield and control as a cluster runs them, and an S3 endpoint over local folders, in one process: `cargo run --release -- [MEDIA_DIR]`.
//! What differs from a cluster: the addresses, the config store (a file instead of etcd), a certificate of its own where none is given, and
//! defaults for one machine (files that change are seen at once, a stop waits for no viewer). The parts talk to each
//! other by gRPC and to the bucket by S3 over loopback, so what plays here plays there.
//!
//! * [`options`]: flags, variables and the YAML file;
//! * [`identity`]: keys and names that stay the same for one data folder;
//! * [`certificate`]: the self-signed one that RTMPS begins with;
//! * [`s3`]: the S3 endpoint;
//! * [`logs`]: where access logs go;
//! * [`run`]: joins the parts, in order;
//! * [`ready`]: the ready file and what is printed;
//! * [`api`]: the control API's port.

pub mod api;
pub mod certificate;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
pub mod logs;
pub mod options;
pub mod ready;
pub mod run;
pub mod s3;

/// The bucket that MEDIA_DIR, or the sample, is.
pub const MEDIA_BUCKET: &str = s3::MEDIA_BUCKET;
