//! What a replica knows of the store at one moment: an immutable value, cheap to clone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use proto::v1::{
    AccessKey, Account, Delta, Deployed, Distribution, Grant, OriginSecret, Published, Purge,
    RegisterRequest, Revision, RosterEntry, ShieldMap, Signer,
};
use tokio::time::Instant;

use crate::documents::{
    ACCOUNTS, DEPLOYED, DISTRIBUTIONS, GRANTS, KEYS, MEMBERS, ORIGIN_SECRETS, PURGES, ROSTER, SHIELD_MAP,
    SIGNERS,
};

/// Documents a change may carry; a larger one (a repair of much) is left out of the history, so that subscribers get it
/// as a snapshot, which comes in pages.
const DELTA_DOCUMENTS: usize = 200;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The store's id; empty while the store has never been read.
    pub store_id: String,
    /// The config's revision.
    pub revision: u64,
    /// The store's own newest revision heard of.
    pub store_revision: u64,
    /// Distributions by id.
    pub distributions: Arc<BTreeMap<String, Arc<Distribution>>>,
    /// Orders to forget by id, with the revision that wrote them.
    pub purges: Arc<BTreeMap<String, (u64, Purge)>>,
    /// Live nodes by id, as they last registered.
    pub members: Arc<BTreeMap<String, Arc<RegisterRequest>>>,
    /// The shield map in force.
    pub shield_map: Arc<ShieldMap>,
    /// Revision of the shield map's document, 0 if there is none.
    pub shield_map_modified: u64,
    /// Consecutive changes up to `revision`, secrets sealed; each names the one it follows.
    pub history: Arc<VecDeque<Arc<Delta>>>,
    /// Since when the store has been followed without a break; `None` before the first time.
    pub followed_since: Option<Instant>,
    /// Accounts by number.
    pub accounts: Arc<BTreeMap<String, Arc<Account>>>,
    /// Access keys by id, secrets sealed.
    pub access_keys: Arc<BTreeMap<String, Arc<AccessKey>>>,
    /// Signers by account.
    pub signers: Arc<BTreeMap<String, Arc<Signer>>>,
    /// Secrets of origins by credential, sealed.
    pub origin_secrets: Arc<BTreeMap<String, Arc<OriginSecret>>>,
    /// Grants by `ACCOUNT/BUCKET`.
    pub grants: Arc<BTreeMap<String, Arc<Grant>>>,
    /// Nodes that count towards Deployed, by id.
    pub roster: Arc<BTreeMap<String, Arc<RosterEntry>>>,
    /// The highest config revision that every node has acknowledged; 0 while none has.
    pub deployed_floor: u64,
    /// Revision of the floor's document, 0 if there is none.
    pub deployed_modified: u64,
    /// Keys of documents that can't be read.
    pub damaged: Arc<BTreeSet<String>>,
}

/// Changes heard of and not yet published.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    upserts: BTreeMap<String, Arc<Distribution>>,
    deletes: BTreeSet<String>,
    purges: BTreeMap<String, Purge>,
    signers: BTreeMap<String, Arc<Signer>>,
    /// Sealed, as in the store.
    origin_secrets: BTreeMap<String, Arc<OriginSecret>>,
    grants: BTreeMap<String, Arc<Grant>>,
    /// Keys of signers, secrets and grants that are gone.
    removed: BTreeSet<String>,
    /// Something was changed without the head before this replica first looked.
    pub stray: bool,
}

impl Pending {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        !self.stray && self.len() == 0
    }

    /// How many documents wait.
    pub fn len(&self) -> usize {
        let access = self.signers.len() + self.origin_secrets.len() + self.grants.len() + self.removed.len();
        self.upserts.len() + self.deletes.len() + self.purges.len() + access
    }

    /// Whether the document at `key` is part of the config (and not of membership or bookkeeping).
    pub fn concerns(key: &str) -> bool {
        [DISTRIBUTIONS, PURGES, SIGNERS, ORIGIN_SECRETS, GRANTS].iter().any(|prefix| key.starts_with(prefix))
    }
}

fn decode<M: Message + Default>(value: &Bytes) -> Option<M> {
    M::decode(value.clone()).ok()
}

impl View {
    /// Nothing known yet of the store `store_id`.
    pub fn of_store(store_id: &str) -> Self {
        let shield_map = Arc::new(ShieldMap { store_id: store_id.into(), ..Default::default() });
        Self { store_id: store_id.into(), shield_map, ..Default::default() }
    }

    /// Whether the store has been read.
    pub fn is_loaded(&self) -> bool {
        self.revision != 0
    }

    /// The config's revision, as it goes over the wire.
    pub fn revision(&self) -> Revision {
        Revision { store_id: self.store_id.clone(), number: self.revision }
    }

    /// Takes a document written at `modified`.
    pub(crate) fn set(&mut self, key: &str, value: &Bytes, modified: u64, pending: &mut Pending) {
        let readable = self.set_readable(key, value, modified, pending).is_some();
        if readable == self.damaged.contains(key) {
            let damaged = Arc::make_mut(&mut self.damaged);
            if readable {
                damaged.remove(key);
            } else {
                tracing::error!(%key, modified, "a document can't be read; its older form stays published");
                damaged.insert(key.to_owned());
            }
        }
    }

    fn set_readable(&mut self, key: &str, value: &Bytes, modified: u64, pending: &mut Pending) -> Option<()> {
        if let Some(id) = key.strip_prefix(DISTRIBUTIONS) {
            let document = Arc::new(decode::<Distribution>(value).filter(|d| d.id == id)?);
            pending.deletes.remove(id);
            pending.upserts.insert(id.to_owned(), document.clone());
            Arc::make_mut(&mut self.distributions).insert(id.to_owned(), document);
        } else if let Some(id) = key.strip_prefix(PURGES) {
            let purge = decode::<Purge>(value).filter(|p| p.id == id)?;
            pending.purges.insert(id.to_owned(), purge.clone());
            Arc::make_mut(&mut self.purges).insert(id.to_owned(), (modified, purge));
        } else if let Some(id) = key.strip_prefix(MEMBERS) {
            let member = Arc::new(decode::<RegisterRequest>(value).filter(|m| m.node_id == id)?);
            Arc::make_mut(&mut self.members).insert(id.to_owned(), member);
        } else if let Some(account) = key.strip_prefix(ACCOUNTS) {
            let document = Arc::new(decode::<Account>(value).filter(|d| d.account == account)?);
            Arc::make_mut(&mut self.accounts).insert(account.to_owned(), document);
        } else if let Some(id) = key.strip_prefix(KEYS) {
            let document = Arc::new(decode::<AccessKey>(value).filter(|d| d.id == id)?);
            Arc::make_mut(&mut self.access_keys).insert(id.to_owned(), document);
        } else if let Some(account) = key.strip_prefix(SIGNERS) {
            let document = Arc::new(decode::<Signer>(value).filter(|d| d.account == account)?);
            pending.removed.remove(key);
            pending.signers.insert(account.to_owned(), document.clone());
            Arc::make_mut(&mut self.signers).insert(account.to_owned(), document);
        } else if let Some(credential) = key.strip_prefix(ORIGIN_SECRETS) {
            let document = Arc::new(decode::<OriginSecret>(value).filter(|d| d.credential == credential)?);
            pending.removed.remove(key);
            pending.origin_secrets.insert(credential.to_owned(), document.clone());
            Arc::make_mut(&mut self.origin_secrets).insert(credential.to_owned(), document);
        } else if let Some(name) = key.strip_prefix(GRANTS) {
            let document =
                decode::<Grant>(value).filter(|g| name == format!("{}/{}", g.account, g.bucket))?;
            let document = Arc::new(document);
            pending.removed.remove(key);
            pending.grants.insert(name.to_owned(), document.clone());
            Arc::make_mut(&mut self.grants).insert(name.to_owned(), document);
        } else if let Some(id) = key.strip_prefix(ROSTER) {
            let document = Arc::new(decode::<RosterEntry>(value).filter(|d| d.node_id == id)?);
            Arc::make_mut(&mut self.roster).insert(id.to_owned(), document);
        } else if key == DEPLOYED {
            let deployed = decode::<Deployed>(value)?;
            // That of a store whose backup was restored says nothing of what nodes serve now.
            self.deployed_floor = if deployed.store_id == self.store_id { deployed.revision } else { 0 };
            self.deployed_modified = modified;
        } else if key == SHIELD_MAP {
            let map = decode::<ShieldMap>(value)?;
            self.shield_map =
                Arc::new(ShieldMap { generation: modified, store_id: self.store_id.clone(), ..map });
            self.shield_map_modified = modified;
        }
        Some(())
    }

    /// Takes a deletion.
    pub(crate) fn remove(&mut self, key: &str, pending: &mut Pending) {
        if self.damaged.contains(key) {
            Arc::make_mut(&mut self.damaged).remove(key);
        }
        if let Some(id) = key.strip_prefix(DISTRIBUTIONS) {
            pending.upserts.remove(id);
            pending.deletes.insert(id.to_owned());
            Arc::make_mut(&mut self.distributions).remove(id);
        } else if let Some(id) = key.strip_prefix(PURGES) {
            // Its day is over: whoever has not heard of it by now is told nothing.
            pending.purges.remove(id);
            Arc::make_mut(&mut self.purges).remove(id);
        } else if let Some(id) = key.strip_prefix(MEMBERS) {
            Arc::make_mut(&mut self.members).remove(id);
        } else if let Some(account) = key.strip_prefix(ACCOUNTS) {
            Arc::make_mut(&mut self.accounts).remove(account);
        } else if let Some(id) = key.strip_prefix(KEYS) {
            Arc::make_mut(&mut self.access_keys).remove(id);
        } else if let Some(account) = key.strip_prefix(SIGNERS) {
            pending.signers.remove(account);
            pending.removed.insert(key.to_owned());
            Arc::make_mut(&mut self.signers).remove(account);
        } else if let Some(credential) = key.strip_prefix(ORIGIN_SECRETS) {
            pending.origin_secrets.remove(credential);
            pending.removed.insert(key.to_owned());
            Arc::make_mut(&mut self.origin_secrets).remove(credential);
        } else if let Some(name) = key.strip_prefix(GRANTS) {
            pending.grants.remove(name);
            pending.removed.insert(key.to_owned());
            Arc::make_mut(&mut self.grants).remove(name);
        } else if let Some(id) = key.strip_prefix(ROSTER) {
            Arc::make_mut(&mut self.roster).remove(id);
        } else if key == DEPLOYED {
            (self.deployed_floor, self.deployed_modified) = (0, 0);
        } else if key == SHIELD_MAP {
            self.shield_map_modified = 0;
        }
    }

    /// Makes what is pending the change to revision `number`.
    pub(crate) fn advance(&mut self, number: u64, pending: Pending, keep: usize) {
        let after = std::mem::replace(&mut self.revision, number);
        let history = Arc::make_mut(&mut self.history);
        if after == 0 || pending.len() > DELTA_DOCUMENTS {
            history.clear();
            return;
        }
        history.push_back(Arc::new(Delta {
            revision: Some(Revision { store_id: self.store_id.clone(), number }),
            upserts: pending.upserts.into_values().map(|d| (*d).clone()).collect(),
            deletes: pending.deletes.into_iter().collect(),
            purges: pending.purges.into_values().collect(),
            after,
            published: Some(Published {
                signers: pending.signers.into_values().map(|s| (*s).clone()).collect(),
                origin_secrets: pending.origin_secrets.into_values().map(|s| (*s).clone()).collect(),
                grants: pending.grants.into_values().map(|g| (*g).clone()).collect(),
            }),
            removed: pending.removed.into_iter().collect(),
        }));
        while history.len() > keep {
            history.pop_front();
        }
    }

    /// The changes after revision `number`; `None` if the history does not reach back to it.
    pub fn changes_after(&self, number: u64) -> Option<impl Iterator<Item = &Arc<Delta>>> {
        let at = if number == self.revision {
            self.history.len()
        } else {
            self.history.iter().position(|delta| delta.after == number)?
        };
        Some(self.history.iter().skip(at))
    }
}
