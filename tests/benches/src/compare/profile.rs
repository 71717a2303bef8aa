//! A profile of a server under load, kept as text. Without perf there is none.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::place::Place;

/// A recording under way.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    data: PathBuf,
    text: PathBuf,
}

/// Records a process for `seconds` from `wait_ms` on, beside the driver; `None` where perf isn't installed.
pub fn record(place: &Place, name: &str, pid: u32, wait_ms: u64, seconds: f64) -> Result<Option<Recorder>> {
    let found = Command::new("perf").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|s| s.success()) {
        return Ok(None);
    }
    let data = place.folder.join(format!("{name}.perf"));
    let text = place.folder.join(format!("profile-{name}.txt"));
    let script = format!(
        "sleep {}; exec taskset -c {} perf record -q -F 499 -g -o '{}' -p {pid} -- sleep {seconds}",
        wait_ms as f64 / 1e3,
        place.driver_core,
        data.display()
    );
    let child = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().context("perf")?;
    Ok(Some(Recorder { child, data, text }))
}

impl Recorder {
    /// Waits for its end and writes the report; answers where.
    pub fn report(mut self) -> Result<PathBuf> {
        self.child.wait()?;
        let output = Command::new("perf")
            .args(["report", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.3", "-i"])
            .arg(&self.data)
            .stderr(Stdio::null())
            .output()?;
        let mut text = output.stdout;
        let calls = Command::new("perf")
            .args([
                "report",
                "--stdio",
                "--no-children",
                "-g",
                "caller,0.5,callee",
                "--percent-limit",
                "2",
                "-i",
            ])
            .arg(&self.data)
            .stderr(Stdio::null())
            .output()?;
        text.extend(calls.stdout);
        std::fs::write(&self.text, text)?;
        std::fs::remove_file(&self.data)?;
        Ok(self.text)
    }
}
