//! A profile of a server under load, kept as text or counted. Without perf there is none.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::place::Place;

/// How many samples a second of whole stacks.
const STACKS_HZ: u32 = 997;
/// Bytes of stack kept with each of them: what runs in a task of a task of a runtime is deep.
const STACK_BYTES: u32 = 16_384;

/// A recording under way.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    data: PathBuf,
    text: PathBuf,
}

/// Records a process for `seconds` from `wait_ms` on, beside the driver; `None` where perf isn't installed.
pub fn record(place: &Place, name: &str, pid: u32, wait_ms: u64, seconds: f64) -> Result<Option<Recorder>> {
    begin(place, name, pid, wait_ms, seconds, "-F 499 -g")
}

/// The same with whole stacks, which are unwound later by the program's own tables: it has no frame pointers.
pub fn record_stacks(
    place: &Place,
    name: &str,
    pid: u32,
    wait_ms: u64,
    seconds: f64,
) -> Result<Option<Recorder>> {
    begin(place, name, pid, wait_ms, seconds, &format!("-F {STACKS_HZ} --call-graph dwarf,{STACK_BYTES}"))
}

fn begin(
    place: &Place,
    name: &str,
    pid: u32,
    wait_ms: u64,
    seconds: f64,
    how: &str,
) -> Result<Option<Recorder>> {
    let found = Command::new("perf").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|s| s.success()) {
        return Ok(None);
    }
    let data = place.folder.join(format!("{name}.perf"));
    let text = place.folder.join(format!("profile-{name}.txt"));
    let script = format!(
        "sleep {}; exec taskset -c {} perf record -q {how} -o '{}' -p {pid} -- sleep {seconds}",
        wait_ms as f64 / 1e3,
        place.driver_core,
        data.display()
    );
    let child = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn().context("perf")?;
    Ok(Some(Recorder { child, data, text }))
}

/// Samples that a recording had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// All of them.
    pub samples: usize,
    /// Those in what was asked for.
    pub inside: usize,
    /// Those of them by the frame that made them so, most first.
    pub frames: Vec<(String, usize)>,
}

/// Counts stacks as `perf script -F comm,ip,sym` prints them: a line that names the thread, one line a frame from the innermost out, an empty line. A
/// sample is inside if its thread's name has one of `threads` in it, or a frame's one of `symbols`.
pub fn share(script: &str, threads: &[&str], symbols: &[&str]) -> Share {
    let mut share = Share::default();
    let mut frames = std::collections::BTreeMap::<String, usize>::new();
    for sample in script.split("\n\n").map(str::trim_start).filter(|sample| !sample.is_empty()) {
        share.samples += 1;
        let (thread, stack) = sample.split_once('\n').unwrap_or((sample, ""));
        let thread =
            threads.iter().any(|name| thread.contains(name)).then(|| format!("thread {}", thread.trim()));
        let frame = || stack.lines().find(|frame| symbols.iter().any(|symbol| frame.contains(symbol)));
        // Addresses differ within a function.
        let name = |frame: &str| frame.trim().split_once(' ').map_or(frame, |(_, symbol)| symbol).to_owned();
        if let Some(found) = thread.or_else(|| frame().map(name)) {
            share.inside += 1;
            *frames.entry(found).or_default() += 1;
        }
    }
    share.frames = frames.into_iter().collect();
    share.frames.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
    share
}

impl Recorder {
    /// Waits for its end and counts what was inside; the stacks are kept as text.
    pub fn share(mut self, threads: &[&str], symbols: &[&str]) -> Result<(Share, PathBuf)> {
        self.child.wait()?;
        let output = Command::new("perf")
            .args(["script", "-F", "comm,ip,sym", "-i"])
            .arg(&self.data)
            .stderr(Stdio::null())
            .output()?;
        std::fs::remove_file(&self.data)?;
        let text = String::from_utf8_lossy(&output.stdout);
        std::fs::write(&self.text, text.as_bytes())?;
        Ok((share(&text, threads, symbols), self.text))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_inside_by_its_thread_or_by_any_frame() {
        let script = "tokio-runtime-w \n\t  b041 write (inlined)\n\t 727f edge::log::record\n\t 620e main\n\n\
                      spool \n\t  1 fsync\n\n\
                      tokio-runtime-w \n\t  b041 write\n\t 6200 edge::pacing::due\n\n\
                      tokio-runtime-w \n\t  99 edge::log::record\n\n";
        let share = share(script, &["spool"], &["edge::log::"]);
        let frames = [("edge::log::record", 2), ("thread spool", 1)].map(|(name, n)| (name.to_owned(), n));
        assert_eq!(share, Share { samples: 4, inside: 3, frames: frames.to_vec() });
        assert_eq!(super::share("", &[], &[]), Share::default());
    }
}
