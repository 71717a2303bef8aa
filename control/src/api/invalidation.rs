//! Invalidations of web distributions.

use super::{ApiError, Call, Context, Reply};

/// Answers a call below `distribution/ID/invalidation`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let _ = (context, call);
    Err(ApiError::method_not_allowed())
}
