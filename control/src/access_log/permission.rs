//! Which buckets a distribution may log to.
//!
//! Files are written with the operator's keys, so an account's word for a bucket is not enough: without a grant, anybody with an API key could
//! have files put into a neighbour's bucket. The operator's own distributions (of no account) may log anywhere.

use proto::v1::LogTarget;

use crate::documents::LOG_GRANTS;
use crate::lending::grants::ANY_BUCKET;
use crate::store::{ConfigStore, StoreError};

/// Whether logs may be written to `target`, whose bucket is called `bucket`.
///
/// # Errors
/// When the store can't be asked.
pub async fn may_deliver(
    store: &dyn ConfigStore,
    target: &LogTarget,
    bucket: &str,
) -> Result<bool, StoreError> {
    if target.account.is_empty() {
        return Ok(true);
    }
    for granted in [bucket, ANY_BUCKET] {
        if store.get(&format!("{LOG_GRANTS}{}/{granted}", target.account)).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Transaction, memory};

    #[tokio::test]
    async fn an_account_logs_only_where_the_operator_lets_it() {
        let store = memory::open().await.unwrap();
        let of = |account: &str| LogTarget { account: account.into(), ..Default::default() };
        let write = Transaction::default()
            .put("log-grants/111111111111/logs", "")
            .put("log-grants/222222222222/*", "")
            // Read access is another matter.
            .put("grants/333333333333/logs", "");
        store.commit(write).await.unwrap();
        for (account, bucket, expected) in [
            ("", "any", true),
            ("111111111111", "logs", true),
            ("111111111111", "logs2", false),
            ("111111111111", "*", false),
            ("222222222222", "any", true),
            ("333333333333", "logs", false),
        ] {
            let allowed = may_deliver(&*store, &of(account), bucket).await.unwrap();
            assert_eq!(allowed, expected, "{account} {bucket}");
        }
    }
}
