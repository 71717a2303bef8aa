//! What operators ask of the whole config: apply a file, take a backup, put one back.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use proto::status::Reason;
use proto::v1::{AppliedEntry, ApplyResponse, BackupEntry, BackupPage, ImportResponse, Revision};
use tonic::{Status, Streaming};

use super::calls::{Calls, of_store, refused};
use super::secrets;
use crate::backup::{self, ImportError};
use crate::declare::{self, ApplyError, DeclaredSet};
use crate::documents::DocumentError;
use crate::seal::Standing;
use crate::seal::reseal::Usage;

/// Bytes after which a page of a backup is full.
const PAGE_BYTES: usize = 1 << 20;
/// Bytes of documents an import holds at most.
const IMPORT_BYTES: usize = 512 << 20;

/// A backup on its way out.
pub(super) type Pages = BoxStream<'static, Result<BackupPage, Status>>;

/// Makes the declared distributions those of the file `yaml`.
pub(super) async fn apply(calls: &Calls, yaml: &str) -> Result<ApplyResponse, Status> {
    if let Some(file) = &calls.config.distributions_file {
        let message = format!("this control follows the file {}: change that one", file.display());
        return Err(refused(Reason::Invalid, message));
    }
    let set = DeclaredSet::parse(yaml).map_err(|e| refused(Reason::Invalid, e.to_string()))?;
    let applied =
        declare::apply(&*calls.store, &set, &calls.config.zone).await.map_err(|error| match error {
            ApplyError::Document(DocumentError::Store(error)) => of_store(error),
            error => refused(Reason::Invalid, error.to_string()),
        })?;
    let entry =
        |(name, d): (String, proto::v1::Distribution)| AppliedEntry { name, id: d.id, domain: d.domain };
    Ok(ApplyResponse {
        created: applied.created as u32,
        updated: applied.updated as u32,
        deleted: applied.deleted as u32,
        entries: applied.distributions.into_iter().map(entry).collect(),
    })
}

/// The config at one revision, in pages.
pub(super) async fn export(calls: &Calls) -> Result<Pages, Status> {
    let (head, entries) = backup::export(&*calls.store).await.map_err(of_store)?;
    let mut revision = Some(Revision { store_id: head.store_id, number: head.revision });
    let mut entries = entries.into_iter().peekable();
    let pages = std::iter::from_fn(move || {
        if revision.is_none() && entries.peek().is_none() {
            return None;
        }
        let mut page = BackupPage { revision: revision.take(), ..Default::default() };
        let mut bytes = 0;
        while bytes < PAGE_BYTES
            && let Some(entry) = entries.next()
        {
            bytes += entry.key.len() + entry.value.len();
            page.entries.push(BackupEntry { key: entry.key, value: entry.value });
        }
        Some(Ok(page))
    });
    Ok(futures::stream::iter(pages).boxed())
}

/// Puts a backup into the store.
pub(super) async fn import(
    calls: &Calls,
    mut pages: Streaming<BackupPage>,
) -> Result<ImportResponse, Status> {
    let (mut entries, mut bytes, mut replace): (Vec<(String, Bytes)>, usize, bool) = Default::default();
    while let Some(page) = pages.message().await? {
        replace |= page.replace;
        for entry in page.entries {
            bytes += entry.key.len() + entry.value.len();
            entries.push((entry.key, entry.value));
        }
        if bytes > IMPORT_BYTES {
            return Err(refused(Reason::Overloaded, format!("the backup is over {IMPORT_BYTES} bytes")));
        }
    }
    let imported = backup::import(&*calls.store, &entries, replace).await.map_err(|error| match error {
        ImportError::Store(error) => of_store(error),
        error => refused(Reason::Invalid, error.to_string()),
    })?;
    let head = calls.store.head().await.map_err(of_store)?;
    tracing::warn!(
        documents = imported.documents, deleted = imported.deleted, store = %head.store_id, "a backup was imported"
    );
    let usage = Usage::of(entries.iter().map(|(key, value)| (key.as_str(), value)));
    let unopened = usage.count_of(&calls.config.sealer, Standing::Unknown) + usage.damaged;
    if unopened > 0 {
        tracing::error!(
            unopened,
            "secrets of the backup are sealed under keys that this control does not have: secrets.old_key_files may name them"
        );
    }
    Ok(ImportResponse {
        documents: imported.documents,
        deleted: imported.deleted,
        store_id: head.store_id,
        sealing: Some(secrets::told(&usage, &calls.config.sealer)),
    })
}
