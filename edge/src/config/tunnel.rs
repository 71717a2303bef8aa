//! How RTMP through HTTP behaves: the `tunnel:` part of an edge's configuration.

use serde::Deserialize;

use super::BadField;

/// Limits and habits of tunnels ([`crate::http::tunnel`]).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TunnelConfig {
    /// This edge's own address (an IP address, or a host name), told to players that ask by `ident2`, which then send all their requests
    /// there: needed where a balancer would spread them. None: `ident2` is answered with 404, and players keep the name they know.
    pub public_address: Option<String>,
    /// How long an idle request is held while there is nothing to send, in ms.
    pub idle_ms: u64,
    /// A session without a request for this long is ended, in ms.
    pub session_ms: u64,
    /// How long a missing sequence number is waited for before its session is ended, in ms.
    pub gap_ms: u64,
    /// How far ahead of the next sequence number a request may be.
    pub window: u64,
    /// Largest body of a request, in bytes.
    pub body_bytes: usize,
    /// Bytes of bodies held for a session at most: out of order, or not yet taken by it.
    pub input_bytes: usize,
    /// Largest body of a response, in bytes.
    pub response_bytes: usize,
    /// How often a response is sent again.
    pub replays: u32,
    /// Sessions at once. 0: as many as `max_connections`.
    pub max_sessions: usize,
    /// Sessions at once from one address.
    pub max_sessions_per_address: usize,
    /// Requests with an unknown session id an address may send a minute; more are answered with 429.
    pub unknown_per_minute: u32,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self {
            public_address: None,
            // FMS's IdleAckInterval.
            idle_ms: 512,
            session_ms: 30_000,
            gap_ms: 5_000,
            window: 16,
            body_bytes: 64 << 10,
            input_bytes: 256 << 10,
            response_bytes: 256 << 10,
            replays: 8,
            max_sessions: 0,
            max_sessions_per_address: 5_000,
            unknown_per_minute: 120,
        }
    }
}

impl TunnelConfig {
    /// Checks values that types don't.
    pub(super) fn check(&self) -> Result<(), BadField> {
        let within = [
            ("tunnel.idle_ms", self.idle_ms, 10, 60_000),
            ("tunnel.session_ms", self.session_ms, 1000, 3_600_000),
            ("tunnel.gap_ms", self.gap_ms, 100, 60_000),
            ("tunnel.window", self.window, 1, 1024),
            ("tunnel.body_bytes", self.body_bytes as u64, 4 << 10, 16 << 20),
            ("tunnel.input_bytes", self.input_bytes as u64, self.body_bytes as u64, 64 << 20),
            ("tunnel.response_bytes", self.response_bytes as u64, 4 << 10, 4 << 20),
            ("tunnel.replays", u64::from(self.replays), 1, 1000),
            ("tunnel.max_sessions_per_address", self.max_sessions_per_address as u64, 1, u64::MAX),
            ("tunnel.unknown_per_minute", u64::from(self.unknown_per_minute), 1, u64::MAX),
        ];
        for (field, value, least, most) in within {
            if !(least..=most).contains(&value) {
                return Err(BadField { field, reason: format!("{value} is not within {least} and {most}") });
            }
        }
        if self.idle_ms >= self.session_ms {
            let reason = format!("{} is not under tunnel.session_ms", self.idle_ms);
            return Err(BadField { field: "tunnel.idle_ms", reason });
        }
        if let Some(address) = &self.public_address
            && address.parse::<std::net::IpAddr>().is_err()
            && !proto::distribution::is_host(address)
        {
            let reason = format!("'{address}' is neither an IP address nor a lower-case host name");
            return Err(BadField { field: "tunnel.public_address", reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_usable_and_what_is_not_is_named() {
        assert_eq!(TunnelConfig::default().check(), Ok(()));
        let named = |change: fn(&mut TunnelConfig)| {
            let mut config = TunnelConfig::default();
            change(&mut config);
            config.check().unwrap_err().field
        };
        assert_eq!(named(|c| c.idle_ms = 0), "tunnel.idle_ms");
        assert_eq!(named(|c| c.session_ms = 500), "tunnel.session_ms");
        assert_eq!(named(|c| c.input_bytes = 4096), "tunnel.input_bytes");
        assert_eq!(named(|c| (c.idle_ms, c.session_ms) = (5000, 1000)), "tunnel.idle_ms");
        assert_eq!(named(|c| c.public_address = Some("not a host".into())), "tunnel.public_address");
        for address in ["192.0.2.7", "2001:db8::1", "edge-3.example.com"] {
            let config = TunnelConfig { public_address: Some(address.into()), ..Default::default() };
            assert_eq!(config.check(), Ok(()), "{address}");
        }
    }
}
