//! Who refers to an identity, and how a distribution begins to.

use super::{CREDENTIAL, REFERENCE};
use crate::api::held;
use crate::api::resource::Kind;
use crate::api::xml::Element;
use crate::api::{ApiError, Context};
use crate::store::{ConfigStore, Transaction};

fn invalid(reference: &str) -> ApiError {
    ApiError::bad_request(
        "InvalidOriginAccessIdentity",
        format!("the account has no origin access identity '{reference}' ({REFERENCE}ID)"),
    )
}

/// The id in the text of an `OriginAccessIdentity` element; `None` if it is empty: no identity.
pub(crate) fn reference(text: &str) -> Result<Option<&str>, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let id = text.strip_prefix(REFERENCE).filter(|id| !id.is_empty());
    id.map(Some).ok_or_else(|| invalid(text))
}

/// `transaction`, which makes a distribution of `account` refer to identity `id`, so that it fails if the identity is deleted at the same
/// time. Refused with `InvalidOriginAccessIdentity` if the account has none of this id.
pub(crate) async fn refer(
    store: &dyn ConfigStore,
    account: &str,
    id: &str,
    transaction: Transaction,
) -> Result<Transaction, ApiError> {
    let held = held::load(store, Kind::OriginAccessIdentity, account, id).await?;
    Ok(held.ok_or_else(|| invalid(&format!("{REFERENCE}{id}")))?.hold(transaction))
}

/// A distribution that refers to identity `id`.
pub(super) async fn user(context: &Context, account: &str, id: &str) -> Result<Option<String>, ApiError> {
    for kind in [Kind::StreamingDistribution, Kind::Distribution] {
        for held in held::all(&*context.store, kind, account).await? {
            if mentions(&held.config, id) {
                return Ok(Some(held.resource.id));
            }
        }
    }
    // Distributions that no client made have no resource; they are known by what is published.
    let credential = format!("{CREDENTIAL}{id}");
    let view = context.views.borrow().clone();
    let published = view.distributions.values().find(|d| d.credential == credential && d.account.is_empty());
    Ok(published.map(|d| d.id.clone()))
}

fn mentions(config: &Element, id: &str) -> bool {
    let here = config.name == "OriginAccessIdentity" && reference(&config.text) == Ok(Some(id));
    here || config.children.iter().any(|child| mentions(child, id))
}
