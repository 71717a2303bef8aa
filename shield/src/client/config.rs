//! What an edge can be told about talking to shields.
//!
//! The defaults suit shields in the edge's own region. Every field has one, so an empty document is valid.

use serde::{Deserialize, Serialize};

/// How an edge talks to shields.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Connections to each shield for demand (default 2, at most 16). One connection is about one core's worth.
    pub demand_connections: usize,
    /// Connections to each shield for read-ahead (default 1, at most 16).
    pub read_ahead_connections: usize,
    /// Milliseconds to connect (default 2,000).
    pub connect_ms: u64,
    /// Milliseconds of silence after which a shield is probed (default 1,200).
    pub probe_after_ms: u64,
    /// Milliseconds a probed shield has to answer before it counts as dead (default 600).
    pub probe_ms: u64,
    /// Milliseconds a living shield gets for a description (default 10,000).
    pub stat_ms: u64,
    /// Milliseconds a living shield gets until a stream's first bytes (default 8,000).
    pub first_message_ms: u64,
    /// Milliseconds a living shield gets between two messages of a stream (default 5,000).
    pub stall_ms: u64,
    /// Attempts in a row that may fail before the caller hears of it (default 6).
    pub attempts: u32,
    /// Milliseconds without progress, all attempts and pauses counted, before the caller hears of it (default 20,000).
    pub deadline_ms: u64,
    /// Where jitter starts from; the same seed gives the same jitter (default 0: another one in each process).
    pub jitter_seed: u64,
    /// Asking again.
    pub retry: Retry,
    /// Asking a second shield before the first has failed.
    pub hedge: Hedge,
    /// Leaving a failing shield alone.
    pub breaker: BreakerConfig,
    /// Easing a shield that returns into its share.
    pub slow_start: SlowStart,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            demand_connections: 2,
            read_ahead_connections: 1,
            connect_ms: 2_000,
            probe_after_ms: 1_200,
            probe_ms: 600,
            stat_ms: 10_000,
            first_message_ms: 8_000,
            stall_ms: 5_000,
            attempts: 6,
            deadline_ms: 20_000,
            jitter_seed: 0,
            retry: Retry::default(),
            hedge: Hedge::default(),
            breaker: BreakerConfig::default(),
            slow_start: SlowStart::default(),
        }
    }
}

/// Asking again. The first failover away from a dead shield is free: its breaker keeps that rare.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Retries of living shields, in hundredths of all requests (default 20).
    pub percent: u32,
    /// Retries that may be saved up (default 100).
    pub burst: u32,
    /// Milliseconds before the shields are asked all over again; doubles with each round, jittered (default 100).
    pub pause_ms: u64,
    /// Most milliseconds of such a pause (default 1,000).
    pub pause_most_ms: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { percent: 20, burst: 100, pause_ms: 100, pause_most_ms: 1_000 }
    }
}

/// Asking a second shield, for what it has cached, before the first has failed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Hedge {
    /// Hedges, in hundredths of all requests (default 5; 0 switches them off).
    pub percent: u32,
    /// Hedges that may be saved up (default 10).
    pub burst: u32,
    /// Least milliseconds before a hedge, however fast shields are (default 50).
    pub floor_ms: u64,
    /// Most milliseconds before a hedge; also the wait for any later slice of a stream (default 1,500).
    pub ceiling_ms: u64,
    /// Requests measured before there are hedges, at most 256 (default 20).
    pub samples: usize,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { percent: 5, burst: 10, floor_ms: 50, ceiling_ms: 1_500, samples: 20 }
    }
}

/// Leaving a failing shield alone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Failures in a row that open it (default 3). A proof of death opens it at once.
    pub failures: u32,
    /// Failures in hundredths of the requests of ten seconds that open it (default 50) ...
    pub percent: u32,
    /// ... if there were at least so many requests (default 20).
    pub requests: u32,
    /// Milliseconds it stays open the first time; doubles with each time in a row, jittered (default 1,000).
    pub open_ms: u64,
    /// Most milliseconds it stays open (default 10,000).
    pub open_most_ms: u64,
    /// Milliseconds without a failure after which the doubling starts over (default 30,000).
    pub forgive_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failures: 3,
            percent: 50,
            requests: 20,
            open_ms: 1_000,
            open_most_ms: 10_000,
            forgive_ms: 30_000,
        }
    }
}

/// Easing a shield that returns into its share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct SlowStart {
    /// Milliseconds until a shield that returned bears its whole share (default 10,000; 0 for at once).
    pub ms: u64,
    /// Reads it gets at once when it returns (default 4) ...
    pub first: u32,
    /// ... and at the end of the time, growing evenly between (default 128).
    pub last: u32,
    /// Milliseconds a read waits for its turn there before it goes all the same (default 250).
    pub wait_ms: u64,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { ms: 10_000, first: 4, last: 128, wait_ms: 250 }
    }
}

impl ClientConfig {
    /// Checks every field; the error names the first that is wrong.
    pub fn validate(&self) -> Result<(), String> {
        for (field, value) in [
            ("demand_connections", self.demand_connections),
            ("read_ahead_connections", self.read_ahead_connections),
        ] {
            if !(1..=16).contains(&value) {
                return Err(format!("{field}: must be 1 to 16"));
            }
        }
        for (field, value) in [
            ("connect_ms", self.connect_ms),
            ("probe_after_ms", self.probe_after_ms),
            ("probe_ms", self.probe_ms),
            ("stat_ms", self.stat_ms),
            ("first_message_ms", self.first_message_ms),
            ("stall_ms", self.stall_ms),
            ("attempts", self.attempts.into()),
            ("deadline_ms", self.deadline_ms),
            ("retry.pause_ms", self.retry.pause_ms),
            ("hedge.samples", self.hedge.samples as u64),
            ("breaker.failures", self.breaker.failures.into()),
            ("breaker.requests", self.breaker.requests.into()),
            ("breaker.open_ms", self.breaker.open_ms),
            ("slow_start.first", self.slow_start.first.into()),
        ] {
            if value == 0 {
                return Err(format!("{field}: must be at least 1"));
            }
        }
        for (field, value) in [
            ("retry.percent", self.retry.percent),
            ("hedge.percent", self.hedge.percent),
            ("breaker.percent", self.breaker.percent),
        ] {
            if value > 100 {
                return Err(format!("{field}: is over 100"));
            }
        }
        for (field, least, most) in [
            ("retry.pause_most_ms", self.retry.pause_ms, self.retry.pause_most_ms),
            ("hedge.ceiling_ms", self.hedge.floor_ms, self.hedge.ceiling_ms),
            ("breaker.open_most_ms", self.breaker.open_ms, self.breaker.open_most_ms),
            ("slow_start.last", self.slow_start.first.into(), self.slow_start.last.into()),
        ] {
            if most < least {
                return Err(format!("{field}: is under {least}"));
            }
        }
        if self.hedge.samples > super::latency::SAMPLES {
            return Err(format!("hedge.samples: is over {}", super::latency::SAMPLES));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_a_wrong_field_is_named() {
        ClientConfig::default().validate().unwrap();
        for (yaml, field) in [
            ("demand_connections: 17", "demand_connections"),
            ("deadline_ms: 0", "deadline_ms"),
            ("hedge: {ceiling_ms: 40}", "hedge.ceiling_ms"),
            ("hedge: {samples: 257}", "hedge.samples"),
            ("retry: {percent: 101}", "retry.percent"),
            ("breaker: {open_ms: 20000}", "breaker.open_most_ms"),
            ("slow_start: {first: 200}", "slow_start.last"),
        ] {
            let config: ClientConfig = serde_yaml_ng::from_str(yaml).unwrap();
            let error = config.validate().unwrap_err();
            assert!(error.starts_with(field), "{yaml}: {error}");
        }
        assert!(serde_yaml_ng::from_str::<ClientConfig>("avoid_ms: 5").is_err());
    }
}
