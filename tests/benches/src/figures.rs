//! What a run is reported by.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Times of one sort, in µs.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<u64>);

impl Times {
    /// One more.
    pub fn push(&mut self, us: u64) {
        self.0.push(us);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of all stay within, in ms; 0 without any.
    pub fn quantile_ms(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).map_or(0.0, |us| *us as f64 / 1000.0)
    }

    fn json(&mut self) -> Value {
        let round = |ms: f64| (ms * 100.0).round() / 100.0;
        json!({
            "count": self.count(),
            "p50": round(self.quantile_ms(0.5)),
            "p99": round(self.quantile_ms(0.99)),
            "max": round(self.quantile_ms(1.0)),
        })
    }
}

/// One server process over the measured window.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its process id.
    pub pid: u32,
    /// User and system seconds used in the window.
    pub cpu_s: f64,
    /// Resident bytes before the first session.
    pub rss_before_bytes: u64,
    /// Resident bytes at the window's end.
    pub rss_bytes: u64,
    /// The same, without what a file backs.
    pub anonymous_before_bytes: u64,
    /// The same at the window's end.
    pub anonymous_bytes: u64,
}

/// All of a run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Sessions begun.
    pub sessions: u64,
    /// Sessions connected at the window's end.
    pub connected: usize,
    /// Films played to their end.
    pub completed: u64,
    /// Sessions that failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Bytes received in the window.
    pub window_bytes: u64,
    /// Bytes received in all.
    pub bytes: u64,
    /// HTTP requests sent in the window, through tunnels.
    pub window_requests: u64,
    /// HTTP requests sent in all.
    pub requests: u64,
    /// Seconds of the window.
    pub window_s: f64,
    /// Time from the TCP connect to the first frame.
    pub first_frame: Times,
    /// Time from `play` to the first frame.
    pub first_frame_after_play: Times,
    /// Time from the TCP connect to the answer to `connect`.
    pub connect: Times,
    /// Time from a seek to its first frame.
    pub seek: Times,
    /// Seeks sent.
    pub seeks: u64,
    /// Pauses sent.
    pub pauses: u64,
    /// Stalls of all players.
    pub stalls: u64,
    /// Players that stalled.
    pub stalled_sessions: u64,
    /// How long all stalls lasted.
    pub stalled_us: u64,
    /// Frames whose hash was as it must be.
    pub hashes_right: u64,
    /// Frames whose hash was not.
    pub hashes_wrong: u64,
    /// Frames whose place in the film wasn't known.
    pub hashes_unplaced: u64,
    /// CPU seconds of the driver in the window.
    pub driver_cpu_s: f64,
    /// Server processes named on the command line.
    pub servers: Vec<Server>,
}

impl Figures {
    /// Counts a failure.
    pub fn fail(&mut self, reason: &str) {
        *self.failed.entry(reason.to_owned()).or_default() += 1;
    }

    /// Failures of all kinds.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Gigabytes (10⁹) received in the window.
    pub fn window_gb(&self) -> f64 {
        self.window_bytes as f64 / 1e9
    }

    /// The report as one line of JSON.
    pub fn json(&mut self) -> Value {
        let gb = self.window_gb().max(1e-9);
        json!({
            "sessions": self.sessions, "connected": self.connected, "completed": self.completed,
            "failures": self.failures(), "failed": self.failed,
            "bytes": self.bytes, "window_bytes": self.window_bytes, "window_s": self.window_s,
            "requests": self.requests, "window_requests": self.window_requests,
            "connect_ms": self.connect.json(), "first_frame_ms": self.first_frame.json(),
            "first_frame_after_play_ms": self.first_frame_after_play.json(), "seek_ms": self.seek.json(),
            "seeks": self.seeks, "pauses": self.pauses,
            "stalls": self.stalls, "stalled_sessions": self.stalled_sessions, "stalled_ms": self.stalled_us / 1000,
            "hashes": { "right": self.hashes_right, "wrong": self.hashes_wrong, "unplaced": self.hashes_unplaced },
            "driver_cpu_s": self.driver_cpu_s, "driver_cpu_s_per_gb": self.driver_cpu_s / gb,
            "servers": self.servers.iter().map(|s| json!({
                "pid": s.pid, "cpu_s": s.cpu_s, "rss_before_bytes": s.rss_before_bytes, "rss_bytes": s.rss_bytes,
                "anonymous_before_bytes": s.anonymous_before_bytes, "anonymous_bytes": s.anonymous_bytes,
            })).collect::<Vec<_>>(),
            "server_cpu_s_per_gb": self.servers.iter().map(|s| s.cpu_s).sum::<f64>() / gb,
        })
    }

    /// The report for people.
    pub fn text(&mut self) -> String {
        let gb = self.window_gb();
        let mut text = format!(
            "window     {:.3} GB in {:.2} s = {:.1} MB/s; {:.3} GB in all\n",
            gb,
            self.window_s,
            self.window_bytes as f64 / 1e6 / self.window_s.max(1e-9),
            self.bytes as f64 / 1e9
        );
        text += &format!(
            "sessions   {} begun, {} connected at the end, {} films played to the end, {} failed {:?}\n",
            self.sessions,
            self.connected,
            self.completed,
            self.failures(),
            self.failed
        );
        for (name, times) in [
            ("connect", &mut self.connect),
            ("frame", &mut self.first_frame),
            ("play→frame", &mut self.first_frame_after_play),
            ("seek", &mut self.seek),
        ] {
            if times.count() > 0 {
                let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| times.quantile_ms(q));
                text += &format!(
                    "{name:10} p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms ({})\n",
                    times.count()
                );
            }
        }
        if self.requests > 0 {
            let per_s = self.window_requests as f64 / self.window_s.max(1e-9);
            text += &format!("requests   {} in all, {per_s:.1} a second in the window\n", self.requests);
        }
        text += &format!(
            "stalls     {} in {} sessions, {} ms together\n",
            self.stalls,
            self.stalled_sessions,
            self.stalled_us / 1000
        );
        text += &format!(
            "hashes     {} right, {} wrong, {} unplaced\n",
            self.hashes_right, self.hashes_wrong, self.hashes_unplaced
        );
        text += &format!(
            "driver     {:.2} CPU-s, {:.3} a GB\n",
            self.driver_cpu_s,
            self.driver_cpu_s / gb.max(1e-9)
        );
        for server in &self.servers {
            text += &format!(
                "server {:6} {:.2} CPU-s, {:.3} a GB; RSS {:.1} MB, {:+.1} MB since the start\n",
                server.pid,
                server.cpu_s,
                server.cpu_s / gb.max(1e-9),
                server.rss_bytes as f64 / 1e6,
                (server.rss_bytes as f64 - server.rss_before_bytes as f64) / 1e6
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut times = Times::default();
        assert_eq!(times.quantile_ms(0.5), 0.0);
        (0..=100).rev().for_each(|n| times.push(n * 1000));
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| times.quantile_ms(q)), [0.0, 50.0, 99.0, 100.0]);
    }

    #[test]
    fn the_report_names_failures() {
        let mut figures = Figures::default();
        figures.fail("refused");
        figures.fail("refused");
        assert_eq!(figures.json()["failed"]["refused"], 2);
        assert!(figures.text().contains("2 failed"));
    }
}
