//! What a person can tell standalone: flags, `PENSTOCK_*` variables, a YAML file; in this order of weight.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use edge::config::EdgeConfig;
use serde::Deserialize;

use crate::logs::{Logging, Pace};

/// Penstock in one process: edge, shield, control and an S3 endpoint over local folders.
///
/// Without MEDIA_DIR the bucket "media" holds a bundled sample film. When everything serves, the URLs to play and the commands that
/// play them are printed.
///
/// `penstock probe URL` plays a stream and says how that went: see `penstock probe --help`. A folder of that name is `./probe`.
#[derive(Debug, Default, Parser)]
#[command(name = "penstock", version)]
pub struct Flags {
    /// Folder of media files, served read-only as the public bucket "media". Default: the bundled sample.
    #[arg(env = "PENSTOCK_MEDIA_DIR", value_name = "MEDIA_DIR")]
    pub media_dir: Option<PathBuf>,
    /// Data folder: other buckets, keys, config store. Default: penstock under $XDG_DATA_HOME, else ~/.local/share/penstock.
    #[arg(long, env = "PENSTOCK_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for viewers, repeatable; port 0 takes a free one. Default: 0.0.0.0:1935 and 0.0.0.0:8080.
    #[arg(long, env = "PENSTOCK_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// Address of the control API (plain HTTP). Default: 127.0.0.1:8081.
    #[arg(long, env = "PENSTOCK_API", value_name = "ADDR")]
    pub api: Option<SocketAddr>,
    /// Address of the embedded S3 endpoint (plain HTTP). Default: 127.0.0.1:9000.
    #[arg(long, env = "PENSTOCK_S3", value_name = "ADDR")]
    pub s3: Option<SocketAddr>,
    /// Address of /metrics, /healthz, /readyz and /log-level (plain HTTP). Default: 127.0.0.1:9145.
    #[arg(long, env = "PENSTOCK_METRICS", value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// File that gets one JSON object, with all addresses and keys, when everything serves.
    #[arg(long, env = "PENSTOCK_READY_FILE", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// YAML file with any of: media_dir, data, listen, api, s3, metrics, ready_file, zone (default penstock.localhost), log_filter
    /// (default info), edge and shield (behaviour and limits, as for the cluster binaries), logs (file_age_seconds, default 5, file_bytes,
    /// drain_ms, default 8000: how long a stop may take to deliver, and spool, as for edges, but sealed after 1000 ms), distribution (chunk_size_bytes, swf_verification,
    /// audio_sample_access, video_sample_access, as in control's file of distributions; logging: enabled, default true, bucket, default
    /// logs, and prefix of its access logs).
    #[arg(long, env = "PENSTOCK_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check flags and configuration, say what is wrong with them, and stop.
    #[arg(long)]
    pub check_config: bool,
}

/// What the bundled distribution is told beside its names and its bucket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// RTMP chunk size; 0 leaves it to the edge.
    pub chunk_size_bytes: u32,
    /// SWF files a player may be; any if empty.
    pub swf_verification: Vec<control::declare::DeclaredSwf>,
    /// Whether players' scripts may read the sound.
    pub audio_sample_access: bool,
    /// Whether players' scripts may read the pixels.
    pub video_sample_access: bool,
    /// Where its access logs go.
    pub logging: Logging,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    media_dir: Option<PathBuf>,
    data: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    api: Option<SocketAddr>,
    s3: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    ready_file: Option<PathBuf>,
    zone: Option<String>,
    log_filter: Option<String>,
    edge: Option<serde_yaml_ng::Mapping>,
    shield: Option<serde_yaml_ng::Mapping>,
    logs: Option<serde_yaml_ng::Mapping>,
    distribution: Rules,
}

/// Everything standalone acts on.
#[derive(Debug)]
pub struct Options {
    /// Folder served as bucket `media`; the sample if `None`.
    pub media_dir: Option<PathBuf>,
    /// Data folder.
    pub data: PathBuf,
    /// For viewers.
    pub listen: Vec<SocketAddr>,
    /// Control API.
    pub api: SocketAddr,
    /// S3 endpoint.
    pub s3: SocketAddr,
    /// Metrics and health.
    pub metrics: SocketAddr,
    /// Where the ready file goes.
    pub ready_file: Option<PathBuf>,
    /// Zone of the distribution's domain.
    pub zone: String,
    /// What is logged.
    pub log_filter: String,
    /// The edge's behaviour.
    pub edge: EdgeConfig,
    /// The shield's behaviour.
    pub shield: shield::ShieldConfig,
    /// How access logs get into their buckets.
    pub logs: Pace,
    /// The distribution's.
    pub distribution: Rules,
}

impl Options {
    /// Joins flags (variables included), file and defaults, and checks the result. Errors name the field.
    pub fn resolve(flags: Flags) -> anyhow::Result<Self> {
        let file: File = match &flags.config {
            None => File::default(),
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("--config {}", path.display()))?;
                let parsed: Option<File> =
                    serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?;
                parsed.unwrap_or_default()
            }
        };
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
        let listen = [flags.listen, file.listen]
            .into_iter()
            .find(|l| !l.is_empty())
            .unwrap_or_else(|| vec![any(1935), any(8080)]);
        let data = flags.data.or(file.data).map_or_else(default_data, Ok)?;
        let zone = file.zone.unwrap_or_else(|| "penstock.localhost".into());
        anyhow::ensure!(proto::distribution::is_host(&zone), "zone: '{zone}' is not a lower-case host name");
        let edge = edge_config(file.edge.unwrap_or_default())?;
        let shield = shield_config(file.shield.unwrap_or_default())?;
        let logs = Pace::read(file.logs.unwrap_or_default())?;
        file.distribution.logging.check().context("distribution.logging")?;
        Ok(Self {
            media_dir: flags.media_dir.or(file.media_dir),
            data,
            listen,
            api: flags.api.or(file.api).unwrap_or_else(|| local(8081)),
            s3: flags.s3.or(file.s3).unwrap_or_else(|| local(9000)),
            metrics: flags.metrics.or(file.metrics).unwrap_or_else(|| local(9145)),
            ready_file: flags.ready_file.or(file.ready_file),
            zone,
            log_filter: file
                .log_filter
                .or_else(|| std::env::var("RUST_LOG").ok())
                .unwrap_or_else(|| "info".into()),
            edge,
            shield,
            logs,
            distribution: file.distribution,
        })
    }
}

/// The edge's config. Who stops standalone wants it stopped: no drain by default.
fn edge_config(mut given: serde_yaml_ng::Mapping) -> anyhow::Result<EdgeConfig> {
    for field in ["settle_ms", "drain_ms"] {
        given.entry(field.into()).or_insert_with(|| 0.into());
    }
    let config: EdgeConfig = serde_yaml_ng::from_value(given.into()).context("edge")?;
    config.check().context("edge")?;
    Ok(config)
}

/// The shield's config, by defaults that suit a person who edits files: nothing is believed missing for long, and every open asks whether
/// the file changed.
fn shield_config(mut given: serde_yaml_ng::Mapping) -> anyhow::Result<shield::ShieldConfig> {
    let defaults = [
        ("negative_ttl_s", serde_yaml_ng::Value::from(1)),
        ("revalidate_always", serde_yaml_ng::Value::from(true)),
    ];
    for (field, value) in defaults {
        if !given.contains_key(field) {
            given.insert(field.into(), value);
        }
    }
    let config: shield::ShieldConfig = serde_yaml_ng::from_value(given.into()).context("shield")?;
    config.validate().context("shield")?;
    Ok(config)
}

fn default_data() -> anyhow::Result<PathBuf> {
    let base = match std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => {
            let home = std::env::var_os("HOME").context("--data: neither given nor is $HOME set")?;
            PathBuf::from(home).join(".local/share")
        }
    };
    Ok(base.join("penstock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standalone_drains_only_when_told_to() {
        let config = edge_config(serde_yaml_ng::Mapping::new()).unwrap();
        assert_eq!((config.settle_ms, config.drain_ms), (0, 0));
        let given = serde_yaml_ng::from_str("drain_ms: 7000\ncache_bytes: 16777216").unwrap();
        let config = edge_config(given).unwrap();
        assert_eq!((config.settle_ms, config.drain_ms, config.cache_bytes), (0, 7000, 16 << 20));
        let wrong = serde_yaml_ng::from_str("drain: 1").unwrap();
        assert!(format!("{:#}", edge_config(wrong).unwrap_err()).contains("drain"));
    }
}
