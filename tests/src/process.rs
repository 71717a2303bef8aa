//! Child processes that never outlive the test binary.
//!
//! A shared server lives in a `static`, which Rust never drops; so children are started through `setpriv --pdeathsig KILL`
//! (util-linux), and the kernel ends them with us. That signal follows the *thread* that started the child, hence the one
//! thread here that starts them all and never ends. It goes to the asker's network namespace first, so a child is born where
//! the test that wants it stands. A [`Running`] dropped earlier is killed by its pid and reaped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::netns::Namespace;

type Order = (Command, Namespace, SyncSender<std::io::Result<Child>>);

fn start(command: Command) -> Result<Child> {
    static STARTER: OnceLock<Mutex<SyncSender<Order>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, taken) = sync_channel::<Order>(0);
        std::thread::spawn(move || {
            for (mut command, namespace, answer) in taken {
                let _ = answer.send(namespace.enter().and_then(|()| command.spawn()));
            }
        });
        Mutex::new(orders)
    });
    let (answer, child) = sync_channel(1);
    starter
        .lock()
        .unwrap_or_else(|e| e.into_inner())
        .send((command, Namespace::here()?, answer))
        .context("the starter is gone")?;
    Ok(child.recv()??)
}

/// A started process with its output in a file.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts `program` with `args` and `env`; both outputs are appended to `log`.
    pub fn start(program: &Path, args: &[String], env: &[(&str, String)], log: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("{}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(args).stdin(Stdio::null());
        command.envs(env.iter().map(|(k, v)| (*k, v.as_str()))).stdout(out.try_clone()?).stderr(out);
        let child = start(command).with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its resident memory, in KiB; 0 when it has ended.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with("VmRSS:"));
        line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    }

    /// Descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Sends it a signal by name (`TERM`, `KILL`, `STOP`, `CONT`).
    pub fn signal(&self, signal: &str) {
        let _ = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.pid().to_string())
            .stderr(Stdio::null())
            .status();
    }

    /// Its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + within;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{} (pid {}) runs after {within:?}", self.name, self.pid())
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(6000).map_or(0, |(i, _)| i);
            eprintln!("--- the end of {}'s output ({})\n{}", self.name, self.log.display(), &log[from..]);
        }
    }
}

/// Lets this process, and those it starts from now on, open as many descriptors as the system allows it; gives that number.
pub fn raise_descriptors() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        let _ = setrlimit(Resource::Nofile, limit);
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    })
}

/// One of the product's binaries: in `PENSTOCK_BIN_DIR`, else where cargo put this test's neighbours.
pub fn product(name: &str) -> PathBuf {
    let folder = std::env::var_os("PENSTOCK_BIN_DIR").map(PathBuf::from).unwrap_or_else(|| {
        let exe = std::env::current_exe().unwrap_or_default();
        exe.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default()
    });
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: `cargo build --workspace` first, or set PENSTOCK_BIN_DIR",
        path.display()
    );
    path
}
