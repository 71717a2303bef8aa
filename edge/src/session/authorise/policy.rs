//! Policies: what a signature may say, and whether time and address fit.
//!
//! A canned policy is one exact text around a name and a time, made anew here. A custom one is JSON of whatever spacing and order, with one
//! statement; `DateLessThan` must be there, `DateGreaterThan` and `IpAddress` may. A field or condition that isn't known is a refusal: it
//! would be a restriction that nobody keeps.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::{Denial, Viewer};

/// Bytes of the longest policy read; a name's length allows for no more than this anyway.
const POLICY_BYTES: usize = 4096;

/// On what a signature is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Seconds since 1970 at which it is over.
    until: u64,
    /// Seconds since 1970 after which it begins.
    from: Option<u64>,
    /// Where viewers are.
    network: Option<Ipv4Net>,
}

impl Conditions {
    /// Until `seconds` since 1970, for everybody.
    pub(super) fn until(seconds: u64) -> Self {
        Self { until: seconds, from: None, network: None }
    }

    /// Whether they hold for `viewer`.
    pub(super) fn check(&self, viewer: &Viewer) -> Result<(), Denial> {
        if viewer.now_ms >= self.until.saturating_mul(1000) {
            return Err(Denial::Expired);
        }
        if self.from.is_some_and(|from| viewer.now_ms <= from.saturating_mul(1000)) {
            return Err(Denial::Early);
        }
        let covers = |network: &Ipv4Net| match viewer.address {
            IpAddr::V4(address) => network.contains(&address),
            // What tools write where nobody is meant to be kept out.
            IpAddr::V6(_) => network.prefix_len() == 0,
        };
        if self.network.as_ref().is_some_and(|network| !covers(network)) {
            return Err(Denial::Address);
        }
        Ok(())
    }
}

/// A custom policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// What it covers, with wildcards; `None`: everything.
    pub(super) resource: Option<String>,
    pub(super) conditions: Conditions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "Statement")]
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "Resource")]
    resource: Option<String>,
    #[serde(rename = "Condition")]
    condition: Condition,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(rename = "DateLessThan")]
    before: Moment,
    #[serde(rename = "DateGreaterThan")]
    after: Option<Moment>,
    #[serde(rename = "IpAddress")]
    address: Option<Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Moment {
    #[serde(rename = "AWS:EpochTime")]
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    #[serde(rename = "AWS:SourceIp")]
    network: String,
}

impl Policy {
    /// Reads a policy's JSON.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Denial> {
        if bytes.len() > POLICY_BYTES {
            return Err(Denial::Policy("it is too long"));
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|_| Denial::Policy("it has not the form of a policy"))?;
        let [Statement { resource, condition }] = <[Statement; 1]>::try_from(document.statement)
            .map_err(|_| Denial::Policy("it has not one statement"))?;
        let network = condition.address.map(|source| network(&source.network)).transpose()?;
        let from = condition.after.map(|moment| moment.seconds);
        Ok(Self { resource, conditions: Conditions { until: condition.before.seconds, from, network } })
    }
}

/// An IPv4 address or network; there are no others in policies.
fn network(text: &str) -> Result<Ipv4Net, Denial> {
    let net = match text.parse::<Ipv4Addr>() {
        Ok(address) => Some(Ipv4Net::from(address)),
        Err(_) => text.parse().ok(),
    };
    net.ok_or(Denial::Policy("AWS:SourceIp is no IPv4 address or network"))
}

/// The canned policy over `resource` until `expires`, byte for byte as signers write it. Where a name needs escapes in JSON they don't agree:
/// some escape what they must, some all that isn't ASCII, some nothing.
pub(super) fn canned(resource: &str, expires: &str) -> Vec<Vec<u8>> {
    let around = |resource: &str| {
        format!(r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#)
            .into_bytes()
    };
    let plain = |c: char| (' '..='~').contains(&c) && c != '"' && c != '\\';
    let mut texts = vec![around(resource)];
    if resource.chars().all(plain) {
        return texts;
    }
    let minimal = serde_json::to_string(resource).unwrap_or_default();
    let minimal = minimal.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
    let mut ascii = String::new();
    for c in minimal.chars() {
        match c {
            c if c.is_ascii() => ascii.push(c),
            c => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")))
            }
        }
    }
    for escaped in [minimal, &ascii] {
        let text = around(escaped);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, Denial> {
        Policy::parse(text.as_bytes())
    }

    fn at(now_ms: u64, address: &str) -> Viewer {
        Viewer { address: address.parse().unwrap(), now_ms }
    }

    #[test]
    fn spacing_and_order_are_free() {
        let tight = r#"{"Statement":[{"Resource":"a*","Condition":{"DateLessThan":{"AWS:EpochTime":20},"DateGreaterThan":{"AWS:EpochTime":10},"IpAddress":{"AWS:SourceIp":"192.0.2.0/24"}}}]}"#;
        let loose = "\r\n{ \"Statement\" : [\n {\"Condition\":{\"IpAddress\":{\"AWS:SourceIp\":\"192.0.2.0/24\"},\t\"DateGreaterThan\":{\"AWS:EpochTime\": 10},\n\"DateLessThan\":{\"AWS:EpochTime\":20}}, \"Resource\":\"\\u0061*\"}]}\n";
        let policy = parse(tight).unwrap();
        assert_eq!(parse(loose).unwrap(), policy);
        assert_eq!(policy.resource.as_deref(), Some("a*"));
        let check = |now_ms, address| policy.conditions.check(&at(now_ms, address));
        assert_eq!(check(15_000, "192.0.2.77"), Ok(()));
        assert_eq!(check(19_999, "192.0.2.77"), Ok(()));
        assert_eq!(check(20_000, "192.0.2.77"), Err(Denial::Expired));
        assert_eq!(check(10_000, "192.0.2.77"), Err(Denial::Early));
        assert_eq!(check(10_001, "192.0.2.77"), Ok(()));
        assert_eq!(check(15_000, "192.0.3.1"), Err(Denial::Address));
        assert_eq!(check(15_000, "2001:db8::1"), Err(Denial::Address));
    }

    #[test]
    fn only_the_network_of_everybody_covers_ipv6() {
        let with = |network: &str| {
            parse(&format!(
                r#"{{"Statement":[{{"Condition":{{"DateLessThan":{{"AWS:EpochTime":20}},"IpAddress":{{"AWS:SourceIp":"{network}"}}}}}}]}}"#
            ))
        };
        let check = |network, address| with(network).unwrap().conditions.check(&at(0, address));
        assert_eq!(check("0.0.0.0/0", "2001:db8::1"), Ok(()));
        assert_eq!(check("0.0.0.0/0", "192.0.2.1"), Ok(()));
        assert_eq!(check("0.0.0.0/1", "2001:db8::1"), Err(Denial::Address));
        assert_eq!(check("192.0.2.7", "192.0.2.7"), Ok(()));
        assert_eq!(check("192.0.2.7", "192.0.2.8"), Err(Denial::Address));
        assert_eq!(check("192.0.2.7/24", "192.0.2.8"), Ok(()), "bits past the prefix count for nothing");
        assert_eq!(with("192.0.2.7/24").unwrap().resource, None, "a policy without a resource covers all");
        for bad in ["2001:db8::/32", "192.0.2.0/33", "", "example.com", "192.0.2.*", "192.0.2.1,192.0.2.2"] {
            assert!(matches!(with(bad), Err(Denial::Policy(_))), "{bad}");
        }
    }

    #[test]
    fn what_might_be_a_restriction_nobody_keeps_is_refused() {
        let time = r#""DateLessThan":{"AWS:EpochTime":20}"#;
        for text in [
            String::new(),
            "{}".into(),
            "null".into(),
            r#"{"Statement":[]}"#.into(),
            format!(r#"{{"Statement":[{{"Condition":{{{time}}}}},{{"Condition":{{{time}}}}}]}}"#),
            r#"{"Statement":[{"Resource":"*","Condition":{}}]}"#.into(),
            r#"{"Statement":[{"Resource":"*"}]}"#.into(),
            format!(r#"{{"Statement":[{{"Condition":{{{time},"StringEquals":{{"a":"b"}}}}}}]}}"#),
            format!(r#"{{"Statement":[{{"Effect":"Deny","Condition":{{{time}}}}}]}}"#),
            format!(r#"{{"Statement":[{{"Condition":{{{time},{time}}}}}]}}"#),
            format!(r#"{{"Statement":[{{"Resource":"a","Resource":"*","Condition":{{{time}}}}}]}}"#),
            r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":"20"}}}]}"#.into(),
            r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":-1}}}]}"#.into(),
            r#"{"Statement":[{"Condition":{"DateLessThan":{"AWS:EpochTime":2e1}}}]}"#.into(),
            format!(r#"{{"Statement":[{{"Resource":["*"],"Condition":{{{time}}}}}]}}"#),
            format!(r#"{{"Statement":[{{"Condition":{{{time}}}}}]}} x"#),
            "[".repeat(4000),
        ] {
            assert!(matches!(parse(&text), Err(Denial::Policy(_))), "{text}");
        }
        let long =
            format!(r#"{{"Statement":[{{"Resource":"{}","Condition":{{{time}}}}}]}}"#, "a".repeat(4096));
        assert_eq!(parse(&long), Err(Denial::Policy("it is too long")));
    }

    #[test]
    fn a_time_beyond_all_clocks_is_no_overflow() {
        assert_eq!(Conditions::until(u64::MAX).check(&at(u64::MAX - 1, "192.0.2.1")), Ok(()));
    }

    #[test]
    fn canned_texts_are_the_signers_own() {
        let texts = canned("videos/a.mp4", "1357034400");
        assert_eq!(
            texts,
            [br#"{"Statement":[{"Resource":"videos/a.mp4","Condition":{"DateLessThan":{"AWS:EpochTime":1357034400}}}]}"#]
        );
        let resources = |name: &str| -> Vec<String> {
            let field = |text: &Vec<u8>| {
                let text = String::from_utf8(text.clone()).unwrap();
                text.strip_prefix(r#"{"Statement":[{"Resource":"#)
                    .unwrap()
                    .split(",\"Condition")
                    .next()
                    .unwrap()
                    .to_owned()
            };
            canned(name, "1").iter().map(field).collect()
        };
        assert_eq!(resources("é"), ["\"é\"", "\"\\u00e9\""]);
        assert_eq!(
            resources("a\"\u{1F3AC}"),
            ["\"a\"\u{1F3AC}\"", "\"a\\\"\u{1F3AC}\"", "\"a\\\"\\ud83c\\udfac\""]
        );
    }
}
