//! Who signed a request: the scheme of 2009 ([`legacy`]) and Signature Version 4 ([`sigv4`]).
//!
//! Both end at the same place: a key's secret is opened, a signature is computed over what was sent, and compared in
//! constant time. A request under a key that doesn't exist, or is disabled, goes the same way with a dummy secret that was
//! sealed when the [`Verifier`] was made, and is refused at the end: how long a refusal took does not tell which keys
//! exist. Only who proved to have a secret hears what else is wrong, such as a date out of the window.
//!
//! The errors are CloudFront's, all 403: `MissingAuthenticationToken`, `IncompleteSignature`, `InvalidClientTokenId`,
//! `SignatureDoesNotMatch`, `RequestExpired`; and `AccessDenied` for a key that may only read. A control that has no
//! sealing key, or not the one a secret was sealed under, answers 503 and logs why.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, header, request};
use prometheus::IntCounterVec;
use proto::v1::AccessKey;
use ring::hmac;

use super::{ApiError, Context};
use crate::accounts::Principal;
use crate::documents::KEYS;
use crate::mirror::view::View;
use crate::seal::{SealError, Sealer};

mod date;
mod legacy;
mod refusal;
mod sigv4;

pub use refusal::Refusal;

/// How far a request's date may be from now, unless configured otherwise.
pub const CLOCK_WINDOW: Duration = Duration::from_secs(900);
/// The region SigV4 scopes name: CloudFront's API is global and lives there.
pub const REGION: &str = "us-east-1";
/// The id the dummy secret is sealed for. No access key can have it: ids have no spaces.
const NOBODY: &str = "no body";

/// A request as it came, before anything was read into it.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Path and query exactly as sent, percent-escapes and all.
    pub target: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// SHA-256 of the whole body.
    pub body_sha256: &'a [u8; 32],
}

/// What a scheme makes of a request's headers: which key, and what that key must have signed.
struct Claim<'a> {
    key_id: &'a str,
    /// The signature that was sent; none that fits any secret if it was no signature at all.
    signature: Vec<u8>,
    /// The date that was signed, milliseconds since 1970.
    date_ms: i64,
    scheme: Scheme<'a>,
}

enum Scheme<'a> {
    Legacy(legacy::Statement<'a>),
    V4(sigv4::Statement<'a>),
}

impl Scheme<'_> {
    fn is_signed_by(&self, secret: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Legacy(statement) => statement.is_signed_by(secret, signature),
            Self::V4(statement) => statement.is_signed_by(secret, signature),
        }
    }
}

/// Verifies requests. Clones share the refusals' counter.
#[derive(Clone)]
pub struct Verifier {
    sealer: Sealer,
    window: Duration,
    regions: Vec<String>,
    nobody: AccessKey,
    refusals: IntCounterVec,
}

impl Verifier {
    /// Takes requests dated within `window` of now, either way, whose SigV4 scope names one of `regions`. Refusals are
    /// counted by code in `refusals`.
    pub fn new(
        sealer: Sealer,
        window: Duration,
        regions: Vec<String>,
        refusals: IntCounterVec,
    ) -> Result<Self, SealError> {
        let store_key = format!("{KEYS}{NOBODY}");
        let secret = crate::store::random_text(b"0123456789abcdefghijklmnopqrstuvwxyz", 40);
        let sealed_secret = match sealer.seal(&store_key, secret.as_bytes()) {
            // Every request with a signature is then refused as unavailable, whatever its key.
            Err(SealError::NoKey) => Vec::new(),
            sealed => sealed?,
        };
        let sealed_secret = sealed_secret.into();
        let nobody = AccessKey { id: NOBODY.into(), sealed_secret, disabled: true, ..Default::default() };
        Ok(Self { sealer, window, regions, nobody, refusals })
    }

    /// One for the requests and logins that `context` serves.
    pub fn of(context: &Context) -> Result<Self, SealError> {
        let config = &context.config;
        let window = Duration::from_secs(config.clock_window_seconds);
        let refusals = context.metrics.api_refusals.clone();
        Self::new(context.sealer.clone(), window, config.regions.clone(), refusals)
    }

    /// Who signed `request`, at `now_ms` milliseconds since 1970, by the keys that `view` knows.
    pub fn verify(&self, view: &View, request: &Signed<'_>, now_ms: u64) -> Result<Principal, ApiError> {
        self.check(view, request, now_ms).map_err(|refusal| self.refuse(&refusal))
    }

    /// Who has the key `key_id` with this secret: a login with the key itself, over a channel that keeps secrets.
    pub fn login(&self, view: &View, key_id: &str, secret: &str) -> Result<Principal, ApiError> {
        let login = || {
            let (key, plain) = self.secret(view, key_id)?;
            // Equal under a fresh key only if equal; ring compares tags in constant time.
            let fresh = hmac::Key::new(hmac::HMAC_SHA256, &self.nobody.sealed_secret);
            let given = hmac::sign(&fresh, secret.as_bytes());
            let is_right = hmac::verify(&fresh, &plain, given.as_ref()).is_ok();
            known(key, is_right).map(Principal::from)
        };
        login().map_err(|refusal| self.refuse(&refusal))
    }

    fn check(&self, view: &View, request: &Signed<'_>, now_ms: u64) -> Result<Principal, Refusal> {
        let claim = self.claim(request)?;
        let (key, secret) = self.secret(view, claim.key_id)?;
        let is_right = claim.scheme.is_signed_by(&secret, &claim.signature);
        let key = known(key, is_right)?;
        let window_ms = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        if claim.date_ms.saturating_sub(now_ms).saturating_abs() > window_ms {
            return Err(Refusal::Expired {
                late: claim.date_ms < now_ms,
                window_seconds: self.window.as_secs(),
            });
        }
        if key.read_only && !matches!(*request.method, Method::GET | Method::HEAD) {
            return Err(Refusal::ReadOnly);
        }
        Ok(Principal::from(key))
    }

    fn claim<'a>(&self, request: &Signed<'a>) -> Result<Claim<'a>, Refusal> {
        let mut given = request.headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = given.next() else {
            return Err(if is_presigned(request.target) { Refusal::Presigned } else { Refusal::Missing });
        };
        if given.next().is_some() {
            return Err(Refusal::Incomplete("there is more than one Authorization header"));
        }
        let value = value.to_str().map_err(|_| Refusal::Incomplete("Authorization is not plain ASCII"))?;
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        match scheme {
            "AWS" => legacy::claim(rest.trim(), request.headers),
            sigv4::ALGORITHM => sigv4::claim(rest, request, &self.regions),
            _ => Err(Refusal::Incomplete("the scheme of Authorization is neither AWS nor AWS4-HMAC-SHA256")),
        }
    }

    /// The key `id` and its opened secret; the dummy and its secret if there is no such key, or it is disabled.
    fn secret<'a>(&'a self, view: &'a View, id: &str) -> Result<(&'a AccessKey, Vec<u8>), Refusal> {
        if !view.is_loaded() {
            return Err(Refusal::NotLoaded);
        }
        let key = view.access_keys.get(id).map_or(&self.nobody, |key| &**key);
        let key = if key.disabled { &self.nobody } else { key };
        let opened = self.sealer.open(&format!("{KEYS}{}", key.id), &key.sealed_secret);
        match opened {
            Ok(secret) => Ok((key, secret)),
            Err(error) => {
                tracing::error!(key = %key.id, %error, "an access key's secret can't be opened");
                Err(Refusal::Unavailable)
            }
        }
    }

    /// Counts and logs a refusal.
    fn refuse(&self, refusal: &Refusal) -> ApiError {
        let code = refusal.code();
        self.refusals.with_label_values(&[code]).inc();
        tracing::debug!(code, reason = %refusal, "a request's signature is refused");
        let status = match refusal {
            Refusal::Unavailable | Refusal::NotLoaded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        };
        ApiError::new(status, code, refusal.to_string())
    }
}

/// Who signed a request, by its head and the SHA-256 of its body, as `context` knows it at that moment.
pub fn verify_by(
    context: &Context,
) -> Result<
    impl Fn(&request::Parts, &[u8; 32]) -> Result<Principal, ApiError> + Send + Sync + 'static,
    SealError,
> {
    let verifier = Verifier::of(context)?;
    let (views, clock) = (context.views.clone(), context.clock.clone());
    Ok(move |head: &request::Parts, body_sha256: &[u8; 32]| {
        let view = views.borrow().clone();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let request = Signed { method: &head.method, target, headers: &head.headers, body_sha256 };
        verifier.verify(&view, &request, clock.now_ms())
    })
}

/// `key`, if it is a real one and its secret is right.
fn known(key: &AccessKey, is_right: bool) -> Result<&AccessKey, Refusal> {
    match (key.disabled, is_right) {
        (true, _) => Err(Refusal::UnknownKey),
        (false, false) => Err(Refusal::Mismatch),
        (false, true) => Ok(key),
    }
}

/// Whether the query has the parameters of a presigned URL of either scheme.
fn is_presigned(target: &str) -> bool {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    names.any(|name| ["X-Amz-Signature", "X-Amz-Algorithm", "AWSAccessKeyId"].contains(&name))
}

/// The value of a header that may stand once only.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Incomplete("a date header stands twice"));
    }
    value.to_str().map(Some).map_err(|_| Refusal::Incomplete("a date header is not plain ASCII"))
}

#[cfg(test)]
mod tests;
