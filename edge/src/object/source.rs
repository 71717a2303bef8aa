//! The seam towards shields: describe an object, read a range of one version.
//!
//! The real implementation is [`shield::client::ShieldClient`]; tests put memory or faults behind the same trait.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::range::ByteRange;
use proto::status::{Reason, RemoteError};
use proto::v1::Priority;
use shield::client::ShieldClient;

use super::ReadError;

/// Where an edge gets bytes from.
pub trait RangeSource: Send + Sync + 'static {
    /// Describes the object's current version. `retired` names a version known to be gone: an answer that names it is out of date.
    fn stat(
        &self,
        object: &ObjectKey,
        retired: Option<Arc<str>>,
    ) -> BoxFuture<'static, Result<ObjectInfo, ReadError>>;

    /// The bytes of `range`, in order and without gaps, as (offset, bytes).
    fn read(
        &self,
        object: &ObjectVersion,
        size_bytes: u64,
        range: ByteRange,
        priority: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>>;
}

impl RangeSource for ShieldClient {
    fn stat(
        &self,
        object: &ObjectKey,
        retired: Option<Arc<str>>,
    ) -> BoxFuture<'static, Result<ObjectInfo, ReadError>> {
        let (client, object) = (self.clone(), object.clone());
        Box::pin(async move { client.stat(&object, retired.as_deref()).await.map_err(ReadError::from) })
    }

    fn read(
        &self,
        object: &ObjectVersion,
        size_bytes: u64,
        range: ByteRange,
        priority: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>> {
        ShieldClient::read(self, object, size_bytes, range, priority)
            .map(|item| item.map_err(ReadError::from))
            .boxed()
    }
}

impl From<RemoteError> for ReadError {
    fn from(error: RemoteError) -> Self {
        match error.reason {
            Reason::NotFound => ReadError::NotFound(error.message),
            Reason::Forbidden => ReadError::Forbidden(error.message),
            Reason::VersionRetired => ReadError::Retired(error.message),
            _ => ReadError::Unavailable(error.to_string()),
        }
    }
}
