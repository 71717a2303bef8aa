//! Names that a change gives up, where they are too many for its transaction, for distributions of all kinds and makers.
//!
//! etcd takes 128 operations a transaction by default, and an update may trade a hundred CNAMEs for a hundred others. What doesn't fit is released
//! right after the change. Should that fail, or the process end between the two, a name stays claimed by a distribution that no longer has it;
//! whoever asks for it next finds that out and releases it, also when that distribution has been deleted since.
//!
//! What a distribution has is told by what nodes get of it. A web distribution of the API may have names and nothing for nodes: its claims say its
//! account too, so that its resource is found. (Those of an earlier build don't; then the resources of all accounts are looked through.)

use proto::v1::DistributionKind;

use super::held::Held;
use super::resource::{self, Kind};
use super::web::WebConfig;
use super::xml;
use crate::documents::{self, API, DISTRIBUTIONS, NAMES};
use crate::store::{ConfigStore, StoreError, Transaction};

/// Most writes of a transaction that has names to give up.
const WRITES: usize = 120;
/// Most conditions of a transaction: etcd counts them as it counts writes.
pub(super) const CONDITIONS: usize = 128;

/// What stands at the name of a web distribution of the API.
pub(super) fn claim_of_web(id: &str, account: &str) -> String {
    format!("{id} {account}")
}

/// Takes the names that don't fit out of what `transaction` deletes.
pub(crate) fn set_aside(transaction: &mut Transaction) -> Vec<String> {
    let surplus = (transaction.puts.len() + transaction.deletes.len()).saturating_sub(WRITES);
    let mut aside = Vec::new();
    transaction.deletes.retain(|key| match key.strip_prefix(NAMES) {
        Some(host) if aside.len() < surplus => {
            aside.push(host.to_owned());
            false
        }
        _ => true,
    });
    aside
}

/// The first of `hosts` that somebody else has; claims that outlived their names are released on the way.
pub(super) async fn taken<'a>(
    store: &dyn ConfigStore,
    hosts: &'a [String],
) -> Result<Option<&'a String>, StoreError> {
    for host in hosts {
        if !release_if_stale(store, host).await? {
            return Ok(Some(host));
        }
    }
    Ok(None)
}

/// Releases `host` if the distribution that claims it doesn't have it. Returns whether it may be free now.
pub(crate) async fn release_if_stale(store: &dyn ConfigStore, host: &str) -> Result<bool, StoreError> {
    let name = format!("{NAMES}{host}");
    let Some(claim) = store.get(&name).await? else { return Ok(true) };
    let text = String::from_utf8_lossy(&claim.value).into_owned();
    let release = Transaction::default().when(&name, claim.modified).delete(name);
    let Some(release) = still_stale(store, host, &text, release).await? else { return Ok(false) };
    match store.commit(release).await {
        // Somebody else was quicker, at releasing or at claiming: look again.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// `release` on condition that who claims `host` by `claim` stays without it; `None` if they have it, or nothing tells.
async fn still_stale(
    store: &dyn ConfigStore,
    host: &str,
    claim: &str,
    release: Transaction,
) -> Result<Option<Transaction>, StoreError> {
    let (id, account) = claim.split_once(' ').unwrap_or((claim, ""));
    let document = documents::distribution(store, id).await?;
    let of_web = document.as_ref().filter(|d| d.document.kind() == DistributionKind::Web);
    let account = match (account, of_web) {
        ("", Some(stored)) => stored.document.account.as_str(),
        (account, _) => account,
    };
    let web = match account {
        "" => None,
        account => web_names(store, account, id).await?,
    };
    if let Some((held, names)) = web {
        let has = names.iter().any(|name| name == host);
        return Ok((!has).then(|| held.hold(release)));
    }
    let Some(owner) = document else {
        // Deleted; or nodes never got anything of it.
        let release = release.when(format!("{DISTRIBUTIONS}{id}"), 0);
        if !account.is_empty() {
            return Ok(Some(release.when(resource::key(Kind::Distribution, account, id), 0)));
        }
        return Ok((!is_web_of_anybody(store, id).await?).then_some(release));
    };
    let has = owner.document.domain == host || owner.document.aliases.iter().any(|alias| alias == host);
    Ok((!has).then(|| release.when(format!("{DISTRIBUTIONS}{id}"), owner.modified)))
}

/// Whether any account has a web distribution `id`.
async fn is_web_of_anybody(store: &dyn ConfigStore, id: &str) -> Result<bool, StoreError> {
    let all = store.list(&format!("{API}{}/", Kind::Distribution.as_str())).await?.entries;
    Ok(all.iter().any(|entry| entry.key.rsplit('/').next() == Some(id)))
}

/// A web distribution of the API and its names; `None` if there is no such resource.
async fn web_names(
    store: &dyn ConfigStore,
    account: &str,
    id: &str,
) -> Result<Option<(Held, Vec<String>)>, StoreError> {
    let Some(stored) = resource::load(store, Kind::Distribution, account, id).await? else { return Ok(None) };
    let resource::Stored { resource, modified } = stored;
    let config = xml::read(&resource.config, xml::Bounds::default()).ok().flatten();
    let config = config.ok_or_else(|| StoreError::Damaged(format!("the config of {id} can't be read")))?;
    let mut names = WebConfig::stored(config.clone()).aliases();
    names.push(resource.detail.clone());
    Ok(Some((Held::new(Kind::Distribution, resource, config, modified), names)))
}

/// Releases what was set aside by a change that is made.
pub(crate) async fn release(store: &dyn ConfigStore, id: &str, hosts: &[String]) {
    for host in hosts {
        if let Err(error) = release_if_stale(store, host).await {
            tracing::warn!(%id, %host, %error, "a name given up stays claimed until it is asked for");
        }
    }
}
