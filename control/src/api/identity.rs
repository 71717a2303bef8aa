//! Origin access identities.

use super::{ApiError, Call, Context, Reply};

/// Answers a call below `origin-access-identity`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let _ = (context, call);
    Err(ApiError::method_not_allowed())
}
