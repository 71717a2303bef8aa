//! What sessions write to access logs.

use serde::Deserialize;

use super::BadField;

/// Behaviour of access logs, as far as sessions have to do with them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `x-edge-location` of every record, such as `SEA4`. Empty: see [`locate`](Self::locate).
    pub edge_location: String,
    /// Record connects that are rejected (where they name a distribution) and plays that fail, too.
    pub rejected: bool,
    /// Longest text of a field, in bytes; what is longer is cut, and counted.
    pub field_bytes: usize,
    /// Events a connection may make a second, with ten seconds' worth saved; past them its commands wait unread.
    pub events_per_second: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        // A name with a signed query has up to 4 KiB.
        Self { edge_location: String::new(), rejected: false, field_bytes: 4096, events_per_second: 10 }
    }
}

impl LogConfig {
    /// Where no location is configured, it is the letters and digits of the zone, upper case; without any, the node's; without any, its id.
    pub fn locate(&mut self, zone: &str, node_id: &str) {
        if !self.edge_location.is_empty() {
            return;
        }
        let code = |name: &str| -> String {
            name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
        };
        let codes = [code(zone), code(node_id), node_id.to_owned()];
        self.edge_location = codes.into_iter().find(|code| !code.is_empty()).unwrap_or_default();
    }

    /// Checks values that types don't.
    pub(super) fn check(&self) -> Result<(), BadField> {
        let bad = |field, reason| Err(BadField { field, reason });
        if !(64..=64 << 10).contains(&self.field_bytes) {
            return bad("log.field_bytes", format!("{} is not within 64 and 65536", self.field_bytes));
        }
        if !(1..=100_000).contains(&self.events_per_second) {
            let reason = format!("{} is not within 1 and 100000", self.events_per_second);
            return bad("log.events_per_second", reason);
        }
        if self.edge_location.len() > 64 || self.edge_location.chars().any(char::is_control) {
            return bad("log.edge_location", "is over 64 bytes, or has control characters".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_comes_from_the_zone_or_else_from_the_node() {
        let located = |configured: &str, zone, node_id| {
            let mut config = LogConfig { edge_location: configured.into(), ..LogConfig::default() };
            config.locate(zone, node_id);
            config.edge_location
        };
        assert_eq!(located("", "sea-4", "edge-0"), "SEA4");
        assert_eq!(located("", "", "edge-0"), "EDGE0");
        assert_eq!(located("DFW3", "sea-4", "edge-0"), "DFW3");
        assert_eq!(located("", "--", "_"), "_");
    }

    #[test]
    fn what_can_t_be_used_is_named() {
        let field = |config: LogConfig| config.check().map_err(|bad| bad.field);
        assert_eq!(field(LogConfig::default()), Ok(()));
        assert_eq!(field(LogConfig { field_bytes: 63, ..Default::default() }), Err("log.field_bytes"));
        let rate = LogConfig { events_per_second: 0, ..Default::default() };
        assert_eq!(field(rate), Err("log.events_per_second"));
        let location = LogConfig { edge_location: "A\tB".into(), ..Default::default() };
        assert_eq!(field(location), Err("log.edge_location"));
    }
}
