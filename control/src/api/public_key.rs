//! Public keys.

use super::{ApiError, Call, Context, Reply};

/// Answers a call below `public-key`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let _ = (context, call);
    Err(ApiError::method_not_allowed())
}
