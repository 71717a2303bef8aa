//! Who refers to an identity, and how a distribution begins to.

use std::collections::HashSet;
use std::time::Duration;

use super::{CREDENTIAL, REFERENCE};
use crate::api::held::{self, contended};
use crate::api::resource::Kind;
use crate::api::xml::Element;
use crate::api::{ApiError, Context};
use crate::store::{ConfigStore, Transaction};

/// How long a replica may take to hear of what the store has.
const HEAR: Duration = Duration::from_secs(5);

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

/// A distribution that refers to identity `id`, as its owner is told of it. `head` is what the delete is conditional on: whatever is published by then
/// has been heard of.
pub(super) async fn user(
    context: &Context,
    account: &str,
    id: &str,
    head: u64,
) -> Result<Option<String>, ApiError> {
    let mut own = HashSet::new();
    for kind in [Kind::StreamingDistribution, Kind::Distribution] {
        for held in held::all(&*context.store, kind, account).await? {
            if mentions(&held.config, id) {
                return Ok(Some(held.resource.id));
            }
            own.insert(held.resource.id);
        }
    }
    // What has no resource of the account was made by an operator's file, in whoever's name, and is known by what is published. What has one was
    // judged by it: this replica's view may be newer or, of it, older.
    let credential = format!("{CREDENTIAL}{id}");
    let mut views = context.views.clone();
    let heard = views.wait_for(|view| view.revision >= head);
    let Ok(Ok(view)) = tokio::time::timeout(HEAR, heard).await else { return Err(contended()) };
    let user = view.distributions.values().find(|d| d.credential == credential && !own.contains(&d.id));
    Ok(user.map(|d| {
        let visible = d.account.is_empty() || d.account == account;
        if visible { d.id.clone() } else { "of another account".into() }
    }))
}

fn mentions(config: &Element, id: &str) -> bool {
    let here = config.name == "OriginAccessIdentity" && reference(&config.text) == Ok(Some(id));
    here || config.children.iter().any(|child| mentions(child, id))
}
