//! Commands that read or write the whole config: apply, export, import.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use penstock_control::backup::file;
use penstock_control::client::admin::Admin;
use proto::v1::BackupEntry;

use super::{Answer, sealing};

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    }
    Ok(text)
}

/// The outer result is this machine's trouble, the inner one control's.
pub(super) async fn apply(admin: &mut Admin, path: &Path) -> Result<Answer> {
    let yaml = read(path)?;
    Ok(admin.apply(&yaml).await.map(|applied| {
        for entry in &applied.entries {
            println!("{}  {}  {}", entry.id, entry.domain, entry.name);
        }
        println!("{} created, {} updated, {} deleted", applied.created, applied.updated, applied.deleted);
    }))
}

pub(super) async fn export(admin: &mut Admin) -> Result<Answer> {
    let (revision, entries) = match admin.export().await {
        Ok(exported) => exported,
        Err(error) => return Ok(Err(error)),
    };
    let documents = entries.iter().map(|e| (e.key.as_str(), &e.value[..]));
    let text = file::write(&revision.store_id, revision.number, documents);
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output")?;
    eprintln!("{} documents of revision {}", entries.len(), revision.number);
    Ok(Ok(()))
}

pub(super) async fn import(admin: &mut Admin, path: &Path, replace: bool) -> Result<Answer> {
    let documents = file::read(&read(path)?).with_context(|| path.display().to_string())?;
    let entries = documents.into_iter().map(|(key, value)| BackupEntry { key, value }).collect();
    Ok(admin.import(entries, replace).await.map(|imported| {
        let (documents, deleted, id) = (imported.documents, imported.deleted, imported.store_id);
        println!("{documents} documents written, {deleted} deleted; the store is now {id}");
        for line in sealing::unopened(&imported.sealing.unwrap_or_default()) {
            println!("{line}");
        }
    }))
}
