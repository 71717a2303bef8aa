//! ListObjects, both versions, over one kind of page.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Result};

use super::{Backend, etag};
use crate::s3::list::{Bound, Page, Query, page};
use crate::s3::refusal::{from_io, on_disk, refuse};

/// Most entries a page has, as in S3.
const MAX_KEYS: i32 = 1000;

fn max_keys(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(MAX_KEYS) {
        negative @ ..0 => {
            Err(refuse(S3ErrorCode::InvalidArgument, format!("max-keys {negative} is negative.")))
        }
        max => Ok(max.min(MAX_KEYS)),
    }
}

/// Percent-encodes what a client asked to be encoded: all but what stands in URLs for itself, and the slash. Spaces become `%20`,
/// which every decoder understands, rather than `+`.
fn encoder(encoding: Option<&EncodingType>) -> S3Result<fn(&str) -> String> {
    fn encode(text: &str) -> String {
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    encoded.push(char::from(byte))
                }
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
        encoded
    }
    match encoding.map(EncodingType::as_str) {
        None => Ok(str::to_owned),
        Some(EncodingType::URL) => Ok(encode),
        Some(other) => {
            Err(refuse(S3ErrorCode::InvalidArgument, format!("encoding-type {other} is unknown.")))
        }
    }
}

/// A page in S3's terms.
struct Listing {
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
    next: Option<Bound>,
}

impl Backend {
    async fn list(&self, bucket: String, query: Query, encode: fn(&str) -> String) -> S3Result<Listing> {
        let this = self.clone();
        on_disk(move || {
            let bucket = this.find(&bucket)?;
            let Page { objects, prefixes, next } = page(&bucket, &query).map_err(from_io)?;
            let contents = objects
                .into_iter()
                .map(|object| Object {
                    e_tag: etag(
                        &this.objects.attributes.get(&bucket.name, &object.key, &object.version).etag,
                    ),
                    key: Some(encode(&object.key)),
                    last_modified: Some(object.version.modified()),
                    size: Some(object.version.size as i64),
                    storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                    ..Default::default()
                })
                .collect();
            let common_prefixes =
                prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) }).collect();
            Ok(Listing { contents, common_prefixes, next })
        })
        .await
    }

    pub(super) async fn list_second_version(
        &self,
        input: ListObjectsV2Input,
    ) -> S3Result<ListObjectsV2Output> {
        let max = max_keys(input.max_keys)?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let bound = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Bound::from_token(token).ok_or_else(|| {
                refuse(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect")
            })?,
            (None, Some(key)) if !key.is_empty() => Bound::After(key.clone()),
            _ => Bound::Start,
        };
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let prefix = input.prefix.unwrap_or_default();
        let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), bound, max: max as usize };
        let listing = self.list(input.bucket.clone(), query, encode).await?;
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(&prefix)),
            delimiter: delimiter.as_deref().map(encode),
            start_after: input.start_after.as_deref().map(encode),
            encoding_type: input.encoding_type,
            continuation_token: input.continuation_token,
            max_keys: Some(max),
            key_count: Some((listing.contents.len() + listing.common_prefixes.len()) as i32),
            is_truncated: Some(listing.next.is_some()),
            next_continuation_token: listing.next.as_ref().and_then(Bound::to_token),
            contents: Some(listing.contents),
            common_prefixes: Some(listing.common_prefixes),
            ..Default::default()
        })
    }

    pub(super) async fn list_first_version(&self, input: ListObjectsInput) -> S3Result<ListObjectsOutput> {
        let max = max_keys(input.max_keys)?;
        let encode = encoder(input.encoding_type.as_ref())?;
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let marker = input.marker.unwrap_or_default();
        // A marker is the last entry of the page before, common prefixes included: unlike start-after, it closes them.
        let bound = match &delimiter {
            _ if marker.is_empty() => Bound::Start,
            Some(delimiter) if marker.ends_with(delimiter.as_str()) => Bound::Past(marker.clone()),
            _ => Bound::After(marker.clone()),
        };
        let prefix = input.prefix.unwrap_or_default();
        let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), bound, max: max as usize };
        let listing = self.list(input.bucket.clone(), query, encode).await?;
        let next_marker = listing.next.as_ref().and_then(|next| match next {
            Bound::Start => None,
            Bound::After(last) | Bound::Past(last) => Some(encode(last)),
        });
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(&prefix)),
            marker: Some(encode(&marker)),
            delimiter: delimiter.as_deref().map(encode),
            encoding_type: input.encoding_type,
            max_keys: Some(max),
            is_truncated: Some(listing.next.is_some()),
            next_marker,
            contents: Some(listing.contents),
            common_prefixes: Some(listing.common_prefixes),
            ..Default::default()
        })
    }
}
