//! Streaming (RTMP) distributions.

use super::{ApiError, Call, Context, Reply};

/// Answers a call below `streaming-distribution`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let _ = (context, call);
    Err(ApiError::method_not_allowed())
}
