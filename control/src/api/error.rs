//! Why a request is refused, in CloudFront's own terms.
//!
//! The status and the code are contract (clients make exception classes of codes); the message is for people.

use http::StatusCode;

use crate::store::StoreError;

/// A refusal: becomes an `ErrorResponse` document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// HTTP status; below 500 the sender is to blame.
    pub status: StatusCode,
    /// CloudFront's code, such as `NoSuchStreamingDistribution`.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl ApiError {
    /// A refusal of any status.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// 400.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 `InvalidArgument`.
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::bad_request("InvalidArgument", message)
    }

    /// 403.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    /// 404.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 409.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 412 `PreconditionFailed`.
    pub fn precondition_failed() -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "PreconditionFailed",
            "the resource was changed since: the value of If-Match is not its current ETag",
        )
    }

    /// 400 `InvalidIfMatchVersion`.
    pub fn invalid_if_match() -> Self {
        Self::bad_request("InvalidIfMatchVersion", "If-Match is missing or is not an ETag of this resource")
    }

    /// 400 `MissingBody`.
    pub fn missing_body() -> Self {
        Self::bad_request("MissingBody", "this operation needs a body that is not empty")
    }

    /// 405: the path is known, the method does nothing there.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "the resource knows no such method")
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(_) | StoreError::Conflict { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "the config store did not take the request; try it again",
            ),
            StoreError::Damaged(reason) => Self::internal(reason),
        }
    }
}
