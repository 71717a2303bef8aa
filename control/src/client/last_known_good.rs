//! The file a node starts from while control is away.
//!
//! It holds the catalogue and the shield map of one moment as the events a subscription would have brought: a snapshot
//! page with what was in service, a page with what was refused (judged anew at start: the node may have been upgraded
//! since) and the shield map; before them a magic line and a SHA-256 of the rest. It is written to a temporary name,
//! synced and renamed, so it is whole or absent; one that can't be read or fails its checksum is set aside with a log
//! line, and the node waits for control as if it were new. A shield's holds secrets of origins: it is readable by its owner alone (mode 0600).

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use proto::v1::{Distribution, ShieldMap, SnapshotPage, SubscribeEvent, subscribe_event::Event};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::catalogue::Catalogue;

const NAME: &str = "last-known-good";
const MAGIC: &[u8] = b"penstock last known good 1\n";
const HASH_BYTES: usize = 32;

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("{path}: {source}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was not written by us, or not whole.
    #[error("{path}: {reason}")]
    Corrupt {
        /// Its path.
        path: PathBuf,
        /// What does not fit.
        reason: &'static str,
    },
}

/// The path of the file in `state_dir`.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// Writes the file for `catalogue` and `shields`.
pub async fn save(state_dir: &Path, catalogue: &Catalogue, shields: &ShieldMap) -> io::Result<()> {
    let bytes = encode(catalogue, shields);
    tokio::fs::create_dir_all(state_dir).await?;
    let temporary = state_dir.join(format!("{NAME}.new"));
    // A shield's file holds the keys by which it reads origins: nobody else may read it.
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).await?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).await?;
    file.write_all(&bytes).await?;
    file.sync_all().await?;
    drop(file);
    tokio::fs::rename(&temporary, path(state_dir)).await?;
    // The rename itself is durable once the folder is.
    tokio::fs::File::open(state_dir).await?.sync_all().await
}

/// Reads the file; `None` if there is none.
pub fn load(state_dir: &Path) -> Result<Option<(Catalogue, ShieldMap)>, LoadError> {
    let path = path(state_dir);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LoadError::Io { path, source }),
    };
    decode(&bytes).map(Some).map_err(|reason| LoadError::Corrupt { path, reason })
}

fn page(catalogue: &Catalogue, documents: Vec<Distribution>, end: bool) -> SubscribeEvent {
    let page = SnapshotPage {
        revision: Some(catalogue.revision.clone()),
        distributions: documents,
        purges: if end { catalogue.purges.clone() } else { Vec::new() },
        published: end.then(|| catalogue.access.published()),
        end,
    };
    SubscribeEvent { event: Some(Event::SnapshotPage(page)) }
}

fn encode(catalogue: &Catalogue, shields: &ShieldMap) -> Vec<u8> {
    let plain =
        |documents: &mut dyn Iterator<Item = &Arc<Distribution>>| documents.map(|d| (**d).clone()).collect();
    let events = [
        page(catalogue, plain(&mut catalogue.distributions.values()), true),
        page(catalogue, plain(&mut catalogue.refused.values().map(|r| &r.document)), false),
        SubscribeEvent { event: Some(Event::ShieldMap(shields.clone())) },
    ];
    let body: Vec<u8> = events.iter().flat_map(Message::encode_length_delimited_to_vec).collect();
    [MAGIC, &Sha256::digest(&body)[..], &body].concat()
}

fn decode(bytes: &[u8]) -> Result<(Catalogue, ShieldMap), &'static str> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("is not a last-known-good file of this version")?;
    let (hash, mut body) = rest.split_at_checked(HASH_BYTES).ok_or("is cut short")?;
    if Sha256::digest(body)[..] != *hash {
        return Err("fails its checksum");
    }
    let (mut catalogue, mut shields) = (Catalogue::empty(), ShieldMap::default());
    while !body.is_empty() {
        let event =
            SubscribeEvent::decode_length_delimited(&mut body).map_err(|_| "holds what is no event")?;
        match event.event {
            Some(Event::SnapshotPage(page)) if page.end => {
                catalogue = Catalogue::empty()
                    .replace(page.revision.unwrap_or_default(), page.distributions, page.purges)
                    .with_published(page.published.unwrap_or_default());
            }
            Some(Event::SnapshotPage(page)) => {
                catalogue = catalogue.apply(proto::v1::Delta {
                    revision: page.revision,
                    upserts: page.distributions,
                    ..Default::default()
                });
            }
            Some(Event::ShieldMap(map)) => shields = map,
            _ => return Err("holds an event that does not belong there"),
        }
    }
    if catalogue.is_empty() { Err("names no revision") } else { Ok((catalogue, shields)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::catalogue::tests::document;
    use proto::v1::Revision;

    fn sample() -> (Catalogue, ShieldMap) {
        let private = Distribution {
            required_features: vec!["signed".into()],
            ..document("E1234567890124", "b.example")
        };
        let documents = vec![document("E1234567890123", "a.example"), private];
        let catalogue =
            Catalogue::empty().replace(Revision { store_id: "s".into(), number: 7 }, documents, vec![]);
        (catalogue, ShieldMap { generation: 5, store_id: "s".into(), ..Default::default() })
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("deep/state");
        let (catalogue, shields) = sample();
        assert!(load(&state).unwrap().is_none());
        save(&state, &catalogue, &shields).await.unwrap();
        save(&state, &catalogue, &shields).await.unwrap();
        let (loaded, map) = load(&state).unwrap().unwrap();
        assert_eq!(loaded.revision, catalogue.revision);
        assert_eq!(loaded.distributions.len(), 1);
        assert_eq!(loaded.refused.len(), 1);
        assert_eq!(map, shields);
        let mode = std::fs::metadata(path(&state)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn access_is_kept_in_a_file_only_its_owner_can_read() {
        use proto::v1::{Grant, OriginSecret, Published, Signer};
        let dir = tempfile::tempdir().unwrap();
        let (catalogue, shields) = sample();
        let published = Published {
            signers: vec![Signer { account: "123456789012".into(), keys: vec![] }],
            origin_secrets: vec![OriginSecret {
                credential: "oai/E1".into(),
                secret_access_key: "s".into(),
                ..Default::default()
            }],
            grants: vec![Grant { account: "123456789012".into(), bucket: "media".into() }],
        };
        let catalogue = catalogue.with_published(published.clone());
        // A file of a careless predecessor doesn't lend its mode.
        let left = dir.path().join(format!("{NAME}.new"));
        std::fs::write(&left, "old").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        save(dir.path(), &catalogue, &shields).await.unwrap();
        let (loaded, _) = load(dir.path()).unwrap().unwrap();
        assert_eq!(loaded.access.published(), published);
        assert_eq!(std::fs::metadata(path(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn no_damaged_byte_goes_unnoticed() {
        let (catalogue, shields) = sample();
        let whole = encode(&catalogue, &shields);
        for i in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[i] ^= 1;
            assert!(decode(&bytes).is_err(), "byte {i}");
            assert!(decode(&whole[..i]).is_err(), "cut at {i}");
        }
    }
}
