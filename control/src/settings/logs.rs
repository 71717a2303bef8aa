//! The `logs:` section: where segments are staged, where files are delivered, and when.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use proto::object::check_bucket;
use serde::Deserialize;

use crate::access_log::bucket::BucketError;
use crate::access_log::bucket::place::{HostPlace, Keys, Places, Secret};
use crate::access_log::bucket::s3::{Clients, S3Buckets};
use crate::access_log::config::{HourlyConfig, LogsConfig};
use crate::access_log::deliver::PUT;
use crate::platform::{PlatformRole, Provider, RoleMetrics};

/// Every field with its unit and default, as part of [`super::reference`].
pub(super) const REFERENCE: &str = "\
Access logs: edges hand over segments of events, which wait in the staging bucket until they stand as files in the buckets that
distributions name. Without logs.staging this control takes none, and edges keep them.

  logs.staging.endpoint   http(s)://HOST:PORT of its S3 endpoint; aws:
                          Amazon's, by the region                     [default: aws]
  logs.staging.region     its region                                  [default: us-east-1]
  logs.staging.bucket     the operator's bucket; nobody else's files should be in the prefix, and
                          no logs are delivered to a bucket of this name
  logs.staging.prefix     before each key                             [default: none]
  logs.staging.access_key_id          a key that may put, get, list and delete there
  logs.staging.secret_access_key      its secret; or
  logs.staging.secret_access_key_file a file that holds it, read for each request
  logs.staging.provider   instead of those: aws, the keys that the
                          platform gives this node (AWS_* variables,
                          profile, web identity, ECS and EKS, EC2)
  logs.staging.ca_file    PEM: authorities to trust at the endpoint   [default: the system's]
  logs.delivery.endpoint  where buckets NAME.s3[.REGION].amazonaws.com
                          are: http(s)://HOST:PORT or aws             [default: as for staging]
  logs.delivery.region    region to sign for there; at aws, where to
                          look first for a bucket without one         [default: as for staging]
  logs.delivery.access_key_id          a key that may put there       [default: as for staging]
  logs.delivery.secret_access_key      its secret; or
  logs.delivery.secret_access_key_file a file that holds it
  logs.delivery.provider  instead of those: aws, as for staging
  logs.delivery.ca_file   PEM: authorities to trust at the endpoint   [default: as for staging]
  logs.delivery.hosts     other buckets: by host or .suffix, a map of endpoint, region (us-east-1), path_style
                          (true), bucket (what precedes the suffix), ca_file, and keys or provider as above where they differ
  logs.file_age_seconds   records are delivered at the latest so long
                          after they were staged, in seconds          [default: 300]
  logs.file_bytes         and as soon as there are so many bytes of
                          records for one file                        [default: 67108864]
  logs.undeliverable_days a file that its bucket has refused for so
                          long is given up, in days                   [default: 14]
  logs.lost_after_seconds  a staged segment that its own staging
                          bucket says for so long not to have, or has
                          damaged, is lost: files go without it, and
                          its records are counted, in seconds         [default: 600]
  logs.lost_answers       if it has said so at least so many times    [default: 5]
  logs.merge_bytes        memory for staged segments being merged, and
                          as much again for files being built         [default: 134217728]
  logs.ships              segments taken at a time; each needs up to
                          32 MiB of memory                            [default: 8]
  logs.ship_timeout_ms    time for a segment to be staged, in
                          milliseconds; with the 10 s it may wait for
                          its turn, less than edges wait for the answer
                          (their logs.ship.call_timeout_ms)           [default: 45000]
  logs.bucket_timeout_ms  time for a request to a bucket, in
                          milliseconds, at most 30000                 [default: 30000]
  logs.parquet            also one Parquet file an hour and
                          distribution, PREFIX/parquet/ID.HOUR.parquet,
                          of the log files, which the key must then
                          list and get; needs a build with the
                          feature parquet                             [default: false]
  logs.parquet_grace_seconds  made so long after the hour's end, in
                          seconds                                     [default: 900]
";

/// What stands for Amazon's own endpoint.
const AWS: &str = "aws";

/// See [`super::reference`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct LogsSettings {
    pub staging: Option<StagingSettings>,
    pub delivery: DeliverySettings,
    pub file_age_seconds: u64,
    pub file_bytes: u64,
    pub undeliverable_days: u64,
    pub lost_after_seconds: u64,
    pub lost_answers: u32,
    pub merge_bytes: u64,
    pub ships: usize,
    pub ship_timeout_ms: u64,
    pub bucket_timeout_ms: u64,
    pub parquet: bool,
    pub parquet_grace_seconds: u64,
}

impl Default for LogsSettings {
    fn default() -> Self {
        Self {
            staging: None,
            delivery: DeliverySettings::default(),
            file_age_seconds: 300,
            file_bytes: 64 << 20,
            undeliverable_days: 14,
            lost_after_seconds: 600,
            lost_answers: 5,
            merge_bytes: 128 << 20,
            ships: 8,
            ship_timeout_ms: 45_000,
            bucket_timeout_ms: 30_000,
            parquet: false,
            parquet_grace_seconds: 900,
        }
    }
}

/// The operator's bucket.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct StagingSettings {
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    pub prefix: String,
    pub access_key_id: String,
    pub secret_access_key: Option<String>,
    pub secret_access_key_file: Option<PathBuf>,
    pub provider: Option<Provider>,
    pub ca_file: Option<PathBuf>,
}

/// Customers' buckets; what is left out is as for staging.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct DeliverySettings {
    pub endpoint: String,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: Option<String>,
    pub secret_access_key_file: Option<PathBuf>,
    pub provider: Option<Provider>,
    pub ca_file: Option<PathBuf>,
    pub hosts: BTreeMap<String, HostSettings>,
}

/// Buckets of one host or suffix.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct HostSettings {
    pub endpoint: String,
    pub region: String,
    pub path_style: bool,
    pub bucket: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub access_key_id: String,
    pub secret_access_key: Option<String>,
    pub secret_access_key_file: Option<PathBuf>,
    pub provider: Option<Provider>,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: "us-east-1".into(),
            path_style: true,
            bucket: None,
            ca_file: None,
            access_key_id: String::new(),
            secret_access_key: None,
            secret_access_key_file: None,
            provider: None,
        }
    }
}

/// Secrets stay out of logs; but what differs must differ in text too, for a reload to notice.
fn shown(secret: Option<&String>) -> Option<String> {
    use sha2::{Digest, Sha256};
    secret.map(|secret| hex::encode(&Sha256::digest(secret.as_bytes())[..4]))
}

macro_rules! without_secret {
    ($settings:ident: $($field:ident),+) => {
        impl std::fmt::Debug for $settings {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shows = f.debug_struct(stringify!($settings));
                $(shows.field(stringify!($field), &self.$field);)+
                shows.field("secret_access_key", &shown(self.secret_access_key.as_ref())).finish()
            }
        }
    };
}
without_secret!(StagingSettings: endpoint, region, bucket, prefix, access_key_id, secret_access_key_file, provider, ca_file);
without_secret!(DeliverySettings: endpoint, region, access_key_id, secret_access_key_file, provider, ca_file, hosts);
without_secret!(HostSettings: endpoint, region, path_style, bucket, ca_file, access_key_id, secret_access_key_file, provider);

/// Keys as a section has them: `None` if it has none.
fn keys(
    section: &str,
    id: &str,
    secret: Option<&String>,
    file: Option<&PathBuf>,
    provider: Option<Provider>,
) -> Result<Option<Keys>, String> {
    if let Some(Provider::Aws) = provider {
        if !id.is_empty() || secret.is_some() || file.is_some() {
            return Err(format!("{section}.provider: stands beside keys of the file; give one of both"));
        }
        return Ok(Some(Keys::Platform));
    }
    let secret = match (secret, file) {
        (None, None) if id.is_empty() => return Ok(None),
        (Some(text), None) if !text.is_empty() => Secret::Text(text.clone()),
        (None, Some(path)) => Secret::File(path.clone()),
        _ => return Err(format!("{section}.secret_access_key: give it or secret_access_key_file")),
    };
    if id.is_empty() {
        return Err(format!("{section}.access_key_id: is missing"));
    }
    Ok(Some(Keys::Given { access_key_id: id.to_owned(), secret }))
}

fn check_endpoint(field: &str, endpoint: &str) -> Result<(), String> {
    let authority = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    match authority.map(|a| a.strip_suffix('/').unwrap_or(a)) {
        Some(authority) if !authority.is_empty() && !authority.contains(['/', '@', ' ']) => Ok(()),
        _ => Err(format!("{field}: '{endpoint}' is not http(s)://HOST[:PORT]")),
    }
}

/// The endpoint a section names; the inner `None` is Amazon's.
fn endpoint(field: &str, given: &str, otherwise: Option<&str>) -> Result<Option<String>, String> {
    match given {
        "" => Ok(otherwise.map(str::to_owned)),
        AWS => Ok(None),
        given => check_endpoint(field, given).map(|()| Some(given.to_owned())),
    }
}

impl LogsSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        let within = [
            ("file_age_seconds", self.file_age_seconds, 1, 86_400),
            ("file_bytes", self.file_bytes, 64 << 10, 1 << 30),
            ("undeliverable_days", self.undeliverable_days, 1, 3650),
            ("lost_after_seconds", self.lost_after_seconds, 10, 3650 * 86_400),
            ("lost_answers", u64::from(self.lost_answers), 2, 100),
            ("merge_bytes", self.merge_bytes, 32 << 20, 1 << 40),
            ("ships", self.ships as u64, 1, 1024),
            ("ship_timeout_ms", self.ship_timeout_ms, 100, 600_000),
            ("bucket_timeout_ms", self.bucket_timeout_ms, 100, PUT.as_millis() as u64),
            ("parquet_grace_seconds", self.parquet_grace_seconds, 0, 86_400),
        ];
        for (field, value, low, high) in within {
            if !(low..=high).contains(&value) {
                return Err(format!("logs.{field}: {value} is not within {low} and {high}"));
            }
        }
        if self.parquet && !cfg!(feature = "parquet") {
            return Err("logs.parquet: this build makes none (build with the feature parquet)".into());
        }
        self.places().map(drop)
    }

    /// Where the staging bucket is, and where customers' are; `None` without staging.
    fn places(&self) -> Result<Option<(Places, Places)>, String> {
        let Some(staging) = &self.staging else {
            let delivery = &self.delivery;
            if !delivery.hosts.is_empty()
                || !delivery.endpoint.is_empty()
                || !delivery.access_key_id.is_empty()
                || delivery.provider.is_some()
            {
                return Err("logs.delivery: is nothing without logs.staging".into());
            }
            return Ok(None);
        };
        if !check_bucket(&staging.bucket) {
            return Err(format!("logs.staging.bucket: '{}' is not a bucket's name", staging.bucket));
        }
        if staging.prefix.len() > 512 || proto::object::check_key(&format!("{}x", self.prefix())).is_err() {
            return Err(format!("logs.staging.prefix: '{}' can't begin a key", staging.prefix));
        }
        let (secret, file) = (staging.secret_access_key.as_ref(), staging.secret_access_key_file.as_ref());
        let own = keys("logs.staging", &staging.access_key_id, secret, file, staging.provider)?;
        let own = own.ok_or("logs.staging.access_key_id: is missing (or logs.staging.provider)")?;
        let region = if staging.region.is_empty() { "us-east-1" } else { &staging.region };
        let staged_at = Places {
            endpoint: endpoint("logs.staging.endpoint", &staging.endpoint, None)?,
            region: region.to_owned(),
            ca_file: staging.ca_file.clone(),
            keys: own.clone(),
            hosts: BTreeMap::new(),
        };
        let there = &self.delivery;
        let (secret, file) = (there.secret_access_key.as_ref(), there.secret_access_key_file.as_ref());
        let delivered_to = Places {
            endpoint: endpoint("logs.delivery.endpoint", &there.endpoint, staged_at.endpoint.as_deref())?,
            region: if there.region.is_empty() { region } else { &there.region }.to_owned(),
            ca_file: there.ca_file.clone().or_else(|| staging.ca_file.clone()),
            keys: keys("logs.delivery", &there.access_key_id, secret, file, there.provider)?.unwrap_or(own),
            hosts: there.hosts.iter().map(host).collect::<Result<_, _>>()?,
        };
        Ok(Some((staged_at, delivered_to)))
    }

    /// The prefix of staging, with a slash at its end if there is one.
    fn prefix(&self) -> String {
        let prefix = self.staging.as_ref().map_or("", |s| s.prefix.as_str());
        if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") }
    }

    /// What a replica needs; `None` without staging. Asks nobody yet, the platform for keys neither; what that shows goes to `registry`.
    ///
    /// # Errors
    /// When a field or a file of authorities can't be used.
    pub fn open(&self, registry: &Registry) -> Result<Option<LogsConfig>, String> {
        let Some((staged_at, delivered_to)) = self.places()? else { return Ok(None) };
        let bucket = self.staging.as_ref().map_or("", |s| s.bucket.as_str());
        let mut clients = Clients::new(Duration::from_millis(self.bucket_timeout_ms));
        if [&staged_at, &delivered_to].into_iter().any(Places::need_platform) {
            let metrics =
                RoleMetrics::new(registry, "penstock_control").map_err(|e| format!("metrics: {e}"))?;
            clients = clients.with_role(PlatformRole::aws(proto::clock::system(), Some(metrics)));
        }
        let staging = clients.open(staged_at.named(bucket, Some(&staged_at.region)));
        let staging = staging.map_err(|e: BucketError| format!("logs.staging: {e}"))?;
        let delivery = S3Buckets::new(delivered_to, clients).apart_from(bucket);
        Ok(Some(LogsConfig {
            staging_prefix: self.prefix(),
            ships: self.ships,
            ship_timeout: Duration::from_millis(self.ship_timeout_ms),
            file_age: Duration::from_secs(self.file_age_seconds),
            file_bytes: self.file_bytes,
            undeliverable: Duration::from_secs(self.undeliverable_days * 86_400),
            lost_after: Duration::from_secs(self.lost_after_seconds),
            lost_answers: self.lost_answers,
            merge_bytes: self.merge_bytes,
            hourly: self.parquet.then(|| HourlyConfig {
                grace: Duration::from_secs(self.parquet_grace_seconds),
                ..HourlyConfig::default()
            }),
            ..LogsConfig::new(Arc::new(staging), Arc::new(delivery))
        }))
    }
}

fn host((name, place): (&String, &HostSettings)) -> Result<(String, HostPlace), String> {
    let field = format!("logs.delivery.hosts.{name}");
    if name.trim_matches('.').is_empty() || *name != name.to_ascii_lowercase() {
        return Err(format!("{field}: is not a lower-case host or .suffix"));
    }
    check_endpoint(&format!("{field}.endpoint"), &place.endpoint)?;
    if let Some(bucket) = place.bucket.as_deref().filter(|bucket| !check_bucket(bucket)) {
        return Err(format!("{field}.bucket: '{bucket}' is not a bucket's name"));
    }
    let (secret, file) = (place.secret_access_key.as_ref(), place.secret_access_key_file.as_ref());
    let place = HostPlace {
        endpoint: place.endpoint.clone(),
        region: place.region.clone(),
        path_style: place.path_style,
        bucket: place.bucket.clone(),
        ca_file: place.ca_file.clone(),
        keys: keys(&field, &place.access_key_id, secret, file, place.provider)?,
    };
    Ok((name.clone(), place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGING: &str =
        "staging: {endpoint: 'http://s3:9000', bucket: logs, access_key_id: AK, secret_access_key: hush}";

    fn parse(yaml: &str) -> Result<LogsSettings, String> {
        let settings: LogsSettings = serde_yaml_ng::from_str(yaml).map_err(|e| e.to_string())?;
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn delivery_is_as_staging_where_nothing_else_is_said() {
        let places = |more: &str| parse(&format!("{STAGING}\n{more}")).unwrap().places().unwrap().unwrap();
        let (staged_at, delivered_to) = places("");
        assert_eq!(staged_at, delivered_to);
        assert_eq!(staged_at.endpoint.as_deref(), Some("http://s3:9000"));

        let (_, aws) = places(
            "delivery: {endpoint: aws, region: eu-west-1, access_key_id: BK, secret_access_key_file: /k}",
        );
        assert_eq!((aws.endpoint, aws.region.as_str()), (None, "eu-west-1"));
        assert_eq!(aws.keys, Keys::Given { access_key_id: "BK".into(), secret: Secret::File("/k".into()) });

        let (_, own) = places("delivery: {hosts: {.my.store: {endpoint: 'https://store:1', region: eu}}}");
        let place = own.resolve("films.my.store").unwrap();
        assert_eq!((place.bucket.as_str(), place.endpoint.as_deref()), ("films", Some("https://store:1")));
        assert_eq!(place.keys, staged_at.keys);
    }

    #[test]
    fn the_platform_s_keys_stand_in_for_any_of_them() {
        let places = |yaml: &str| parse(yaml).unwrap().places().unwrap().unwrap();
        let (staged_at, delivered_to) = places("staging: {bucket: logs, provider: aws}");
        assert_eq!((&staged_at.keys, &delivered_to.keys), (&Keys::Platform, &Keys::Platform));
        assert!(staged_at.need_platform());

        let own = "access_key_id: AK, secret_access_key: hush";
        let (staged_at, delivered_to) =
            places(&format!("staging: {{bucket: logs, {own}}}\ndelivery: {{provider: aws}}"));
        assert!(!staged_at.need_platform() && delivered_to.need_platform());

        let host = ".my.store: {endpoint: 'http://a', provider: aws}";
        let (_, delivered_to) =
            places(&format!("staging: {{bucket: logs, {own}}}\ndelivery: {{hosts: {{{host}}}}}"));
        assert_eq!(delivered_to.resolve("x.my.store").unwrap().keys, Keys::Platform);
        assert!(delivered_to.need_platform() && delivered_to.keys != Keys::Platform);

        let (_, delivered_to) =
            places(&format!("staging: {{bucket: logs, provider: aws}}\ndelivery: {{{own}}}"));
        assert!(!delivered_to.need_platform());
    }

    #[test]
    fn the_platform_is_asked_for_by_whoever_needs_it_and_nobody_at_the_start() {
        let shows = |yaml: &str| {
            let registry = Registry::new();
            parse(yaml).unwrap().open(&registry).unwrap();
            registry.gather().iter().any(|family| family.name().starts_with("penstock_control_role_"))
        };
        assert!(!shows(STAGING));
        assert!(shows("staging: {endpoint: 'http://s3:9000', bucket: logs, provider: aws}"));
    }

    #[tokio::test]
    async fn without_staging_there_are_no_logs_and_with_it_all_is_opened() {
        assert!(parse("{}").unwrap().open(&Registry::new()).unwrap().is_none());
        for (prefix, expected) in [("", ""), ("a/b", "a/b/"), ("a/", "a/")] {
            let yaml = STAGING.replace("bucket:", &format!("prefix: '{prefix}', bucket:"));
            let opened = parse(&format!("{yaml}\nfile_age_seconds: 5"))
                .unwrap()
                .open(&Registry::new())
                .unwrap()
                .unwrap();
            assert_eq!(opened.staging_prefix, expected);
            assert_eq!((opened.file_age, opened.ships), (Duration::from_secs(5), 8));
        }
        let missing =
            STAGING.replace("http://", "https://").replace("bucket:", "ca_file: /nowhere/ca.pem, bucket:");
        let error = parse(&missing).unwrap().open(&Registry::new()).unwrap_err();
        assert!(error.starts_with("logs.staging: ") && error.contains("/nowhere/ca.pem"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("staging: {access_key_id: A, secret_access_key: B}", "logs.staging.bucket:"),
            ("staging: {bucket: logs}", "logs.staging.access_key_id:"),
            ("staging: {bucket: logs, access_key_id: A}", "logs.staging.secret_access_key:"),
            ("staging: {bucket: logs, secret_access_key: A}", "logs.staging.access_key_id:"),
            (
                "staging: {bucket: l, access_key_id: A, secret_access_key: B, secret_access_key_file: /k}",
                "logs.staging.secret_access_key:",
            ),
            (
                "staging: {bucket: l, access_key_id: A, secret_access_key: B, endpoint: s3}",
                "logs.staging.endpoint:",
            ),
            (
                "staging: {bucket: l, access_key_id: A, secret_access_key: B, prefix: ../a}",
                "logs.staging.prefix:",
            ),
            ("staging: {bucket: l, access_key_id: A, secret_access_key: B, colour: red}", "colour"),
            ("delivery: {endpoint: aws}", "logs.delivery:"),
            ("delivery: {provider: aws}", "logs.delivery:"),
            ("staging: {bucket: l, provider: aws, access_key_id: A}", "logs.staging.provider:"),
            ("staging: {bucket: l, provider: aws, secret_access_key_file: /k}", "logs.staging.provider:"),
            ("staging: {bucket: l, provider: mine}", "expected `aws`"),
            ("file_age_seconds: 0", "logs.file_age_seconds:"),
            ("lost_after_seconds: 9", "logs.lost_after_seconds:"),
            ("lost_answers: 1", "logs.lost_answers:"),
            ("ships: 0", "logs.ships:"),
            ("bucket_timeout_ms: 30001", "logs.bucket_timeout_ms:"),
        ];
        for (yaml, says) in cases {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(says), "{yaml}: {error}");
        }
        for (delivery, says) in [
            ("{endpoint: 'http://a/b'}", "logs.delivery.endpoint:"),
            ("{hosts: {.Store: {endpoint: 'http://a'}}}", "logs.delivery.hosts..Store:"),
            ("{hosts: {.store: {}}}", "logs.delivery.hosts..store.endpoint:"),
            ("{hosts: {.store: {endpoint: 'http://a', bucket: A}}}", "logs.delivery.hosts..store.bucket:"),
            ("{secret_access_key: x}", "logs.delivery.access_key_id:"),
            ("{provider: aws, secret_access_key: x}", "logs.delivery.provider:"),
            (
                "{hosts: {.store: {endpoint: 'http://a', provider: aws, access_key_id: x}}}",
                "logs.delivery.hosts..store.provider:",
            ),
        ] {
            let error = parse(&format!("{STAGING}\ndelivery: {delivery}")).unwrap_err();
            assert!(error.contains(says), "{delivery}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown_and_a_change_of_one_is_noticed() {
        let text = |secret: &str| format!("{:?}", parse(&STAGING.replace("hush", secret)).unwrap());
        assert!(!text("hush").contains("hush"));
        assert_ne!(text("hush"), text("other"));
    }

    #[test]
    fn parquet_files_are_made_only_by_a_build_that_can() {
        let opened = parse(&format!("{STAGING}\nparquet: true\nparquet_grace_seconds: 60"))
            .map(|s| s.open(&Registry::new()).unwrap().unwrap());
        if cfg!(feature = "parquet") {
            assert_eq!(opened.unwrap().hourly.map(|h| h.grace), Some(Duration::from_secs(60)));
        } else {
            assert!(opened.unwrap_err().starts_with("logs.parquet: this build makes none"));
        }
        assert_eq!(parse(STAGING).unwrap().open(&Registry::new()).unwrap().unwrap().hourly, None);
    }
}
