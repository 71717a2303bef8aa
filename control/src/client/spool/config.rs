//! How a spool behaves: the `logs.spool:` part of an edge's configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Every field with its unit and default, for the reference of whoever has this section.
pub const REFERENCE: &str = "\
Access events on their way to control wait in a folder of the edge's own.

  logs.spool.folder           the folder; no other process may use it     [default: STATE_DIR/access-log]
  logs.spool.bytes            most bytes in it: past them the oldest
                              sealed segments are dropped, and counted    [default: 1073741824]
  logs.spool.segment_bytes    a segment is sealed at this size            [default: 4194304]
  logs.spool.seal_after_ms    or this long after its first event, ms      [default: 30000]
  logs.spool.durable          an event counts only once it is synced to
                              the disk (group commit); false: once it is
                              written, which outlives the process but
                              not the machine's power                     [default: false]
  logs.spool.sync_ms          when not durable, a written event is synced
                              this much later at most, ms                 [default: 200]
  logs.spool.journal_ms       byte counts of open sessions are saved this
                              often, ms                                   [default: 2000]
  logs.spool.queue_events     events waiting for the disk; past them they
                              are dropped, and counted                    [default: 16384]
  logs.spool.queue_bytes      the same, in bytes                          [default: 33554432]
  logs.spool.wait_ms          an answer to a player waits this long for
                              its event, then goes without, ms            [default: 500]
  logs.spool.close_ms         the last events are waited for this long
                              at the end, ms                              [default: 5000]
";

/// See [`REFERENCE`].
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct SpoolConfig {
    pub folder: Option<PathBuf>,
    pub bytes: u64,
    pub segment_bytes: u64,
    pub seal_after_ms: u64,
    pub durable: bool,
    pub sync_ms: u64,
    pub journal_ms: u64,
    pub queue_events: usize,
    pub queue_bytes: usize,
    pub wait_ms: u64,
    pub close_ms: u64,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            folder: None,
            bytes: 1 << 30,
            segment_bytes: 4 << 20,
            seal_after_ms: 30_000,
            durable: false,
            sync_ms: 200,
            journal_ms: 2_000,
            queue_events: 16_384,
            queue_bytes: 32 << 20,
            wait_ms: 500,
            close_ms: 5_000,
        }
    }
}

impl SpoolConfig {
    /// A spool in `folder`, all else as by default.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    /// Checks values that types don't; an error begins with the field's name.
    pub fn check(&self) -> Result<(), String> {
        // A segment travels in one message, of which control takes 16 MiB.
        let within = [
            ("segment_bytes", self.segment_bytes, 4 << 10, 12 << 20),
            ("bytes", self.bytes, self.segment_bytes.saturating_mul(4), 1 << 50),
            ("seal_after_ms", self.seal_after_ms, 100, 3_600_000),
            ("sync_ms", self.sync_ms, 1, 60_000),
            // With the pace at which sessions tell their counts this keeps them at most ten seconds old.
            ("journal_ms", self.journal_ms, 10, 5_000),
            ("queue_events", self.queue_events as u64, 16, 1 << 24),
            ("queue_bytes", self.queue_bytes as u64, 256 << 10, 1 << 40),
            ("wait_ms", self.wait_ms, 1, 60_000),
            ("close_ms", self.close_ms, 1, 600_000),
        ];
        for (field, value, least, most) in within {
            if !(least..=most).contains(&value) {
                return Err(format!("logs.spool.{field}: {value} is not within {least} and {most}"));
            }
        }
        match &self.folder {
            Some(folder) if folder.as_os_str().is_empty() => Err("logs.spool.folder: is empty".into()),
            _ => Ok(()),
        }
    }

    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    pub(super) fn close(&self) -> Duration {
        Duration::from_millis(self.close_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::config::fields;

    #[test]
    fn the_reference_names_every_field() {
        let fields = fields::of::<SpoolConfig>();
        assert_eq!(fields.len(), 11);
        for field in fields {
            let name = format!("  logs.spool.{} ", field.path.join("."));
            assert!(REFERENCE.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_defaults_are_usable_and_stand_in_the_reference() {
        let config = SpoolConfig::default();
        assert_eq!(config.check(), Ok(()));
        for value in
            [config.bytes, config.segment_bytes, config.seal_after_ms, config.sync_ms, config.wait_ms]
        {
            assert!(REFERENCE.contains(&format!("[default: {value}]")), "{value}");
        }
    }

    #[test]
    fn what_is_not_usable_is_named() {
        let named = |change: fn(&mut SpoolConfig)| {
            let mut config = SpoolConfig::default();
            change(&mut config);
            config.check().unwrap_err().split_once(':').unwrap().0.to_owned()
        };
        assert_eq!(named(|c| c.segment_bytes = 64 << 20), "logs.spool.segment_bytes");
        assert_eq!(named(|c| c.bytes = 4 << 20), "logs.spool.bytes");
        assert_eq!(named(|c| c.journal_ms = 20_000), "logs.spool.journal_ms");
        assert_eq!(named(|c| c.wait_ms = 0), "logs.spool.wait_ms");
        assert_eq!(named(|c| c.folder = Some("".into())), "logs.spool.folder");
    }
}
