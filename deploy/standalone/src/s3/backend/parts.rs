//! The operations on uploads in parts.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::{Backend, etag, promise, uploaded_attributes};
use crate::s3::attributes::Attributes;
use crate::s3::conditional::Conditions;
use crate::s3::receive::{Promise, Received};
use crate::s3::refusal::{on_disk, refuse};

/// Parts an upload may have, and a listing shows at most: S3's numbers.
const LAST_PART: i32 = 10_000;
const LISTED_PARTS: i32 = 1000;

impl Backend {
    pub(super) async fn begin_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let attributes = uploaded_attributes!(input);
        let (this, bucket, key) = (self.clone(), input.bucket.clone(), input.key.clone());
        let id = on_disk(move || {
            this.find_place(&bucket, &key)?;
            this.multipart.begin(&bucket, &key, attributes)
        })
        .await?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            ..Default::default()
        })
    }

    pub(super) async fn take_part(&self, mut req: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
        let number = req.input.part_number;
        if !(1..=LAST_PART).contains(&number) {
            return Err(refuse(
                S3ErrorCode::InvalidArgument,
                format!("Part number must be 1 to {LAST_PART}."),
            ));
        }
        let _admitted = self.admit_upload()?;
        let (bucket, key, id) =
            (req.input.bucket.clone(), req.input.key.clone(), req.input.upload_id.clone());
        let this = self.clone();
        let upload = on_disk(move || {
            this.find_writable(&bucket)?;
            this.multipart.find(&bucket, &key, &id)
        })
        .await?;
        let body = req.input.body.take();
        let received = self.receive(body, promise!(req)).await?;
        let received = on_disk(move || upload.add(number, &received).map(|()| received)).await?;
        let Received { md5, checksum, .. } = &received;
        Ok(UploadPartOutput {
            e_tag: etag(&hex::encode(md5)),
            checksum_crc32: checksum.checksum_crc32.clone(),
            checksum_crc32c: checksum.checksum_crc32c.clone(),
            checksum_sha1: checksum.checksum_sha1.clone(),
            checksum_sha256: checksum.checksum_sha256.clone(),
            checksum_crc64nvme: checksum.checksum_crc64nvme.clone(),
            ..Default::default()
        })
    }

    pub(super) async fn list_upload_parts(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let max = input.max_parts.unwrap_or(LISTED_PARTS).clamp(0, LISTED_PARTS);
        let after = input.part_number_marker.unwrap_or(0);
        let (this, bucket, key, id) =
            (self.clone(), input.bucket.clone(), input.key.clone(), input.upload_id.clone());
        let mut parts = on_disk(move || {
            this.find(&bucket)?;
            this.multipart.find(&bucket, &key, &id)?.parts()
        })
        .await?;
        parts.retain(|part| part.number > after);
        let truncated = parts.len() > max as usize;
        parts.truncate(max as usize);
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(max),
            part_number_marker: Some(after),
            next_part_number_marker: parts.last().map(|part| part.number),
            is_truncated: Some(truncated),
            parts: Some(
                parts
                    .into_iter()
                    .map(|part| Part {
                        part_number: Some(part.number),
                        e_tag: etag(&part.md5),
                        size: Some(part.size as i64),
                        last_modified: Some(Timestamp::from(part.arrived)),
                        ..Default::default()
                    })
                    .collect(),
            ),
            ..Default::default()
        })
    }

    /// All in one page: there are no more than the limit on unfinished uploads.
    pub(super) async fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<ListMultipartUploadsOutput> {
        if input.delimiter.is_some() || input.key_marker.is_some() || input.upload_id_marker.is_some() {
            return Err(super::not_implemented("ListMultipartUploads with a delimiter or marker"));
        }
        let (this, bucket, prefix) =
            (self.clone(), input.bucket.clone(), input.prefix.clone().unwrap_or_default());
        let found = on_disk(move || {
            this.find(&bucket)?;
            this.multipart.list(&bucket, &prefix)
        })
        .await?;
        let uploads = found
            .into_iter()
            .map(|(key, id, begun)| MultipartUpload {
                key: Some(key),
                upload_id: Some(id),
                initiated: Some(Timestamp::from(begun)),
                ..Default::default()
            })
            .collect();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            is_truncated: Some(false),
            uploads: Some(uploads),
            ..Default::default()
        })
    }

    pub(super) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let mut wanted = Vec::new();
        for part in input.multipart_upload.and_then(|list| list.parts).unwrap_or_default() {
            let (Some(number), Some(etag)) = (part.part_number, part.e_tag) else {
                return Err(refuse(S3ErrorCode::MalformedXML, "Each part needs its PartNumber and ETag."));
            };
            wanted.push((number, etag.into_value()));
        }
        let conditions =
            Conditions { if_match: input.if_match, if_none_match: input.if_none_match, ..Default::default() };
        let (this, bucket, key, id) =
            (self.clone(), input.bucket.clone(), input.key.clone(), input.upload_id);
        let value = on_disk(move || {
            let place = this.find_place(&bucket, &key)?;
            let upload = this.multipart.find(&bucket, &key, &id)?;
            let (file, value) = upload.join(&wanted, &this.bodies, this.bounds.bytes)?;
            let attributes = Attributes { etag: value.clone(), ..upload.attributes.clone() };
            this.objects.commit(&place, &key, file, &attributes, &conditions)?;
            upload.end()?;
            Ok(value)
        })
        .await?;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: etag(&value),
            ..Default::default()
        })
    }
}
