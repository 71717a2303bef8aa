//! Telling that everything serves: the ready file for scripts, URLs and commands for people.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::Serialize;

use crate::identity::{Identity, write_private};
use crate::logs::Logging;

/// The ready file's content. Keys are only ever added.
#[derive(Debug, Serialize)]
pub struct Ready {
    /// Viewers' addresses, in the order of `--listen`.
    pub rtmp: Vec<String>,
    /// Control API.
    pub api: String,
    /// S3 endpoint.
    pub s3: String,
    /// Metrics and health.
    pub metrics: String,
    /// Control's gRPC address, for `penstock-control` with the data folder's `operator.token`; on loopback only.
    pub control: String,
    /// The bucket that MEDIA_DIR or the sample is.
    pub bucket: String,
    /// The distribution that serves it.
    pub distribution: DistributionName,
    /// The web console, a whole URL.
    pub console: String,
    /// The account of the key below, 12 digits.
    pub account: String,
    /// Access key id: of the S3 endpoint, the control API and the console.
    pub access_key_id: String,
    /// Its secret access key.
    pub secret_access_key: String,
    /// Where the distribution's access logs appear; absent if it doesn't log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogPlace>,
}

/// Where access logs are read.
#[derive(Debug, Serialize)]
pub struct LogPlace {
    /// A bucket of the S3 endpoint, private to the access key.
    pub bucket: String,
    /// What keys in it begin with; empty, or ending in `/`.
    pub prefix: String,
    /// The folder that the same files lie in.
    pub folder: String,
}

/// A distribution's two names.
#[derive(Debug, Serialize)]
pub struct DistributionName {
    /// Id.
    pub id: String,
    /// Domain.
    pub domain: String,
}

/// Addresses everything is bound to.
pub struct Bound {
    /// Viewers.
    pub rtmp: Vec<SocketAddr>,
    /// Control API.
    pub api: SocketAddr,
    /// S3 endpoint.
    pub s3: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
    /// Control's gRPC.
    pub control: SocketAddr,
}

/// Plays of each film, by what lines of access logs come in.
const PLAYS: &str =
    r#"awk -F'\t' '$5 == "play" { n[$16 ":" $14]++ } END { for (film in n) print n[film], film }'"#;

/// A path as a shell takes it for one word.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// `address` as a client on this machine would write it: a wildcard becomes the loopback address.
fn reachable(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port()).to_string()
}

/// The host of `address` as a client on this machine would write it.
pub fn host(address: SocketAddr) -> String {
    reachable(address).rsplit_once(':').map(|(host, _)| host.to_owned()).unwrap_or_default()
}

impl Ready {
    /// What `bound`, `identity` and the rest come to; `data` is the data folder.
    pub fn new(bound: &Bound, identity: &Identity, domain: &str, logging: &Logging, data: &Path) -> Self {
        Self {
            rtmp: bound.rtmp.iter().map(|a| reachable(*a)).collect(),
            api: reachable(bound.api),
            s3: reachable(bound.s3),
            metrics: reachable(bound.metrics),
            control: format!("http://{}", bound.control),
            bucket: crate::MEDIA_BUCKET.into(),
            distribution: DistributionName { id: identity.distribution_id.clone(), domain: domain.into() },
            console: format!("http://{}/console", reachable(bound.api)),
            account: crate::api::ACCOUNT.into(),
            access_key_id: identity.access_key_id.clone(),
            secret_access_key: identity.secret_access_key.clone(),
            logs: logging.enabled.then(|| LogPlace {
                bucket: logging.bucket.clone(),
                prefix: logging.key_prefix(),
                folder: std::path::absolute(logging.folder(data))
                    .unwrap_or_else(|_| logging.folder(data))
                    .display()
                    .to_string(),
            }),
        }
    }

    /// Writes the ready file, whole.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_private(path, &serde_json::to_vec(self)?)
    }

    /// Prints what to play and how. `sample` is a key that exists, with its prefix-less name; `operator_token` the file of a token for
    /// `penstock-control`.
    pub fn announce(&self, sample: Option<&str>, operator_token: &Path) {
        let host = self.rtmp.first().map_or("127.0.0.1:1935", String::as_str);
        let name = sample.unwrap_or("FILE.mp4");
        let stem = match name.rsplit_once('.') {
            Some((stem, "flv")) => stem.to_owned(),
            Some((stem, "mp3")) => format!("mp3:{stem}"),
            _ => format!("mp4:{name}"),
        };
        println!(
            "Penstock serves bucket '{}' as distribution {} ({}).",
            self.bucket, self.distribution.id, self.distribution.domain
        );
        println!();
        println!("  URL        rtmp://{host}/cfx/st/{stem}");
        println!("  rtmpdump   rtmpdump -r rtmp://{host}/cfx/st -a cfx/st -y '{stem}' -o /tmp/penstock.flv");
        println!("  ffplay     ffplay 'rtmp://{host}/cfx/st/{stem}'");
        println!("  mpv        mpv 'rtmp://{host}/cfx/st/{stem}'");
        println!("  over TLS   rtmps://{host}/cfx/st/{stem}");
        println!();
        println!(
            "  S3         http://{}  (access key id {}; the secret is in identity.json of the data folder)",
            self.s3, self.access_key_id
        );
        println!("  console    {}  (log in with that key)", self.console);
        println!(
            "  API        AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY=... AWS_DEFAULT_REGION=us-east-1 \\",
            self.access_key_id
        );
        println!(
            "             aws --endpoint-url http://{} cloudfront list-streaming-distributions",
            self.api
        );
        println!(
            "  operator   penstock-control --control {} --token-file '{}' status",
            self.control,
            operator_token.display()
        );
        println!("  metrics    http://{}/metrics", self.metrics);
        if let Some(logs) = &self.logs {
            // A file there is some seconds after the first event; until then the shell finds none.
            let folder = quoted(&logs.folder);
            println!(
                "  logs       {folder}  (bucket '{}'; some seconds behind), such as plays of each film:",
                logs.bucket
            );
            println!("             zcat {folder}/*.gz | {PLAYS}");
            println!(
                "             aws --endpoint-url http://{} s3 ls --recursive s3://{}/{}",
                self.s3, logs.bucket, logs.prefix
            );
        }
        println!();
        println!("Stop with Ctrl-C.");
    }
}
