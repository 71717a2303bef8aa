//! etcd and the real `penstock-control`, each a process, as the benches start them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

/// Of which all tokens are made.
pub(crate) const MASTER: &str = "the-master-token-of-the-bench";
/// How long control may take to answer.
const START: Duration = Duration::from_secs(120);

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, args: &[String], log: &Path) -> Result<Running> {
    let log = std::fs::File::create(log)?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Running(command.spawn().with_context(|| program.to_owned())?))
}

fn free() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A line of /proc/PID/status (`VmRSS:`, `VmHWM:`), in MB.
pub(crate) fn memory_mb(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}

/// Waits until somebody takes connections there.
async fn answers(addr: &str) -> Result<()> {
    let began = Instant::now();
    while tokio::net::TcpStream::connect(addr).await.is_err() {
        ensure!(began.elapsed() < START, "it did not start");
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Both of them; dropped, they end and their folder goes.
pub(crate) struct Boxes {
    /// Where etcd's clients connect, a URL.
    pub(crate) etcd: String,
    /// Control's gRPC, a URL.
    pub(crate) control: String,
    /// `IP:PORT` of control's metrics.
    pub(crate) metrics: String,
    /// Control's process.
    pub(crate) pid: u32,
    log: PathBuf,
    _processes: [Running; 2],
    _folder: tempfile::TempDir,
}

impl Boxes {
    /// Starts them, control with `more` lines in its file, and waits until control takes connections.
    pub(crate) async fn start(more: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (clients, peers, grpc, metrics) = (free()?, free()?, free()?, free()?);
        let etcd_args = [
            format!("--data-dir={}", folder.path().join("etcd").display()),
            format!("--listen-client-urls=http://{clients}"),
            format!("--advertise-client-urls=http://{clients}"),
            format!("--listen-peer-urls=http://{peers}"),
            format!("--initial-advertise-peer-urls=http://{peers}"),
            format!("--initial-cluster=default=http://{peers}"),
            "--log-level=error".to_owned(),
        ];
        let etcd = start("etcd", &etcd_args, &folder.path().join("etcd.log"))?;
        answers(&clients).await.context("etcd")?;
        let file = folder.path().join("control.yaml");
        std::fs::write(
            &file,
            format!(
                "listen: {grpc}\nmetrics: {metrics}\ntoken: {MASTER}\nstore: {{etcd: {{endpoints: ['http://{clients}']}}}}\n\
                 log: {{filter: warn}}\n{more}"
            ),
        )?;
        let log = folder.path().join("control.log");
        let args = ["--config".to_owned(), file.display().to_string()];
        let control = start(env!("CARGO_BIN_EXE_penstock-control"), &args, &log)?;
        let boxes = Self {
            etcd: format!("http://{clients}"),
            control: format!("http://{grpc}"),
            metrics,
            pid: control.0.id(),
            log,
            _processes: [etcd, control],
            _folder: folder,
        };
        answers(&grpc).await.with_context(|| format!("control: {}", boxes.log()))?;
        Ok(boxes)
    }

    /// What control has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
