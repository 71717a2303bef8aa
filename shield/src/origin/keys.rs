//! By which keys an origin is read, and by whose leave.
//!
//! | credential of the distribution | keys |
//! |---|---|
//! | none, or `public/ACCOUNT` | none: requests are unsigned |
//! | a name | those of this name in the shield's own file |
//! | `oai/ID`, an origin access identity | the identity's own, as control publishes them; else the node's own role, if every account that reads this origin was granted the bucket |
//!
//! The node's role may read more than any one account should, so it is never used for whom it wasn't granted: such an origin is *refused*,
//! which its viewers hear as AccessDenied, whatever is cached. What was granted or given can be taken back: [`choose`] is asked again with
//! each catalogue.

use std::collections::BTreeSet;
use std::sync::Arc;

use control::client::catalogue::Access;
use proto::object::PUBLIC;
use proto::v1::OriginSecret;

use crate::config::{CredentialConfig, ShieldConfig};

/// Before the id of an origin access identity, in a credential's name.
pub const IDENTITY: &str = "oai/";

/// By which keys an origin is read. Equal ones sign alike.
#[derive(Clone, PartialEq)]
pub enum Keys {
    /// None: requests are unsigned.
    Anonymous,
    /// Those of the shield's own file, and their name there.
    Configured(String, CredentialConfig),
    /// An origin access identity's own.
    Identity(Arc<OriginSecret>),
    /// The node's own role.
    Role(CredentialConfig),
}

/// Secrets stay out of logs.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Keys {
    /// What logs call them.
    pub fn name(&self) -> &str {
        match self {
            Self::Anonymous => "",
            Self::Configured(name, _) => name,
            Self::Identity(secret) => &secret.credential,
            Self::Role(_) => "the node's role",
        }
    }

    /// Where they are kept, if that is the node's own matter.
    pub(super) fn configured(&self) -> Option<&CredentialConfig> {
        match self {
            Self::Configured(_, keys) | Self::Role(keys) => Some(keys),
            Self::Anonymous | Self::Identity(_) => None,
        }
    }
}

/// Why there are no keys for an origin.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoKeys {
    /// The shield's file has no credential of this name.
    #[error("credential '{0}' is not configured at this shield")]
    Unknown(String),
    /// An origin access identity without keys of its own, and no leave to use the node's role.
    #[error("AccessDenied: {0}")]
    Denied(String),
}

/// The keys by which `bucket` is read under `credential` for distributions of `accounts` (an empty one is the operator).
pub fn choose(
    config: &ShieldConfig,
    access: &Access,
    bucket: &str,
    credential: &str,
    accounts: &BTreeSet<String>,
) -> Result<Keys, NoKeys> {
    if credential.is_empty() || credential.starts_with(PUBLIC) {
        return Ok(Keys::Anonymous);
    }
    if !credential.starts_with(IDENTITY) {
        let keys =
            config.credentials.get(credential).ok_or_else(|| NoKeys::Unknown(credential.to_owned()))?;
        return Ok(Keys::Configured(credential.to_owned(), keys.clone()));
    }
    let denied = |reason: String| Err(NoKeys::Denied(format!("{credential}: {reason}")));
    if let Some(secret) = access.origin_secrets.get(credential) {
        // What the operator declares may use any; an account only its own.
        let foreign = |account: &&String| !account.is_empty() && **account != secret.account;
        if let Some(account) = accounts.iter().find(foreign) {
            return denied(format!("belongs to another account than {account}"));
        }
        if secret.access_key_id.is_empty() || secret.secret_access_key.is_empty() {
            return denied("its keys came without a secret".into());
        }
        return Ok(Keys::Identity(secret.clone()));
    }
    let Some(role) = &config.node_role else {
        return denied("it has no keys of its own, and this shield no node_role".into());
    };
    match accounts.iter().find(|account| !access.is_granted(account, bucket)) {
        Some(account) => {
            denied(format!("it has no keys of its own, and account '{account}' no grant for {bucket}"))
        }
        None if accounts.is_empty() => denied("no account reads it".into()),
        None => Ok(Keys::Role(role.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1::{Grant, Published};

    const A: &str = "111111111111";
    const B: &str = "222222222222";

    fn config(role: bool) -> ShieldConfig {
        let role = if role { "node_role: {access_key_id: ROLE, secret_access_key: hush}\n" } else { "" };
        let own = "credentials: {reader: {access_key_id: READER, secret_access_key: hush}}\n";
        let config: ShieldConfig = serde_yaml_ng::from_str(&format!("{role}{own}")).unwrap();
        config.validate().unwrap();
        config
    }

    fn access() -> Access {
        let secret = |id: &str, account: &str, secret: &str| OriginSecret {
            credential: format!("oai/{id}"),
            access_key_id: format!("AKID{id}"),
            secret_access_key: secret.into(),
            account: account.into(),
            ..OriginSecret::default()
        };
        let mut access = Access::default();
        access.take(Published {
            origin_secrets: vec![secret("EOWN", A, "hush"), secret("ELOST", A, "")],
            grants: vec![
                Grant { account: A.into(), bucket: "media".into() },
                Grant { account: B.into(), bucket: "*".into() },
            ],
            ..Published::default()
        });
        access
    }

    fn told(role: bool, bucket: &str, credential: &str, accounts: &[&str]) -> String {
        let accounts = accounts.iter().map(|a| (*a).to_owned()).collect();
        match choose(&config(role), &access(), bucket, credential, &accounts) {
            Ok(keys) => format!("{keys:?}"),
            Err(NoKeys::Unknown(name)) => format!("unknown {name}"),
            Err(NoKeys::Denied(_)) => "denied".into(),
        }
    }

    #[test]
    fn an_identity_has_its_own_keys_for_its_own_account() {
        assert_eq!(told(true, "vault", "oai/EOWN", &[A]), "oai/EOWN");
        assert_eq!(told(false, "vault", "oai/EOWN", &[A]), "oai/EOWN");
        assert_eq!(told(false, "vault", "oai/EOWN", &[""]), "oai/EOWN", "the operator may");
        assert_eq!(told(true, "media", "oai/EOWN", &[B]), "denied");
        assert_eq!(told(true, "media", "oai/EOWN", &[A, B]), "denied");
        assert_eq!(
            told(true, "media", "oai/ELOST", &[A]),
            "denied",
            "no secret is no reason to use the role"
        );
    }

    #[test]
    fn the_node_s_role_is_for_granted_buckets_only() {
        assert_eq!(told(true, "media", "oai/E1", &[A]), "the node's role");
        assert_eq!(told(true, "vault", "oai/E1", &[A]), "denied");
        assert_eq!(told(true, "vault", "oai/E1", &[B]), "the node's role", "a star is every bucket");
        assert_eq!(told(true, "vault", "oai/E1", &[A, B]), "denied", "all who read it need the grant");
        assert_eq!(told(true, "media", "oai/E1", &[A, B]), "the node's role");
        assert_eq!(told(true, "media", "oai/E1", &[""]), "denied");
        assert_eq!(told(true, "media", "oai/E1", &[]), "denied");
        assert_eq!(told(false, "media", "oai/E1", &[A]), "denied");
    }

    #[test]
    fn other_credentials_are_the_file_s() {
        assert_eq!(told(true, "media", "", &[A]), "");
        assert_eq!(told(true, "media", "reader", &[""]), "reader");
        assert_eq!(told(true, "media", "nobody", &[""]), "unknown nobody");
        let keys = choose(&config(true), &access(), "media", "oai/EOWN", &[A.to_owned()].into()).unwrap();
        assert!(!format!("{keys:?}").contains("hush"));
    }
}
