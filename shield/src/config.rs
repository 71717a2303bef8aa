//! What a shield can be told, with defaults that hold a working set on a small machine.
//!
//! Every field has a default, so an empty document is a valid configuration; an unknown field is refused, and
//! [`ShieldConfig::validate`] names the field that is wrong. Times carry their unit in the name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use control::platform::Provider;
use proto::object::PUBLIC;
use proto::range::{BLOCK_BYTES, SEGMENT_BYTES};
use serde::{Deserialize, Serialize};

use crate::origin::keys::IDENTITY;

pub mod reference;

/// A shield's configuration.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ShieldConfig {
    /// Bytes of blocks kept in memory (default 1 GiB). Plan for about 1.25 times as much resident memory.
    pub cache_bytes: u64,
    /// Descriptions of objects kept, cached 404s and 403s included (default 100,000).
    pub stat_entries: u64,
    /// Seconds a 404 or 403 is believed (default 300).
    pub negative_ttl_s: u64,
    /// Seconds a description is believed when S3 names no lifetime (default 86,400).
    pub default_ttl_s: u64,
    /// Least seconds a description is believed, whatever S3 says (default 3,600; 0 obeys S3).
    pub minimum_ttl_s: u64,
    /// Most seconds a description is believed (default 100 years).
    pub maximum_ttl_s: u64,
    /// Ask S3 at each Stat whether the object changed (default false; for people who edit their files).
    pub revalidate_always: bool,
    /// Bytes of a single GET at most; a multiple of 1 MiB, up to 16 MiB (default 8 MiB).
    pub run_bytes: u64,
    /// Bytes of an object at most that is fetched in one GET and, if its ETag is an MD5, held back until that has been checked; at
    /// most `run_bytes` (default 4 MiB; 0 for none).
    pub verify_bytes: u64,
    /// Connections to each origin endpoint.
    pub connections: Connections,
    /// Bounds of the queues of GETs, for each origin endpoint.
    pub queue: Queue,
    /// How long an origin may take.
    pub timeouts: Timeouts,
    /// Streams to edges.
    pub read: Reads,
    /// Asking other shields after a change of the map.
    pub peers: Peers,
    /// Where buckets live. A key is a bucket host (`media.s3.amazonaws.com`) or, starting with a dot, a suffix
    /// (`.store.example`): what precedes it is the bucket. Hosts `BUCKET.s3[.REGION].amazonaws.com` without an entry go to AWS.
    pub origins: BTreeMap<String, OriginConfig>,
    /// Keys by the name distributions refer to them with.
    pub credentials: BTreeMap<String, CredentialConfig>,
    /// Keys of the node's own role: buckets are read with them for origin access identities without keys of their own, where an account was
    /// granted that.
    pub node_role: Option<CredentialConfig>,
}

impl Default for ShieldConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 30,
            stat_entries: 100_000,
            negative_ttl_s: 300,
            default_ttl_s: 86_400,
            minimum_ttl_s: 3_600,
            maximum_ttl_s: 100 * 365 * 86_400,
            revalidate_always: false,
            run_bytes: proto::range::RUN_BYTES,
            verify_bytes: 4 << 20,
            connections: Connections::default(),
            queue: Queue::default(),
            timeouts: Timeouts::default(),
            read: Reads::default(),
            peers: Peers::default(),
            origins: BTreeMap::new(),
            credentials: BTreeMap::new(),
            node_role: None,
        }
    }
}

/// Requests in flight to one origin endpoint. Demand and read-ahead never share a connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Connections {
    /// GETs somebody waits for (default 32).
    pub demand: usize,
    /// GETs ahead of need (default 8); none starts while a demand GET waits.
    pub read_ahead: usize,
    /// HEADs in flight, all endpoints together (default 64).
    pub stat: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self { demand: 32, read_ahead: 8, stat: 64 }
    }
}

/// GETs that may wait for a connection to one origin endpoint; past that, askers hear "overloaded".
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Demand GETs waiting (default 1,024).
    pub demand: usize,
    /// Read-ahead GETs waiting (default 256).
    pub read_ahead: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { demand: 1024, read_ahead: 256 }
    }
}

/// How long an origin may take before a request is given up or resumed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Milliseconds to connect (default 3,000).
    pub connect_ms: u64,
    /// Milliseconds from the request to the response's headers (default 10,000).
    pub first_byte_ms: u64,
    /// Milliseconds without a byte of body until the GET is resumed (default 5,000).
    pub body_stall_ms: u64,
    /// Bytes a second a body must keep up after its first five seconds (default 16,384; 0 for none).
    pub minimum_rate_bytes_per_s: u64,
    /// Tries of one request until its headers arrive, waiting longer each time (default 3).
    pub attempts: u32,
    /// Times the body of one GET is resumed (default 4).
    pub resumes: u32,
    /// Milliseconds for one GET with everything in it, resumes too (default 60,000).
    pub fill_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect_ms: 3_000,
            first_byte_ms: 10_000,
            body_stall_ms: 5_000,
            minimum_rate_bytes_per_s: 16_384,
            attempts: 3,
            resumes: 4,
            fill_ms: 60_000,
        }
    }
}

/// Streams to edges.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Reads {
    /// Streams open at once; past that, edges hear "overloaded" (default 4,096).
    pub streams: usize,
    /// Blocks a stream asks for at once, so holds at most about as many (default 8).
    pub window_blocks: u64,
    /// Bytes of blocks that all streams together hold, asked for and not yet written to their connection (default 256 MiB, at
    /// least 4 MiB); one peer address gets at most half. Past that a stream waits.
    pub inflight_bytes: u64,
    /// Most milliseconds a stream waits for that; then the edge hears "overloaded" (default 1,000).
    pub busy_ms: u64,
    /// Most milliseconds to wait for a block or a description; a caller's shorter deadline counts (default 30,000).
    pub deadline_ms: u32,
    /// At a stop, milliseconds in which everything is still served while edges move to other shields (default 3,000).
    pub settle_ms: u64,
    /// Milliseconds streams get to end after that (default 10,000).
    pub drain_ms: u64,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            streams: 4096,
            window_blocks: 8,
            inflight_bytes: 256 << 20,
            busy_ms: 1_000,
            deadline_ms: 30_000,
            settle_ms: 3_000,
            drain_ms: 10_000,
        }
    }
}

/// Asking other shields for bytes they may have, before asking S3.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// Milliseconds after a change of the shield map, or the start, in which the owner before is asked (default 600,000; 0 for
    /// never).
    pub handover_ms: u64,
    /// Most milliseconds other shields may take over one run of blocks, which they may be fetching themselves (default 4,000).
    pub wait_ms: u64,
}

impl Default for Peers {
    fn default() -> Self {
        Self { handover_ms: 600_000, wait_ms: 4_000 }
    }
}

/// Where the buckets of one host or suffix live.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct OriginConfig {
    /// `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    pub endpoint: String,
    /// Region to sign for (default `us-east-1`).
    #[serde(default = "us_east_1")]
    pub region: String,
    /// Whether the bucket goes in the path rather than in the host (default true).
    #[serde(default = "yes")]
    pub path_style: bool,
    /// The bucket's name, where it is not what the host says.
    #[serde(default)]
    pub bucket: Option<String>,
    /// PEM file of the authorities to trust for this endpoint, instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

fn us_east_1() -> String {
    "us-east-1".into()
}

fn yes() -> bool {
    true
}

/// A pair of keys, and a session token with temporary ones. Files are read anew every few minutes, and at once when the endpoint refuses
/// what they held before: keys are rotated by writing the files. The id comes from one of two places, the secret from one of three. Or all of it
/// comes from the platform the node runs on, by `provider`; then nothing else is given.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CredentialConfig {
    /// The access key id.
    #[serde(default)]
    pub access_key_id: String,
    /// A file that holds the access key id.
    #[serde(default)]
    pub access_key_id_file: Option<PathBuf>,
    /// The secret itself.
    #[serde(default, skip_serializing)]
    pub secret_access_key: Option<String>,
    /// A file that holds the secret.
    #[serde(default)]
    pub secret_access_key_file: Option<PathBuf>,
    /// An environment variable that holds the secret.
    #[serde(default)]
    pub secret_access_key_env: Option<String>,
    /// A file that holds the session token that belongs to temporary keys.
    #[serde(default)]
    pub session_token_file: Option<PathBuf>,
    /// Who gives the keys instead: the platform.
    #[serde(default)]
    pub provider: Option<Provider>,
}

/// Secrets stay out of logs.
impl std::fmt::Debug for CredentialConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shows = f.debug_struct("CredentialConfig");
        shows
            .field("access_key_id", &self.access_key_id)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// The text of a file, without space around it.
fn held_by(field: &str, path: &std::path::Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{field}: {}: {e}", path.display()))?;
    Ok(text.trim().to_owned())
}

impl CredentialConfig {
    /// The access key id, from where it is kept. The error names the field.
    pub fn id(&self) -> Result<String, String> {
        match &self.access_key_id_file {
            Some(path) => held_by("access_key_id_file", path),
            None => Ok(self.access_key_id.clone()),
        }
    }

    /// The session token, if there is to be one. The error names the field.
    pub fn session_token(&self) -> Result<Option<String>, String> {
        self.session_token_file.as_deref().map(|path| held_by("session_token_file", path)).transpose()
    }

    /// Whether any of it is kept in a file, so can change.
    pub fn changes(&self) -> bool {
        self.access_key_id_file.is_some()
            || self.secret_access_key_file.is_some()
            || self.session_token_file.is_some()
    }

    /// The secret, from where it is kept. The error names the field.
    pub fn secret(&self) -> Result<String, String> {
        if let Some(secret) = &self.secret_access_key {
            return Ok(secret.clone());
        }
        if let Some(path) = &self.secret_access_key_file {
            return held_by("secret_access_key_file", path);
        }
        let name = self.secret_access_key_env.as_deref().unwrap_or_default();
        std::env::var(name).map_err(|e| format!("secret_access_key_env: {name}: {e}"))
    }
}

/// A field that can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {reason}")]
pub struct ConfigError {
    /// The field, as the document spells it.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError { field: field.into(), reason: reason.into() })
}

impl ShieldConfig {
    /// Checks every field; the error names the first that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.cache_bytes < 16 * BLOCK_BYTES {
            return wrong("cache_bytes", format!("{} is under 16 MiB", self.cache_bytes));
        }
        if self.run_bytes == 0
            || !self.run_bytes.is_multiple_of(BLOCK_BYTES)
            || self.run_bytes > SEGMENT_BYTES
        {
            return wrong("run_bytes", format!("{} is not a multiple of 1 MiB up to 16 MiB", self.run_bytes));
        }
        if self.verify_bytes > self.run_bytes {
            return wrong("verify_bytes", format!("{} is over run_bytes", self.verify_bytes));
        }
        if self.minimum_ttl_s > self.maximum_ttl_s {
            return wrong("minimum_ttl_s", "is over maximum_ttl_s");
        }
        if self.maximum_ttl_s > 100 * 366 * 86_400 {
            return wrong("maximum_ttl_s", "is over 100 years");
        }
        if self.negative_ttl_s > 100 * 366 * 86_400 {
            return wrong("negative_ttl_s", "is over 100 years");
        }
        let least_one = [
            ("stat_entries", self.stat_entries),
            ("connections.demand", self.connections.demand as u64),
            ("connections.read_ahead", self.connections.read_ahead as u64),
            ("connections.stat", self.connections.stat as u64),
            ("queue.demand", self.queue.demand as u64),
            ("queue.read_ahead", self.queue.read_ahead as u64),
            ("timeouts.connect_ms", self.timeouts.connect_ms),
            ("timeouts.first_byte_ms", self.timeouts.first_byte_ms),
            ("timeouts.body_stall_ms", self.timeouts.body_stall_ms),
            ("timeouts.attempts", self.timeouts.attempts.into()),
            ("timeouts.fill_ms", self.timeouts.fill_ms),
            ("read.streams", self.read.streams as u64),
            ("read.window_blocks", self.read.window_blocks),
            ("read.deadline_ms", self.read.deadline_ms.into()),
            ("peers.wait_ms", self.peers.wait_ms),
        ];
        for (field, value) in least_one {
            if value == 0 {
                return wrong(field, "must be at least 1");
            }
        }
        if self.read.streams > 1 << 20 {
            return wrong("read.streams", "is over 1,048,576");
        }
        if self.read.window_blocks > 64 {
            return wrong("read.window_blocks", "is over 64");
        }
        if self.read.inflight_bytes < 4 * BLOCK_BYTES {
            return wrong("read.inflight_bytes", format!("{} is under 4 MiB", self.read.inflight_bytes));
        }
        for (host, origin) in &self.origins {
            let field = format!("origins.{host}");
            if host.trim_matches('.').is_empty() || *host != host.to_ascii_lowercase() {
                return wrong(field, "is not a lower-case host or .suffix");
            }
            let authority =
                origin.endpoint.strip_prefix("http://").or(origin.endpoint.strip_prefix("https://"));
            if authority.is_none_or(|a| a.is_empty() || a.trim_end_matches('/').contains('/')) {
                return wrong(
                    format!("{field}.endpoint"),
                    format!("'{}' is not http(s)://HOST[:PORT]", origin.endpoint),
                );
            }
            if origin.region.is_empty() {
                return wrong(format!("{field}.region"), "is empty");
            }
        }
        let named =
            self.credentials.iter().map(|(name, credential)| (format!("credentials.{name}"), credential));
        for (field, credential) in
            named.chain(self.node_role.iter().map(|role| ("node_role".to_owned(), role)))
        {
            let name = field.strip_prefix("credentials.");
            if let Some(name) = name.filter(|name| name.starts_with(IDENTITY) || name.starts_with(PUBLIC)) {
                return wrong(
                    field.as_str(),
                    format!("'{name}': names that begin with {IDENTITY} or {PUBLIC} are control's to give"),
                );
            }
            if credential.provider.is_some() {
                if *credential
                    != (CredentialConfig { provider: credential.provider, ..CredentialConfig::default() })
                {
                    return wrong(
                        format!("{field}.provider"),
                        "stands beside keys of the file; give one of both",
                    );
                }
                continue;
            }
            if name.is_some_and(str::is_empty)
                || credential.access_key_id.is_empty() == credential.access_key_id_file.is_none()
            {
                let reason =
                    "must come from one of access_key_id and access_key_id_file, or all keys from provider";
                return wrong(format!("{field}.access_key_id"), reason);
            }
            let places = usize::from(credential.secret_access_key.is_some())
                + usize::from(credential.secret_access_key_file.is_some())
                + usize::from(credential.secret_access_key_env.is_some());
            if places != 1 {
                return wrong(
                    format!("{field}.secret_access_key"),
                    "must come from one of secret_access_key, secret_access_key_file, secret_access_key_env",
                );
            }
        }
        Ok(())
    }

    /// How long a description is believed for which S3 names `max_age`.
    pub(crate) fn fresh_for(&self, max_age: Option<Duration>) -> Duration {
        max_age
            .unwrap_or(Duration::from_secs(self.default_ttl_s))
            .clamp(Duration::from_secs(self.minimum_ttl_s), Duration::from_secs(self.maximum_ttl_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<ShieldConfig, String> {
        let config: ShieldConfig = serde_yaml_ng::from_str(yaml).map_err(|e| e.to_string())?;
        config.validate().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn the_defaults_are_valid() {
        ShieldConfig::default().validate().unwrap();
        assert_eq!(parse("{}").unwrap(), ShieldConfig::default());
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (yaml, field) in [
            ("cache_bytes: 5", "cache_bytes"),
            ("run_bytes: 1000", "run_bytes"),
            ("queue: {demand: 0}", "queue.demand"),
            ("origins: {.my.store: {endpoint: 'ftp://x'}}", "origins..my.store.endpoint"),
            ("credentials: {a: {access_key_id: b}}", "credentials.a.secret_access_key"),
            ("read: {inflight_bytes: 5}", "read.inflight_bytes"),
            ("credentials: {a: {secret_access_key: b}}", "credentials.a.access_key_id"),
            ("credentials: {oai/E1: {access_key_id: a, secret_access_key: b}}", "credentials.oai/E1"),
            ("node_role: {access_key_id: b}", "node_role.secret_access_key"),
            ("node_role: {}", "node_role.access_key_id"),
            ("node_role: {provider: aws, access_key_id: b}", "node_role.provider"),
            ("node_role: {provider: aws, secret_access_key_env: B}", "node_role.provider"),
            ("node_role: {provider: aws, session_token_file: /b}", "node_role.provider"),
            ("node_role: {provider: mine}", "expected `aws`"),
            ("credentials: {a: {provider: aws, access_key_id: b}}", "credentials.a.provider"),
            ("credentials: {oai/E1: {provider: aws}}", "credentials.oai/E1"),
            ("verify_bytes: 9000000", "verify_bytes"),
            ("cash_bytes: 5", "cash_bytes"),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(field), "{yaml}: {error}");
        }
    }

    #[test]
    fn the_platform_s_keys_stand_in_for_the_file_s() {
        let config = parse("node_role: {provider: aws}\ncredentials: {reader: {provider: aws}}").unwrap();
        let role = config.node_role.unwrap();
        assert!(role.provider == Some(Provider::Aws) && !role.changes());
        assert_eq!(config.credentials["reader"], role);
    }

    #[test]
    fn lifetimes_are_clamped() {
        let config = ShieldConfig::default();
        assert_eq!(config.fresh_for(None), Duration::from_secs(86_400));
        assert_eq!(config.fresh_for(Some(Duration::from_secs(5))), Duration::from_secs(3600));
        assert_eq!(config.fresh_for(Some(Duration::from_secs(7200))), Duration::from_secs(7200));
        assert_eq!(
            config.fresh_for(Some(Duration::from_secs(u64::MAX))),
            Duration::from_secs(100 * 365 * 86_400)
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let config = parse("credentials: {a: {access_key_id: id, secret_access_key: hush}}").unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }
}
