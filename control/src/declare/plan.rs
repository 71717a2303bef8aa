//! From a file and the store to the transactions between them.

use std::collections::{BTreeMap, HashMap, HashSet};

use proto::distribution::{Invalid, SIGNED_NAMES, SWF_VERIFICATION, validate};
use proto::object::OriginId;
use proto::v1::{AllowedSwf, Distribution, DistributionKind, LogTarget};

use super::{Applied, ApplyError, Declared, DeclaredSet, Kind};
use crate::api::names;
use crate::documents::{
    self, DECLARED, DISTRIBUTIONS, NAMES, Stored, delete_distribution, new_domain, new_id, put_distribution,
};
use crate::store::{ConfigStore, StoreError};

/// A record `declared/NAME`: the distribution its entry made.
pub(super) struct Record {
    id: String,
    modified: u64,
    /// `None` if it was deleted by other means.
    stored: Option<Stored>,
}

/// Records by entry name.
pub(super) type Records = BTreeMap<String, Record>;

fn invalid(name: &str, field: &'static str, reason: impl Into<String>) -> ApplyError {
    ApplyError::Invalid { name: name.into(), reason: Invalid { field, reason: reason.into() } }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// The document of each entry, ids and domains as remembered or new. Checks the file against itself.
pub(super) fn documents(
    set: &DeclaredSet,
    zone: &str,
    records: &Records,
) -> Result<Vec<Distribution>, ApplyError> {
    let (mut names, mut ids, mut hosts) = (HashSet::new(), HashMap::new(), HashMap::new());
    let mut documents = Vec::with_capacity(set.distributions.len());
    for entry in &set.distributions {
        let name = &entry.name;
        if !is_name(name) {
            return Err(invalid(name, "name", "is not 1 to 64 of [A-Za-z0-9._-]"));
        }
        if !names.insert(name.clone()) {
            return Err(invalid(name, "name", "appears twice"));
        }
        let document = document(entry, zone, records.get(name));
        validate(&document).map_err(|reason| ApplyError::Invalid { name: name.clone(), reason })?;
        if let Some(other) = ids.insert(document.id.clone(), name) {
            return Err(invalid(name, "id", format!("'{}' is also the id of '{other}'", document.id)));
        }
        for (field, host) in std::iter::once(("domain", &document.domain))
            .chain(document.aliases.iter().map(|a| ("aliases", a)))
        {
            if let Some(other) = hosts.insert(host.clone(), name) {
                return Err(invalid(name, field, format!("'{host}' is also a name of '{other}'")));
            }
        }
        documents.push(document);
    }
    Ok(documents)
}

fn document(entry: &Declared, zone: &str, record: Option<&Record>) -> Distribution {
    let (kind, letter) = match entry.kind {
        Kind::Streaming => (DistributionKind::Streaming, 's'),
        Kind::Web => (DistributionKind::Web, 'd'),
    };
    let id = entry.id.clone().or_else(|| record.map(|r| r.id.clone())).unwrap_or_else(new_id);
    // The first letter tells the kind: an entry that changes its kind gets a new domain.
    let kept = record
        .and_then(|r| r.stored.as_ref())
        .map(|s| &s.document)
        .filter(|known| known.id == id && known.domain.starts_with(letter))
        .map(|known| known.domain.clone());
    let domain = entry.domain.clone().or(kept).unwrap_or_else(|| new_domain(letter, zone));
    let mut required_features = entry.required_features.clone();
    if !entry.swf_verification.is_empty() && !required_features.iter().any(|f| f == SWF_VERIFICATION) {
        required_features.push(SWF_VERIFICATION.to_owned());
    }
    if !entry.trusted_signers.is_empty() && !required_features.iter().any(|f| f == SIGNED_NAMES) {
        required_features.push(SIGNED_NAMES.to_owned());
    }
    // What is no hash becomes an empty one, which is refused by its field's name.
    let allowed = entry.swf_verification.iter().map(|swf| AllowedSwf {
        hash: hex::decode(&swf.hash).unwrap_or_default().into(),
        size_bytes: swf.size_bytes,
    });
    let swf_verification = allowed.collect();
    let origin_host = entry.origin.trim_end_matches('.').to_ascii_lowercase();
    Distribution {
        id,
        kind: kind.into(),
        domain,
        aliases: entry.aliases.clone(),
        enabled: entry.enabled,
        origin_id: OriginId::of(&origin_host, &entry.credential).as_str().into(),
        origin_host,
        credential: entry.credential.clone(),
        comment: entry.comment.clone(),
        required_features,
        chunk_size_bytes: entry.chunk_size_bytes,
        swf_verification,
        audio_sample_access: entry.audio_sample_access,
        video_sample_access: entry.video_sample_access,
        account: entry.account.clone(),
        trusted_signers: entry.trusted_signers.clone(),
        // Without an account: whoever sees the distribution, the operator chose the bucket.
        logging: entry.logging.as_ref().map(|to| LogTarget {
            bucket_host: to.bucket.trim_end_matches('.').to_ascii_lowercase(),
            prefix: to.prefix.clone(),
            account: String::new(),
        }),
        log_cookies: false,
    }
}

async fn records(store: &dyn ConfigStore) -> Result<Records, StoreError> {
    let mut records = Records::new();
    for entry in store.list(DECLARED).await?.entries {
        let Some(name) = entry.key.strip_prefix(DECLARED) else { continue };
        let id = String::from_utf8_lossy(&entry.value).into_owned();
        let stored = documents::distribution(store, &id).await?;
        records.insert(name.to_owned(), Record { id, modified: entry.modified, stored });
    }
    Ok(records)
}

/// Refuses ids and names that belong to distributions this file did not make, and releases claims that outlived their names.
async fn check_store(
    store: &dyn ConfigStore,
    set: &DeclaredSet,
    documents: &[Distribution],
    records: &Records,
) -> Result<(), ApplyError> {
    let ours: HashSet<&String> = records.values().map(|r| &r.id).collect();
    for (entry, document) in set.distributions.iter().zip(documents) {
        let known = records.get(&entry.name).filter(|r| r.id == document.id).and_then(|r| r.stored.as_ref());
        if !ours.contains(&document.id)
            && store.get(&format!("{DISTRIBUTIONS}{}", document.id)).await?.is_some()
        {
            let reason = format!("'{}' exists and was not made by this file", document.id);
            return Err(invalid(&entry.name, "id", reason));
        }
        for (field, host) in std::iter::once(("domain", &document.domain))
            .chain(document.aliases.iter().map(|a| ("aliases", a)))
        {
            if known.is_some_and(|k| k.document.domain == *host || k.document.aliases.contains(host)) {
                continue;
            }
            let Some(owner) = store.get(&format!("{NAMES}{host}")).await? else { continue };
            let owner = String::from_utf8_lossy(&owner.value).into_owned();
            let owner = owner.split(' ').next().unwrap_or_default().to_owned();
            // One whose distribution no longer has it is as good as free.
            if !names::release_if_stale(store, host).await? && !ours.contains(&owner) {
                return Err(invalid(&entry.name, field, format!("'{host}' belongs to distribution {owner}")));
            }
        }
    }
    Ok(())
}

/// Reads the store and writes what differs, adding to `applied`. Fails with a conflict if somebody else wrote meanwhile.
pub(super) async fn attempt(
    store: &dyn ConfigStore,
    set: &DeclaredSet,
    zone: &str,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let records = records(store).await?;
    let documents = documents(set, zone, &records)?;
    check_store(store, set, &documents, &records).await?;
    let wanted: HashMap<&String, &Distribution> =
        set.distributions.iter().map(|e| &e.name).zip(&documents).collect();

    // What goes, goes first: an entry may take over a name that another one gives up.
    for (name, record) in &records {
        if wanted.get(name).is_some_and(|document| document.id == record.id) {
            continue;
        }
        let key = format!("{DECLARED}{name}");
        let forget = match &record.stored {
            Some(stored) => delete_distribution(stored),
            None => Default::default(),
        };
        store.commit(forget.when(&key, record.modified).delete(key)).await?;
        applied.deleted += usize::from(record.stored.is_some());
    }
    let mut order: Vec<(&Declared, &Distribution)> = set.distributions.iter().zip(&documents).collect();
    // Then those that give up names, in case a third wants them.
    order.sort_by_key(|(entry, document)| {
        let known = records.get(&entry.name).and_then(|r| r.stored.as_ref());
        let gives_up = known.is_some_and(|k| {
            k.document.domain != document.domain
                || k.document.aliases.iter().any(|a| !document.aliases.contains(a))
        });
        !gives_up
    });
    for (entry, document) in order {
        let record = records.get(&entry.name).filter(|r| r.id == document.id);
        let known = record.and_then(|r| r.stored.as_ref());
        if known.is_some_and(|k| k.document == *document) {
            continue;
        }
        let mut transaction = put_distribution(known, document)
            .map_err(|reason| ApplyError::Invalid { name: entry.name.clone(), reason })?;
        let key = format!("{DECLARED}{}", entry.name);
        transaction = match record {
            Some(record) => transaction.when(key, record.modified),
            // A record of another id was deleted above.
            None => transaction.when(&key, 0).put(key, document.id.clone()),
        };
        let released = names::set_aside(&mut transaction);
        store.commit(transaction).await.map_err(documents::DocumentError::from)?;
        names::release(store, &document.id, &released).await;
        match known {
            Some(_) => applied.updated += 1,
            None => applied.created += 1,
        }
    }
    applied.distributions =
        set.distributions.iter().map(|e| e.name.clone()).zip(documents.iter().cloned()).collect();
    Ok(())
}
