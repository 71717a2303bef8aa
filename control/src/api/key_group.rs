//! Key groups.

use super::{ApiError, Call, Context, Reply};

/// Answers a call below `key-group`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let _ = (context, call);
    Err(ApiError::method_not_allowed())
}
