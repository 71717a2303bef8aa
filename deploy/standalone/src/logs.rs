//! Where access logs go here: two buckets of the embedded S3 endpoint, and what the bundled distribution is told.
//!
//! The path is a cluster's: the edge spools events under the data folder, ships them to control over gRPC, control stages segments in
//! [`STAGING_BUCKET`] and puts finished files into the distribution's bucket, both by a real S3 client at the real endpoint. Only the
//! waiting is shorter: a person who has just played a film wants to see the line. Distributions made by the API or the console log to
//! any bucket of the endpoint that their Logging names; one that isn't there is retried until somebody makes it.
//!
//! [`delivery`] runs both ends and stops them in order.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use control::client::logs::EdgeLogsConfig;
use control::client::ship::ShipConfig;
use control::client::spool::SpoolConfig;
use proto::object::check_bucket;
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use crate::MEDIA_BUCKET;

pub mod delivery;

/// The bucket that finished files go to unless another is named.
pub const LOG_BUCKET: &str = "logs";
/// The bucket of segments on their way into files; the process's own, and empty when nothing is on its way.
pub const STAGING_BUCKET: &str = "penstock-staging";
/// Longest prefix, in bytes: CloudFront's.
const PREFIX_BYTES: usize = 256;

/// Where the bundled distribution logs to: `distribution.logging` of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Whether it logs at all.
    pub enabled: bool,
    /// A bucket of the embedded endpoint; it is made at start.
    pub bucket: String,
    /// What keys begin with. A `/` is added where none ends it.
    pub prefix: String,
}

impl Default for Logging {
    fn default() -> Self {
        Self { enabled: true, bucket: LOG_BUCKET.into(), prefix: String::new() }
    }
}

impl Logging {
    /// Says which field can't be.
    pub fn check(&self) -> anyhow::Result<()> {
        let Self { bucket, prefix, .. } = self;
        ensure!(check_bucket(bucket), "bucket: '{bucket}' is no bucket's name");
        ensure!(bucket != MEDIA_BUCKET, "bucket: '{bucket}' is read-only, and everyone may read it");
        ensure!(bucket != STAGING_BUCKET, "bucket: '{bucket}' is for what is on its way into files");
        ensure!(prefix.len() <= PREFIX_BYTES, "prefix: longer than {PREFIX_BYTES} bytes");
        // The endpoint's keys are paths.
        let folders = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_folder = |name: &str| {
            !matches!(name, "" | "." | "..") && !name.contains(|c: char| c == '\\' || c.is_control())
        };
        ensure!(
            prefix.is_empty() || folders.split('/').all(is_folder),
            "prefix: '{prefix}' is no path of folders"
        );
        Ok(())
    }

    /// The buckets that must exist: staging always, since other distributions may log.
    pub fn buckets(&self) -> Vec<String> {
        let mut all = vec![STAGING_BUCKET.to_owned()];
        if self.enabled {
            all.push(self.bucket.clone());
        }
        all
    }

    /// The bucket's host, as a distribution's Logging names it.
    pub fn host(&self) -> String {
        format!("{}.s3.amazonaws.com", self.bucket)
    }

    /// What keys begin with: empty, or with a `/` at its end.
    pub fn key_prefix(&self) -> String {
        let folders = self.prefix.trim_end_matches('/');
        if folders.is_empty() { String::new() } else { format!("{folders}/") }
    }

    /// The folder that the files appear in.
    pub fn folder(&self, data: &Path) -> PathBuf {
        let bucket = data.join("buckets").join(&self.bucket);
        match self.prefix.trim_end_matches('/') {
            "" => bucket,
            folders => bucket.join(folders),
        }
    }
}

/// How access logs get there: `logs:` of the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pace {
    /// A record waits this long for others to share its file.
    pub file_age_seconds: u64,
    /// Bytes of records (before they are formatted) in a file.
    pub file_bytes: u64,
    /// How long a stop may take to deliver what is on its way, in ms. What remains is delivered after the next start.
    pub drain_ms: u64,
    /// The edge's spool, as in a cluster; by default sealed a second after its first event, and below the data folder.
    pub spool: SpoolConfig,
}

impl Default for Pace {
    fn default() -> Self {
        let spool = SpoolConfig { seal_after_ms: SEAL_AFTER_MS, ..SpoolConfig::default() };
        Self { file_age_seconds: 5, file_bytes: 64 << 20, drain_ms: 8000, spool }
    }
}

/// A spooled event waits this long for others to share its segment.
const SEAL_AFTER_MS: u64 = 1000;

impl Pace {
    /// What the file says, and defaults for one machine. Errors name the field.
    pub fn read(mut given: Mapping) -> anyhow::Result<Self> {
        // What the spool's part leaves out is the spool's default, but for this.
        if let Some(Value::Mapping(spool)) = given.get_mut("spool") {
            spool.entry("seal_after_ms".into()).or_insert_with(|| SEAL_AFTER_MS.into());
        }
        let pace: Self = serde_yaml_ng::from_value(given.into()).context("logs")?;
        let within = [
            ("file_age_seconds", pace.file_age_seconds, 1, 86_400),
            ("file_bytes", pace.file_bytes, 64 << 10, 1 << 30),
            ("drain_ms", pace.drain_ms, 0, 600_000),
        ];
        for (field, value, least, most) in within {
            ensure!(
                (least..=most).contains(&value),
                "logs.{field}: {value} is not within {least} and {most}"
            );
        }
        pace.edge().check().map_err(anyhow::Error::msg)?;
        Ok(pace)
    }

    /// The edge's end, as a cluster's edge is configured.
    pub fn edge(&self) -> EdgeLogsConfig {
        let ship = ShipConfig { drain_ms: self.drain_ms, ..ShipConfig::default() };
        EdgeLogsConfig { enabled: true, spool: self.spool.clone(), ship }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_there_within_seconds_unless_the_file_says_otherwise() {
        let read = |text: &str| Pace::read(serde_yaml_ng::from_str(text).unwrap());
        let usual = read("{}").unwrap();
        assert_eq!((usual.file_age_seconds, usual.spool.seal_after_ms), (5, 1000));
        let slower = read("{file_age_seconds: 300, spool: {durable: true}}").unwrap();
        assert_eq!(
            (slower.file_age_seconds, slower.spool.seal_after_ms, slower.spool.durable),
            (300, 1000, true)
        );
        assert_eq!(read("spool: {seal_after_ms: 30000}").unwrap().spool.seal_after_ms, 30_000);
        for (wrong, said) in [
            ("file_age_seconds: 0", "logs.file_age_seconds"),
            ("file_bytes: 1", "logs.file_bytes"),
            ("spool: {segment_bytes: 1}", "logs.spool.segment_bytes"),
            ("staging: {}", "staging"),
        ] {
            assert!(format!("{:#}", read(wrong).unwrap_err()).contains(said), "{wrong}");
        }
    }

    fn read(text: &str) -> anyhow::Result<Logging> {
        let logging: Logging = serde_yaml_ng::from_str(text)?;
        logging.check()?;
        Ok(logging)
    }

    #[test]
    fn a_distribution_logs_unless_told_not_to() {
        assert_eq!(read("{}").unwrap(), Logging::default());
        assert!(Logging::default().enabled);
        assert_eq!(Logging::default().buckets(), ["penstock-staging", "logs"]);
        let off = read("enabled: false").unwrap();
        assert!(!off.enabled && off.buckets() == ["penstock-staging"]);
    }

    #[test]
    fn files_lie_below_the_bucket_and_the_prefix() {
        let at = |text: &str| read(text).unwrap().folder(Path::new("/d")).display().to_string();
        assert_eq!(at("{}"), "/d/buckets/logs");
        assert_eq!(at("prefix: films"), "/d/buckets/logs/films");
        assert_eq!(at("{bucket: viewers, prefix: a/b/}"), "/d/buckets/viewers/a/b");
        assert_eq!(read("bucket: viewers").unwrap().host(), "viewers.s3.amazonaws.com");
    }

    #[test]
    fn what_the_endpoint_could_not_keep_is_refused() {
        for wrong in [
            "bucket: media",
            "bucket: penstock-staging",
            "bucket: UPPER",
            "bucket: ../x",
            "prefix: /a",
            "prefix: a//b",
            "prefix: a/../b",
            "prefix: 'a\\b'",
            "prefix: '//'",
            "folder: x",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read(&format!("prefix: {}", "p".repeat(257))).is_err());
    }
}
