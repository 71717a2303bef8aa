//! What can be done with invalidations, without XML.

use std::collections::BTreeMap;

use proto::v1::{PurgeRequest, Resource};

use super::batch_of;
use super::paths::{self, Named};
use crate::accounts::Principal;
use crate::api::held::{self, Committed, Held, check_caller_reference, contended, stored_config};
use crate::api::paging::{Page, PageRequest};
use crate::api::resource::{ATTEMPTS, Kind, check_writable, prefix, reference_key};
use crate::api::web::WebConfig;
use crate::api::{ApiError, Context, Version};
use crate::documents::add_purge;
use crate::lifecycle::has_reached_all;
use crate::store::{HEAD_KEY, Transaction, random_text};

/// Invalidations of a distribution that are remembered: past it the oldest that is completed goes.
const KEPT: usize = 100;
/// Orders in one transaction: etcd takes 128 operations.
const ORDERS_AT_ONCE: usize = 100;
const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What a client asks to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Unique in the distribution, 1 to 127 bytes.
    pub caller_reference: String,
    /// As sent: `/a/b.mp4`, `/a/*`.
    pub paths: Vec<String>,
}

/// An invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// `I` and 13 of `[0-9A-Z]`; newer ones come first in their order.
    pub id: String,
    /// Whether every node has forgotten.
    pub completed: bool,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// What the client asked.
    pub batch: Batch,
}

impl Invalidation {
    /// As the API writes it.
    pub fn status(&self) -> &'static str {
        if self.completed { "Completed" } else { "InProgress" }
    }
}

/// An id that sorts before all older ones: the time, counted down.
fn new_id(now_ms: u64) -> String {
    let mut left = (36_u64.pow(9) - 1).saturating_sub(now_ms);
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(left % 36) as usize];
        left /= 36;
    }
    format!("I{}{}", String::from_utf8_lossy(&digits), random_text(DIGITS, 4))
}

fn is_completed(context: &Context, modified: u64) -> bool {
    has_reached_all(&context.views.borrow(), modified)
}

fn invalidation(context: &Context, held: &Held) -> Result<Invalidation, ApiError> {
    Ok(Invalidation {
        id: held.resource.id.clone(),
        completed: is_completed(context, held.modified),
        created_ms: held.resource.created_ms,
        batch: batch_of(&held.config)?,
    })
}

fn below(account: &str, distribution: &str) -> String {
    format!("{}{distribution}/", prefix(Kind::Invalidation, account))
}

/// All remembered of a distribution, newest first.
async fn known(context: &Context, account: &str, distribution: &str) -> Result<Vec<Held>, ApiError> {
    held::below(&*context.store, Kind::Invalidation, &below(account, distribution)).await
}

/// How many of a distribution's are in progress.
pub(crate) async fn in_progress(
    context: &Context,
    account: &str,
    distribution: &str,
) -> Result<usize, ApiError> {
    let known = known(context, account, distribution).await?;
    Ok(known.iter().filter(|held| !is_completed(context, held.modified)).count())
}

/// Forgets the invalidations of a distribution that was deleted. What is left after a failure can't be reached any more and does no harm.
pub(crate) async fn forget(context: &Context, account: &str, distribution: &str) -> Result<(), ApiError> {
    let known = known(context, account, distribution).await?;
    // Three keys each.
    for some in known.chunks(ORDERS_AT_ONCE / 3) {
        let transaction = some.iter().fold(Transaction::default(), |t, held| held.delete(t));
        held::commit(&*context.store, transaction).await?;
    }
    Ok(())
}

async fn distribution(context: &Context, principal: &Principal, id: &str) -> Result<WebConfig, ApiError> {
    let held = held::load(&*context.store, Kind::Distribution, &principal.account, id).await?;
    let held = held.ok_or_else(|| {
        ApiError::not_found("NoSuchDistribution", format!("there is no web distribution '{id}'"))
    })?;
    Ok(WebConfig::stored(held.config))
}

/// `orders`, or one for the whole of each origin where that has too many already: every order is a document that is kept for nodes that are away.
fn bounded(context: &Context, orders: Vec<PurgeRequest>) -> Result<Vec<PurgeRequest>, ApiError> {
    let most = context.config.limits.invalidation_orders_kept;
    let mut new: BTreeMap<&str, usize> = BTreeMap::new();
    for order in &orders {
        *new.entry(&order.origin_id).or_default() += 1;
    }
    let view = context.views.borrow().clone();
    let kept = |origin: &str| view.purges.values().filter(|(_, purge)| purge.origin_id == origin).count();
    let kept: BTreeMap<&str, usize> = new.keys().map(|origin| (*origin, kept(origin))).collect();
    if kept.values().any(|kept| *kept >= 2 * most) {
        let reason = format!("{} orders to forget are kept of this origin; they lapse with time", 2 * most);
        return Err(ApiError::bad_request("TooManyInvalidationsInProgress", reason));
    }
    let is_full = |origin: &str| {
        kept.get(origin).copied().unwrap_or_default() + new.get(origin).copied().unwrap_or_default() > most
    };
    let whole = new.keys().filter(|origin| is_full(origin));
    let mut bounded: Vec<PurgeRequest> =
        whole.map(|origin| PurgeRequest { origin_id: (*origin).to_owned(), ..Default::default() }).collect();
    bounded.extend(orders.iter().filter(|order| !is_full(&order.origin_id)).cloned());
    Ok(bounded)
}

fn check(batch: &Batch, paths_max: usize) -> Result<Vec<Named>, ApiError> {
    check_caller_reference(&batch.caller_reference)?;
    if batch.paths.is_empty() {
        return Err(ApiError::invalid_argument("Paths: names nothing"));
    }
    if batch.paths.len() > paths_max {
        let reason = format!("an invalidation may have {paths_max} paths");
        return Err(ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, "BatchTooLarge", reason));
    }
    batch.paths.iter().map(|path| paths::named(path)).collect()
}

/// Has every node forget. The same caller reference with the same paths answers with the invalidation it made before; with others it is refused
/// (`InvalidationBatchAlreadyExists`).
pub async fn create(
    context: &Context,
    principal: &Principal,
    version: Version,
    distribution_id: &str,
    batch: Batch,
) -> Result<Invalidation, ApiError> {
    check_writable(principal)?;
    let limits = &context.config.limits;
    let config = distribution(context, principal, distribution_id).await?;
    let named = check(&batch, limits.invalidation_paths)?;
    let orders = bounded(context, paths::orders(&config, &principal.account, &named))?;
    let account = &principal.account;
    // Another distribution's references are others.
    let reference = format!("{distribution_id}/{}", batch.caller_reference);
    for attempt in 0..ATTEMPTS {
        let reference_at = reference_key(Kind::Invalidation, account, &reference);
        if let Some(entry) = context.store.get(&reference_at).await? {
            let path = format!("{distribution_id}/{}", String::from_utf8_lossy(&entry.value));
            let held = held::load_at(&*context.store, Kind::Invalidation, account, &path).await?;
            // Without it, it is being forgotten at this moment: look again.
            let Some(held) = held else { continue };
            let made = invalidation(context, &held)?;
            if made.batch == batch {
                return Ok(made);
            }
            let reason = "the caller reference belongs to an invalidation with other paths";
            return Err(ApiError::conflict("InvalidationBatchAlreadyExists", reason));
        }
        let known = known(context, account, distribution_id).await?;
        let busy = known.iter().filter(|held| !is_completed(context, held.modified)).count();
        if busy >= limits.invalidations_in_progress {
            let reason = format!("{busy} invalidations of the distribution are in progress");
            return Err(ApiError::bad_request("TooManyInvalidationsInProgress", reason));
        }
        if attempt == 0 {
            let view = context.views.borrow().clone();
            let told = context.shields.purge(&view, &orders, &context.metrics).await;
            tracing::info!(
                distribution = %distribution_id, paths = batch.paths.len(), orders = orders.len(),
                shield_entries = told.entries, unreached = ?told.unreached, "invalidation"
            );
        }
        let now = context.clock.now_ms();
        let resource = Resource {
            id: new_id(now),
            account: account.clone(),
            caller_reference: reference.clone(),
            config: stored_config(&super::batch(&batch, Version::NEWEST)).into(),
            etag: String::new(),
            created_ms: now,
            modified_ms: now,
            api_version: version.to_string(),
            detail: distribution_id.to_owned(),
            created_as: Default::default(),
        };
        // A long batch needs more than one transaction. The invalidation goes with the last, so it is not completed before all are applied; a failure
        // between them has made nodes forget, which does no harm, and leaves no invalidation.
        let mut rest = orders.as_slice();
        while rest.len() > ORDERS_AT_ONCE {
            let (some, more) = rest.split_at(ORDERS_AT_ONCE);
            context.store.commit(with_orders(context, Transaction::default(), some)).await?;
            rest = more;
        }
        let mut transaction = with_orders(context, Transaction::default(), rest);
        transaction = held::create(transaction, Kind::Invalidation, &resource);
        let oldest = known.last().filter(|held| known.len() >= KEPT && is_completed(context, held.modified));
        if let Some(oldest) = oldest {
            transaction = oldest.delete(transaction);
        }
        if let Committed::Done(modified) = held::commit(&*context.store, transaction).await? {
            context.metrics.purges.inc_by(orders.len() as u64);
            let completed = is_completed(context, modified);
            return Ok(Invalidation { id: resource.id, completed, created_ms: now, batch });
        }
    }
    Err(contended())
}

/// `transaction` with these orders, published.
fn with_orders(context: &Context, transaction: Transaction, orders: &[PurgeRequest]) -> Transaction {
    let ttl = context.config.purge_ttl;
    let add = |transaction, order: &PurgeRequest| add_purge(transaction, order, ttl).1;
    orders.iter().fold(transaction.put(HEAD_KEY, ""), add)
}

/// One invalidation.
pub async fn get(
    context: &Context,
    principal: &Principal,
    distribution_id: &str,
    id: &str,
) -> Result<Invalidation, ApiError> {
    distribution(context, principal, distribution_id).await?;
    let account = &principal.account;
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let held = if plain {
        let path = format!("{distribution_id}/{id}");
        held::load_at(&*context.store, Kind::Invalidation, account, &path).await?
    } else {
        None
    };
    let held = held.ok_or_else(|| {
        ApiError::not_found("NoSuchInvalidation", format!("there is no invalidation '{id}'"))
    })?;
    invalidation(context, &held)
}

/// A page of a distribution's invalidations, newest first.
pub async fn list(
    context: &Context,
    principal: &Principal,
    distribution_id: &str,
    request: PageRequest,
) -> Result<Page<Invalidation>, ApiError> {
    distribution(context, principal, distribution_id).await?;
    let below = below(&principal.account, distribution_id);
    let read = |held: Held| invalidation(context, &held);
    held::page(&*context.store, Kind::Invalidation, &below, request, read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_newer_invalidations_come_first() {
        let (older, newer) = (new_id(1_795_000_000_000), new_id(1_795_000_000_001));
        assert!(newer < older, "{newer} {older}");
        assert_eq!((older.len(), older.as_bytes()[0]), (14, b'I'));
    }
}
