//! The `api:` section: the front door of the control API and the console.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::api::xml::Bounds;
use crate::api::{ApiConfig, Limits};
use crate::door::DoorConfig;

/// Every field with its unit and default, as part of [`super::REFERENCE`].
pub(super) const REFERENCE: &str = "\
The control API and the console.

  api.listen              address of the control API and the console  [default: 0.0.0.0:7380]
  api.allow_plain_http    whether plain HTTP is taken from other
                          machines than this one                      [default: false]
  api.host_names          names and addresses that the certificate of
                          the local authority is for, beside
                          cloudfront.amazonaws.com and localhost      [default: none]
  api.proxy_hosts         hosts that CONNECT HOST:443 may name, beside
                          cloudfront.amazonaws.com                    [default: none]
  api.origin_suffixes     what may follow a bucket's name in an origin,
                          beside AWS's own: the hosts that shields
                          have an endpoint for                        [default: none]
  api.regions             regions that SigV4 may be signed for        [default: us-east-1]
  api.tls.certificate_file  PEM: the certificate and its chain        [default: of the local authority]
  api.tls.key_file        PEM: its private key
  api.tls.reload_seconds  how often both are looked at again          [default: 10]
  api.clock_window_seconds  how far a request's date may be from now,
                          either way, in seconds                      [default: 900]
  api.body_max_bytes      longest body of a request                   [default: 65536]
  api.web_body_max_bytes  the same of web distributions and of
                          invalidations                               [default: 1048576]
  api.bodies_max_bytes    all bodies held at a time                   [default: 33554432]
  api.head_max_bytes      first line and headers of a request         [default: 16384]
  api.xml_depth_max       elements inside each other                  [default: 32]
  api.xml_elements_max    elements of a document                      [default: 20000]
  api.connections_max     connections open                            [default: 1024]
  api.connections_per_address_max  of one address                     [default: 256]
  api.handshake_timeout_ms  time for a TLS handshake                  [default: 10000]
  api.head_timeout_ms     time for a head, and of rest between two    [default: 30000]
  api.body_timeout_ms     time for a body                             [default: 30000]
  api.request_timeout_ms  time for the work on a request              [default: 30000]
  api.write_timeout_ms    time a client may take nothing of an answer [default: 30000]
  api.drain_ms            time for requests under way at the end      [default: 10000]
  api.requests_per_second  of an account, in the long run             [default: 100]
  api.requests_burst      of an account, at once                      [default: 400]

What an account may have. SIGHUP puts all of this in force that the file says now, but api.listen, api.clock_window_seconds and
api.regions.

  api.limits.streaming_distributions                                  [default: 100]
  api.limits.web_distributions                                        [default: 200]
  api.limits.aliases      CNAMEs of a distribution, 0 to 100          [default: 100]
  api.limits.trusted_signers  of a streaming distribution, 1 to 5     [default: 5]
  api.limits.tags         of a resource                               [default: 50]
  api.limits.origin_access_identities                                 [default: 100]
  api.limits.public_keys                                              [default: 100]
  api.limits.key_groups                                               [default: 10]
  api.limits.keys_per_group                                           [default: 5]
  api.limits.invalidations_in_progress  of a distribution             [default: 15]
  api.limits.invalidation_paths  of an invalidation                   [default: 3000]
  api.limits.invalidation_orders_kept  to forget of one origin; past
                          them an invalidation forgets all of it, past
                          twice as many it is refused                 [default: 3000]
  api.limits.page_items   items of a page of a list, 1 to 1000        [default: 100]
";

/// See [`super::REFERENCE`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "REFERENCE describes each field once, for operators and readers alike")]
pub struct ApiSettings {
    pub listen: SocketAddr,
    pub allow_plain_http: bool,
    pub host_names: Vec<String>,
    pub proxy_hosts: Vec<String>,
    pub origin_suffixes: Vec<String>,
    pub regions: Vec<String>,
    pub tls: TlsSettings,
    pub clock_window_seconds: u64,
    pub body_max_bytes: usize,
    pub web_body_max_bytes: usize,
    pub bodies_max_bytes: usize,
    pub head_max_bytes: usize,
    pub xml_depth_max: usize,
    pub xml_elements_max: usize,
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    pub handshake_timeout_ms: u64,
    pub head_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub drain_ms: u64,
    pub requests_per_second: u32,
    pub requests_burst: u32,
    pub limits: Limits,
}

/// The operator's own certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "see REFERENCE")]
pub struct TlsSettings {
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub reload_seconds: u64,
}

impl Default for TlsSettings {
    fn default() -> Self {
        let reload_seconds = DoorConfig::default().tls_reload.as_secs();
        Self { certificate_file: None, key_file: None, reload_seconds }
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        let door = DoorConfig::default();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            listen: ([0, 0, 0, 0], 7380).into(),
            allow_plain_http: door.allow_plain_http,
            host_names: door.host_names,
            proxy_hosts: door.proxy_hosts,
            origin_suffixes: Vec::new(),
            regions: ApiConfig::default().regions,
            tls: TlsSettings::default(),
            clock_window_seconds: ApiConfig::default().clock_window_seconds,
            body_max_bytes: door.body_max_bytes,
            web_body_max_bytes: door.web_body_max_bytes,
            bodies_max_bytes: door.bodies_max_bytes,
            head_max_bytes: door.head_max_bytes,
            xml_depth_max: door.xml.depth,
            xml_elements_max: door.xml.elements,
            connections_max: door.connections_max,
            connections_per_address_max: door.connections_per_address_max,
            handshake_timeout_ms: ms(door.handshake_timeout),
            head_timeout_ms: ms(door.head_timeout),
            body_timeout_ms: ms(door.body_timeout),
            request_timeout_ms: ms(door.request_timeout),
            write_timeout_ms: ms(door.write_timeout),
            drain_ms: ms(door.drain),
            requests_per_second: door.requests_per_second,
            requests_burst: door.requests_burst,
            limits: Limits::default(),
        }
    }
}

impl ApiSettings {
    /// Says which field can't be, and why.
    pub(super) fn check(&self) -> Result<(), String> {
        let within = |field: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(format!("api.{field}: {value} is not within {low} and {high}"))
            }
        };
        let tls = &self.tls;
        if tls.certificate_file.is_some() != tls.key_file.is_some() {
            return Err("api.tls.key_file: certificate_file and key_file come together".into());
        }
        within("tls.reload_seconds", tls.reload_seconds, 1, 86_400)?;
        let is_address = |name: &str| name.parse::<std::net::IpAddr>().is_ok();
        if let Some(name) =
            self.host_names.iter().find(|n| !proto::distribution::is_host(n) && !is_address(n))
        {
            return Err(format!("api.host_names: '{name}' is neither a lower-case host name nor an address"));
        }
        if let Some(name) = self.proxy_hosts.iter().find(|name| !proto::distribution::is_host(name)) {
            return Err(format!("api.proxy_hosts: '{name}' is not a lower-case host name"));
        }
        if let Some(suffix) = self.origin_suffixes.iter().find(|s| !proto::distribution::is_host(s)) {
            return Err(format!(
                "api.origin_suffixes: '{suffix}' is not a lower-case host name without a leading dot"
            ));
        }
        within("clock_window_seconds", self.clock_window_seconds, 1, 86_400)?;
        if self.regions.is_empty()
            || self.regions.iter().any(|region| region.is_empty() || region.contains('/'))
        {
            return Err("api.regions: names no region that a signature could".into());
        }
        let bytes: [(&str, usize, u64, u64); 4] = [
            ("body_max_bytes", self.body_max_bytes, 4096, 16 << 20),
            ("web_body_max_bytes", self.web_body_max_bytes, 4096, 16 << 20),
            ("bodies_max_bytes", self.bodies_max_bytes, 64 << 10, 4 << 30),
            ("head_max_bytes", self.head_max_bytes, 2048, 1 << 20),
        ];
        for (field, value, low, high) in bytes {
            within(field, value as u64, low, high)?;
        }
        if self.bodies_max_bytes / 4 < self.body_max_bytes.max(self.web_body_max_bytes) {
            return Err("api.bodies_max_bytes: is less than four times what one body may have".into());
        }
        within("xml_depth_max", self.xml_depth_max as u64, 8, 256)?;
        within("xml_elements_max", self.xml_elements_max as u64, 100, 1 << 20)?;
        within("connections_max", self.connections_max as u64, 1, 1 << 20)?;
        within("connections_per_address_max", self.connections_per_address_max as u64, 1, 1 << 20)?;
        for (field, value) in [
            ("handshake_timeout_ms", self.handshake_timeout_ms),
            ("head_timeout_ms", self.head_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
        ] {
            within(field, value, 100, 600_000)?;
        }
        within("drain_ms", self.drain_ms, 0, 600_000)?;
        within("requests_per_second", self.requests_per_second.into(), 1, 1_000_000)?;
        within("requests_burst", self.requests_burst.into(), 1, 1_000_000)?;
        // Nodes refuse more, and a change must fit a transaction of the store.
        within("limits.aliases", self.limits.aliases as u64, 0, 100)?;
        within("limits.trusted_signers", self.limits.trusted_signers as u64, 1, 5)?;
        within("limits.page_items", self.limits.page_items as u64, 1, 1000)
    }

    /// How the door behaves.
    pub fn door(&self) -> DoorConfig {
        DoorConfig {
            allow_plain_http: self.allow_plain_http,
            host_names: self.host_names.clone(),
            proxy_hosts: self.proxy_hosts.clone(),
            tls: self.tls.certificate_file.clone().zip(self.tls.key_file.clone()),
            tls_reload: Duration::from_secs(self.tls.reload_seconds),
            body_max_bytes: self.body_max_bytes,
            web_body_max_bytes: self.web_body_max_bytes,
            bodies_max_bytes: self.bodies_max_bytes,
            head_max_bytes: self.head_max_bytes,
            xml: Bounds { depth: self.xml_depth_max, elements: self.xml_elements_max },
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            head_timeout: Duration::from_millis(self.head_timeout_ms),
            body_timeout: Duration::from_millis(self.body_timeout_ms),
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            write_timeout: Duration::from_millis(self.write_timeout_ms),
            drain: Duration::from_millis(self.drain_ms),
            requests_per_second: self.requests_per_second,
            requests_burst: self.requests_burst,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_told_by_field() {
        let check = |yaml: &str| serde_yaml_ng::from_str::<ApiSettings>(yaml).unwrap().check();
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check("{host_names: [cf.example, 10.0.0.1, '::1'], proxy_hosts: [cf.example]}"), Ok(()));
        assert_eq!(check("{tls: {certificate_file: a, key_file: b}}"), Ok(()));
        for (yaml, field) in [
            ("{tls: {certificate_file: a}}", "api.tls.key_file"),
            ("{tls: {reload_seconds: 0}}", "api.tls.reload_seconds"),
            ("{host_names: ['CF.example']}", "api.host_names"),
            ("{proxy_hosts: ['cf.example:443']}", "api.proxy_hosts"),
            ("{regions: []}", "api.regions"),
            ("{body_max_bytes: 1}", "api.body_max_bytes"),
            ("{bodies_max_bytes: 65536}", "api.bodies_max_bytes"),
            ("{head_timeout_ms: 1}", "api.head_timeout_ms"),
            ("{requests_burst: 0}", "api.requests_burst"),
            ("{limits: {aliases: 101}}", "api.limits.aliases"),
            ("{limits: {trusted_signers: 6}}", "api.limits.trusted_signers"),
            ("{limits: {page_items: 0}}", "api.limits.page_items"),
        ] {
            assert!(check(yaml).unwrap_err().starts_with(field), "{yaml}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_door() {
        assert_eq!(ApiSettings::default().door(), DoorConfig::default());
    }
}
