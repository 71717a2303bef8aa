//! `penstock`, the standalone binary, as a process of its own with a data folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{Running, product};
use crate::{http, media};

/// How one is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// MEDIA_DIR; the shared test media if `None`.
    pub media: Option<PathBuf>,
    /// The data folder; a new temporary one if `None`.
    pub data: Option<PathBuf>,
    /// `--listen`, one each; any port of `127.0.0.1` if empty (within a network namespace, of its address).
    pub listen: Vec<String>,
    /// The text of a `--config` file.
    pub config: Option<String>,
    /// More environment.
    pub env: Vec<(&'static str, String)>,
}

/// A running one, stopped when dropped.
#[derive(Debug)]
pub struct Standalone {
    /// The process.
    pub process: Running,
    /// What the ready file says.
    pub ready: Value,
    /// Where the ready file is.
    pub ready_file: PathBuf,
    /// Its data folder.
    pub data: PathBuf,
    _temp: tempfile::TempDir,
}

impl Standalone {
    /// One over the shared media.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// One over a folder of its own.
    pub fn over(media: &Path) -> Self {
        Self::with(Options { media: Some(media.to_owned()), ..Default::default() })
    }

    /// One started as told; panics with its log if it doesn't get ready.
    pub fn with(options: Options) -> Self {
        Self::try_with(options).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// One started as told.
    pub fn try_with(options: Options) -> Result<Self> {
        let temp = crate::scratch::folder();
        let data = options.data.unwrap_or_else(|| temp.path().join("data"));
        let ready_file = temp.path().join("ready.json");
        let media = options.media.unwrap_or_else(|| media::folder().to_owned());
        let mut args = vec![media.display().to_string()];
        let any = format!("{}:0", crate::netns::host());
        let mut set = |name: &str, value: String| args.extend([name.to_owned(), value]);
        set("--data", data.display().to_string());
        for addr in if options.listen.is_empty() { vec![any.clone()] } else { options.listen } {
            set("--listen", addr);
        }
        for port in ["--api", "--s3", "--metrics"] {
            set(port, any.clone());
        }
        set("--ready-file", ready_file.display().to_string());
        if let Some(text) = options.config {
            let path = temp.path().join("penstock.yaml");
            std::fs::write(&path, text)?;
            set("--config", path.display().to_string());
        }
        let mut process =
            Running::start(&product("penstock"), &args, &options.env, &temp.path().join("log"))?;
        let ready = wait_ready(&mut process, &ready_file)?;
        Ok(Self { process, ready, ready_file, data, _temp: temp })
    }

    /// A text of the ready file, by JSON pointer.
    pub fn text(&self, pointer: &str) -> &str {
        self.ready
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.ready))
    }

    /// `IP:PORT` of the first RTMP listener.
    pub fn rtmp(&self) -> &str {
        self.text("/rtmp/0")
    }

    /// `IP:PORT` of all RTMP listeners.
    pub fn listeners(&self) -> Vec<&str> {
        self.ready["rtmp"]
            .as_array()
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// `IP:PORT` of the embedded S3.
    pub fn s3(&self) -> &str {
        self.text("/s3")
    }

    /// `IP:PORT` of the API.
    pub fn api(&self) -> &str {
        self.text("/api")
    }

    /// `IP:PORT` of the metrics.
    pub fn metrics_addr(&self) -> &str {
        self.text("/metrics")
    }

    /// The distribution's domain.
    pub fn domain(&self) -> &str {
        self.text("/distribution/domain")
    }

    /// Access key id and secret of the embedded S3.
    pub fn keys(&self) -> (&str, &str) {
        (self.text("/access_key_id"), self.text("/secret_access_key"))
    }

    /// `rtmp://IP:PORT/cfx/st`.
    pub fn url(&self) -> String {
        format!("rtmp://{}/cfx/st", self.rtmp())
    }

    /// All samples of its metrics page.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        http::metrics(self.metrics_addr()).unwrap()
    }

    /// The sum of all samples of one metric, whatever their labels.
    pub fn metric(&self, name: &str) -> f64 {
        let samples = self.metrics();
        samples.iter().filter(|(k, _)| k.split('{').next() == Some(name)).map(|(_, v)| v).sum()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// `rtmp://` clients' S3: signed with its own keys.
    pub fn bucket(&self, name: &str) -> crate::s3::Bucket {
        let (id, secret) = self.keys();
        crate::s3::Bucket::new(self.s3(), name, id, secret)
    }
}

/// Waits for a whole ready file, or says why there won't be one.
pub fn wait_ready(process: &mut Running, path: &Path) -> Result<Value> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return serde_json::from_str(&text).with_context(|| format!("ready file: {text}"));
        }
        if let Some(status) = process.ended() {
            bail!("ended with {status} before it was ready:\n{}", process.log());
        }
        if Instant::now() > end {
            bail!("not ready within 30 s:\n{}", process.log());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One standalone over the shared media for all tests of a binary that don't disturb each other.
pub fn shared() -> &'static Standalone {
    static SHARED: std::sync::OnceLock<Standalone> = std::sync::OnceLock::new();
    SHARED.get_or_init(Standalone::start)
}
