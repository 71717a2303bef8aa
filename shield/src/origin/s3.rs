//! A bucket behind an S3 endpoint, read with aws-sdk-s3.
//!
//! The SDK signs, retries what fails before response headers (5xx, throttling, broken connections) and times each try; a body
//! is handed on as it comes, because the SDK's retries end where bodies begin. Nothing the endpoint says is taken on
//! trust: a range must come back as that range, of that version, with a length that fits.
//!
//! A credential that the endpoint refuses is the operator's trouble, not the object's, so it is told apart from a 403 that means "not for
//! you". If its files hold other keys by then, or the platform gives others, the request is made again with those. Without keys of the platform
//! there is no request at all.
//!
//! Demand and read-ahead use separate clients, so separate connections. An origin without a credential asks unsigned.
//! A host without a region is first asked in us-east-1; when AWS names another region, the origin moves there and asks again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::date_time::{DateTime, Format};
use control::platform::{PlatformRole, REFUSED_KEYS, RoleError};
use futures::{StreamExt, stream};
use proto::range::ByteRange;
use proto::v1::Priority;

use super::endpoint::Place;
use super::freshness::max_age;
use super::keys::Keys;
use super::{Body, Head, Origin, OriginError, md5_of};

mod clients;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;

pub use clients::Clients;
use clients::Pair;

/// One bucket of an S3 endpoint, read with one credential.
pub struct S3 {
    name: String,
    place: Place,
    keys: Keys,
    clients: Arc<Clients>,
    pair: ArcSwap<Pair>,
}

impl S3 {
    /// The bucket at `place`, read with the configured credential of that name (empty: unsigned).
    pub fn new(clients: Arc<Clients>, place: Place, credential: &str) -> Result<Self, clients::ClientError> {
        let keys = clients.configured(credential)?;
        Self::with_keys(clients, place, keys)
    }

    /// The bucket at `place`, read with `keys`.
    pub fn with_keys(clients: Arc<Clients>, place: Place, keys: Keys) -> Result<Self, clients::ClientError> {
        let pair = clients.pair(&place, &place.region, &keys)?;
        let name = place.name();
        Ok(Self { name, place, keys, clients, pair: ArcSwap::from_pointee(pair) })
    }

    /// The client for `priority`, and what it asks with.
    fn client(&self, priority: Priority) -> (Client, Asked) {
        let pair = self.pair.load();
        let client = match priority {
            Priority::Demand => &pair.demand,
            Priority::ReadAhead => &pair.read_ahead,
        };
        let key_id = self.clients.role_of(&self.keys).and_then(PlatformRole::key_id);
        (client.clone(), Asked { region: pair.region.clone(), key_id })
    }

    /// Whether there are other clients now than when `failure` happened: of the region it names, or with new keys.
    async fn renewed(&self, failure: &Failure, asked: &Asked) -> bool {
        self.moved(failure, &asked.region) || self.rotated(failure, asked).await
    }

    /// Whether the keys were refused and are others now.
    async fn rotated(&self, failure: &Failure, asked: &Asked) -> bool {
        if !matches!(failure.error, OriginError::Credential(_)) {
            return false;
        }
        if let Some(role) = self.clients.role_of(&self.keys) {
            // The first request of all began without any.
            let Some(known) = asked.key_id.clone().or_else(|| role.key_id()) else { return false };
            return role.instead_of(&known).await.is_some();
        }
        let (known, now) = (self.pair.load(), self.clients.keys_now(&self.keys));
        if now.is_none() || now == known.keys {
            return false;
        }
        let renewed = self.clients.pair(&self.place, &known.region, &self.keys);
        match renewed {
            Ok(pair) => {
                tracing::info!(bucket = %self.place.bucket, credential = self.keys.name(), "the credential was rotated");
                self.pair.store(Arc::new(pair));
                true
            }
            Err(error) => {
                tracing::warn!(bucket = %self.place.bucket, %error, "can't use the new keys");
                false
            }
        }
    }

    /// Whether `failure` named another region than `asked_in` and the origin has moved there.
    fn moved(&self, failure: &Failure, asked_in: &str) -> bool {
        let Some(region) = failure.region.as_deref() else { return false };
        if !self.place.region_guessed || region == asked_in {
            return false;
        }
        match self.clients.pair(&self.place, region, &self.keys) {
            Ok(pair) => {
                tracing::info!(bucket = %self.place.bucket, region, "the bucket lives in another region");
                self.pair.store(Arc::new(pair));
                true
            }
            Err(error) => {
                tracing::warn!(bucket = %self.place.bucket, region, %error, "can't follow the bucket to its region");
                false
            }
        }
    }

    async fn head_once(
        &self,
        client: &Client,
        key: &str,
        if_none_match: Option<&str>,
    ) -> Result<Head, Failure> {
        let request = client.head_object().bucket(&self.place.bucket).key(key);
        let answer = match request.set_if_none_match(if_none_match.map(str::to_owned)).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let headers =
                    error.raw_response().filter(|r| r.status().as_u16() == 304).map(|r| r.headers());
                if let (Some(headers), Some(_)) = (headers, if_none_match) {
                    let lifetime = lifetime(headers.get("cache-control"), headers.get("expires"));
                    return Ok(Head::Unchanged { max_age: lifetime });
                }
                let failed = failure(error, &self.place.bucket, key);
                return Err(self.explained(client, key, failed).await);
            }
        };
        let broken = |what: &str| OriginError::Protocol(format!("HEAD {}/{key}: {what}", self.place.bucket));
        let version = answer.e_tag().filter(|tag| !tag.is_empty()).ok_or_else(|| broken("no ETag"))?;
        let size =
            answer.content_length().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| broken("no length"))?;
        Ok(Head::Object {
            version: version.into(),
            size_bytes: size,
            content_type: answer.content_type().unwrap_or_default().into(),
            max_age: lifetime(answer.cache_control(), answer.expires_string()),
        })
    }

    /// `failed`, a HEAD's failure, or what a GET of one byte says of the same matter if it may be the credential's.
    async fn explained(&self, client: &Client, key: &str, failed: Failure) -> Failure {
        let unclear =
            matches!(failed.error, OriginError::Forbidden(_) | OriginError::Server { status: 400, .. });
        if !unclear || self.keys == Keys::Anonymous || failed.region.is_some() {
            return failed;
        }
        let request = client.get_object().bucket(&self.place.bucket).key(key).range("bytes=0-0");
        match request.send().await.map_err(|error| failure(error, &self.place.bucket, key)) {
            Err(told) if matches!(told.error, OriginError::Credential(_)) => told,
            _ => failed,
        }
    }

    async fn get_once(
        &self,
        client: &Client,
        key: &str,
        range: ByteRange,
        if_match: &str,
    ) -> Result<Body, Failure> {
        let request = client.get_object().bucket(&self.place.bucket).key(key).if_match(if_match);
        let request = request.range(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let answer = request.send().await.map_err(|e| failure(e, &self.place.bucket, key))?;
        let what = || format!("GET {}/{key} [{}, {})", self.place.bucket, range.start, range.end);
        let broken = |why: String| OriginError::Protocol(format!("{}: {why}", what()));
        match answer.e_tag() {
            Some(tag) if tag == if_match => {}
            // An endpoint that ignores If-Match gives the new bytes: as good as a 412.
            Some(tag) => Err(OriginError::VersionRetired(format!("{}: it is now {tag}", what())))?,
            None => Err(broken("no ETag".into()))?,
        }
        // A 200 with the whole object has no Content-Range.
        let header = answer.content_range().ok_or_else(|| broken("the answer is not a range".into()))?;
        let (given, size_bytes) =
            parse_content_range(header).ok_or_else(|| broken(format!("Content-Range: {header}")))?;
        if given != range.clip(size_bytes) || given.is_empty() {
            Err(broken(format!("Content-Range: {header}")))?;
        }
        if answer.content_length().is_some_and(|n| u64::try_from(n) != Ok(given.len())) {
            Err(broken(format!("Content-Range: {header}, but another Content-Length")))?;
        }
        let content_type: Arc<str> = answer.content_type().unwrap_or_default().into();
        let encrypted = answer.sse_customer_algorithm().is_some()
            || answer.server_side_encryption().is_some_and(|how| *how != ServerSideEncryption::Aes256);
        let md5 = md5_of(if_match).filter(|_| !encrypted);
        let stream = stream::unfold(answer.body, |mut body| async move {
            let piece = body.next().await?;
            Some((piece.map_err(|e| OriginError::Connection(format!("body: {}", chain(&e)))), body))
        });
        Ok(Body { range: given, size_bytes, content_type, md5, stream: stream.boxed() })
    }
}

#[async_trait]
impl Origin for S3 {
    fn endpoint(&self) -> &str {
        &self.name
    }

    async fn head(&self, key: &str, if_none_match: Option<&str>) -> Result<Head, OriginError> {
        let (client, asked) = self.client(Priority::Demand);
        let failure = match self.head_once(&client, key, if_none_match).await {
            Ok(head) => return Ok(head),
            Err(failure) => failure,
        };
        if !self.renewed(&failure, &asked).await {
            return Err(failure.error);
        }
        let (client, _) = self.client(Priority::Demand);
        self.head_once(&client, key, if_none_match).await.map_err(|f| f.error)
    }

    async fn get(
        &self,
        key: &str,
        range: ByteRange,
        if_match: &str,
        priority: Priority,
    ) -> Result<Body, OriginError> {
        let (client, asked) = self.client(priority);
        let failure = match self.get_once(&client, key, range, if_match).await {
            Ok(body) => return Ok(body),
            Err(failure) => failure,
        };
        if !self.renewed(&failure, &asked).await {
            return Err(failure.error);
        }
        let (client, _) = self.client(priority);
        self.get_once(&client, key, range, if_match).await.map_err(|f| f.error)
    }
}

/// What a request was made with.
struct Asked {
    region: String,
    /// The id of the platform's keys, where those are used and there were any.
    key_id: Option<String>,
}

/// An error, and the region the endpoint says the bucket is in.
struct Failure {
    error: OriginError,
    region: Option<String>,
}

impl From<OriginError> for Failure {
    fn from(error: OriginError) -> Self {
        Self { error, region: None }
    }
}

fn failure<E>(error: SdkError<E, HttpResponse>, bucket: &str, key: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let what = format!("{bucket}/{key}");
    if let Some(reason) = RoleError::behind(&error) {
        return OriginError::NoKeys(format!("{what}: {reason}")).into();
    }
    let Some(response) = error.raw_response() else {
        let timed_out = match &error {
            SdkError::TimeoutError(_) => true,
            SdkError::DispatchFailure(dispatch) => dispatch.is_timeout(),
            _ => false,
        };
        let text = format!("{what}: {}", chain(&error));
        return if timed_out { OriginError::Timeout(text) } else { OriginError::Connection(text) }.into();
    };
    let status = response.status().as_u16();
    let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    let code = error.as_service_error().and_then(|e| e.code()).unwrap_or("no code");
    let text = format!("{what}: {status} {code}");
    let error = match status {
        400 | 401 | 403 if REFUSED_KEYS.contains(&code) => OriginError::Credential(text),
        404 => OriginError::NotFound(text),
        401 | 403 => OriginError::Forbidden(text),
        412 => OriginError::VersionRetired(text),
        416 => OriginError::PastEnd(text),
        // A success the SDK could not read.
        200..=299 => OriginError::Protocol(format!("{text}: {}", chain(&error))),
        _ => OriginError::Server { status, message: text },
    };
    Failure { error, region }
}

/// An error with what caused it: the SDK's own text stops at "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn lifetime(cache_control: Option<&str>, expires: Option<&str>) -> Option<Duration> {
    let expires_in = expires.map(|text| {
        // An Expires that is no date means "already expired" (RFC 9111, 5.3).
        let at = DateTime::from_str(text, Format::HttpDate).ok().and_then(|t| SystemTime::try_from(t).ok());
        at.and_then(|at| at.duration_since(SystemTime::now()).ok()).unwrap_or_default()
    });
    max_age(cache_control, expires_in)
}

/// `bytes 0-99/1234` as a range and the whole length.
fn parse_content_range(header: &str) -> Option<(ByteRange, u64)> {
    let (span, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    let total = total.trim().parse::<u64>().ok()?;
    (first <= last && last < total).then(|| (ByteRange::new(first, last + 1), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_must_make_sense() {
        assert_eq!(parse_content_range("bytes 0-99/1234"), Some((ByteRange::new(0, 100), 1234)));
        for bad in
            ["", "bytes */1234", "bytes 0-99/*", "bytes 9-1/20", "bytes 0-20/20", "items 0-1/2", "bytes -1/2"]
        {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_broken_expires_means_no_lifetime() {
        assert_eq!(lifetime(None, Some("0")), Some(Duration::ZERO));
        assert_eq!(lifetime(None, Some("Thu, 01 Dec 1994 16:00:00 GMT")), Some(Duration::ZERO));
        assert!(lifetime(None, Some("Thu, 01 Dec 2094 16:00:00 GMT")) > Some(Duration::from_secs(86_400)));
    }
}
