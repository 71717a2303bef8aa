//! A backup on disk: lines of JSON, so that it can be read, compared and cut apart with common tools.
//!
//! The first line says what it is and where it comes from, then comes one line a document, the last line counts them and carries the SHA-256
//! of all lines before it. A file that was cut short or changed is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const FORMAT: u32 = 1;

/// Why a file is no backup.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct FileError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct First {
    penstock_backup: u32,
    store_id: String,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
struct Document {
    key: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
struct Last {
    documents: usize,
    sha256: String,
}

fn line(value: &impl Serialize) -> String {
    // Text and numbers under fixed names can't fail to become JSON.
    serde_json::to_string(value).unwrap_or_default() + "\n"
}

/// The file of `entries`, which stood at `revision` of `store_id`.
pub fn write<'a>(
    store_id: &str,
    revision: u64,
    entries: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> String {
    let mut text = line(&First { penstock_backup: FORMAT, store_id: store_id.into(), revision });
    let mut documents = 0;
    for (key, value) in entries {
        text += &line(&Document { key: key.into(), value: STANDARD.encode(value) });
        documents += 1;
    }
    let sha256 = hex::encode(Sha256::digest(text.as_bytes()));
    text + &line(&Last { documents, sha256 })
}

/// The documents of a file.
pub fn read(text: &str) -> Result<Vec<(String, Bytes)>, FileError> {
    let bad = |line: usize, reason: &str| FileError { line, reason: reason.into() };
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let [first, documents @ .., last] = lines.as_slice() else {
        return Err(bad(1, "is not the first line of a backup"));
    };
    let first: First =
        serde_json::from_str(first).map_err(|_| bad(1, "is not the first line of a backup"))?;
    if first.penstock_backup != FORMAT {
        return Err(bad(1, &format!("format {} is not known here", first.penstock_backup)));
    }
    let end = lines.len();
    let last: Last = serde_json::from_str(last)
        .map_err(|_| bad(end, "is not the last line of a backup: it was cut short"))?;
    let hashed = &text[..text.len() - lines[end - 1].len()];
    if last.documents != documents.len() || last.sha256 != hex::encode(Sha256::digest(hashed.as_bytes())) {
        return Err(bad(end, "the checksum does not fit: the file was changed"));
    }
    let read = documents.iter().enumerate().map(|(i, text)| {
        let document: Document = serde_json::from_str(text).map_err(|e| bad(i + 2, &e.to_string()))?;
        let value = STANDARD.decode(&document.value).map_err(|e| bad(i + 2, &e.to_string()))?;
        Ok((document.key, Bytes::from(value)))
    });
    read.collect()
}
