//! What an endpoint's failures mean.
//!
//! | answer | is |
//! |---|---|
//! | 404 `NoSuchKey` | no such key; where a key is written or deleted, no failure at all |
//! | 404 else | a bucket that isn't there |
//! | 429; 503 `SlowDown` and its like | refused, throttled |
//! | 408, 409, 5xx, a 2xx that makes no sense | away |
//! | any other | refused, by its code: 403, 400 … |
//! | none, or not in time | away |

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::access_log::bucket::{BucketError, is_throttling};

/// Longest code that is taken from an endpoint.
const CODE_CHARS: usize = 64;
/// Longest message that is.
const MESSAGE_CHARS: usize = 200;

/// A failed request, and what else its answer said.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: BucketError,
    /// The region the endpoint says the bucket is in.
    pub(super) region: Option<String>,
    pub(super) no_such_key: bool,
}

/// What became of `what`, which asked `bucket`.
pub(super) fn failure<E>(error: SdkError<E>, bucket: &str, what: String) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Some(response) = error.raw_response() else {
        let error = BucketError::Away(format!("{what}: {}", chain(&error)));
        return Failure { error, region: None, no_such_key: false };
    };
    let status = response.status().as_u16();
    let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    let said = error.as_service_error();
    let code = said.and_then(|e| e.code()).unwrap_or_default();
    let message: String =
        said.and_then(|e| e.message()).unwrap_or_default().chars().take(MESSAGE_CHARS).collect();
    let told = match status {
        200..=299 => BucketError::Away(format!("{what}: {status}: {}", chain(&error))),
        _ => of_status(status, code, &message, bucket, what),
    };
    Failure { error: told, region, no_such_key: status == 404 && code == "NoSuchKey" }
}

fn of_status(status: u16, code: &str, message: &str, bucket: &str, what: String) -> BucketError {
    let code: String = match status {
        429 if code.is_empty() => "TooManyRequests".into(),
        _ if code.is_empty() => status.to_string(),
        _ => code
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
            .take(CODE_CHARS)
            .collect(),
    };
    let told =
        if message.is_empty() { format!("{what}: {status}") } else { format!("{what}: {status}: {message}") };
    match status {
        404 => BucketError::Missing(bucket.to_owned()),
        _ if is_throttling(&code) => BucketError::Refused { code, what: told },
        408 | 409 | 500.. => BucketError::Away(format!("{told} ({code})")),
        _ => BucketError::Refused { code, what: told },
    }
}

/// An error with what caused it: the SDK's own text stops at "dispatch failure".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_means_what_the_table_says() {
        let of = |status: u16, code: &str| of_status(status, code, "why", "logs", "PUT logs/a".into());
        let kinds = [
            (403, "AccessDenied", "refused", "AccessDenied"),
            (403, "", "refused", "403"),
            (400, "InvalidAccessKeyId", "refused", "InvalidAccessKeyId"),
            (301, "PermanentRedirect", "refused", "PermanentRedirect"),
            (501, "NotImplemented", "away", "Away"),
            (404, "NoSuchBucket", "missing", "NoSuchBucket"),
            (404, "", "missing", "NoSuchBucket"),
            (429, "", "throttled", "TooManyRequests"),
            (503, "SlowDown", "throttled", "SlowDown"),
            (503, "", "away", "Away"),
            (500, "InternalError", "away", "Away"),
            (409, "OperationAborted", "away", "Away"),
        ];
        for (status, code, kind, shown) in kinds {
            let error = of(status, code);
            assert_eq!((error.kind(), error.code()), (kind, shown), "{status} {code}: {error}");
        }
        assert_eq!(of(403, "AccessDenied").to_string(), "PUT logs/a: 403: why: refused (AccessDenied)");
    }

    #[test]
    fn a_code_is_cut_to_what_a_page_can_show() {
        let error = of_status(400, &format!("<b>{}\n", "x".repeat(900)), "", "logs", String::new());
        assert_eq!(error.code(), format!("b{}", "x".repeat(63)));
    }
}
