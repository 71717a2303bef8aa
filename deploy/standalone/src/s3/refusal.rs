//! What a client is told when something can't be done: S3's codes, with a sentence for the person who reads it.

use std::io::{Error, ErrorKind};

use s3s::{S3Error, S3ErrorCode};

/// An error document.
pub(crate) fn refuse(code: S3ErrorCode, message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, message)
}

/// The key names no object.
pub(crate) fn no_such_key() -> S3Error {
    refuse(S3ErrorCode::NoSuchKey, "The specified key does not exist.")
}

/// Something this endpoint doesn't do.
pub(crate) fn not_implemented(what: &str) -> S3Error {
    refuse(S3ErrorCode::NotImplemented, format!("{what} is not implemented by this endpoint."))
}

/// A key that can't become a path below the bucket's folder.
pub(crate) fn unusable_key(why: &str) -> S3Error {
    refuse(
        S3ErrorCode::InvalidArgument,
        format!("This endpoint keeps an object at the path its key names; {why}."),
    )
}

/// A failing disk. Paths stay out of the message: it goes to strangers.
pub(crate) fn from_io(error: Error) -> S3Error {
    /// `ENFILE` and `EMFILE`: no descriptors left, on every Unix.
    const NO_DESCRIPTORS: [i32; 2] = [23, 24];
    if error.raw_os_error().is_some_and(|code| NO_DESCRIPTORS.contains(&code)) {
        return refuse(S3ErrorCode::SlowDown, "Too many open files; try again.");
    }
    match error.kind() {
        ErrorKind::NotFound => no_such_key(),
        ErrorKind::PermissionDenied => {
            refuse(S3ErrorCode::AccessDenied, "The file can't be accessed by the server.")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            tracing::error!(%error, "s3: no room for an upload");
            refuse(S3ErrorCode::ServiceUnavailable, "There is no room left on the server's disk.")
        }
        _ => {
            tracing::error!(%error, "s3: file system error");
            refuse(S3ErrorCode::InternalError, "The server's file system failed; see its log.")
        }
    }
}

/// Runs disk work where it may block; a panic in it becomes an internal error.
pub(crate) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, S3Error> + Send + 'static,
) -> Result<T, S3Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(from_io(Error::other(error))),
    }
}
