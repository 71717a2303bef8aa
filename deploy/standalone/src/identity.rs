//! What stays the same for one data folder: keys, node token, the distribution's id and name.
//!
//! Made at the first start, written whole by rename with mode 0600, read at every later one. A damaged file is an error, not a reason to make
//! new keys: scripts hold the old ones.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rand::Rng;
use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";

/// The data folder's identity.
#[derive(Clone, Serialize, Deserialize)]
pub struct Identity {
    /// S3 access key id.
    pub access_key_id: String,
    /// S3 secret access key.
    pub secret_access_key: String,
    /// The master token, from which those of the edge and the shield inside are derived.
    pub node_token: String,
    /// The distribution's id.
    pub distribution_id: String,
    /// The first label of its domain.
    pub domain_label: String,
}

impl Identity {
    /// Reads the identity in `data`, making it at first.
    pub fn load_or_make(data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("--data {}", data.display()))?;
        let path = data.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::make();
                write_private(&path, &serde_json::to_vec_pretty(&made)?)?;
                Ok(made)
            }
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    fn make() -> Self {
        const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        const ALL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        Self {
            access_key_id: format!("AKIA{}", random(UPPER, 16)),
            secret_access_key: random(ALL, 40),
            node_token: random(ALL, 40),
            distribution_id: format!("E{}", random(UPPER, 13)),
            domain_label: format!("s{}", random(LOWER, 13)),
        }
    }
}

fn random(alphabet: &[u8], len: usize) -> String {
    let mut rng = rand::rng();
    (0..len).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())])).collect()
}

/// Writes `bytes` to `path` whole: a new file beside it with mode 0600, then a rename.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().context("a file name is needed")?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}
