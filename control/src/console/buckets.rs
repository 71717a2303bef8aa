//! The buckets a form offers as origins: what the S3 endpoint lists, as far as the account's grants go, and the buckets that grants name.
//!
//! It is a convenience: any bucket can be typed in, and what may be read is decided by shields. So an endpoint that doesn't answer in a few
//! seconds only makes the list shorter, and the page says so. Answers are kept for a while, failures too, so that a page never makes
//! more than one request.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Config, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_smithy_http_client::{Builder, tls};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::mirror::view::View;

/// Buckets taken from a list: more than a form can offer.
const BUCKETS_MAX: usize = 1000;
/// How long an endpoint may take to list its buckets.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a failure is kept before the endpoint is asked again.
const FAILURE_KEPT: Duration = Duration::from_secs(10);

/// The endpoint whose buckets are offered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BucketConfig {
    /// `http://HOST:PORT` or `https://…`; empty: only buckets of grants are offered.
    pub endpoint: String,
    /// Its region; `us-east-1` by default.
    pub region: String,
    /// The key that may list buckets.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// A file that holds the secret, read at each list.
    pub secret_access_key_file: Option<PathBuf>,
    /// How long a list is good, in seconds; 30 if 0.
    pub cache_seconds: u64,
}

impl BucketConfig {
    /// What is wrong with it, naming the field.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.endpoint.is_empty() {
            return Ok(());
        }
        if !self.endpoint.starts_with("http://") && !self.endpoint.starts_with("https://") {
            return Err(format!("console.buckets.endpoint: '{}' is not http://HOST:PORT", self.endpoint));
        }
        if self.access_key_id.is_empty() {
            return Err("console.buckets.access_key_id: is missing".into());
        }
        if self.secret_access_key.is_empty() == self.secret_access_key_file.is_none() {
            return Err("console.buckets.secret_access_key: give it or secret_access_key_file".into());
        }
        Ok(())
    }

    fn secret(&self) -> Result<String, String> {
        match &self.secret_access_key_file {
            None => Ok(self.secret_access_key.clone()),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

/// Who knows which buckets there are.
#[async_trait]
pub trait BucketSource: Send + Sync + 'static {
    /// Their names, at most a thousand; or why they can't be told.
    async fn buckets(&self) -> Result<Vec<String>, String>;
}

/// An S3 endpoint.
struct Endpoint(BucketConfig);

impl Endpoint {
    fn client(&self) -> Result<Client, String> {
        let http = match self.0.endpoint.starts_with("http://") {
            true => Builder::new().build_http(),
            false => Builder::new()
                .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
                .build_https(),
        };
        let region = if self.0.region.is_empty() { "us-east-1" } else { &self.0.region };
        let keys = Credentials::new(&self.0.access_key_id, self.0.secret()?, None, None, "penstock");
        let config = Config::builder()
            .behavior_version_latest()
            .http_client(http)
            .region(Region::new(region.to_owned()))
            .endpoint_url(&self.0.endpoint)
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .credentials_provider(keys)
            .build();
        Ok(Client::from_conf(config))
    }
}

#[async_trait]
impl BucketSource for Endpoint {
    async fn buckets(&self) -> Result<Vec<String>, String> {
        let listing = self.client()?.list_buckets().send();
        let listing = tokio::time::timeout(ANSWER_WITHIN, listing).await;
        let listing = listing.map_err(|_| format!("no answer within {ANSWER_WITHIN:?}"))?;
        let listing = listing.map_err(|e| DisplayErrorContext(e).to_string())?;
        Ok(listing.buckets().iter().filter_map(|b| b.name().map(str::to_owned)).take(BUCKETS_MAX).collect())
    }
}

type Answer = Result<Arc<Vec<String>>, ()>;

/// The offered buckets.
pub(super) struct OfferedBuckets {
    source: Option<Box<dyn BucketSource>>,
    kept_for: Duration,
    known: Mutex<Option<(Instant, Answer)>>,
}

/// What a form offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    /// Names, sorted.
    pub(super) buckets: Vec<String>,
    /// The endpoint didn't answer: there may be more.
    pub(super) incomplete: bool,
}

impl OfferedBuckets {
    /// Those of the configured endpoint.
    pub(super) fn of(config: BucketConfig) -> Self {
        let seconds = if config.cache_seconds == 0 { 30 } else { config.cache_seconds };
        let source: Option<Box<dyn BucketSource>> =
            if config.endpoint.is_empty() { None } else { Some(Box::new(Endpoint(config))) };
        Self::from_source(source, Duration::from_secs(seconds))
    }

    fn from_source(source: Option<Box<dyn BucketSource>>, kept_for: Duration) -> Self {
        Self { source, kept_for, known: Mutex::new(None) }
    }

    async fn listed(&self, now: Instant) -> Answer {
        let Some(source) = &self.source else { return Ok(Arc::default()) };
        // Held while asking: whoever comes meanwhile gets the same answer.
        let mut known = self.known.lock().await;
        if let Some((until, answer)) = &*known
            && *until > now
        {
            return answer.clone();
        }
        let (answer, kept) = match source.buckets().await {
            Ok(buckets) => (Ok(Arc::new(buckets)), self.kept_for),
            Err(error) => {
                tracing::warn!(%error, "the console can't list buckets");
                (Err(()), FAILURE_KEPT.min(self.kept_for))
            }
        };
        *known = Some((now + kept, answer.clone()));
        answer
    }

    /// What `account` is offered: all that are listed if it is granted `*`, else those of its grants.
    pub(super) async fn offered(&self, view: &View, account: &str) -> Offer {
        self.offered_at(view, account, Instant::now()).await
    }

    async fn offered_at(&self, view: &View, account: &str, now: Instant) -> Offer {
        let granted = view.grants.values().filter(|grant| grant.account == account);
        let mut buckets: BTreeSet<String> = granted.map(|grant| grant.bucket.clone()).collect();
        let mut incomplete = false;
        if buckets.remove("*") {
            match self.listed(now).await {
                Ok(listed) => buckets.extend(listed.iter().cloned()),
                Err(()) => incomplete = true,
            }
        }
        Offer { buckets: buckets.into_iter().take(BUCKETS_MAX).collect(), incomplete }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proto::v1::Grant;

    use super::*;

    struct Counted(Arc<AtomicUsize>, Result<Vec<String>, String>);

    #[async_trait]
    impl BucketSource for Counted {
        async fn buckets(&self) -> Result<Vec<String>, String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            self.1.clone()
        }
    }

    fn view(grants: &[(&str, &str)]) -> View {
        let grant = |(account, bucket): &(&str, &str)| {
            let document = Grant { account: (*account).into(), bucket: (*bucket).into() };
            (format!("{account}/{bucket}"), Arc::new(document))
        };
        View { grants: Arc::new(grants.iter().map(grant).collect()), ..View::default() }
    }

    fn asked(result: Result<Vec<String>, String>) -> (OfferedBuckets, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let source = Counted(asked.clone(), result);
        (OfferedBuckets::from_source(Some(Box::new(source)), Duration::from_secs(30)), asked)
    }

    #[tokio::test]
    async fn an_account_is_offered_what_its_grants_name_and_all_only_if_it_is_granted_all() {
        let (buckets, asked) = asked(Ok(vec!["media".into(), "secret".into()]));
        let view = view(&[("111111111111", "own"), ("222222222222", "*"), ("222222222222", "elsewhere")]);
        let now = Instant::now();
        assert_eq!(buckets.offered_at(&view, "111111111111", now).await.buckets, ["own"]);
        assert_eq!(buckets.offered_at(&view, "333333333333", now).await, Offer::default());
        assert_eq!(asked.load(Ordering::Relaxed), 0, "nobody was shown the list");
        for _ in 0..3 {
            let offer = buckets.offered_at(&view, "222222222222", now).await;
            assert_eq!(offer.buckets, ["elsewhere", "media", "secret"]);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        buckets.offered_at(&view, "222222222222", now + Duration::from_secs(31)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_endpoint_that_fails_shortens_the_list_and_is_left_alone_for_a_while() {
        let (buckets, asked) = asked(Err("away".into()));
        let view = view(&[("111111111111", "*"), ("111111111111", "named")]);
        let now = Instant::now();
        for _ in 0..3 {
            let offer = buckets.offered_at(&view, "111111111111", now).await;
            assert_eq!(offer, Offer { buckets: vec!["named".into()], incomplete: true });
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        buckets.offered_at(&view, "111111111111", now + Duration::from_secs(11)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}
