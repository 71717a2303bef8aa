//! The only mapping between Penstock's errors and `tonic::Status`, both ways.
//!
//! An error crosses the wire as a gRPC code plus a stable reason in the metadata key `penstock-reason`; the code serves
//! generic tools, the reason is what the other side acts on. A status without a reason (a proxy's, the transport's) is
//! judged by its code.

use tonic::{Code, Status, metadata::MetadataValue};

/// The metadata key that carries [`Reason`].
pub const REASON_KEY: &str = "penstock-reason";

/// What went wrong, in terms the asking side acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// S3 has no such key (or bucket): a cached 404.
    NotFound,
    /// S3 refused access: a cached 403.
    Forbidden,
    /// The version asked for is no longer the object's (412): open it again.
    VersionRetired,
    /// `cache_only` was asked and the bytes are not cached here.
    NotCached,
    /// The shield does not know this origin id (yet): its config is behind, ask another.
    UnknownOrigin,
    /// S3 failed, or could not be reached, after retries.
    OriginFailed,
    /// The deadline passed.
    Deadline,
    /// A bound was reached (queue, streams, memory): try elsewhere or later.
    Overloaded,
    /// The peer is starting, draining or gone.
    Unavailable,
    /// The request makes no sense: a range past the end, an empty key.
    Invalid,
    /// The token or certificate is missing or wrong.
    Unauthenticated,
    /// The caller is known, and its role does not allow this call.
    Denied,
    /// A bug on the other side.
    Internal,
}

const TABLE: &[(Reason, Code, &str)] = &[
    (Reason::NotFound, Code::NotFound, "not-found"),
    (Reason::Forbidden, Code::PermissionDenied, "forbidden"),
    (Reason::VersionRetired, Code::FailedPrecondition, "version-retired"),
    (Reason::NotCached, Code::Aborted, "not-cached"),
    (Reason::UnknownOrigin, Code::Unavailable, "unknown-origin"),
    (Reason::OriginFailed, Code::Unavailable, "origin-failed"),
    (Reason::Deadline, Code::DeadlineExceeded, "deadline"),
    (Reason::Overloaded, Code::ResourceExhausted, "overloaded"),
    (Reason::Unavailable, Code::Unavailable, "unavailable"),
    (Reason::Invalid, Code::InvalidArgument, "invalid"),
    (Reason::Unauthenticated, Code::Unauthenticated, "unauthenticated"),
    (Reason::Denied, Code::PermissionDenied, "denied"),
    (Reason::Internal, Code::Internal, "internal"),
];

impl Reason {
    /// Its text in the metadata and in metrics' labels.
    pub fn as_str(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("internal", |row| row.2)
    }

    /// Whether another shield may do better with the same request.
    pub fn is_worth_another_shield(self) -> bool {
        matches!(
            self,
            Reason::UnknownOrigin
                | Reason::Overloaded
                | Reason::Unavailable
                | Reason::Internal
                | Reason::OriginFailed
                | Reason::Deadline
        )
    }
}

/// An error that crossed, or will cross, the wire.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message} ({})", reason.as_str())]
pub struct RemoteError {
    /// What to act on.
    pub reason: Reason,
    /// What to show a person: carries the object and range.
    pub message: String,
}

impl RemoteError {
    /// `reason`, explained by `message`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl From<RemoteError> for Status {
    fn from(error: RemoteError) -> Self {
        let (_, code, text) =
            TABLE.iter().find(|row| row.0 == error.reason).copied().unwrap_or(TABLE[TABLE.len() - 1]);
        let mut status = Status::new(code, error.message);
        status.metadata_mut().insert(REASON_KEY, MetadataValue::from_static(text));
        status
    }
}

impl From<Status> for RemoteError {
    fn from(status: Status) -> Self {
        let named = status.metadata().get(REASON_KEY).and_then(|v| v.to_str().ok());
        let reason =
            TABLE.iter().find(|row| Some(row.2) == named).map(|row| row.0).unwrap_or(match status.code() {
                Code::NotFound => Reason::NotFound,
                Code::PermissionDenied => Reason::Forbidden,
                Code::FailedPrecondition => Reason::VersionRetired,
                Code::DeadlineExceeded => Reason::Deadline,
                Code::ResourceExhausted => Reason::Overloaded,
                Code::InvalidArgument | Code::OutOfRange => Reason::Invalid,
                Code::Unauthenticated => Reason::Unauthenticated,
                // A cut connection reaches us as Unknown or Cancelled: the peer is gone, another may be there.
                Code::Unavailable | Code::Cancelled | Code::Unknown | Code::Aborted => Reason::Unavailable,
                _ => Reason::Internal,
            });
        Self { reason, message: status.message().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for &(reason, code, _) in TABLE {
            let status = Status::from(RemoteError::new(reason, "why"));
            assert_eq!(status.code(), code);
            assert_eq!(RemoteError::from(status), RemoteError::new(reason, "why"));
        }
    }

    #[test]
    fn a_foreign_status_is_judged_by_its_code() {
        assert_eq!(RemoteError::from(Status::unknown("h2 reset")).reason, Reason::Unavailable);
        assert_eq!(RemoteError::from(Status::unimplemented("x")).reason, Reason::Internal);
    }
}
