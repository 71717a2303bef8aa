//! What access logs show of themselves.
