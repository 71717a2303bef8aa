//! A request's body on its way in: to a temporary file, counted, hashed, checked against what the client promised, synced.
//!
//! Nothing of it can be seen under a key until [`super::object::Objects::commit`] renames the file. A body that ends early, pauses too long or
//! fails a check leaves nothing: [`TemporaryFile`] removes itself. What a kill leaves is removed at the next start.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3ErrorCode, S3Result, TrailingHeaders};
use tokio::io::AsyncWriteExt;

use super::metrics::Metrics;
use super::refusal::{from_io, refuse};

/// A file that is removed unless it's renamed away first.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl TemporaryFile {
    /// Names a new one in `folder`; nothing is made yet.
    pub(crate) fn name(folder: &Path) -> Self {
        Self { path: folder.join(format!("{:032x}", rand::random::<u128>())) }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // Absent after a rename, as it should be.
        let _ = fs::remove_file(&self.path);
    }
}

/// A whole body on disk.
#[derive(Debug)]
pub(crate) struct Received {
    /// Where.
    pub(crate) file: TemporaryFile,
    /// Its MD5.
    pub(crate) md5: [u8; 16],
    /// Checksums computed because the client sent them; they matched.
    pub(crate) checksum: Checksum,
}

/// What the client said its body would be.
#[derive(Default)]
pub(crate) struct Promise {
    /// Length in bytes, of the object rather than of its transfer encoding.
    pub(crate) length: Option<i64>,
    /// `Content-MD5`, base64.
    pub(crate) md5: Option<String>,
    /// `x-amz-checksum-*` in the head.
    pub(crate) checksum: Checksum,
    /// Names of headers that follow the body (`x-amz-trailer`), lower case.
    pub(crate) trailer: Option<String>,
    /// Where they will be.
    pub(crate) trailing: Option<TrailingHeaders>,
}

/// Bounds on one body.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) idle: Duration,
}

/// Takes a body in. 400 for one that isn't what was promised, 413-like `EntityTooLarge` past the bound.
pub(crate) async fn receive(
    body: Option<StreamingBlob>,
    promise: Promise,
    folder: &Path,
    bounds: Bounds,
    metrics: &Metrics,
) -> S3Result<Received> {
    let too_large = || {
        refuse(
            S3ErrorCode::EntityTooLarge,
            format!("This endpoint takes at most {} bytes at once.", bounds.bytes),
        )
    };
    if promise.length.is_some_and(|length| length as u64 > bounds.bytes) {
        return Err(too_large());
    }
    let temporary = TemporaryFile::name(folder);
    let mut file = tokio::fs::File::create_new(&temporary.path).await.map_err(from_io)?;
    let mut md5 = Md5::new();
    let mut hasher = promise.hasher();
    let mut received_bytes = 0u64;
    if let Some(mut body) = body {
        loop {
            let piece = match tokio::time::timeout(bounds.idle, body.next()).await {
                Err(_) => return Err(refuse(S3ErrorCode::RequestTimeout, "The body paused for too long.")),
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "s3: upload broken off");
                    // The protocol layer checks signatures of bodies as they pass and fails the stream.
                    return Err(refuse(
                        S3ErrorCode::IncompleteBody,
                        format!("The body could not be read: {error}."),
                    ));
                }
                Ok(Some(Ok(piece))) => piece,
            };
            received_bytes += piece.len() as u64;
            if received_bytes > bounds.bytes {
                return Err(too_large());
            }
            metrics.received_bytes.inc_by(piece.len() as u64);
            md5.update(&piece);
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(from_io)?;
        }
    }
    file.flush().await.map_err(from_io)?;
    if promise.length.is_some_and(|length| length as u64 != received_bytes) {
        return Err(refuse(S3ErrorCode::IncompleteBody, "The body is shorter than its declared length."));
    }
    let md5 = md5.finalize();
    let checksum = promise.check(&md5, hasher.finalize())?;
    file.sync_all().await.map_err(from_io)?;
    Ok(Received { file: temporary, md5, checksum })
}

impl Promise {
    /// Computes what the head or the trailer will be compared with, and nothing else.
    fn hasher(&self) -> ChecksumHasher {
        let trailer = self.trailer.as_deref().unwrap_or_default();
        let wants = |head: &Option<String>, name: &str| {
            head.is_some() || trailer.split(',').any(|t| t.trim() == name)
        };
        let head = &self.checksum;
        ChecksumHasher {
            crc32: wants(&head.checksum_crc32, "x-amz-checksum-crc32").then(Crc32::new),
            crc32c: wants(&head.checksum_crc32c, "x-amz-checksum-crc32c").then(Crc32c::new),
            sha1: wants(&head.checksum_sha1, "x-amz-checksum-sha1").then(Sha1::new),
            sha256: wants(&head.checksum_sha256, "x-amz-checksum-sha256").then(Sha256::new),
            crc64nvme: wants(&head.checksum_crc64nvme, "x-amz-checksum-crc64nvme").then(Crc64Nvme::new),
        }
    }

    fn check(&self, md5: &[u8; 16], computed: Checksum) -> S3Result<Checksum> {
        if self.md5.as_ref().is_some_and(|promised| *promised != base64(md5)) {
            return Err(refuse(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what was received.",
            ));
        }
        let trailing = |name: &str| {
            let trailing = self.trailing.as_ref()?;
            trailing.read(|headers| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned))?
        };
        let compare = |name: &str, head: &Option<String>, computed: &Option<String>| {
            let Some(promised) = head.clone().or_else(|| trailing(name)) else { return Ok(()) };
            if computed.as_ref() == Some(&promised) {
                return Ok(());
            }
            Err(refuse(
                S3ErrorCode::BadDigest,
                format!("The {name} you specified did not match what was received."),
            ))
        };
        let head = &self.checksum;
        compare("x-amz-checksum-crc32", &head.checksum_crc32, &computed.checksum_crc32)?;
        compare("x-amz-checksum-crc32c", &head.checksum_crc32c, &computed.checksum_crc32c)?;
        compare("x-amz-checksum-sha1", &head.checksum_sha1, &computed.checksum_sha1)?;
        compare("x-amz-checksum-sha256", &head.checksum_sha256, &computed.checksum_sha256)?;
        compare("x-amz-checksum-crc64nvme", &head.checksum_crc64nvme, &computed.checksum_crc64nvme)?;
        Ok(computed)
    }
}

/// Makes the folder for bodies on their way in, and empties it: after a kill nothing in it can be of use.
pub(crate) fn clear(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word =
            group.iter().enumerate().fold(0u32, |word, (i, byte)| word | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_as_the_rfc_shows() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
