//! What S3 can do and this endpoint can't, told by a request's headers: better refused than silently left undone.

use http::HeaderMap;
use s3s::S3Result;

use super::refusal::not_implemented;

/// Headers (or what they begin with) that ask for something, and values that ask for nothing special.
const FEATURES: [(&str, &[&str]); 10] = [
    ("x-amz-acl", &["private", "bucket-owner-full-control"]),
    ("x-amz-grant-", &[]),
    ("x-amz-server-side-encryption", &[]),
    ("x-amz-copy-source-server-side-encryption", &[]),
    ("x-amz-tagging", &["", "COPY"]),
    ("x-amz-object-lock-", &[]),
    ("x-amz-bucket-object-lock-enabled", &["false"]),
    ("x-amz-website-redirect-location", &[]),
    ("x-amz-write-offset-bytes", &[]),
    ("x-amz-storage-class", &["STANDARD"]),
];

/// 501 naming the first such header.
pub(crate) fn check(headers: &HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        for (feature, harmless) in FEATURES {
            if name.as_str().starts_with(feature)
                && !harmless.iter().any(|ok| value.as_bytes() == ok.as_bytes())
            {
                return Err(match feature {
                    "x-amz-acl" => not_implemented(
                        "An ACL (x-amz-acl; a file BUCKET.public beside the bucket's folder makes it public)",
                    ),
                    _ => not_implemented(&format!("The header {name}")),
                });
            }
        }
    }
    Ok(())
}

/// There is one version of an object, which S3 calls `null`.
pub(crate) fn check_version(id: Option<&str>) -> S3Result<()> {
    if id.is_some_and(|id| id != "null") {
        return Err(not_implemented("Versioning (versionId)"));
    }
    Ok(())
}
