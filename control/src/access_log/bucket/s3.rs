//! Buckets behind an S3 endpoint, by aws-sdk-s3.
//!
//! The SDK signs (so a body that changes on its way is refused), gives up in time, and tries a second time what failed before any answer; more
//! patience than that is the caller's. A secret that is kept in a file is read for each request: it is changed by writing the file. Keys that the
//! platform gives are kept by [`crate::platform`]: without them the bucket is away, and when they are refused they are asked for anew.
//!
//! A host without a region is first asked for in the configured one; when AWS names another, the bucket is asked for there from then on.
//!
//! "There is no such key" is believed only of an endpoint that says so by its code (`NoSuchKey`): a proxy's bare 404 must not make a staged
//! segment look like one that never was.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Config, Credentials, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use proto::v1::LogTarget;

use super::place::{Keys, Place, PlaceError, Places, Secret};
use super::{Bucket, BucketError, Buckets, Refusing};
use crate::platform::{PlatformRole, REFUSED_KEYS};

mod failure;
mod http;

use failure::{Failure, failure};

/// Tries of a request that gets no answer, or one that asks for patience.
const ATTEMPTS: u32 = 2;
const CONNECT: Duration = Duration::from_secs(3);
/// Largest object that is read: far over the largest segment.
const GET_BYTES_MAX: usize = 64 << 20;
/// Keys asked for at a time.
const LIST_PAGE: usize = 1000;
/// Customers' buckets kept open; past them all are opened anew.
const OPEN_MAX: usize = 1024;

/// Makes S3 clients with the same habits; they share connections.
#[derive(Clone)]
pub struct Clients {
    timeout: Duration,
    http: Arc<http::Connections>,
    role: Option<PlatformRole>,
}

impl Clients {
    /// Clients that give a request up after `timeout`, both tries together.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, http: Arc::default(), role: None }
    }

    /// With the node's own role, for places whose keys the platform gives.
    #[must_use]
    pub fn with_role(mut self, role: PlatformRole) -> Self {
        self.role = Some(role);
        self
    }

    /// The node's own role, if `place` is opened by it.
    fn role_of(&self, place: &Place) -> Option<&PlatformRole> {
        self.role.as_ref().filter(|_| place.keys == Keys::Platform)
    }

    /// The bucket at `place`.
    ///
    /// # Errors
    /// When the file of authorities can't be used.
    pub fn open(&self, place: Place) -> Result<S3, BucketError> {
        let http = self
            .http
            .to(&place)
            .map_err(|what| BucketError::Refused { code: "BadAuthorities".into(), what })?;
        let client = Mutex::new(self.client(&place, &place.region, http.clone()));
        Ok(S3 { place, clients: self.clone(), http, client })
    }

    fn client(&self, place: &Place, region: &str, http: SharedHttpClient) -> Client {
        let times = TimeoutConfig::builder()
            .connect_timeout(CONNECT.min(self.timeout))
            .operation_attempt_timeout(self.timeout)
            .operation_timeout(self.timeout)
            .build();
        let mut config = Config::builder()
            .behavior_version_latest()
            .http_client(http)
            .region(Region::new(region.to_owned()))
            .force_path_style(place.path_style)
            .timeout_config(times)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            // The SDK's allowance of retries is kept by this name: a bucket in trouble must not use up another's.
            .retry_partition(RetryPartition::new(place.bucket.clone()))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Endpoints other than AWS stumble over the newer headers; the signature covers the body.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .identity_cache(IdentityCache::no_cache());
        config = match self.role_of(place) {
            Some(role) => config.credentials_provider(role.clone()),
            None => config.credentials_provider(Kept(place.keys.clone())),
        };
        if let Some(endpoint) = &place.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Client::from_conf(config.build())
    }
}

/// One bucket of an S3 endpoint.
pub struct S3 {
    place: Place,
    clients: Clients,
    http: SharedHttpClient,
    client: Mutex<Client>,
}

impl S3 {
    fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client to make the call again with, where `failed` says that the bucket is in another region or that the platform's keys are no longer
    /// good, and it has others; else the failure.
    async fn again(&self, failed: Failure) -> Result<Client, BucketError> {
        if let (Some(role), BucketError::Refused { code, .. }) =
            (self.clients.role_of(&self.place), &failed.error)
            && REFUSED_KEYS.contains(&code.as_str())
            && let Some(known) = role.key_id()
            && role.instead_of(&known).await.is_some()
        {
            return Ok(self.client());
        }
        let Some(region) = failed.region.as_deref().filter(|_| self.place.region_guessed) else {
            return Err(failed.error);
        };
        if self.client().config().region().is_some_and(|known| known.as_ref() == region) {
            return Err(failed.error);
        }
        tracing::info!(bucket = %self.place.bucket, region, "the bucket lives in another region");
        let client = self.clients.client(&self.place, region, self.http.clone());
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client.clone();
        Ok(client)
    }

    async fn put_once(&self, client: Client, key: &str, body: Bytes) -> Result<(), Failure> {
        let request = client.put_object().bucket(&self.place.bucket).key(key).body(ByteStream::from(body));
        request.send().await.map(drop).map_err(|e| failure(e, &self.place.bucket, self.named("PUT", key)))
    }

    async fn get_once(&self, client: Client, key: &str) -> Result<Option<GetObjectOutput>, Failure> {
        let request = client.get_object().bucket(&self.place.bucket).key(key);
        match request.send().await.map_err(|e| failure(e, &self.place.bucket, self.named("GET", key))) {
            Ok(answer) => Ok(Some(answer)),
            Err(failed) if failed.no_such_key => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn delete_once(&self, client: Client, key: &str) -> Result<(), Failure> {
        let request = client.delete_object().bucket(&self.place.bucket).key(key);
        match request.send().await.map_err(|e| failure(e, &self.place.bucket, self.named("DELETE", key))) {
            Err(failed) if !failed.no_such_key => Err(failed),
            _ => Ok(()),
        }
    }

    async fn list_once(
        &self,
        client: Client,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<ListObjectsV2Output, Failure> {
        let request = client.list_objects_v2().bucket(&self.place.bucket).prefix(prefix);
        let request = request.set_start_after((!after.is_empty()).then(|| after.to_owned()));
        let sent = request.max_keys(i32::try_from(limit).unwrap_or(i32::MAX)).send().await;
        sent.map_err(|e| failure(e, &self.place.bucket, self.named("LIST", prefix)))
    }

    /// What `what` is about, for people.
    fn named(&self, what: &str, key: &str) -> String {
        format!("{what} {}/{key}", self.place.bucket)
    }

    async fn read(&self, key: &str, mut body: ByteStream) -> Result<Bytes, BucketError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = body.next().await {
            let away = |e| BucketError::Away(format!("{}: {}", self.named("GET", key), failure::chain(&e)));
            whole.extend_from_slice(&piece.map_err(away)?);
            if whole.len() > GET_BYTES_MAX {
                return Err(self.too_large(key));
            }
        }
        Ok(whole.freeze())
    }

    fn too_large(&self, key: &str) -> BucketError {
        let what = format!("{}: is over {GET_BYTES_MAX} bytes", self.named("GET", key));
        BucketError::Refused { code: "EntityTooLarge".into(), what }
    }
}

#[async_trait]
impl Bucket for S3 {
    fn place(&self) -> String {
        format!("{}/{}", self.place.endpoint.as_deref().unwrap_or("aws"), self.place.bucket)
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), BucketError> {
        match self.put_once(self.client(), key, body.clone()).await {
            Ok(()) => Ok(()),
            Err(failed) => self.put_once(self.again(failed).await?, key, body).await.map_err(|f| f.error),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        let answer = match self.get_once(self.client(), key).await {
            Ok(answer) => answer,
            Err(failed) => self.get_once(self.again(failed).await?, key).await.map_err(|f| f.error)?,
        };
        let Some(answer) = answer else { return Ok(None) };
        if answer.content_length().is_some_and(|n| n > GET_BYTES_MAX as i64) {
            return Err(self.too_large(key));
        }
        // The SDK's time ends with the headers.
        let read = tokio::time::timeout(self.clients.timeout, self.read(key, answer.body)).await;
        let late = || BucketError::Away(format!("{}: the body did not come in time", self.named("GET", key)));
        read.map_err(|_| late())?.map(Some)
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        match self.delete_once(self.client(), key).await {
            Ok(()) => Ok(()),
            Err(failed) => self.delete_once(self.again(failed).await?, key).await.map_err(|f| f.error),
        }
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, u64)>, BucketError> {
        let mut found: Vec<(String, u64)> = Vec::new();
        while found.len() < limit {
            let wanted = (limit - found.len()).min(LIST_PAGE);
            let after = found.last().map_or(after, |(key, _)| key.as_str()).to_owned();
            let answer = match self.list_once(self.client(), prefix, &after, wanted).await {
                Ok(answer) => answer,
                Err(failed) => {
                    let client = self.again(failed).await?;
                    self.list_once(client, prefix, &after, wanted).await.map_err(|f| f.error)?
                }
            };
            let known = found.len();
            let objects = answer.contents().iter().filter_map(|object| {
                let size = u64::try_from(object.size().unwrap_or_default()).unwrap_or_default();
                object.key().map(|key| (key.to_owned(), size))
            });
            // An endpoint that doesn't know start-after would have us begin again for ever.
            found.extend(objects.filter(|(key, _)| *key > after).take(wanted));
            if !answer.is_truncated().unwrap_or_default() || found.len() == known {
                break;
            }
        }
        Ok(found)
    }
}

/// Opens customers' buckets by where their hosts say they are.
pub struct S3Buckets {
    places: Places,
    clients: Clients,
    /// Refused, whatever its host.
    staging: Option<String>,
    known: Mutex<BTreeMap<String, Arc<dyn Bucket>>>,
}

impl S3Buckets {
    /// Buckets are looked for by `places`.
    pub fn new(places: Places, clients: Clients) -> Self {
        Self { places, clients, staging: None, known: Mutex::default() }
    }

    /// Opens no bucket that is called `staging`: a customer's choice must not put files among those that wait there, nor have them read.
    #[must_use]
    pub fn apart_from(mut self, staging: &str) -> Self {
        self.staging = Some(staging.to_owned());
        self
    }
}

impl Buckets for S3Buckets {
    fn open(&self, target: &LogTarget) -> Arc<dyn Bucket> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = known.get(&target.bucket_host) {
            return bucket.clone();
        }
        let opened = match self.places.resolve(&target.bucket_host) {
            Ok(place) if self.staging.as_ref() == Some(&place.bucket) => {
                let what = format!("bucket '{}'", place.bucket);
                Err(BucketError::Refused { code: "StagingBucket".into(), what })
            }
            Ok(place) => self.clients.open(place),
            Err(error) => {
                let code = match error {
                    PlaceError::UnknownHost(_) => "UnknownHost",
                    PlaceError::BadBucket(_) => "InvalidBucketName",
                };
                Err(BucketError::Refused { code: code.into(), what: error.to_string() })
            }
        };
        let bucket: Arc<dyn Bucket> = match opened {
            Ok(bucket) => Arc::new(bucket),
            // Not kept: a file that can't be read may be there next time.
            Err(error) => return Arc::new(Refusing::new(error.code(), error.to_string())),
        };
        if known.len() >= OPEN_MAX {
            known.clear();
        }
        known.insert(target.bucket_host.clone(), bucket.clone());
        bucket
    }

    fn bucket_name(&self, target: &LogTarget) -> Option<String> {
        self.places.resolve(&target.bucket_host).ok().map(|place| place.bucket)
    }
}

/// Keys as they are at the moment of a request.
#[derive(Debug)]
struct Kept(Keys);

impl Kept {
    async fn read(&self) -> Result<Credentials, CredentialsError> {
        let Keys::Given { access_key_id, secret } = &self.0 else {
            return Err(CredentialsError::invalid_configuration(
                "this bucket's keys come from no platform here",
            ));
        };
        let secret = match secret {
            Secret::Text(text) => text.clone(),
            Secret::File(path) => {
                let read = tokio::fs::read_to_string(path).await;
                let bad =
                    |e: std::io::Error| CredentialsError::provider_error(format!("{}: {e}", path.display()));
                read.map_err(bad)?.trim().to_owned()
            }
        };
        Ok(Credentials::new(access_key_id, secret, None, None, "penstock"))
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.read())
    }
}

#[cfg(test)]
mod tests;
