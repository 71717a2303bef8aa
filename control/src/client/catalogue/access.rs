//! What a node knows of access: who may sign stream names, by which keys an origin is read, and who may use the node's own role.
//!
//! Control sends each kind only to nodes that have a use for it: an edge's secrets and grants stay empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::v1::{Grant, OriginSecret, Published, Signer};

/// Before an account in the store key of its signer.
pub const SIGNERS: &str = "signers/";
/// Before a credential in the store key of its secret.
pub const ORIGIN_SECRETS: &str = "origin-secrets/";
/// Before `ACCOUNT/BUCKET` in the store key of a grant.
pub const GRANTS: &str = "grants/";

/// See the [module](self). Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Signers by account.
    pub signers: Arc<BTreeMap<String, Arc<Signer>>>,
    /// Secrets by credential.
    pub origin_secrets: Arc<BTreeMap<String, Arc<OriginSecret>>>,
    /// `(account, bucket or *)`.
    pub grants: Arc<BTreeSet<(String, String)>>,
}

impl Access {
    /// Whether `account` may have `bucket` read by the node's own role.
    pub fn is_granted(&self, account: &str, bucket: &str) -> bool {
        [bucket, "*"].iter().any(|b| self.grants.contains(&(account.to_owned(), (*b).to_owned())))
    }

    /// Takes what was written, over what was known.
    pub fn take(&mut self, published: Published) {
        if !published.signers.is_empty() {
            let signers = published.signers.into_iter().map(|s| (s.account.clone(), Arc::new(s)));
            Arc::make_mut(&mut self.signers).extend(signers);
        }
        if !published.origin_secrets.is_empty() {
            let secrets = published.origin_secrets.into_iter().map(|s| (s.credential.clone(), Arc::new(s)));
            Arc::make_mut(&mut self.origin_secrets).extend(secrets);
        }
        if !published.grants.is_empty() {
            let grants = published.grants.into_iter().map(|Grant { account, bucket }| (account, bucket));
            Arc::make_mut(&mut self.grants).extend(grants);
        }
    }

    /// Forgets what stood at the store key `key`; other keys are no concern of it.
    pub fn remove(&mut self, key: &str) {
        if let Some(account) = key.strip_prefix(SIGNERS) {
            Arc::make_mut(&mut self.signers).remove(account);
        } else if let Some(credential) = key.strip_prefix(ORIGIN_SECRETS) {
            Arc::make_mut(&mut self.origin_secrets).remove(credential);
        } else if let Some((account, bucket)) = key.strip_prefix(GRANTS).and_then(|rest| rest.split_once('/'))
        {
            Arc::make_mut(&mut self.grants).remove(&(account.to_owned(), bucket.to_owned()));
        }
    }

    /// All of it, as a snapshot carries it.
    pub fn published(&self) -> Published {
        Published {
            signers: self.signers.values().map(|s| (**s).clone()).collect(),
            origin_secrets: self.origin_secrets.values().map(|s| (**s).clone()).collect(),
            grants: self
                .grants
                .iter()
                .map(|(account, bucket)| Grant { account: account.clone(), bucket: bucket.clone() })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_published_again_and_can_be_removed() {
        let published = Published {
            signers: vec![Signer { account: "123456789012".into(), keys: vec![] }],
            origin_secrets: vec![OriginSecret { credential: "oai/E1".into(), ..Default::default() }],
            grants: vec![Grant { account: "123456789012".into(), bucket: "media".into() }],
        };
        let mut access = Access::default();
        access.take(published.clone());
        assert_eq!(access.published(), published);
        assert!(access.is_granted("123456789012", "media"));
        assert!(!access.is_granted("123456789012", "other") && !access.is_granted("1", "media"));
        for key in ["signers/123456789012", "origin-secrets/oai/E1", "grants/123456789012/media", "else/x"] {
            access.remove(key);
        }
        assert_eq!(access.published(), Published::default());
    }

    #[test]
    fn a_star_grants_every_bucket() {
        let mut access = Access::default();
        access.take(Published {
            grants: vec![Grant { account: "1".into(), bucket: "*".into() }],
            ..Default::default()
        });
        assert!(access.is_granted("1", "whichever") && !access.is_granted("2", "whichever"));
    }
}
