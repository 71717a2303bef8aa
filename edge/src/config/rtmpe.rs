//! Limits of encrypted sessions: how much of the edge their handshakes may take, and what each holds.

use serde::Deserialize;

use super::BadField;

/// Behaviour towards RTMPE and RTMPTE viewers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RtmpeConfig {
    /// Key exchanges computed at once. 0: on half of the cores, and on one at least.
    pub dh_concurrency: usize,
    /// Key exchanges that may wait for their turn; what comes on top is refused.
    pub dh_queue: usize,
    /// Key exchanges a second that one address (one /64 of IPv6) may ask for, with two seconds' worth at once. 0: no limit.
    pub dh_per_address_per_second: u32,
    /// Addresses whose rate is kept. Past it, newcomers are bounded by the queue alone.
    pub dh_addresses: usize,
    /// Encrypted bytes a session may hold for its socket.
    pub buffer_bytes: usize,
}

impl Default for RtmpeConfig {
    fn default() -> Self {
        Self {
            dh_concurrency: 0,
            dh_queue: 512,
            dh_per_address_per_second: 200,
            dh_addresses: 16_384,
            buffer_bytes: 64 << 10,
        }
    }
}

impl RtmpeConfig {
    /// Checks values that types don't.
    pub(super) fn check(&self) -> Result<(), BadField> {
        let bad = |field, reason| Err(BadField { field, reason });
        if self.dh_addresses == 0 {
            return bad("rtmpe.dh_addresses", "0 is under 1".into());
        }
        // What a semaphore counts, and far beyond what could be waited for.
        for (field, value) in
            [("rtmpe.dh_concurrency", self.dh_concurrency), ("rtmpe.dh_queue", self.dh_queue)]
        {
            if value > 1 << 20 {
                return bad(field, format!("{value} is over 1048576"));
            }
        }
        if !(4096..=1 << 20).contains(&self.buffer_bytes) {
            return bad(
                "rtmpe.buffer_bytes",
                format!("{} is not within 4096 and 1048576", self.buffer_bytes),
            );
        }
        Ok(())
    }

    /// [`dh_concurrency`](Self::dh_concurrency) on this machine.
    pub fn concurrency(&self) -> usize {
        match self.dh_concurrency {
            0 => (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1),
            set => set,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_what_is_not_is_named() {
        let good = RtmpeConfig::default();
        assert_eq!(good.check(), Ok(()));
        assert!(good.concurrency() >= 1);
        assert_eq!(RtmpeConfig { dh_concurrency: 3, ..good.clone() }.concurrency(), 3);
        for (bad, field) in [
            (RtmpeConfig { dh_addresses: 0, ..good.clone() }, "rtmpe.dh_addresses"),
            (RtmpeConfig { dh_queue: usize::MAX, ..good.clone() }, "rtmpe.dh_queue"),
            (RtmpeConfig { dh_concurrency: usize::MAX, ..good.clone() }, "rtmpe.dh_concurrency"),
            (RtmpeConfig { buffer_bytes: 100, ..good.clone() }, "rtmpe.buffer_bytes"),
        ] {
            assert_eq!(bad.check().unwrap_err().field, field);
        }
    }
}
