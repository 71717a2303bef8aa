//! What is printed: a table for people, and the same as JSON beside it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::place::Place;

/// Some measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Spread(pub Vec<f64>);

impl Spread {
    /// The middle one; 0 without any.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        match n {
            0 => 0.0,
            _ if n % 2 == 1 => sorted[n / 2],
            _ => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
        }
    }

    /// Ratios, round by round.
    pub fn over(&self, other: &Spread) -> Spread {
        Spread(self.0.iter().zip(&other.0).map(|(a, b)| a / b.max(1e-12)).collect())
    }

    /// Sums, round by round.
    pub fn plus(&self, other: &Spread) -> Spread {
        Spread(self.0.iter().zip(&other.0).map(|(a, b)| a + b).collect())
    }

    /// `median [least–most]` with so many decimals.
    pub fn text(&self, decimals: usize) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self.0.len() {
            0 => "-".into(),
            1 => format!("{:.decimals$}", self.median()),
            _ => format!("{:.decimals$} [{least:.decimals$}–{most:.decimals$}]", self.median()),
        }
    }
}

/// One row of the report: lines of a table, and what was wrong.
#[derive(Clone, Debug)]
pub struct Section {
    title: String,
    lines: Vec<[String; 2]>,
    wrong: Vec<String>,
    data: Value,
}

impl Section {
    /// An empty one.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lines: Vec::new(), wrong: Vec::new(), data: json!({}) }
    }

    /// A line, and its measurements for the JSON.
    pub fn line(&mut self, name: impl Into<String>, spread: &Spread, decimals: usize, unit: &str) {
        let name = name.into();
        self.lines.push([name.clone(), format!("{} {unit}", spread.text(decimals)).trim_end().to_owned()]);
        self.data[name] = json!({ "median": spread.median(), "all": spread.0, "unit": unit });
    }

    /// A ratio with what it should be at most.
    pub fn ratio(&mut self, name: impl Into<String>, ratio: &Spread, most: f64) {
        let verdict = if ratio.median() <= most { "met" } else { "MISSED" };
        let name = name.into();
        self.lines.push([name.clone(), format!("{} (target ≤ {most}: {verdict})", ratio.text(2))]);
        self.data[name] = json!({ "median": ratio.median(), "all": ratio.0, "at_most": most });
    }

    /// A line of words.
    pub fn note(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.lines.push([name.into(), text.into()]);
    }

    /// Something went wrong.
    pub fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.title);
        let width = self.lines.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
        for [name, value] in &self.lines {
            let _ = writeln!(text, "  {name:width$}  {value}");
        }
        for wrong in &self.wrong {
            let _ = writeln!(text, "  WRONG: {wrong}");
        }
        text
    }
}

/// All sections, printed as they come and kept in `bench/compare.txt` and `compare.json`.
#[derive(Debug)]
pub struct Report {
    folder: PathBuf,
    text: String,
    data: Vec<Value>,
    wrong: bool,
}

impl Report {
    /// An empty one, headed by what it was measured on.
    pub fn begin(place: &Place) -> Result<Self> {
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().find_map(|l| l.strip_prefix("model name")?.split(':').nth(1)).unwrap_or("?");
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let text = format!(
            "Penstock beside nginx-rtmp: median [least–most] of the rounds. CPU is user + system of all server processes.\n\
             {} · Linux {} · servers on core {}, driver on core {} · load before {}\n",
            cpu.trim(),
            kernel.trim(),
            place.server_core,
            place.driver_core,
            load.split_whitespace().next().unwrap_or("?")
        );
        print!("{text}");
        Ok(Self { folder: place.folder.clone(), text, data: Vec::new(), wrong: false })
    }

    /// Prints a section and keeps it.
    pub fn add(&mut self, section: Section) -> Result<()> {
        let text = section.text();
        print!("{text}");
        self.text += &text;
        self.wrong |= !section.wrong.is_empty();
        self.data.push(json!({ "row": section.title, "figures": section.data, "wrong": section.wrong }));
        self.save()
    }

    fn save(&self) -> Result<()> {
        std::fs::write(self.folder.join("compare.txt"), &self.text)?;
        std::fs::write(self.folder.join("compare.json"), serde_json::to_vec_pretty(&self.data)?)?;
        Ok(())
    }

    /// True if nothing was wrong.
    pub fn finish(self) -> Result<bool> {
        self.save()?;
        println!("\nkept in {}", self.folder.join("compare.txt").display());
        Ok(!self.wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        assert_eq!(Spread(vec![3.0, 1.0, 2.0]).text(1), "2.0 [1.0–3.0]");
        assert_eq!(Spread(vec![4.0, 1.0]).median(), 2.5);
        assert_eq!(Spread(vec![]).text(1), "-");
        assert_eq!(Spread(vec![1.0, 4.0]).over(&Spread(vec![2.0, 4.0])).0, [0.5, 1.0]);
        assert_eq!(Spread(vec![1.0, 4.0]).plus(&Spread(vec![2.0, 4.0])).0, [3.0, 8.0]);
    }

    #[test]
    fn a_target_is_met_or_missed_by_the_median() {
        let mut section = Section::new("row");
        section.ratio("CPU ours / theirs", &Spread(vec![0.3, 0.5, 0.4]), 0.4);
        section.ratio("memory ours / theirs", &Spread(vec![0.5]), 0.4);
        let text = section.text();
        assert!(text.contains("0.40 [0.30–0.50] (target ≤ 0.4: met)"), "{text}");
        assert!(text.contains("0.50 (target ≤ 0.4: MISSED)"), "{text}");
    }
}
