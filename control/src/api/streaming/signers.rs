//! Trusted signers as they stand: the accounts a distribution trusts, each with the key pairs it can sign by now.
//!
//! An account without a key pair is listed without one; names can't be signed for it until it registers a public key.

use super::StreamingDistribution;
use super::config::SELF;
use crate::api::paging::with_items;
use crate::api::xml::Element;
use crate::api::{ApiError, Context};
use crate::documents::SIGNERS;
use crate::store::StoreError;
use prost::Message;
use proto::v1::Signer;

/// A trusted account and its key pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveSigner {
    /// As the config names it: a number or `self`.
    pub account: String,
    /// What signed names may call `Key-Pair-Id`.
    pub key_pair_ids: Vec<String>,
}

impl ActiveSigner {
    /// `Signer`, from 2012-05-05 on.
    pub(super) fn with_quantity(&self) -> Element {
        let signer = Element::new("Signer").with_text("AwsAccountNumber", &self.account);
        signer.with(with_items(Element::new("KeyPairIds"), self.ids()))
    }

    /// `Signer`, before; `account` spells the account.
    pub(super) fn in_a_row(&self, account: impl Fn(&str) -> Element) -> Element {
        let mut signer = Element::new("Signer").with(account(&self.account));
        signer.children.extend(self.ids());
        signer
    }

    fn ids(&self) -> Vec<Element> {
        self.key_pair_ids.iter().map(|id| Element::text("KeyPairId", id)).collect()
    }
}

/// The signers of a distribution, in the config's order.
///
/// # Errors
/// When the store fails.
pub async fn active(context: &Context, of: &StreamingDistribution) -> Result<Vec<ActiveSigner>, ApiError> {
    let mut signers = Vec::new();
    for account in &of.config.trusted_signers.accounts {
        let number = if account == SELF { &of.account } else { account };
        let key = format!("{SIGNERS}{number}");
        let key_pair_ids = match context.store.get(&key).await? {
            None => Vec::new(),
            Some(entry) => Signer::decode(entry.value)
                .map_err(|e| StoreError::Damaged(format!("{key} can't be read: {e}")))?
                .keys
                .into_iter()
                .map(|key| key.key_pair_id)
                .collect(),
        };
        signers.push(ActiveSigner { account: account.clone(), key_pair_ids });
    }
    Ok(signers)
}
