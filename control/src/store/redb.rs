//! The store of a standalone process: one redb file, written through before a revision counts.
//!
//! The file keeps each document with the revision that changed it and the newest revision of all, in one redb
//! transaction; so a crash leaves a whole revision or none. Opening fails if another process has the file open.
//!
//! Leases shorter than a minute are heartbeats of nodes in the process that wrote them; they end with it, so that a
//! restarted standalone never starts with a shield that is gone. Longer leases start anew at opening.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::local::{Journal, Kept, Local};
use super::{ConfigStore, Store, StoreError, Transaction};

/// Key → (revision, TTL in milliseconds or 0, bytes).
const DOCUMENTS: TableDefinition<&str, (u64, u64, &[u8])> = TableDefinition::new("documents");
/// `revision` → the newest.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const REVISION: &str = "revision";
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Opens the file at `path`, making it and its folders if absent. Must be called inside a runtime.
pub async fn open(path: &Path) -> Result<Store, StoreError> {
    let path: PathBuf = path.to_owned();
    let (database, revision, kept) = tokio::task::spawn_blocking(move || read(&path))
        .await
        .map_err(|e| StoreError::Damaged(e.to_string()))??;
    let ended: Vec<String> = kept
        .iter()
        .filter(|(_, k)| k.ttl.is_some_and(|ttl| ttl < HEARTBEAT))
        .map(|(key, _)| key.clone())
        .collect();
    let local = Local::start(revision, kept, Some(Box::new(File(Arc::new(database))))).await?;
    local.commit(Transaction { deletes: ended, ..Default::default() }).await?;
    Ok(local)
}

fn read(path: &Path) -> Result<(Database, u64, BTreeMap<String, Kept>), StoreError> {
    let failed = |e: &dyn std::fmt::Display| StoreError::Damaged(format!("{}: {e}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
    }
    let database = Database::create(path).map_err(|e| failed(&e))?;
    let contents = contents(&database).map_err(|e| failed(&e))?;
    Ok((database, contents.0, contents.1))
}

#[allow(clippy::result_large_err, reason = "redb's error; made once, at opening")]
fn contents(database: &Database) -> Result<(u64, BTreeMap<String, Kept>), redb::Error> {
    // A write transaction, so that a new file gets its tables.
    let transaction = database.begin_write()?;
    transaction.open_table(DOCUMENTS)?;
    transaction.open_table(COUNTERS)?;
    transaction.commit()?;
    let transaction = database.begin_read()?;
    let revision = transaction.open_table(COUNTERS)?.get(REVISION)?.map_or(0, |guard| guard.value());
    let mut kept = BTreeMap::new();
    for row in transaction.open_table(DOCUMENTS)?.iter()? {
        let (key, value) = row?;
        let (modified, ttl_ms, bytes) = value.value();
        let ttl = (ttl_ms != 0).then(|| Duration::from_millis(ttl_ms));
        kept.insert(key.value().to_owned(), Kept { value: Bytes::copy_from_slice(bytes), modified, ttl });
    }
    Ok((revision, kept))
}

struct File(Arc<Database>);

#[async_trait]
impl Journal for File {
    async fn write(
        &self,
        revision: u64,
        puts: Vec<(String, Kept)>,
        deletes: Vec<String>,
    ) -> Result<(), StoreError> {
        let database = self.0.clone();
        let written = tokio::task::spawn_blocking(move || append(&database, revision, &puts, &deletes)).await;
        written
            .map_err(|e| StoreError::Away(e.to_string()))?
            .map_err(|e| StoreError::Away(format!("the file can't be written: {e}")))
    }
}

#[allow(clippy::result_large_err, reason = "redb's error; the caller turns it into text")]
fn append(
    database: &Database,
    revision: u64,
    puts: &[(String, Kept)],
    deletes: &[String],
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut documents = transaction.open_table(DOCUMENTS)?;
        for key in deletes {
            documents.remove(key.as_str())?;
        }
        for (key, kept) in puts {
            let ttl_ms = kept.ttl.map_or(0, |ttl| ttl.as_millis() as u64);
            documents.insert(key.as_str(), (kept.modified, ttl_ms, &kept.value[..]))?;
        }
        transaction.open_table(COUNTERS)?.insert(REVISION, revision)?;
    }
    transaction.commit()?;
    Ok(())
}
