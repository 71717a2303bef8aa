//! Who may do what, and which bucket a host name means.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::config::{S3Config, S3ConfigProvider, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::{S3ErrorCode, S3Result};

use super::bucket::Buckets;
use super::refusal::refuse;
use super::server::OperationName;

/// The one access key. The protocol layer computes and compares signatures.
pub(crate) struct OneKey {
    id: String,
    secret: SecretKey,
}

impl OneKey {
    pub(crate) fn new(id: String, secret: &str) -> Self {
        Self { id, secret: SecretKey::from(secret) }
    }
}

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.id {
            return Ok(self.secret.clone());
        }
        Err(refuse(
            S3ErrorCode::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        ))
    }
}

/// What anyone may do with a public bucket.
const READS: [&str; 6] =
    ["GetObject", "HeadObject", "HeadBucket", "GetBucketLocation", "ListObjects", "ListObjectsV2"];

/// Lets the key's holder do everything and strangers read public buckets.
pub(crate) struct Readers {
    buckets: Arc<Buckets>,
}

impl Readers {
    pub(crate) fn new(buckets: Arc<Buckets>) -> Self {
        Self { buckets }
    }
}

#[async_trait::async_trait]
impl S3Access for Readers {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = cx.s3_op().name().to_owned();
        if let Some(seen) = cx.extensions_mut().get::<OperationName>() {
            seen.set(&operation);
        }
        if cx.credentials().is_some() {
            return Ok(());
        }
        if READS.contains(&operation.as_str())
            && let Some(bucket) = cx.s3_path().get_bucket_name()
        {
            let (buckets, bucket) = (Arc::clone(&self.buckets), bucket.to_owned());
            // A bucket that isn't there is let through to be told so: names of buckets are no secret, as in S3.
            let open = super::refusal::on_disk(move || {
                Ok(buckets.is_public(&bucket) || buckets.find(&bucket).is_err())
            });
            if open.await? {
                return Ok(());
            }
        }
        Err(refuse(S3ErrorCode::AccessDenied, "Access Denied"))
    }
}

/// `BUCKET.s3[.REGION].amazonaws.com`, for clients made to believe we're Amazon; with any other host the path names the bucket.
pub(crate) struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let Some(labels) = name.strip_suffix(".amazonaws.com") else { return Ok(VirtualHost::new(host)) };
        let (front, region) = match labels.strip_suffix(".s3") {
            Some(bucket) => (Some(bucket), None),
            None => match labels.rsplit_once('.') {
                Some((front, region)) => (front.strip_suffix(".s3"), Some(region)),
                None => (None, None),
            },
        };
        let mut virtual_host = VirtualHost::new(host);
        if let Some(bucket) = front {
            virtual_host = virtual_host.with_bucket(bucket);
            if let Some(region) = region {
                virtual_host = virtual_host.with_region(region);
            }
        }
        Ok(virtual_host)
    }
}

/// Bounds on what the protocol layer holds in memory: XML bodies (a list of 10 000 parts is the longest), and next to nothing for
/// forms, which it would read before asking who sends them.
pub(crate) fn protocol_limits() -> Arc<dyn S3ConfigProvider> {
    let mut limits = S3Config::default();
    limits.xml_max_body_size = 8 << 20;
    limits.post_object_max_file_size = 1;
    limits.form_max_field_size = 1 << 10;
    limits.form_max_fields_size = 16 << 10;
    limits.form_max_parts = 32;
    Arc::new(StaticConfigProvider::new(Arc::new(limits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_amazon_name_a_bucket_and_others_do_not() {
        let parsed = |host: &str| {
            let host = Hosts.parse_host_header(host).unwrap();
            (host.bucket().map(str::to_owned), host.region().map(str::to_owned))
        };
        let films = Some("my.films".to_owned());
        assert_eq!(parsed("my.films.s3.amazonaws.com"), (films.clone(), None));
        assert_eq!(parsed("my.films.s3.eu-west-1.amazonaws.com:9000"), (films, Some("eu-west-1".to_owned())));
        for host in ["s3.amazonaws.com", "s3.eu-west-1.amazonaws.com", "localhost:9000", "example.com"] {
            assert_eq!(parsed(host), (None, None), "{host}");
        }
    }
}
