//! jets3t, as tests/api/jets3t/run starts it: its address is fixed, so it comes through a proxy or by a name override.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use super::Keys;
use crate::players::Outcome;

/// The versions that the tests run.
pub const VERSIONS: [&str; 4] = ["0.7.2", "0.7.4", "0.8.1", "0.9.4"];

/// How it gets to the server.
#[derive(Clone, Debug)]
pub enum Way<'a> {
    /// `httpclient.proxy-host` and `-port`: CONNECT, TLS inside.
    Proxy(&'a str),
    /// A hosts file of the JVM; the server listens on port 443.
    Hosts(&'a Path),
}

fn runner() -> &'static PathBuf {
    static RUNNER: OnceLock<PathBuf> = OnceLock::new();
    RUNNER.get_or_init(|| {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("api/jets3t/run");
        let done = Command::new(&run).arg("--build").output().unwrap();
        assert!(done.status.success(), "{}: {}", run.display(), String::from_utf8_lossy(&done.stderr));
        run
    })
}

/// Builds all versions, so that no test's deadline has to allow for it.
pub fn build() {
    runner();
}

/// Runs a class of the driver (`Driver`, or `Seed` with 0.7.2) with words after the keys. `ca` is the PEM of the authority it trusts.
pub fn run(version: &str, class: &str, way: &Way<'_>, ca: &Path, keys: &Keys, words: &[&str]) -> Outcome {
    let begun = Instant::now();
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "240"]).arg(runner()).args([version, class, &keys.id, &keys.secret]).args(words);
    command.env("JETS3T_CA", ca).stdin(Stdio::null());
    match way {
        Way::Proxy(addr) => command.env("JETS3T_PROXY", addr),
        Way::Hosts(file) => command.env("JETS3T_HOSTS", file),
    };
    let out = command.output().unwrap();
    Outcome {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

/// What one command of the driver printed.
#[derive(Clone, Debug)]
pub struct Line {
    /// The command, or `error`.
    pub name: String,
    values: BTreeMap<String, String>,
}

impl Line {
    /// A value; empty if it isn't there.
    pub fn get(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }
}

/// Runs the driver with commands; panics unless it printed a line for each.
pub fn drive(version: &str, way: &Way<'_>, ca: &Path, keys: &Keys, commands: &[&str]) -> Vec<Line> {
    let done = run(version, "Driver", way, ca, keys, commands).expect(0);
    let lines: Vec<Line> = done
        .stdout
        .lines()
        .map(|line| {
            let mut parts = line.split('\t');
            let name = parts.next().unwrap_or_default().to_owned();
            let values = parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
            Line { name, values }
        })
        .collect();
    assert_eq!(lines.len(), commands.len(), "{done:?}");
    lines
}
