//! `penstock-control sign`: signs a stream name for a distribution with trusted signers.
//!
//! Needs no running control: only the private key of a key pair whose public half an account has uploaded. What it prints is what a player
//! is given as the name, type prefix and all. Without conditions other than the end, the policy is a canned one, which the name carries only
//! the time of; with any, a custom one, which it carries whole. What the edge would refuse (a URL instead of a name, an IPv6 network) is
//! refused here, with the reason.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use proto::clock::{self, Clock};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod rsa;

use rsa::PrivateKey;

/// Parameters of a signature, which no name may have of its own.
const RESERVED: [&str; 4] = ["Expires", "Policy", "Signature", "Key-Pair-Id"];
/// What tells a player the type of a file; no part of what is signed.
const PREFIXES: [&str; 4] = ["mp4:", "mp3:", "flv:", "id3:"];

/// What to sign, how, and until when.
#[derive(Args)]
pub(crate) struct SignOptions {
    /// Id of the key pair, such as APKA... or K...
    #[arg(long, value_name = "ID")]
    key_pair_id: String,
    /// PEM file of its private RSA key (PKCS #1 or PKCS #8)
    #[arg(long, value_name = "FILE")]
    private_key_file: PathBuf,
    /// Seconds from now until the signature expires
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, conflicts_with = "expires_at")]
    expires: u64,
    /// When it expires: seconds since 1970, 2035-01-31 or 2035-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    expires_at: Option<u64>,
    /// When it begins
    #[arg(long, value_name = "TIME", value_parser = moment)]
    not_before: Option<u64>,
    /// IPv4 address or network (CIDR) of the viewers it is for
    #[arg(long, value_name = "CIDR", value_parser = network)]
    ip: Option<String>,
    /// Names it is good for, with * and ? as wildcards [default: NAME without its type prefix]
    #[arg(long, value_name = "PATTERN")]
    resource: Option<String>,
    /// The stream name, such as mp4:videos/film.mp4; own parameters may follow a ?
    name: String,
}

/// Prints the signed name.
pub(crate) fn run(options: &SignOptions) -> Result<()> {
    let file = &options.private_key_file;
    let pem = std::fs::read(file).with_context(|| file.display().to_string())?;
    let key = PrivateKey::from_pem(&pem).with_context(|| file.display().to_string())?;
    println!("{}", signed(options, &key, clock::SystemClock.now_seconds())?);
    Ok(())
}

/// The name with its signature, made at `now_s` seconds since 1970.
fn signed(options: &SignOptions, key: &PrivateKey, now_s: u64) -> Result<String> {
    let name = options.name.as_str();
    check_name(name)?;
    let id = &options.key_pair_id;
    let plain =
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    ensure!(plain, "--key-pair-id: '{id}' is no key pair's id");
    let until = options.expires_at.unwrap_or(now_s.saturating_add(options.expires));
    let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let own_policy = options.not_before.is_some() || options.ip.is_some() || options.resource.is_some();
    let policy =
        policy(options.resource.as_deref().unwrap_or(bare), until, options.not_before, options.ip.as_deref());
    let signature = encode(&key.sign(policy.as_bytes())?);
    let terms =
        if own_policy { format!("Policy={}", encode(policy.as_bytes())) } else { format!("Expires={until}") };
    let join = if name.contains('?') { '&' } else { '?' };
    Ok(format!("{name}{join}{terms}&Signature={signature}&Key-Pair-Id={id}"))
}

fn check_name(name: &str) -> Result<()> {
    ensure!(
        !name.is_empty() && !name.chars().any(char::is_control),
        "NAME: is empty or has control characters"
    );
    let path = name.split('?').next().unwrap_or_default();
    if path.contains("://") || path.trim_start_matches('/').starts_with("cfx/st") {
        bail!("NAME: '{path}' is a URL; a stream name is what follows cfx/st/, such as mp4:videos/film.mp4");
    }
    let query = name.split_once('?').map_or("", |(_, query)| query);
    let parameters = query.split('&').map(|parameter| parameter.split('=').next().unwrap_or_default());
    match parameters.into_iter().find(|parameter| RESERVED.contains(parameter)) {
        Some(parameter) => bail!("NAME: has the parameter {parameter} already"),
        None => Ok(()),
    }
}

/// The policy's text. Without conditions it is the canned one, byte for byte.
fn policy(resource: &str, until: u64, from: Option<u64>, network: Option<&str>) -> String {
    // Written by hand: a canned policy has this order and no spaces.
    let mut conditions = format!(r#""DateLessThan":{{"AWS:EpochTime":{until}}}"#);
    if let Some(from) = from {
        conditions += &format!(r#","DateGreaterThan":{{"AWS:EpochTime":{from}}}"#);
    }
    if let Some(network) = network {
        conditions += &format!(r#","IpAddress":{{"AWS:SourceIp":"{network}"}}"#);
    }
    format!(r#"{{"Statement":[{{"Resource":{},"Condition":{{{conditions}}}}}]}}"#, json!(resource))
}

/// Base64 as it may stand in a query.
fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('+', "-").replace('=', "_").replace('/', "~")
}

/// A moment in seconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let parsed = OffsetDateTime::parse(&whole, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp);
    let seconds = parsed.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.ok_or_else(|| "is neither seconds since 1970 nor a date such as 2035-01-31T12:00:00Z".to_owned())
}

/// An IPv4 address or network, as it stands in a policy.
fn network(text: &str) -> Result<String, String> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    let fits = address.parse::<Ipv4Addr>().is_ok() && prefix.parse::<u8>().is_ok_and(|bits| bits <= 32);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("is no IPv4 address or network; policies know no others".to_owned())
    }
}

#[cfg(test)]
mod tests;
