//! `connect`: which distribution a viewer asks for, and whether it may.
//!
//! The app is `cfx/st` (FMS application `cfx`, instance `st`), with leading and trailing slashes, a query and `_definst_` forgiven. The host of
//! tcUrl chooses the distribution. A refusal is `_error` with the CloudFront code in both places players look for it, then
//! `close`, then the end of the connection; it never carries `info.ex`, which JW Player would take for a redirect.

use std::net::IpAddr;
use std::sync::Arc;

use proto::v1::{Distribution, DistributionKind};
use tracing::info;

use super::{Connection, End, Phase, Session, Shared};
use crate::config::AggregateMessages;
use crate::metrics::Counted;
use crate::rtmp::amf::Value;
use crate::rtmp::command::Command;
use crate::rtmp::{control, reply};
use crate::withdrawals;

/// Window and peer bandwidth FMS announces, in bytes.
const WINDOW_BYTES: u32 = 2_500_000;

/// A refusal: the code (CloudFront's, or one of [`Refusal`](crate::admission::Refusal)) and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    code: &'static str,
    text: String,
}

fn reject<T>(code: &'static str, text: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection { code, text: text.into() })
}

/// What a connect command says of its viewer.
pub(super) struct Hello {
    pub(super) app: String,
    pub(super) tc_url: String,
    pub(super) flash_version: String,
    pub(super) page_url: String,
    pub(super) swf_url: String,
}

impl Session {
    pub(super) fn on_connect(&mut self, command: &Command) -> Result<(), End> {
        if matches!(self.phase, Phase::Connected(_)) {
            self.out.command(0, reply::result(command.transaction, Value::Null));
            return Ok(());
        }
        let field = |key: &str| command.object.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let hello = Hello {
            app: field("app"),
            tc_url: field("tcUrl"),
            flash_version: field("flashVer"),
            page_url: field("pageUrl"),
            swf_url: field("swfUrl"),
        };
        let Hello { app, tc_url, flash_version, page_url, swf_url } = &hello;
        let encoding = if command.object.get("objectEncoding").and_then(Value::as_number) == Some(3.0) {
            3.0
        } else {
            0.0
        };
        let admitted = match self.shared.admit_connect() {
            Ok(()) => admit(&self.shared, app, tc_url),
            Err(refusal) => {
                self.shared.metrics.refused.with_label_values(&[refusal.reason()]).inc();
                reject(refusal.code(), refusal.text())
            }
        };
        match admitted {
            Ok(connection) => {
                let client = self.record_connect(&connection.distribution, &hello);
                info!(session = self.id, client, peer = %self.peer, distribution = connection.distribution.id, app, tc_url,
                    flash_version, page = page_url, swf = swf_url, "connect");
                self.withdrawn = Some(connection.attached.withdrawn());
                self.phase = Phase::Connected(Arc::new(connection));
                control::window_ack_size(WINDOW_BYTES, &mut self.out.batch);
                control::set_peer_bandwidth(WINDOW_BYTES, &mut self.out.batch);
                control::stream_begin(0, &mut self.out.batch);
                self.out.command(0, reply::connect_success(command.transaction, encoding));
                self.ask_for_swf();
                if takes_aggregates(flash_version, self.shared.config.aggregate_messages) {
                    self.out.aggregate_bytes = self.shared.config.aggregate_bytes;
                }
                let auto_sense = command.args.first().and_then(Value::as_bool) == Some(true);
                if auto_sense {
                    self.start_bandwidth_check(false);
                } else {
                    self.out.command(0, reply::on_bw_done());
                }
                Ok(())
            }
            Err(rejection) => {
                info!(session = self.id, peer = %self.peer, app, tc_url, code = rejection.code,
                    reason = rejection.text, "connect rejected");
                self.shared.metrics.rejected.with_label_values(&[rejection.code]).inc();
                let named = host_of(tc_url).and_then(|host| find_distribution(&self.shared, &host).ok());
                if let Some(distribution) = named {
                    self.record_rejection(&distribution, &hello, rejection.code);
                }
                self.out.command(
                    0,
                    reply::connect_rejected(command.transaction, rejection.code, &rejection.text),
                );
                self.out.command(0, reply::close());
                Err(End::Rejected(rejection.code))
            }
        }
    }
}

/// Whether a player that calls itself `flash_version` (`WIN 9,0,115,0`) is to get aggregate messages.
fn takes_aggregates(flash_version: &str, to_whom: AggregateMessages) -> bool {
    let number = flash_version.split(' ').next_back().unwrap_or("");
    let mut parts = number.split(',').map(|part| part.parse::<u32>());
    let mut part = || parts.next().and_then(Result::ok).unwrap_or(0);
    // The first Flash Player that FMS sent them to.
    to_whom == AggregateMessages::Flash && [part(), part(), part()] >= [9, 0, 115]
}

/// Finds the distribution for a connect, or why there is none.
fn admit(shared: &Shared, app: &str, tc_url: &str) -> Result<Connection, Rejection> {
    let folders = folders_of(app, shared.config.folders_in_app)?;
    let host = host_of(tc_url)
        .ok_or_else(|| Rejection { code: "InvalidURI", text: "tcUrl names no host".into() })?;
    let distribution = find_distribution(shared, &host)?;
    if !distribution.enabled {
        return reject("DistributionNotFound", format!("the distribution of {host} is disabled"));
    }
    if distribution.kind() != DistributionKind::Streaming {
        return reject("DistributionTypeMismatch", format!("{host} is not a streaming distribution"));
    }
    let attached = shared.withdrawals.attach(&distribution.id);
    // It may have gone since it was looked up; from here on the session would be told.
    if !withdrawals::serves(&shared.catalogue.borrow(), &distribution.id) {
        return reject("DistributionNotFound", format!("the distribution of {host} was just withdrawn"));
    }
    Ok(Connection { distribution, folders, attached, _counted: Counted::new(&shared.metrics.sessions) })
}

fn find_distribution(shared: &Shared, host: &str) -> Result<Arc<Distribution>, Rejection> {
    let catalogue = shared.catalogue.borrow();
    if let Some(found) = catalogue.find_host(host) {
        return Ok(found.clone());
    }
    let own = host.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || shared.own_hosts.iter().chain(&shared.config.default_hosts).any(|own| own == host);
    let default = shared
        .config
        .default_distribution
        .as_ref()
        .filter(|_| own)
        .and_then(|id| catalogue.distributions.get(id));
    default.cloned().ok_or_else(|| Rejection {
        code: "DistributionNotFound",
        text: format!("no distribution has the name {host}"),
    })
}

/// Takes an app apart; what follows the instance are folders.
pub(super) fn folders_of(app: &str, folders_allowed: bool) -> Result<String, Rejection> {
    let path = app.split('?').next().unwrap_or("");
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
    match segments.next() {
        Some("cfx") => {}
        other => {
            return reject("InvalidURI", format!("the application is {:?}, not cfx", other.unwrap_or("")));
        }
    }
    match segments.next() {
        Some("st") => {}
        other => {
            return reject("InvalidInstance", format!("the instance is {:?}, not st", other.unwrap_or("")));
        }
    }
    segments.next_if_eq(&"_definst_");
    let folders = segments.collect::<Vec<_>>().join("/");
    if !folders.is_empty() && !folders_allowed {
        return reject("InvalidInstance", format!("the instance is st/{folders}, not st"));
    }
    Ok(folders)
}

/// The host of an RTMP URL: lower case, without port, user or trailing dot. An IPv6 address comes without its brackets.
pub(super) fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => host_port.split(':').next()?,
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_may_be_written_in_many_ways() {
        for app in
            ["cfx/st", "cfx/st/", "/cfx/st/", "cfx/st?x=y", "cfx/st/_definst_", "/cfx//st/_definst_/?a"]
        {
            assert_eq!(folders_of(app, true), Ok(String::new()), "{app}");
            assert_eq!(folders_of(app, false), Ok(String::new()), "{app}");
        }
        assert_eq!(folders_of("cfx/st/mp4:a/b", true), Ok("mp4:a/b".into()));
        assert_eq!(folders_of("cfx/st/_definst_/a", true), Ok("a".into()));
    }

    #[test]
    fn a_wrong_instance_and_a_wrong_application_differ() {
        for app in ["cfx", "cfx/", "cfx/xx", "cfx/stx/a"] {
            assert_eq!(folders_of(app, true).map_err(|r| r.code), Err("InvalidInstance"), "{app}");
        }
        for app in ["", "foo", "/", "vod/st", "st/cfx"] {
            assert_eq!(folders_of(app, true).map_err(|r| r.code), Err("InvalidURI"), "{app}");
        }
        assert_eq!(folders_of("cfx/st/a", false).map_err(|r| r.code), Err("InvalidInstance"));
    }

    #[test]
    fn aggregates_go_to_players_of_a_certain_age() {
        for (version, takes) in [
            ("WIN 9,0,115,0", true),
            ("LNX 9,0,124,2", true),
            ("LNX 10,0,32,18", true),
            ("MAC 9,0,60,0", false),
            ("LNX 8,9,999,0", false),
            ("FMLE/3.0 (compatible; FMSc/1.0)", false),
            ("9,0,115", true),
            ("", false),
            ("LNX 99999999999,0,0", false),
        ] {
            assert_eq!(takes_aggregates(version, AggregateMessages::Flash), takes, "{version}");
            assert!(!takes_aggregates(version, AggregateMessages::Off));
        }
    }

    #[test]
    fn hosts_lose_port_case_and_trailing_dot() {
        for (url, host) in [
            ("rtmp://S123.Example.COM.:1935/cfx/st", Some("s123.example.com")),
            ("rtmpt://h/cfx", Some("h")),
            ("rtmp://[::1]:1935/cfx/st", Some("::1")),
            ("rtmp://user@h:1/cfx", Some("h")),
            ("rtmp:///cfx", None),
            ("h/cfx", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
    }
}
