//! What `penstock-control serve` is configured with: a YAML file and `PENSTOCK_*` variables, checked whole before any
//! port opens. [`REFERENCE`] describes each field; `--help` shows it.

pub mod api;
pub mod logs;
mod secrets;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::token::MasterToken;
use serde::Deserialize;

use crate::accounts::AccountLimits;
use crate::api::ApiConfig;
use crate::client::config::{self, ConfigError};
use crate::client::credentials::{Tls, TlsFiles};
use crate::client::telemetry::LogFormat;
use crate::console::ConsoleConfig;
use crate::publish::PublishConfig;
use crate::seal::Sealer;
use crate::service::ControlConfig;
use crate::store::etcd::{Etcd, EtcdConfig};
use crate::store::{Store, StoreError, redb};
pub use secrets::SecretsSettings;

/// Every field with its unit and default.
pub const REFERENCE: &str = "\
Fields of the configuration file (YAML). Each is also read from the environment: store.etcd.endpoints from
PENSTOCK_STORE_ETCD_ENDPOINTS, and so on; lists take commas.

  listen                  gRPC address for nodes and operators        [default: 0.0.0.0:7300]
  metrics                 address of /healthz, /readyz, /metrics,
                          /log-level                                  [default: 0.0.0.0:9145]
  token                   the cluster's master token, 16 to 512 visible ASCII characters, from
                          which `penstock-control token` derives those of nodes and operators; or
  token_file              a file that holds it
  tls.ca                  PEM file of the cluster's CA: the gRPC port
                          uses TLS, and so do calls to shields        [default: none, no TLS]
  tls.cert                PEM file of control's certificate; needed with tls.ca
  tls.key                 PEM file of its private key
  tls.reload_seconds      how often the three are looked at again; SIGHUP
                          does so at once                             [default: 10]
  zone                    zone of generated domains                   [default: penstock.localhost]
  store.etcd.endpoints    http://HOST:PORT of each etcd member; or
  store.etcd.prefix       keys are below /penstock/PREFIX/            [default: default]
  store.etcd.user         etcd user                                   [default: none]
  store.etcd.password     its password                                [default: none]
  store.redb.path         one file, for a single replica
  distributions_file      declarative file, applied at start, when it
                          changes and on SIGHUP (below)               [default: none]
  lease_ms                a node's lease, 3000 to 60000 milliseconds  [default: 8000]
  exclude_after_ms        a node whose lease lapsed holds up Deployed
                          for so long, then counts no more until it
                          has caught up, in milliseconds              [default: 120000]
  forget_after_seconds    an excluded node that stays away is
                          forgotten after so long, in seconds         [default: 86400]
  hang_after_ms           a live node that has not moved on for so
                          long is named as hanging, in milliseconds   [default: 30000]
  purge_kept_seconds      how long nodes that were away still hear of
                          a purge, in seconds                         [default: 86400]
  history_changes         changes kept for nodes that resume          [default: 1024]
  compare_every_seconds   how often the store is read whole and
                          compared, in seconds                        [default: 180]
  page_documents          documents a snapshot page holds, 1 to 1000  [default: 200]
  subscriber_queue_events events that wait for a slow node            [default: 64]
  secrets.key             seals secrets in the store: 32 bytes as 64 hexadecimal digits or base64, the
                          same for all replicas; or
  secrets.key_file        a file that holds it; without either no access keys can be made or used
  secrets.old_key_files   files of other keys that open what they
                          sealed: of the former one while `keys reseal`
                          has not run, of the next one before it seals [default: none]
  secrets.old_keys        such keys themselves                        [default: none]
  accounts.accounts_max   accounts of the control API                 [default: 10000]
  accounts.access_keys_max  access keys of an account                 [default: 100]
  console.idle_seconds    a session in the web console ends after so many
                          seconds without a request                   [default: 1800]
  console.session_seconds and so many after its login in any case     [default: 43200]
  console.login_failures  logins of an address that may fail within   [default: 10]
  console.login_window_seconds  so many seconds                       [default: 300]
  console.players.rtmp_port     where viewers reach edges, for the    [default: 1935]
  console.players.tunnel_port   URLs the console shows: RTMP and      [default: 80]
  console.players.tls_port      RTMPE, RTMPT and RTMPTE, RTMPS        [default: 443]
  console.players.edge_host     an edge to connect to while a name
                          doesn't resolve                             [default: none]
  console.buckets.endpoint      http://HOST:PORT of the S3 endpoint whose
                          buckets are offered as origins to accounts
                          that are granted '*'                        [default: none]
  console.buckets.region  its region                                  [default: us-east-1]
  console.buckets.access_key_id          the key that lists buckets
  console.buckets.secret_access_key      its secret; or
  console.buckets.secret_access_key_file a file that holds it
  console.buckets.cache_seconds how long a list is good               [default: 30]
  log.format              text or json                                [default: text]
  log.filter              such as info or warn,penstock_control=debug [default: info]

The file of distributions: `distributions:`, a list of entries with these fields.

  name                    unique in the file, remembers id and domain (required)
  origin                  the bucket's host                           (required)
  kind                    streaming or web                            [default: streaming]
  aliases                 more host names of it                       [default: none]
  id, domain              fixed, instead of generated once
  enabled                                                             [default: true]
  credential              name of the shields' credential             [default: none, anonymous]
  comment                 up to 128 characters
  chunk_size_bytes        of RTMP                                     [default: 0, the edge's]
  swf_verification        SWF files a player may be: a list of hash (64 hexadecimal digits, rtmpdump's
                          swfhash) and size_bytes (0: any)            [default: none, any player]
  audio_sample_access, video_sample_access  whether scripts may read sound and pixels   [default: false]
  account                 the account that sees it in the console      [default: none]
  trusted_signers         accounts whose signers may sign stream names [default: none, no signature]
  logging                 where access logs go: bucket (its host, such as logs.s3.amazonaws.com) and prefix
                          (up to 256 characters), in the operator's name, without a grant   [default: no logs]
  required_features       features an edge must have to serve it
";

/// All of it: [`REFERENCE`], access logs, and the fields of the control API.
pub fn reference() -> String {
    format!("{REFERENCE}\n{}\n{}", logs::REFERENCE, api::REFERENCE)
}

/// See [`REFERENCE`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct Settings {
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    #[serde(default = "default_metrics")]
    pub metrics: SocketAddr,
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    #[serde(default = "default_zone")]
    pub zone: String,
    pub store: StoreSettings,
    #[serde(default)]
    pub distributions_file: Option<PathBuf>,
    #[serde(default = "default_lease_ms")]
    pub lease_ms: u64,
    #[serde(default = "default_exclude_after_ms")]
    pub exclude_after_ms: u64,
    #[serde(default = "default_forget_after_seconds")]
    pub forget_after_seconds: u64,
    #[serde(default = "default_hang_after_ms")]
    pub hang_after_ms: u64,
    #[serde(default = "default_purge_kept_seconds")]
    pub purge_kept_seconds: u64,
    #[serde(default = "default_history_changes")]
    pub history_changes: usize,
    #[serde(default = "default_compare_every_seconds")]
    pub compare_every_seconds: u64,
    #[serde(default = "default_page_documents")]
    pub page_documents: usize,
    #[serde(default = "default_subscriber_queue_events")]
    pub subscriber_queue_events: usize,
    #[serde(default)]
    pub secrets: SecretsSettings,
    #[serde(default)]
    pub accounts: AccountLimits,
    #[serde(default)]
    pub console: ConsoleConfig,
    #[serde(default)]
    pub log: LogSettings,
    #[serde(default)]
    pub logs: logs::LogsSettings,
    #[serde(default)]
    pub api: api::ApiSettings,
}

/// Exactly one of the two.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    /// A cluster's store.
    #[serde(default)]
    pub etcd: Option<EtcdConfig>,
    /// One file.
    #[serde(default)]
    pub redb: Option<RedbSettings>,
}

/// Where the file is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedbSettings {
    /// Its path.
    pub path: PathBuf,
}

/// How logs look and what they hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Text or JSON.
    pub format: LogFormat,
    /// An `EnvFilter`.
    pub filter: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

fn default_listen() -> SocketAddr {
    ([0, 0, 0, 0], 7300).into()
}
fn default_metrics() -> SocketAddr {
    ([0, 0, 0, 0], 9145).into()
}
fn default_zone() -> String {
    ControlConfig::default().zone
}
fn default_lease_ms() -> u64 {
    8000
}
fn default_exclude_after_ms() -> u64 {
    120_000
}
fn default_forget_after_seconds() -> u64 {
    86_400
}
fn default_hang_after_ms() -> u64 {
    30_000
}
fn default_purge_kept_seconds() -> u64 {
    86_400
}
fn default_history_changes() -> usize {
    1024
}
fn default_compare_every_seconds() -> u64 {
    180
}
fn default_page_documents() -> usize {
    200
}
fn default_subscriber_queue_events() -> usize {
    64
}

impl Settings {
    /// Reads and checks a configuration; the errors name the file and field.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let settings: Self = config::load(path)?;
        settings.check().map_err(|reason| ConfigError::Field {
            origin: path.map_or_else(|| "config".into(), |p| p.display().to_string()),
            reason,
        })?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        if !proto::distribution::is_host(&self.zone) {
            return Err(format!("zone: '{}' is not a lower-case host name", self.zone));
        }
        let within = |field: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("{field}: {value} is not within {low} and {high}"))
            }
        };
        within("lease_ms", self.lease_ms, 3000, 60_000)?;
        within("exclude_after_ms", self.exclude_after_ms, 1000, 86_400_000)?;
        within("forget_after_seconds", self.forget_after_seconds, 1, 365 * 86_400)?;
        within("hang_after_ms", self.hang_after_ms, 1000, 86_400_000)?;
        within("purge_kept_seconds", self.purge_kept_seconds, 60, 30 * 86_400)?;
        within("history_changes", self.history_changes as u64, 0, 1 << 20)?;
        within("compare_every_seconds", self.compare_every_seconds, 1, 86_400)?;
        within("page_documents", self.page_documents as u64, 1, 1000)?;
        within("subscriber_queue_events", self.subscriber_queue_events as u64, 1, 1 << 16)?;
        self.api.check()?;
        within("accounts.accounts_max", self.accounts.accounts_max as u64, 1, 100_000)?;
        within("accounts.access_keys_max", self.accounts.access_keys_max as u64, 1, 1000)?;
        self.secrets.check()?;
        self.console.check()?;
        self.logs.check()?;
        match (&self.store.etcd, &self.store.redb) {
            (Some(etcd), None) => check_etcd(etcd),
            (None, Some(_)) => Ok(()),
            _ => Err("store: give exactly one of store.etcd and store.redb".into()),
        }
    }

    /// The cluster's master token.
    pub fn master(&self) -> Result<MasterToken, ConfigError> {
        config::load_master(self.token.as_deref(), self.token_file.as_deref())
    }

    /// The TLS files, read.
    pub fn load_tls(&self) -> Result<Option<Tls>, ConfigError> {
        let Some(files) = &self.tls else { return Ok(None) };
        let tls = files.load()?;
        if tls.has_certificate() {
            return Ok(Some(tls));
        }
        let reason = "control accepts connections: give cert and key".into();
        Err(ConfigError::Field { origin: "tls".into(), reason })
    }

    /// What seals secrets at rest; one without a key if none is configured.
    pub fn sealer(&self) -> Result<Sealer, ConfigError> {
        self.secrets
            .sealer()
            .map_err(|e| ConfigError::Field { origin: "secrets".into(), reason: e.to_string() })
    }

    /// How the replica works; secrets are sealed by `sealer`.
    pub fn control(&self, sealer: Sealer) -> ControlConfig {
        ControlConfig {
            zone: self.zone.clone(),
            lease: Duration::from_millis(self.lease_ms),
            purge_ttl: Duration::from_secs(self.purge_kept_seconds),
            history: self.history_changes,
            compare_every: Duration::from_secs(self.compare_every_seconds),
            publish: PublishConfig {
                page_documents: self.page_documents,
                queue: self.subscriber_queue_events,
                ..PublishConfig::default()
            },
            sealer,
            clock: proto::clock::system(),
            accounts: self.accounts,
            distributions_file: self.distributions_file.clone(),
            exclude_after: Duration::from_millis(self.exclude_after_ms),
            forget_after: Duration::from_secs(self.forget_after_seconds),
            hang_after: Duration::from_millis(self.hang_after_ms),
            ..ControlConfig::default()
        }
    }

    /// How the API works.
    pub fn api(&self) -> ApiConfig {
        ApiConfig {
            zone: self.zone.clone(),
            limits: self.api.limits.clone(),
            origin_suffixes: self.api.origin_suffixes.clone(),
            regions: self.api.regions.clone(),
            clock_window_seconds: self.api.clock_window_seconds,
            purge_ttl: Duration::from_secs(self.purge_kept_seconds),
        }
    }

    /// Whether `other` differs in what can't change while the service runs.
    pub fn needs_restart(&self, other: &Self) -> bool {
        let fixed = |settings: &Self| {
            let api = api::ApiSettings {
                listen: settings.api.listen,
                clock_window_seconds: settings.api.clock_window_seconds,
                regions: settings.api.regions.clone(),
                ..api::ApiSettings::default()
            };
            // As text, for not all parts can be compared; it is shown to nobody.
            format!("{:?}", Self { api, log: LogSettings::default(), ..settings.clone() })
        };
        fixed(self) != fixed(other)
    }

    /// Opens the store. etcd is not asked yet; a redb file is opened.
    pub async fn open_store(&self) -> Result<Store, StoreError> {
        match (&self.store.etcd, &self.store.redb) {
            (Some(etcd), None) => Ok(Arc::new(Etcd::new(etcd.clone()))),
            (None, Some(file)) => redb::open(&file.path).await,
            _ => Err(StoreError::Damaged("give exactly one of store.etcd and store.redb".into())),
        }
    }
}

fn check_etcd(etcd: &EtcdConfig) -> Result<(), String> {
    if etcd.endpoints.is_empty() {
        return Err("store.etcd.endpoints: names no endpoint".into());
    }
    for endpoint in &etcd.endpoints {
        let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        if host.is_none_or(|h| h.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err())) {
            return Err(format!("store.etcd.endpoints: '{endpoint}' is not http://HOST:PORT"));
        }
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if etcd.prefix.is_empty() || !etcd.prefix.bytes().all(plain) {
        return Err(format!("store.etcd.prefix: '{}' is not of [A-Za-z0-9._-]", etcd.prefix));
    }
    if etcd.user.is_some() != etcd.password.is_some() {
        return Err("store.etcd.password: user and password come together".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Settings, String> {
        let settings: Settings = serde_yaml_ng::from_str(yaml).map_err(|e| e.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn each_field_stands_in_the_reference() {
        for field in config::fields::of::<Settings>() {
            let path = field.path.join(".");
            assert!(reference().contains(&format!("  {path} ")), "{path}");
        }
    }

    #[test]
    fn what_a_reload_can_change_needs_no_restart() {
        let settings = |more: &str| parse(&format!("store: {{redb: {{path: /x}}}}\n{more}")).unwrap();
        let known = settings("");
        for live in [
            "log: {filter: debug}",
            "api: {requests_burst: 7, limits: {aliases: 3}, host_names: [a.example]}",
        ] {
            assert!(!known.needs_restart(&settings(live)), "{live}");
        }
        for fixed in ["zone: a.example", "api: {listen: '127.0.0.1:1'}", "api: {clock_window_seconds: 5}"] {
            assert!(known.needs_restart(&settings(fixed)), "{fixed}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let etcd = "store: {etcd: {endpoints: ['http://127.0.0.1:2379']}}";
        assert!(parse(etcd).is_ok());
        assert!(parse("store: {redb: {path: /x}}").is_ok());
        let cases = [
            ("store: {}", "store:"),
            ("{}", "store"),
            ("store: {etcd: {endpoints: []}}", "store.etcd.endpoints:"),
            ("store: {etcd: {endpoints: ['127.0.0.1:2379']}}", "store.etcd.endpoints:"),
            ("store: {etcd: {endpoints: ['http://a:1'], prefix: a/b}}", "store.etcd.prefix:"),
            ("store: {etcd: {endpoints: ['http://a:1'], user: a}}", "store.etcd.password:"),
            ("store: {redb: {path: /x}}\nzone: Bad", "zone:"),
            ("store: {redb: {path: /x}}\nlease_ms: 1", "lease_ms:"),
            ("store: {redb: {path: /x}}\nexclude_after_ms: 1", "exclude_after_ms:"),
            ("store: {redb: {path: /x}}\nlisten: here", "listen:"),
            ("store: {redb: {path: /x}}\ncolour: red", "colour"),
            ("store: {redb: {path: /x}}\nsecrets: {key: short}", "secrets.key:"),
            ("store: {redb: {path: /x}}\nsecrets: {key: a, key_file: /k}", "secrets.key:"),
            ("store: {redb: {path: /x}}\nsecrets: {old_key_files: [/k]}", "secrets.old_key_files:"),
            ("store: {redb: {path: /x}}\naccounts: {access_keys_max: 0}", "accounts.access_keys_max:"),
        ];
        for (yaml, says) in cases {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(says), "{yaml}: {error}");
        }
    }
}
