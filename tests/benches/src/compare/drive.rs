//! Runs the driver, pinned to its core, and reads its report.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::media;
use super::place::Place;
use super::process::pinned;
use super::servers::Server;

/// One run of the driver.
#[derive(Clone, Debug, Default)]
pub struct Drive {
    args: Vec<String>,
}

impl Drive {
    /// A run against a server.
    pub fn at(server: &Server) -> Self {
        let mut drive = Self::default();
        drive.with("--target", server.addr).with("--app", server.app);
        if let Some(host) = server.host {
            drive.with("--host", host);
        }
        let pids: Vec<String> = server.pids.iter().chain(&server.others).map(u32::to_string).collect();
        if !pids.is_empty() {
            drive.with("--server", pids.join(","));
        }
        drive
    }

    /// Adds an option with a value.
    pub fn with(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.args.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Adds options as they stand.
    pub fn add(&mut self, words: &[&str]) -> &mut Self {
        self.args.extend(words.iter().map(|w| (*w).to_owned()));
        self
    }

    /// The films to play and, if `hashes` are wanted, what must come of them.
    pub fn films(&mut self, place: &Place, names: &[String], hashes: bool) -> &mut Self {
        self.with("--name", names.join(","));
        if hashes {
            let paths: Vec<String> =
                names.iter().map(|n| media::prints(place, n).display().to_string()).collect();
            self.with("--film", paths.join(","));
        }
        self
    }

    /// Runs it to its end.
    pub fn run(&self, place: &Place) -> Result<Run> {
        let output = pinned(&place.driver_core, &place.own("load"))
            .args(&self.args)
            .arg("--json")
            .stderr(Stdio::inherit())
            .output()
            .context("start the driver")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(!text.trim().is_empty(), "the driver said nothing: load {}", self.args.join(" "));
        Ok(Run(serde_json::from_str(text.trim())?))
    }
}

/// What a run reported.
#[derive(Clone, Debug)]
pub struct Run(pub Value);

impl Run {
    /// A number by its JSON pointer; 0 if there is none.
    pub fn number(&self, pointer: &str) -> f64 {
        self.0.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// Gigabytes received in the window.
    pub fn gb(&self) -> f64 {
        self.number("/window_bytes") / 1e9
    }

    /// CPU seconds a gigabyte of the first `servers` server processes.
    pub fn cpu_per_gb(&self, servers: usize) -> f64 {
        let cpu: f64 = (0..servers).map(|n| self.number(&format!("/servers/{n}/cpu_s"))).sum();
        cpu / self.gb().max(1e-9)
    }

    /// Resident bytes of the first `servers` server processes at the window's end, with all viewers there.
    pub fn resident_bytes(&self, servers: usize) -> f64 {
        (0..servers).map(|n| self.number(&format!("/servers/{n}/rss_bytes"))).sum()
    }

    /// What the first `servers` server processes grew by from before the first viewer to the window's end, with all viewers there: `rss`
    /// or `anonymous` bytes.
    pub fn grown(&self, servers: usize, what: &str) -> f64 {
        let one = |n: usize| {
            let at = |when: &str| self.number(&format!("/servers/{n}/{what}{when}_bytes"));
            at("") - at("_before")
        };
        (0..servers).map(one).sum()
    }

    /// What is wrong with it, if anything: failures, stalls, wrong bytes, nothing received.
    pub fn wrong(&self) -> Option<String> {
        let mut wrong = Vec::new();
        if self.number("/failures") > 0.0 {
            wrong.push(format!("failed sessions {}", self.0["failed"]));
        }
        if self.number("/stalls") > 0.0 {
            wrong.push(format!("{} stalls of {} ms", self.0["stalls"], self.0["stalled_ms"]));
        }
        if self.number("/hashes/wrong") > 0.0 {
            wrong.push(format!("{} wrong frames", self.0.pointer("/hashes/wrong").unwrap_or(&Value::Null)));
        }
        if self.number("/bytes") == 0.0 {
            wrong.push("nothing received".into());
        }
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }
}
