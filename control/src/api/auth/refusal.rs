//! Why a signature is refused.

/// See the [module](super). The texts go to the client and to the log: they hold nothing secret, and nothing of the
/// request that would make one refusal slower than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No Authorization header.
    #[error("the request has no Authorization header")]
    Missing,
    /// No Authorization header, but parameters of a presigned URL.
    #[error("presigned URLs are not accepted here: send an Authorization header")]
    Presigned,
    /// The header can't be read or lacks something.
    #[error("{0}")]
    Incomplete(&'static str),
    /// No such key, or it is disabled.
    #[error("there is no such access key")]
    UnknownKey,
    /// The credentials are temporary ones.
    #[error("there are no session tokens here: use an access key without one")]
    SessionToken,
    /// Another secret, or something that was signed has changed.
    #[error("the signature is not that of this request under the key's secret")]
    Mismatch,
    /// The signature is right for other circumstances.
    #[error("{0}")]
    Unfitting(&'static str),
    /// Dated outside the window.
    #[error("the request's date is more than {window_seconds} seconds {} now", if *late { "before" } else { "after" })]
    Expired {
        /// Before now, not after.
        late: bool,
        /// The window.
        window_seconds: u64,
    },
    /// The key may only read.
    #[error("the access key may only read")]
    ReadOnly,
    /// The secret can't be opened here.
    #[error("this control can't open the secrets of access keys; its log says why")]
    Unavailable,
    /// No key is known yet.
    #[error("control has not read its store yet; try it again")]
    NotLoaded,
}

impl Refusal {
    /// The code of the error document.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing | Self::Presigned => "MissingAuthenticationToken",
            Self::Incomplete(_) => "IncompleteSignature",
            Self::UnknownKey | Self::SessionToken => "InvalidClientTokenId",
            Self::Mismatch | Self::Unfitting(_) => "SignatureDoesNotMatch",
            Self::Expired { .. } => "RequestExpired",
            Self::ReadOnly => "AccessDenied",
            Self::Unavailable | Self::NotLoaded => "ServiceUnavailable",
        }
    }
}
