//! Where AWS's platforms leave keys for a process, asked by aws-config in the order of all AWS SDKs.
//!
//! | place | told by |
//! |---|---|
//! | environment | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` |
//! | profile | `AWS_PROFILE`, `AWS_CONFIG_FILE`, `AWS_SHARED_CREDENTIALS_FILE` |
//! | web identity (IRSA) | `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`; STS by `AWS_REGION`, or where `AWS_ENDPOINT_URL_STS` says |
//! | container (ECS, EKS Pod Identity) | `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `_FULL_URI`, `AWS_CONTAINER_AUTHORIZATION_TOKEN[_FILE]` |
//! | instance (EC2, IMDSv2) | nothing; `AWS_EC2_METADATA_DISABLED` for none |
//!
//! Only keys are taken from there: where buckets are and how they are asked stays with Penstock's own settings.
//!
//! Everything is looked at anew for each load, since aws-config remembers what it once read, mistakes included, and files change. The region
//! matters to STS alone, so it is taken from what lies at hand (else `us-east-1`); aws-config's own search would ask the instance's metadata
//! first, wherever the keys come from.

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::{Builder, tls};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderValue;

use super::{RoleError, Source};

/// Tries of one request to a place; the whole has its own bound.
const ATTEMPTS: u32 = 2;

/// The places above.
pub(super) struct Chain;

impl Source for Chain {
    fn load(&self) -> BoxFuture<'static, Result<Credentials, RoleError>> {
        load().boxed()
    }
}

async fn load() -> Result<Credentials, RoleError> {
    check_token().await?;
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let config = ProviderConfig::without_region()
        .with_http_client(Builder::new().tls_provider(ring).build_https())
        .with_retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    let named = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(variable).map(Region::new);
    let region = match named {
        Some(region) => Some(region),
        None => ProfileFileRegionProvider::builder().configure(&config).build().region().await,
    };
    let region = region.unwrap_or_else(|| Region::from_static("us-east-1"));
    let chain = DefaultCredentialsChain::builder().configure(config).region(region).build().await;
    chain.provide_credentials().await.map_err(|error| RoleError::new(told(&error)))
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Refuses a token for the container's endpoint that is no header's value: aws-config would put it into its log.
async fn check_token() -> Result<(), RoleError> {
    let (field, token) = if let Some(path) = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        let read = tokio::fs::read(&path).await;
        let unread = |error| format!("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: {path}: {error}");
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", read.map_err(|e| RoleError::new(unread(e)))?)
    } else if let Some(token) = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", token.into_bytes())
    } else {
        return Ok(());
    };
    let unfit = || RoleError::new(format!("{field}: holds what a header can't (the end of a line?)"));
    HeaderValue::from_bytes(&token).map(drop).map_err(|_| unfit())
}

/// An error with what caused it: aws-config's own text is the outermost circumstance only.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
