//! Where the key comes from that seals secrets in the store.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use crate::seal::key::KeyError;
use crate::seal::{Sealer, SealingKey};

/// At most one of `key` and `key_file`; neither: no key.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecretsSettings {
    /// The key itself, which suits the environment.
    pub key: Option<String>,
    /// A file that holds it.
    pub key_file: Option<PathBuf>,
    /// Files of keys that open too: one that is to seal soon, or did before.
    pub old_key_files: Vec<PathBuf>,
    /// Such keys themselves, which suits the environment.
    #[serde(deserialize_with = "keys")]
    pub old_keys: Vec<String>,
}

/// A list; of anything else the reader would say what it is, which is a key.
fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Vec::deserialize(from).map_err(|_| serde::de::Error::custom("old_keys: is a list of keys"))
}

impl std::fmt::Debug for SecretsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretsSettings")
            .field("key", &self.key.as_ref().map(|_| "..."))
            .field("key_file", &self.key_file)
            .field("old_key_files", &self.old_key_files)
            .field("old_keys", &self.old_keys.len())
            .finish()
    }
}

impl SecretsSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        for key in &self.old_keys {
            SealingKey::parse(key, "secrets.old_keys").map_err(|e| e.to_string())?;
        }
        match (&self.key, &self.key_file) {
            (Some(_), Some(_)) => {
                Err("secrets.key: is given beside secrets.key_file; give one of them".into())
            }
            (None, None) if !(self.old_key_files.is_empty() && self.old_keys.is_empty()) => {
                Err("secrets.old_key_files: old keys only open; give secrets.key_file too".into())
            }
            (Some(key), None) => SealingKey::parse(key, "secrets.key").map(drop).map_err(|e| e.to_string()),
            _ => Ok(()),
        }
    }

    /// Reads the files.
    pub(super) fn sealer(&self) -> Result<Sealer, KeyError> {
        let key = match (&self.key, &self.key_file) {
            (Some(key), _) => SealingKey::parse(key, "secrets.key")?,
            (None, Some(file)) => SealingKey::read(file)?,
            (None, None) => return Ok(Sealer::none()),
        };
        let files = self.old_key_files.iter().map(|file| SealingKey::read(file));
        let texts = self.old_keys.iter().map(|key| SealingKey::parse(key, "secrets.old_keys"));
        let old = files.chain(texts).collect::<Result<Vec<_>, _>>()?;
        Ok(Sealer::new(&key, &old))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_from_the_field_or_the_file_and_old_ones_still_open() {
        let dir = tempfile::tempdir().unwrap();
        let [old_file, new_file] = ["old", "new"].map(|name| dir.path().join(name));
        std::fs::write(&old_file, format!("{}\n", "ab".repeat(32))).unwrap();
        let old = SecretsSettings { key: Some("ab".repeat(32)), ..Default::default() };
        let sealed = old.sealer().unwrap().seal("k", b"secret").unwrap();

        std::fs::write(&new_file, "cd".repeat(32)).unwrap();
        let new = SecretsSettings {
            key_file: Some(new_file.clone()),
            old_key_files: vec![old_file.clone()],
            ..Default::default()
        };
        assert_eq!(new.check(), Ok(()));
        assert_eq!(new.sealer().unwrap().open("k", &sealed).unwrap(), b"secret");
        let by_text = SecretsSettings {
            key_file: Some(new_file),
            old_keys: vec!["ab".repeat(32)],
            ..Default::default()
        };
        assert_eq!(by_text.check(), Ok(()));
        assert_eq!(by_text.sealer().unwrap().open("k", &sealed).unwrap(), b"secret");
        assert!(!format!("{by_text:?}").contains("abab"), "the key shows");
        let alone = SecretsSettings { old_keys: vec!["ab".repeat(32)], ..Default::default() };
        assert!(alone.check().unwrap_err().contains("give secrets.key_file"));
        let short = SecretsSettings { old_keys: vec!["ab".into()], ..old.clone() };
        assert!(short.check().unwrap_err().starts_with("secrets.old_keys"));
        assert!(!SecretsSettings::default().sealer().unwrap().has_key());
        assert!(!format!("{old:?}").contains("abab"), "the key shows");

        std::fs::write(&old_file, "not a key").unwrap();
        let error = new.sealer().unwrap_err().to_string();
        assert!(error.contains("old: is not a key"), "{error}");
    }
}
