//! Distributions from a file, for GitOps: what the file says is made so, and nothing is written if it is so already.
//!
//! ```yaml
//! distributions:
//!   - name: films            # unique in the file; remembers the id and domain the entry was given
//!     kind: streaming        # or web
//!     origin: media.s3.amazonaws.com
//!     aliases: [films.example.com]
//!     logging: {bucket: logs.s3.amazonaws.com, prefix: films}
//! ```
//!
//! The document `declared/NAME` records the id of the distribution an entry made: so an id or domain that the file leaves
//! out is generated once and kept, and a distribution whose entry is gone is deleted, while those made otherwise are
//! never touched. The file is checked whole, against itself and the store, before anything is written; then each
//! distribution is one transaction. If another replica applies the same file at the same moment, one of the two finds a
//! conflict, reads again and has nothing left to do.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod plan;
pub mod watch;

use std::path::{Path, PathBuf};

use proto::distribution::Invalid;
use proto::v1::Distribution;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::documents::DocumentError;
use crate::store::{ConfigStore, StoreError};

/// Attempts against others who write at the same time.
const ATTEMPTS: usize = 5;

/// RTMP or HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// RTMP.
    #[default]
    Streaming,
    /// HTTP.
    Web,
}

/// One entry of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Unique in the file: 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Streaming by default.
    #[serde(default)]
    pub kind: Kind,
    /// `E` and 12 or 13 of `[0-9A-Z]`; generated once if left out.
    #[serde(default)]
    pub id: Option<String>,
    /// `s` or `d`, 13 of `[a-z0-9]`, a dot, a zone; generated once if left out.
    #[serde(default)]
    pub domain: Option<String>,
    /// CNAMEs.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// True by default.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The bucket's host.
    pub origin: String,
    /// Name of the credential shields read it with; anonymous by default.
    #[serde(default)]
    pub credential: String,
    /// At most 128 characters.
    #[serde(default)]
    pub comment: String,
    /// RTMP chunk size; 0, the default, leaves it to the edge.
    #[serde(default)]
    pub chunk_size_bytes: u32,
    /// SWF files a player may be; any by default. Adds the feature `swf-verification` to those an edge must have.
    #[serde(default)]
    pub swf_verification: Vec<DeclaredSwf>,
    /// Whether players' scripts may read the sound; false by default.
    #[serde(default)]
    pub audio_sample_access: bool,
    /// Whether players' scripts may read the pixels; false by default.
    #[serde(default)]
    pub video_sample_access: bool,
    /// The account it is shown to, 12 digits; none by default.
    #[serde(default)]
    pub account: String,
    /// Accounts whose signers may sign stream names; none by default. Adds the feature `signed-names` to those an edge must have.
    #[serde(default)]
    pub trusted_signers: Vec<String>,
    /// Where access logs go, in the operator's name: no grant is needed; none by default.
    #[serde(default)]
    pub logging: Option<DeclaredLogging>,
    /// Features an edge must have to serve it.
    #[serde(default)]
    pub required_features: Vec<String>,
}

/// Where access logs go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredLogging {
    /// The bucket's host, such as `logs.s3.amazonaws.com`.
    pub bucket: String,
    /// Before each file's name, up to 256 characters; a slash is put between where it has none. Empty by default.
    #[serde(default)]
    pub prefix: String,
}

/// A SWF file a player may be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredSwf {
    /// HMAC-SHA256 of the decompressed file under `Genuine Adobe Flash Player 001`, 64 hexadecimal digits: what rtmpdump calls swfhash.
    pub hash: String,
    /// Length of the decompressed file; 0, the default, allows any.
    #[serde(default)]
    pub size_bytes: u32,
}

fn yes() -> bool {
    true
}

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredSet {
    /// All distributions this file makes. The key must be there with a list, so that an emptied or half-written file is refused
    /// instead of deleting everything.
    #[serde(deserialize_with = "list")]
    pub distributions: Vec<Declared>,
}

/// A list; nothing at all, which YAML otherwise takes for an empty one, is what a file cut short behind its key says.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Declared>, D::Error> {
    let written: Option<Vec<Declared>> = Deserialize::deserialize(from)?;
    written.ok_or_else(|| {
        D::Error::custom("`distributions` names nothing: write [] to delete all that the file has made")
    })
}

/// Why a file was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The file can't be read, or is not of this form.
    #[error("{path}: {reason}")]
    File {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it; names the field.
        reason: String,
    },
    /// An entry is not valid; nothing was written.
    #[error("distribution '{name}': {reason}")]
    Invalid {
        /// The entry.
        name: String,
        /// The field and what is wrong with it.
        reason: Invalid,
    },
    /// The store refused or failed; what was written before stays, and applying again goes on from there.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        Self::Document(error.into())
    }
}

/// What applying a file came to.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Distributions made.
    pub created: usize,
    /// Distributions changed.
    pub updated: usize,
    /// Distributions deleted because their entries are gone.
    pub deleted: usize,
    /// `(name, document)` of each entry, in the file's order.
    pub distributions: Vec<(String, Distribution)>,
}

impl Applied {
    /// Whether nothing was written.
    pub fn is_unchanged(&self) -> bool {
        self.created + self.updated + self.deleted == 0
    }
}

impl DeclaredSet {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ApplyError> {
        let failed = |reason: String| ApplyError::File { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        Self::parse(&text).map_err(|e| failed(e.to_string()))
    }

    /// Reads a file's text; the error names line and field.
    pub fn parse(yaml: &str) -> Result<Self, serde_yaml_ng::Error> {
        serde_yaml_ng::from_str(yaml)
    }

    /// Checks all that can be known without the store, naming the entry and the field.
    pub fn check(&self, zone: &str) -> Result<(), ApplyError> {
        plan::documents(self, zone, &Default::default()).map(drop)
    }
}

/// Makes the store's declared distributions those of `set`.
pub async fn apply(store: &dyn ConfigStore, set: &DeclaredSet, zone: &str) -> Result<Applied, ApplyError> {
    let mut applied = Applied::default();
    for attempt in 1.. {
        match plan::attempt(store, set, zone, &mut applied).await {
            Err(ApplyError::Document(
                DocumentError::Store(StoreError::Conflict { .. }) | DocumentError::NameTaken { .. },
            )) if attempt < ATTEMPTS => {
                tracing::debug!(attempt, "somebody else wrote at the same time; reading again");
            }
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    if !applied.is_unchanged() {
        let Applied { created, updated, deleted, .. } = applied;
        tracing::info!(created, updated, deleted, "declared distributions applied");
    }
    Ok(applied)
}

#[cfg(test)]
mod tests;
