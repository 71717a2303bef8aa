//! The S3 operations, each a few steps over buckets, objects, listings and uploads.
//!
//! The protocol layer has checked the signature and [`super::access`] the right before any of these runs. Operations not named here
//! are answered with `NotImplemented` and their name by the trait's own defaults.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::*;
use s3s::{S3 as Operations, S3ErrorCode, S3Request, S3Response, S3Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::attributes::{Attributes, content_type_of};
use super::body::FileBody;
use super::bucket::{Bucket as Folder, Buckets, is_bucket_name};
use super::conditional::{Conditions, range_applies, resolve_range};
use super::metrics::Metrics;
use super::multipart::Multipart;
use super::object::{Objects, Opened};
use super::receive::{self, Bounds, Promise, Received, receive};
use super::refusal::{from_io, not_implemented, on_disk, refuse, unusable_key};
use super::{S3Config, S3Error, path, unsupported};

mod copy;
mod listing;
mod parts;

/// What region this endpoint says it's in: the one clients assume when told nothing.
const REGION: &str = "us-east-1";

/// The state behind all operations. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Backend {
    buckets: Arc<Buckets>,
    objects: Arc<Objects>,
    multipart: Arc<Multipart>,
    /// Bodies on their way in.
    bodies: PathBuf,
    bounds: Bounds,
    uploads: Arc<Semaphore>,
    metrics: Metrics,
}

impl Backend {
    /// Makes the folders uploads need and clears what a kill left.
    pub(crate) fn open(buckets: Arc<Buckets>, config: &S3Config, metrics: Metrics) -> Result<Self, S3Error> {
        let data = buckets.data().to_owned();
        let failed = |source| S3Error::Data { path: data.clone(), source };
        let bodies = data.join("uploads/bodies");
        receive::clear(&bodies).map_err(failed)?;
        let limits = &config.limits;
        Ok(Self {
            objects: Arc::new(Objects::new(&data)),
            multipart: Arc::new(Multipart::open(&data, limits.multipart_uploads).map_err(failed)?),
            bodies,
            bounds: Bounds { bytes: limits.object_bytes, idle: limits.body_idle },
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            metrics,
            buckets,
        })
    }

    /// A bucket to read from. Blocks.
    fn find(&self, name: &str) -> S3Result<Folder> {
        self.buckets.find(name).map_err(|error| match error.kind() {
            ErrorKind::NotFound => refuse(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist"),
            _ => from_io(error),
        })
    }

    /// A bucket to write to. Blocks.
    fn find_writable(&self, name: &str) -> S3Result<Folder> {
        let bucket = self.find(name)?;
        if !bucket.writable {
            return Err(refuse(S3ErrorCode::AccessDenied, format!("The bucket {name} is read-only.")));
        }
        Ok(bucket)
    }

    /// A bucket to write a key to, as far as that can be told before the body is here. Blocks.
    fn find_place(&self, bucket: &str, key: &str) -> S3Result<Folder> {
        let bucket = self.find_writable(bucket)?;
        if path::relative(key, bucket.hide_dot_names).is_none() {
            return Err(unusable_key(
                "a key is a list of names joined by single slashes, none of them '.' or '..'",
            ));
        }
        Ok(bucket)
    }

    fn admit_upload(&self) -> S3Result<OwnedSemaphorePermit> {
        Arc::clone(&self.uploads)
            .try_acquire_owned()
            .map_err(|_| refuse(S3ErrorCode::SlowDown, "Too many uploads are running; try again."))
    }

    async fn receive(&self, body: Option<StreamingBlob>, promise: Promise) -> S3Result<Received> {
        receive(body, promise, &self.bodies, self.bounds, &self.metrics).await
    }

    /// Opens an object and judges the conditions on the open handle.
    async fn open_object(&self, bucket: String, key: String, conditions: Conditions) -> S3Result<Opened> {
        let this = self.clone();
        on_disk(move || {
            let bucket = this.find(&bucket)?;
            let opened = this.objects.open(&bucket, &key).map_err(from_io)?;
            conditions.judge_read(&opened.attributes.etag, &opened.version.modified())?;
            Ok(opened)
        })
        .await
    }
}

/// Which bytes a read is about, and its `Content-Range` if they're a part.
fn select(
    range: Option<Range>,
    part: Option<PartNumber>,
    headers: &HeaderMap,
    opened: &Opened,
) -> S3Result<((u64, u64), Option<String>)> {
    let size = opened.version.size;
    if part.is_some_and(|number| number != 1) {
        return Err(not_implemented("Reading a part by its number (partNumber)"));
    }
    match range {
        Some(range) if range_applies(headers, &opened.attributes.etag, &opened.version.modified()) => {
            let (start, end) = resolve_range(range, size)?;
            Ok(((start, end), Some(format!("bytes {start}-{}/{size}", end - 1))))
        }
        _ => Ok(((0, size), None)),
    }
}

fn etag(value: &str) -> Option<ETag> {
    Some(ETag::Strong(value.to_owned()))
}

fn content_type(attributes: &Attributes, key: &str) -> Option<String> {
    attributes.content_type.clone().or_else(|| Some(content_type_of(key).to_owned()))
}

fn expires(attributes: &Attributes) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::EpochSeconds, attributes.expires.as_deref()?).ok()
}

fn user_metadata(attributes: &Attributes) -> Option<Metadata> {
    (!attributes.metadata.is_empty()).then(|| attributes.metadata.clone().into_iter().collect())
}

fn epoch_seconds(time: &Timestamp) -> Option<String> {
    let mut text = Vec::new();
    time.format(TimestampFormat::EpochSeconds, &mut text).ok()?;
    String::from_utf8(text).ok()
}

/// The headers an upload gives its object; the inputs that have them share no type.
macro_rules! uploaded_attributes {
    ($input:expr) => {
        Attributes {
            etag: String::new(),
            content_type: $input.content_type.clone(),
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.clone(),
            content_language: $input.content_language.clone(),
            expires: $input.expires.as_ref().and_then(crate::s3::backend::epoch_seconds),
            metadata: $input.metadata.clone().unwrap_or_default().into_iter().collect(),
        }
    };
}
pub(crate) use uploaded_attributes;

/// What a body is promised to be; likewise.
macro_rules! promise {
    ($request:expr) => {
        Promise {
            length: $request.input.content_length,
            md5: $request.input.content_md5.clone(),
            checksum: Checksum {
                checksum_crc32: $request.input.checksum_crc32.clone(),
                checksum_crc32c: $request.input.checksum_crc32c.clone(),
                checksum_sha1: $request.input.checksum_sha1.clone(),
                checksum_sha256: $request.input.checksum_sha256.clone(),
                checksum_crc64nvme: $request.input.checksum_crc64nvme.clone(),
                ..Default::default()
            },
            trailer: $request
                .headers
                .get("x-amz-trailer")
                .and_then(|value| value.to_str().ok())
                .map(str::to_ascii_lowercase),
            trailing: $request.trailing_headers.clone(),
        }
    };
}
pub(crate) use promise;

#[async_trait::async_trait]
impl Operations for Backend {
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let S3Request { input, headers, .. } = req;
        unsupported::check(&headers)?;
        unsupported::check_version(input.version_id.as_deref())?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let opened = self.open_object(input.bucket, input.key.clone(), conditions).await?;
        let (range, content_range) = select(input.range, input.part_number, &headers, &opened)?;
        let Opened { file, version, attributes } = opened;
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_type: content_type(&attributes, &input.key),
            content_length: Some((range.1 - range.0) as i64),
            content_range,
            e_tag: etag(&attributes.etag),
            last_modified: Some(version.modified()),
            expires: expires(&attributes),
            metadata: user_metadata(&attributes),
            cache_control: attributes.cache_control,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            body: Some(StreamingBlob::new(FileBody::new(file, version, range, self.metrics.clone()))),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let S3Request { input, headers, .. } = req;
        unsupported::check(&headers)?;
        unsupported::check_version(input.version_id.as_deref())?;
        let conditions = Conditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let opened = self.open_object(input.bucket, input.key.clone(), conditions).await?;
        let (range, content_range) = select(input.range, input.part_number, &headers, &opened)?;
        let attributes = opened.attributes;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_type: content_type(&attributes, &input.key),
            content_length: Some((range.1 - range.0) as i64),
            content_range,
            e_tag: etag(&attributes.etag),
            last_modified: Some(opened.version.modified()),
            expires: expires(&attributes),
            metadata: user_metadata(&attributes),
            cache_control: attributes.cache_control,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            ..Default::default()
        }))
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        unsupported::check(&req.headers)?;
        let _admitted = self.admit_upload()?;
        let (this, name, key) = (self.clone(), req.input.bucket.clone(), req.input.key.clone());
        let bucket = on_disk(move || this.find_place(&name, &key)).await?;
        let body = req.input.body.take();
        let received = self.receive(body, promise!(req)).await?;
        let mut attributes = uploaded_attributes!(req.input);
        attributes.etag = hex::encode(received.md5);
        let e_tag = etag(&attributes.etag);
        let input = req.input;
        let conditions =
            Conditions { if_match: input.if_match, if_none_match: input.if_none_match, ..Default::default() };
        let (this, Received { file, checksum, .. }) = (self.clone(), received);
        on_disk(move || this.objects.commit(&bucket, &input.key, file, &attributes, &conditions)).await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag,
            checksum_crc32: checksum.checksum_crc32,
            checksum_crc32c: checksum.checksum_crc32c,
            checksum_sha1: checksum.checksum_sha1,
            checksum_sha256: checksum.checksum_sha256,
            checksum_crc64nvme: checksum.checksum_crc64nvme,
            ..Default::default()
        }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        self.copy(req).await.map(S3Response::new)
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (this, input) = (self.clone(), req.input);
        unsupported::check_version(input.version_id.as_deref())?;
        on_disk(move || {
            let bucket = this.find_writable(&input.bucket)?;
            let conditions = Conditions { if_match: input.if_match, ..Default::default() };
            this.objects.remove(&bucket, &input.key, &conditions)
        })
        .await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let (this, input) = (self.clone(), req.input);
        if input.delete.objects.len() > 1000 {
            return Err(refuse(S3ErrorCode::MalformedXML, "At most 1000 keys can be deleted at once."));
        }
        let output = on_disk(move || {
            let bucket = this.find_writable(&input.bucket)?;
            let quiet = input.delete.quiet.unwrap_or(false);
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in input.delete.objects {
                let done = unsupported::check_version(object.version_id.as_deref())
                    .and_then(|()| this.objects.remove(&bucket, &object.key, &Conditions::default()));
                match done {
                    Ok(()) if quiet => {}
                    Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..Default::default() }),
                    Err(error) => errors.push(Error {
                        code: Some(error.code().as_str().to_owned()),
                        message: error.message().map(str::to_owned),
                        key: Some(object.key),
                        ..Default::default()
                    }),
                }
            }
            Ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() })
        });
        output.await.map(S3Response::new)
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        self.list_first_version(req.input).await.map(S3Response::new)
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.list_second_version(req.input).await.map(S3Response::new)
    }

    async fn list_buckets(
        &self,
        _req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = Arc::clone(&self.buckets);
        let found = on_disk(move || buckets.list().map_err(from_io)).await?;
        let buckets = found
            .into_iter()
            .map(|(name, changed)| Bucket {
                name: Some(name),
                creation_date: Some(Timestamp::from(changed)),
                ..Default::default()
            })
            .collect();
        let owner = Owner { id: Some("penstock".to_owned()), display_name: Some("penstock".to_owned()) };
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            owner: Some(owner),
            ..Default::default()
        }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let this = self.clone();
        on_disk(move || this.find(&req.input.bucket)).await?;
        Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() }))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let this = self.clone();
        on_disk(move || this.find(&req.input.bucket)).await?;
        // Empty means us-east-1, for reasons of S3's age.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        unsupported::check(&req.headers)?;
        let name = req.input.bucket;
        if !is_bucket_name(&name) {
            return Err(refuse(
                S3ErrorCode::InvalidBucketName,
                "The specified bucket is not valid. Here names ending in .public mark public buckets.",
            ));
        }
        let location = Some(format!("/{name}"));
        let this = self.clone();
        on_disk(move || {
            let _alone = this.objects.exclude_writers();
            this.buckets.create(&name).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    refuse(S3ErrorCode::BucketAlreadyOwnedByYou, "The bucket exists already, and is yours.")
                }
                _ => from_io(error),
            })
        })
        .await?;
        Ok(S3Response::new(CreateBucketOutput { location }))
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let this = self.clone();
        on_disk(move || {
            let bucket = this.find_writable(&req.input.bucket)?;
            let not_empty =
                || refuse(S3ErrorCode::BucketNotEmpty, "The bucket you tried to delete is not empty");
            let _alone = this.objects.exclude_writers();
            if !super::list::is_empty(&bucket).map_err(from_io)? {
                return Err(not_empty());
            }
            this.buckets.remove(&bucket).map_err(|error| match error.kind() {
                ErrorKind::DirectoryNotEmpty => not_empty(),
                _ => from_io(error),
            })?;
            this.objects.attributes.remove_bucket(&bucket.name).map_err(from_io)
        })
        .await?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        unsupported::check(&req.headers)?;
        self.begin_upload(req.input).await.map(S3Response::new)
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        unsupported::check(&req.headers)?;
        self.take_part(req).await.map(S3Response::new)
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.list_upload_parts(req.input).await.map(S3Response::new)
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.list_uploads(req.input).await.map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.complete_upload(req.input).await.map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let (this, input) = (self.clone(), req.input);
        on_disk(move || {
            this.find_writable(&input.bucket)?;
            this.multipart.find(&input.bucket, &input.key, &input.upload_id)?.end()
        })
        .await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
