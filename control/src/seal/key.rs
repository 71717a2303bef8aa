//! The sealing key: 32 bytes, written as 64 hexadecimal digits or base64, given by a file or the environment.
//!
//! `openssl rand -hex 32 > FILE` makes one. A key that isn't 32 bytes is refused where it was given, never stretched: a
//! passphrase would be a key that can be guessed.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::KEY_ID_BYTES;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes.
    #[error("{origin}: is not a key of 32 bytes as 64 hexadecimal digits or base64")]
    Form {
        /// The field or file it came from.
        origin: String,
    },
    /// A file failed.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// Both were given.
    #[error("secrets.key: give the key or its file, not both")]
    Both,
    /// The system gave no random bytes.
    #[error("the system has no random bytes to give")]
    NoRandom,
}

/// See the [module](self).
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey([u8; 32]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", hex::encode(self.id()))
    }
}

impl SealingKey {
    /// The key `text` stands for; `origin` (a field or file) is named by the error.
    pub fn parse(text: &str, origin: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
        let bytes =
            hex::decode(text).ok().or_else(|| engines.iter().find_map(|engine| engine.decode(text).ok()));
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| KeyError::Form { origin: origin.to_owned() })
    }

    /// The key in the file at `path`.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::File { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The key in the file at `path`; a new one, in a file that only its owner reads, if there is no such file. Two who
    /// start at once get the same key.
    pub fn read_or_create(path: &Path) -> Result<Self, KeyError> {
        use std::os::unix::fs::OpenOptionsExt;
        if path.exists() {
            return Self::read(path);
        }
        let failed = |error| KeyError::File { path: path.to_owned(), error };
        let key = Self::random()?;
        // Written whole under a name of its own, then linked: a key that is half written would look like a wrong one.
        let suffix = hex::encode(Self::random()?.id());
        let draft = path.with_extension(format!("{suffix}.new"));
        let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
        let linked = options
            .and_then(|mut file| {
                file.write_all(format!("{}\n", hex::encode(key.0)).as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| std::fs::hard_link(&draft, path));
        let removed = std::fs::remove_file(&draft);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(failed(error)),
            Ok(()) => removed.map(|()| key).map_err(failed),
        }
    }

    /// A new key.
    pub fn random() -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::NoRandom)?;
        Ok(Self(bytes))
    }

    /// Tells it from others without telling anything of it.
    pub fn id(&self) -> [u8; KEY_ID_BYTES] {
        let hash = digest(&SHA256, &[b"penstock sealing key id\0", &self.0[..]].concat());
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&hash.as_ref()[..KEY_ID_BYTES]);
        id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
