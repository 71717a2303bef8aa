//! Signature Version 4, header form: `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
//!
//! What is signed is rebuilt from the request as it came: method, path, query, the headers the client lists, and the hash of
//! the body that was received (clients of CloudFront send none of their own; one that is sent must agree). The scope is
//! `DATE/REGION/cloudfront/aws4_request` with the date of the request.
//!
//! The host and a date must be among the signed headers: without them a signature would fit other servers and other days.

use http::{HeaderMap, header};
use ring::digest::{SHA256, digest};
use ring::hmac;

use super::{Claim, Refusal, Scheme, Signed, date, single};

mod canonical;

/// The scheme's name.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "cloudfront";
const TERMINATOR: &str = "aws4_request";
/// Most headers a client may list; clients sign two to six.
const SIGNED_HEADERS: usize = 64;

/// What was signed.
pub(super) struct Statement<'a> {
    /// `YYYYMMDD` of the scope.
    day: &'a str,
    region: &'a str,
    /// One, or two where the host has a default port, which some clients send and don't sign.
    texts: Vec<String>,
}

impl Statement<'_> {
    pub(super) fn is_signed_by(&self, secret: &[u8], signature: &[u8]) -> bool {
        let key = |secret: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut signing = key(&[b"AWS4", secret].concat());
        for part in [self.day, self.region, SERVICE, TERMINATOR] {
            signing = key(hmac::sign(&signing, part.as_bytes()).as_ref());
        }
        self.texts.iter().any(|text| hmac::verify(&signing, text.as_bytes(), signature).is_ok())
    }
}

/// The three parts of the header's value.
struct Parts<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

fn parts(value: &str) -> Result<Parts<'_>, Refusal> {
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for part in value.split(',') {
        let (name, value) = part
            .trim()
            .split_once('=')
            .ok_or(Refusal::Incomplete("a part of Authorization is not NAME=VALUE"))?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(Refusal::Incomplete("Authorization has a part of an unknown name")),
        };
        if slot.replace(value).is_some() {
            return Err(Refusal::Incomplete("a part of Authorization stands twice"));
        }
    }
    Ok(Parts {
        credential: credential.ok_or(Refusal::Incomplete("Authorization lacks Credential"))?,
        signed_headers: signed_headers.ok_or(Refusal::Incomplete("Authorization lacks SignedHeaders"))?,
        signature: signature.ok_or(Refusal::Incomplete("Authorization lacks Signature"))?,
    })
}

/// Reads the header's value after the scheme's name, and what it claims of the request.
pub(super) fn claim<'a>(
    value: &'a str,
    request: &Signed<'a>,
    regions: &[String],
) -> Result<Claim<'a>, Refusal> {
    let Parts { credential, signed_headers, signature } = parts(value)?;
    let mut scope = credential.split('/');
    let (Some(key_id), Some(day), Some(region), Some(service), Some(terminator), None) =
        (scope.next(), scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
    else {
        return Err(Refusal::Incomplete("Credential is not KEYID/DATE/REGION/cloudfront/aws4_request"));
    };
    if key_id.is_empty() {
        return Err(Refusal::Incomplete("Credential names no access key"));
    }
    let names = names(signed_headers, request.headers)?;
    let (date_ms, stamp) = signed_date(&names, request.headers)?;
    if service != SERVICE || terminator != TERMINATOR {
        return Err(Refusal::Unfitting("the credential is scoped to another service than cloudfront"));
    }
    if !regions.iter().any(|r| r == region) {
        return Err(Refusal::Unfitting("the credential is scoped to a region that is not accepted here"));
    }
    if !stamp.starts_with(day) || day.len() != 8 {
        return Err(Refusal::Unfitting("the credential is scoped to another day than the request's date"));
    }
    if request.headers.contains_key("x-amz-security-token") {
        // Its key would be a temporary one, which this service never gave out.
        return Err(Refusal::SessionToken);
    }
    check_body_hash(request)?;

    let scope = &credential[key_id.len() + 1..];
    let texts = canonical::requests(request, &names, signed_headers).into_iter().map(|canonical| {
        let hash = hex::encode(digest(&SHA256, &canonical));
        format!("{ALGORITHM}\n{stamp}\n{scope}\n{hash}")
    });
    let texts = texts.collect();
    // Lower case only: a signature has one spelling. What is none fits no secret.
    let is_plain = signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let signature = if is_plain { hex::decode(signature).unwrap_or_default() } else { Vec::new() };
    Ok(Claim { key_id, signature, date_ms, scheme: Scheme::V4(Statement { day, region, texts }) })
}

/// The signed headers' names, which must be in order, in lower case and there.
fn names<'a>(list: &'a str, headers: &HeaderMap) -> Result<Vec<&'a str>, Refusal> {
    let names: Vec<&str> = list.split(';').collect();
    if names.len() > SIGNED_HEADERS {
        return Err(Refusal::Incomplete("SignedHeaders lists too many headers"));
    }
    if !names.is_sorted_by(|a, b| a < b) || list.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Refusal::Incomplete("SignedHeaders is not a list of lower-case names in order"));
    }
    if names.iter().any(|name| !headers.contains_key(*name)) {
        return Err(Refusal::Incomplete("SignedHeaders lists a header that the request does not have"));
    }
    if !names.contains(&header::HOST.as_str()) {
        return Err(Refusal::Incomplete("SignedHeaders does not list host"));
    }
    let unsigned =
        |name: &&header::HeaderName| name.as_str().starts_with("x-amz-") && !names.contains(&name.as_str());
    if headers.keys().any(|name| unsigned(&name)) {
        return Err(Refusal::Incomplete("SignedHeaders does not list every x-amz- header of the request"));
    }
    Ok(names)
}

/// The request's date, milliseconds since 1970 and as `YYYYMMDDTHHMMSSZ`: of `x-amz-date` if that was sent, else of `Date`.
fn signed_date(names: &[&str], headers: &HeaderMap) -> Result<(i64, String), Refusal> {
    let name = if headers.contains_key("x-amz-date") { "x-amz-date" } else { "date" };
    let value = single(headers, name)?
        .ok_or(Refusal::Incomplete("the request has neither an x-amz-date nor a Date header"))?;
    if !names.contains(&name) {
        return Err(Refusal::Incomplete("SignedHeaders lists neither x-amz-date nor date"));
    }
    let unreadable = Refusal::Incomplete("the request's date can't be read");
    let date_ms = date::parse_ms(value).ok_or(unreadable)?;
    Ok((date_ms, date::basic_of(date_ms).ok_or(unreadable)?))
}

/// The client's own hash of the body, if it sent one, must be that of the body received.
fn check_body_hash(request: &Signed<'_>) -> Result<(), Refusal> {
    let expected = hex::encode(request.body_sha256);
    let mut sent = request.headers.get_all("x-amz-content-sha256").iter();
    if sent.all(|value| value.as_bytes() == expected.as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::Unfitting("x-amz-content-sha256 is not the SHA-256 of the body received"))
    }
}
