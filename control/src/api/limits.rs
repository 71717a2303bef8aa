//! Bounds of what an account may have and a request may say. All are configurable; the defaults are CloudFront's.

use serde::Deserialize;

/// See the [module](self).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Streaming distributions of an account.
    pub streaming_distributions: usize,
    /// Web distributions of an account.
    pub web_distributions: usize,
    /// CNAMEs of a distribution; at most 100.
    pub aliases: usize,
    /// Trusted signers of a streaming distribution; at most 5.
    pub trusted_signers: usize,
    /// Tags of a resource.
    pub tags: usize,
    /// Origin access identities of an account.
    pub origin_access_identities: usize,
    /// Public keys of an account.
    pub public_keys: usize,
    /// Key groups of an account.
    pub key_groups: usize,
    /// Public keys of a key group.
    pub keys_per_group: usize,
    /// Invalidations in progress, of a distribution.
    pub invalidations_in_progress: usize,
    /// Paths of an invalidation.
    pub invalidation_paths: usize,
    /// Orders to forget that are kept of one origin; an invalidation that would pass it forgets the whole origin instead, and twice as many refuse it.
    pub invalidation_orders_kept: usize,
    /// Items of a page of a list.
    pub page_items: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streaming_distributions: 100,
            web_distributions: 200,
            aliases: 100,
            trusted_signers: 5,
            tags: 50,
            origin_access_identities: 100,
            public_keys: 100,
            key_groups: 10,
            keys_per_group: 5,
            invalidations_in_progress: 15,
            invalidation_paths: 3000,
            invalidation_orders_kept: 3000,
            page_items: 100,
        }
    }
}
