//! CopyObject: a read and a write in one, within the server.

use std::fs::File;
use std::io::{Read, Write};

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::{Backend, etag, uploaded_attributes};
use crate::s3::attributes::Attributes;
use crate::s3::conditional::Conditions;
use crate::s3::object::Opened;
use crate::s3::receive::TemporaryFile;
use crate::s3::refusal::{from_io, not_implemented, on_disk, refuse};
use crate::s3::unsupported;
use crate::s3::version::Version;

/// Copied at a time.
const PIECE_BYTES: usize = 1 << 20;

impl Backend {
    pub(super) async fn copy(&self, req: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
        unsupported::check(&req.headers)?;
        let input = req.input;
        let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else {
            return Err(not_implemented("Copying from an access point"));
        };
        unsupported::check_version(version_id.as_deref())?;
        let conditions = Conditions {
            if_match: input.copy_source_if_match.clone(),
            if_none_match: input.copy_source_if_none_match.clone(),
            if_modified_since: input.copy_source_if_modified_since.clone(),
            if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
        };
        let _admitted = self.admit_upload()?;
        let source =
            self.open_object(bucket.to_string(), key.to_string(), conditions).await.map_err(|error| {
                // A copy that isn't wanted is a failed condition: 304 is for readers.
                if error.code() == &S3ErrorCode::NotModified {
                    return refuse(
                        S3ErrorCode::PreconditionFailed,
                        "The copy source's conditions did not hold.",
                    );
                }
                error
            })?;
        let replace =
            input.metadata_directive.as_ref().is_some_and(|d| d.as_str() == MetadataDirective::REPLACE);
        let given = if replace { uploaded_attributes!(input) } else { source.attributes.clone() };
        let this = self.clone();
        on_disk(move || {
            let place = this.find_place(&input.bucket, &input.key)?;
            let file = TemporaryFile::name(&this.bodies);
            let value = copy_file(source, &file, this.bounds.bytes)?;
            let attributes = Attributes { etag: value.clone(), ..given };
            let version =
                this.objects.commit(&place, &input.key, file, &attributes, &Conditions::default())?;
            let copied = CopyObjectResult {
                e_tag: etag(&value),
                last_modified: Some(version.modified()),
                ..Default::default()
            };
            Ok(CopyObjectOutput { copy_object_result: Some(copied), ..Default::default() })
        })
        .await
    }
}

/// Copies an open version; returns the MD5 in hexadecimal.
fn copy_file(source: Opened, to: &TemporaryFile, most_bytes: u64) -> S3Result<String> {
    if source.version.size > most_bytes {
        return Err(refuse(
            S3ErrorCode::EntityTooLarge,
            format!("This endpoint keeps at most {most_bytes} bytes an object."),
        ));
    }
    let (mut from, mut into) = (source.file, File::create_new(&to.path).map_err(from_io)?);
    let mut md5 = Md5::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut piece).map_err(from_io)?;
        if read == 0 {
            break;
        }
        md5.update(&piece[..read]);
        into.write_all(&piece[..read]).map_err(from_io)?;
    }
    if from.metadata().map(|m| Version::of(&m)).map_err(from_io)? != source.version {
        return Err(refuse(
            S3ErrorCode::OperationAborted,
            "The source changed while it was copied; try again.",
        ));
    }
    into.sync_all().map_err(from_io)?;
    Ok(hex::encode(md5.finalize()))
}
