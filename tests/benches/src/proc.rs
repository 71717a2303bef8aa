//! What `/proc` says of processes: CPU time and memory.
//!
//! CPU times come in ticks of 10 ms (`USER_HZ` is 100 on every Linux there is), all threads summed: a window must last long enough.

use std::fs;

/// Seconds a tick.
const TICK_S: f64 = 0.01;

/// User and system seconds of a process and all its threads so far; 0 if it is gone.
pub fn cpu_s(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in brackets may hold anything, spaces too.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks * TICK_S
}

fn field_bytes(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(':').split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
        * 1024
}

/// Resident bytes of a process.
pub fn rss_bytes(pid: u32) -> u64 {
    field_bytes(&format!("/proc/{pid}/status"), "VmRSS")
}

/// Highest resident bytes of a process so far.
pub fn peak_bytes(pid: u32) -> u64 {
    field_bytes(&format!("/proc/{pid}/status"), "VmHWM")
}

/// Resident bytes of a process that aren't backed by a file: what it allocated.
pub fn anonymous_bytes(pid: u32) -> u64 {
    field_bytes(&format!("/proc/{pid}/status"), "RssAnon")
}

/// Descriptors this process may open, after asking for as many as the hard limit allows. `prlimit` (util-linux) does the asking:
/// the call itself has no safe form in std.
pub fn raise_descriptors() -> u64 {
    let pid = std::process::id().to_string();
    let limit = |column: usize| -> Option<u64> {
        let text = fs::read_to_string("/proc/self/limits").ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix("Max open files"))?;
        let word = line.split_whitespace().nth(column)?;
        Some(word.parse().unwrap_or(u64::MAX))
    };
    if let (Some(soft), Some(hard)) = (limit(0), limit(1))
        && soft < hard
    {
        let _ = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--nofile={hard}:{hard}")])
            .status();
    }
    limit(0).unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let me = std::process::id();
        assert!(rss_bytes(me) > 100_000);
        assert!(peak_bytes(me) >= rss_bytes(me) / 2);
        assert!(anonymous_bytes(me) > 0);
        let end = std::time::Instant::now() + std::time::Duration::from_millis(50);
        while std::time::Instant::now() < end {}
        assert!(cpu_s(me) > 0.0);
        assert_eq!(cpu_s(0), 0.0);
    }
}
