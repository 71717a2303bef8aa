//! Signatures of real clients, and of a signer of our own that shares no code with the verifier.

mod captured;
mod changed;
mod signer;
mod timing;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderValue;
use prometheus::Opts;
use sha2::{Digest, Sha256};

use super::*;
use crate::seal::SealingKey;
use signer::{SECRET, legacy_authorization, v4_authorization};

const ID: &str = "AKIDEXAMPLE";
/// Sat, 21 Nov 2026 11:07:42 GMT.
const NOW: u64 = 1_795_259_262_000;

fn sealer(fill: u8) -> Sealer {
    Sealer::new(&SealingKey::parse(&hex::encode([fill; 32]), "test").unwrap(), &[])
}

fn key(id: &str, secret: &str) -> AccessKey {
    let sealed_secret = sealer(1).seal(&format!("{KEYS}{id}"), secret.as_bytes()).unwrap().into();
    AccessKey { id: id.into(), account: "123456789012".into(), sealed_secret, ..Default::default() }
}

fn view(keys: impl IntoIterator<Item = AccessKey>) -> View {
    let keys: BTreeMap<_, _> = keys.into_iter().map(|key| (key.id.clone(), Arc::new(key))).collect();
    View { revision: 1, access_keys: Arc::new(keys), ..View::default() }
}

fn verifier_with(sealer: Sealer, window: Duration, regions: &[&str]) -> Verifier {
    let refusals = IntCounterVec::new(Opts::new("refusals", "refusals"), &["code"]).unwrap();
    let regions = regions.iter().map(|r| (*r).to_owned()).collect();
    Verifier::new(sealer, window, regions, refusals).unwrap()
}

fn verifier() -> Verifier {
    verifier_with(sealer(1), CLOCK_WINDOW, &[REGION])
}

/// A request that can be changed.
#[derive(Clone, Debug)]
struct Sent {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let mut first = lines.next().unwrap().split(' ');
        let method = Method::from_bytes(first.next().unwrap().as_bytes()).unwrap();
        let target = first.next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').unwrap();
            let name: header::HeaderName = name.parse().unwrap();
            headers.append(name, value.trim().parse().unwrap());
        }
        Self { method, target, headers, body: body.as_bytes().to_vec() }
    }

    /// A GET of a list, signed by nothing yet.
    fn get() -> Self {
        Self::parse(
            "GET /2020-05-31/streaming-distribution?MaxItems=2 HTTP/1.1\nHost: control.example:8443\n\n",
        )
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    fn legacy(self, secret: &str) -> Self {
        let date = self.headers.get("x-amz-date").unwrap_or(&self.headers["date"]).to_str().unwrap();
        let value = legacy_authorization(ID, secret, date);
        self.with("authorization", &value)
    }

    fn v4(self, secret: &str) -> Self {
        let value = v4_authorization(ID, secret, REGION, &["host", "x-amz-date"], &self);
        self.with("authorization", &value)
    }

    fn own_date_ms(&self) -> u64 {
        let date = self.headers.get("x-amz-date").unwrap_or_else(|| &self.headers["date"]);
        date::parse_ms(date.to_str().unwrap()).unwrap().try_into().unwrap()
    }

    fn check(&self, verifier: &Verifier, view: &View, now_ms: u64) -> Result<Principal, ApiError> {
        let body_sha256: [u8; 32] = Sha256::digest(&self.body).into();
        let signed = Signed {
            method: &self.method,
            target: &self.target,
            headers: &self.headers,
            body_sha256: &body_sha256,
        };
        verifier.verify(view, &signed, now_ms)
    }

    /// The code it is refused with by a verifier that knows the key; `None`: it is let in.
    fn refused(&self) -> Option<&'static str> {
        let refused = self.check(&verifier(), &view([key(ID, SECRET)]), NOW).err()?;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        Some(refused.code)
    }
}

fn legacy_now() -> Sent {
    Sent::get().with("date", "Sat, 21 Nov 2026 11:07:42 GMT").legacy(SECRET)
}

fn v4_now() -> Sent {
    Sent::get().with("x-amz-date", "20261121T110742Z").v4(SECRET)
}

#[test]
fn requests_of_real_clients_verify_at_their_own_date() {
    for text in captured::ALL {
        let sent = Sent::parse(text);
        let who = sent.check(&verifier(), &view([key(ID, SECRET)]), sent.own_date_ms());
        let expected = Principal { account: "123456789012".into(), key_id: ID.into(), read_only: false };
        assert_eq!(who, Ok(expected), "{text}");
    }
}

#[test]
fn requests_of_real_clients_are_refused_as_expired_outside_the_window() {
    for text in captured::ALL {
        let sent = Sent::parse(text);
        let at = |offset: i64| {
            let now = sent.own_date_ms().checked_add_signed(offset).unwrap();
            sent.check(&verifier(), &view([key(ID, SECRET)]), now).map_err(|e| e.code)
        };
        assert!(at(900_000).is_ok() && at(-900_000).is_ok());
        assert_eq!(at(900_001), Err("RequestExpired"));
        assert_eq!(at(-901_000), Err("RequestExpired"));
    }
}

#[test]
fn the_window_is_as_configured() {
    let narrow = verifier_with(sealer(1), Duration::from_secs(5), &[REGION]);
    let view = view([key(ID, SECRET)]);
    for sent in [legacy_now(), v4_now()] {
        assert!(sent.check(&narrow, &view, NOW + 5000).is_ok());
        let error = sent.check(&narrow, &view, NOW + 6000).unwrap_err();
        assert_eq!(error.message, "the request's date is more than 5 seconds before now");
        let error = sent.check(&narrow, &view, NOW - 6000).unwrap_err();
        assert_eq!(error.message, "the request's date is more than 5 seconds after now");
    }
}

#[test]
fn c04_x_amz_date_wins_over_date() {
    let stale = "Sat, 21 Nov 2009 11:07:42 GMT";
    let both = Sent::get().with("x-amz-date", "Sat, 21 Nov 2026 11:07:42 GMT").with("date", stale);
    assert_eq!(both.clone().legacy(SECRET).refused(), None);
    assert_eq!(both.with("x-amz-date", "20261121T110742Z").v4(SECRET).refused(), None);
    // And is the one that must be signed: the date of Date signed, that of x-amz-date not.
    let wrong = legacy_now().with("x-amz-date", "Sat, 21 Nov 2026 11:07:43 GMT");
    assert_eq!(wrong.refused(), Some("SignatureDoesNotMatch"));
}

#[test]
fn a_date_header_alone_serves_sigv4_too() {
    let sent = Sent::get().with("date", "Sat, 21 Nov 2026 11:07:42 GMT");
    let value = v4_authorization(ID, SECRET, REGION, &["date", "host"], &sent);
    assert_eq!(sent.with("authorization", &value).refused(), None);
}

#[test]
fn c06_a_body_altered_after_signing_is_refused() {
    let mut sent = Sent::parse(captured::BOTO3_TAGS);
    let at = sent.own_date_ms();
    let end = sent.body.len() - 1;
    sent.body[end / 2] ^= 1;
    let error = sent.check(&verifier(), &view([key(ID, SECRET)]), at).unwrap_err();
    assert_eq!((error.status, error.code), (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"));
}

#[test]
fn another_secret_is_refused() {
    let legacy = Sent::get().with("date", "Sat, 21 Nov 2026 11:07:42 GMT").legacy("another");
    assert_eq!(legacy.refused(), Some("SignatureDoesNotMatch"));
    let v4 = Sent::get().with("x-amz-date", "20261121T110742Z").v4("another");
    assert_eq!(v4.refused(), Some("SignatureDoesNotMatch"));
}

#[test]
fn a_disabled_key_is_as_unknown_as_one_that_never_was() {
    let disabled = AccessKey { disabled: true, ..key(ID, SECRET) };
    for sent in [legacy_now(), v4_now()] {
        let error = sent.check(&verifier(), &view([disabled.clone()]), NOW).unwrap_err();
        assert_eq!(error, sent.check(&verifier(), &view([]), NOW).unwrap_err());
        assert_eq!((error.status, error.code), (StatusCode::FORBIDDEN, "InvalidClientTokenId"));
    }
}

#[test]
fn only_who_has_the_secret_hears_that_a_date_is_off() {
    let late = NOW + 7_200_000;
    let code = |sent: Sent, view: &View| sent.check(&verifier(), view, late).unwrap_err().code;
    let (known, empty) = (view([key(ID, SECRET)]), view([]));
    for sign in [legacy_now as fn() -> Sent, v4_now] {
        assert_eq!(code(sign(), &known), "RequestExpired");
        assert_eq!(code(sign(), &empty), "InvalidClientTokenId");
    }
    let wrong = Sent::get().with("x-amz-date", "20261121T110742Z").v4("another");
    assert_eq!(code(wrong, &known), "SignatureDoesNotMatch");
}

#[test]
fn a_key_that_may_only_read_reads() {
    let view = view([AccessKey { read_only: true, ..key(ID, SECRET) }]);
    for (method, code) in [
        (Method::GET, None),
        (Method::HEAD, None),
        (Method::POST, Some("AccessDenied")),
        (Method::PUT, Some("AccessDenied")),
        (Method::DELETE, Some("AccessDenied")),
    ] {
        let sent = Sent { method: method.clone(), ..Sent::get() };
        let legacy = sent.clone().with("date", "Sat, 21 Nov 2026 11:07:42 GMT").legacy(SECRET);
        let v4 = sent.with("x-amz-date", "20261121T110742Z").v4(SECRET);
        for sent in [legacy, v4] {
            assert_eq!(sent.check(&verifier(), &view, NOW).err().map(|e| e.code), code, "{method}");
        }
    }
}

#[test]
fn what_is_missing_or_unreadable_is_named() {
    let unsigned = Sent::get();
    assert_eq!(unsigned.refused(), Some("MissingAuthenticationToken"));
    let legacy = |value: &str| legacy_now().with("authorization", value).refused();
    for value in
        ["AWS", "AWS key", "AWS :sig", "AWS key:", "Basic a2V5OnNlY3JldA==", "", "AWS4-ECDSA-P256-SHA256 x"]
    {
        assert_eq!(legacy(value), Some("IncompleteSignature"), "{value}");
    }
    let undated = Sent::get().with("authorization", "AWS key:c2ln");
    assert_eq!(undated.refused(), Some("IncompleteSignature"));
    assert_eq!(undated.with("date", "today").refused(), Some("IncompleteSignature"));

    let right = v4_now().headers["authorization"].to_str().unwrap().to_owned();
    let v4 = |from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        v4_now().with("authorization", &right.replace(from, to)).refused()
    };
    assert_eq!(v4(", SignedHeaders", ",SignedHeaders"), None, "white space after commas is free");
    for (from, to, code) in [
        ("Credential=", "Credentials=", "IncompleteSignature"),
        ("Credential=", "Credential=a, Credential=", "IncompleteSignature"),
        ("SignedHeaders=host;x-amz-date, ", "", "IncompleteSignature"),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=x-amz-date", "IncompleteSignature"),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=host", "IncompleteSignature"),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=x-amz-date;host", "IncompleteSignature"),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=Host;x-amz-date", "IncompleteSignature"),
        ("SignedHeaders=host;x-amz-date", "SignedHeaders=host;if-match;x-amz-date", "IncompleteSignature"),
        ("/aws4_request", "", "IncompleteSignature"),
        ("Credential=AKIDEXAMPLE", "Credential=", "IncompleteSignature"),
        ("/cloudfront/", "/s3/", "SignatureDoesNotMatch"),
        ("/us-east-1/", "/eu-west-1/", "SignatureDoesNotMatch"),
        ("/20261121/", "/20261120/", "SignatureDoesNotMatch"),
        ("/20261121/", "/2026112/", "SignatureDoesNotMatch"),
        ("Signature=", "Signature=00", "SignatureDoesNotMatch"),
        ("AKIDEXAMPLE", "AKIDEXAMPLF", "InvalidClientTokenId"),
    ] {
        assert_eq!(v4(from, to), Some(code), "{from} -> {to}");
    }
}

#[test]
fn a_truncated_or_respelled_signature_is_refused() {
    for sent in [legacy_now(), v4_now()] {
        let value = sent.headers["authorization"].to_str().unwrap().to_owned();
        let from = value.rfind([':', '=']).unwrap_or_default();
        let from = if value.starts_with("AWS ") { value.find(':').unwrap() } else { from };
        for end in from + 1..value.len() {
            let cut = sent.clone().with("authorization", &value[..end]);
            assert!(cut.refused().is_some(), "{}", &value[..end]);
        }
    }
    let value = v4_now().headers["authorization"].to_str().unwrap().to_owned();
    let (head, signature) = value.split_at(value.len() - 64);
    let upper = format!("{head}{}", signature.to_uppercase());
    assert_eq!(v4_now().with("authorization", &upper).refused(), Some("SignatureDoesNotMatch"));
}

#[test]
fn presigned_urls_are_refused_with_a_reason() {
    for query in
        ["X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00", "AWSAccessKeyId=a&Signature=b&Expires=9"]
    {
        let target = format!("/2020-05-31/streaming-distribution?{query}");
        let sent = Sent { target, ..Sent::get() };
        let error = sent.check(&verifier(), &view([key(ID, SECRET)]), NOW).unwrap_err();
        assert_eq!(error.code, "MissingAuthenticationToken");
        assert!(error.message.contains("presigned"), "{}", error.message);
    }
}

#[test]
fn headers_that_stand_twice_are_joined_or_refused() {
    let mut twice = legacy_now();
    twice.headers.append("authorization", twice.headers["authorization"].clone());
    assert_eq!(twice.refused(), Some("IncompleteSignature"));
    let mut twice = legacy_now();
    twice.headers.append("date", twice.headers["date"].clone());
    assert_eq!(twice.refused(), Some("IncompleteSignature"));
    let mut twice = v4_now();
    twice.headers.append("x-amz-date", twice.headers["x-amz-date"].clone());
    assert_eq!(twice.refused(), Some("IncompleteSignature"));
    // A second host would let the client sign one and be routed by the other.
    let mut twice = v4_now();
    twice.headers.append("host", HeaderValue::from_static("elsewhere"));
    assert_eq!(twice.refused(), Some("SignatureDoesNotMatch"));
}

#[test]
fn a_hash_of_the_body_that_is_sent_must_be_right_and_signed() {
    let body = b"<a/>".to_vec();
    let hash = hex::encode(Sha256::digest(&body));
    let dated = Sent { method: Method::POST, body, ..Sent::get().with("x-amz-date", "20261121T110742Z") };
    let names = ["host", "x-amz-content-sha256", "x-amz-date"];
    let sign = |sent: Sent| {
        let value = v4_authorization(ID, SECRET, REGION, &names, &sent);
        sent.with("authorization", &value)
    };
    assert_eq!(sign(dated.clone().with("x-amz-content-sha256", &hash)).refused(), None);
    for wrong in ["UNSIGNED-PAYLOAD", &"0".repeat(64), &hash.to_uppercase()] {
        let sent = sign(dated.clone().with("x-amz-content-sha256", wrong));
        assert_eq!(sent.refused(), Some("SignatureDoesNotMatch"), "{wrong}");
    }
    let unsigned = dated.with("x-amz-content-sha256", &hash).v4(SECRET);
    assert_eq!(unsigned.refused(), Some("IncompleteSignature"));
}

#[test]
fn session_tokens_are_refused_with_a_reason() {
    let sent = Sent::get().with("x-amz-date", "20261121T110742Z").with("x-amz-security-token", "t");
    let names = ["host", "x-amz-date", "x-amz-security-token"];
    let value = v4_authorization(ID, SECRET, REGION, &names, &sent);
    let error =
        sent.with("authorization", &value).check(&verifier(), &view([key(ID, SECRET)]), NOW).unwrap_err();
    assert_eq!(error.code, "InvalidClientTokenId");
    assert!(error.message.contains("session tokens"), "{}", error.message);
}

#[test]
fn other_regions_are_taken_where_configured() {
    let sent = Sent::get().with("x-amz-date", "20261121T110742Z");
    let value = v4_authorization(ID, SECRET, "eu-west-1", &["host", "x-amz-date"], &sent);
    let sent = sent.with("authorization", &value);
    assert_eq!(sent.refused(), Some("SignatureDoesNotMatch"));
    let both = verifier_with(sealer(1), CLOCK_WINDOW, &[REGION, "eu-west-1"]);
    assert!(sent.check(&both, &view([key(ID, SECRET)]), NOW).is_ok());
}

#[test]
fn a_default_port_in_the_host_may_be_signed_or_not() {
    for (signed, sent_as, code) in [
        ("control.example", "control.example:443", None),
        ("control.example:443", "control.example:443", None),
        ("control.example", "control.example:80", None),
        ("control.example", "control.example:8443", Some("SignatureDoesNotMatch")),
        ("control.example", "other.example:443", Some("SignatureDoesNotMatch")),
    ] {
        let sent = Sent::get().with("x-amz-date", "20261121T110742Z").with("host", signed).v4(SECRET);
        assert_eq!(sent.with("host", sent_as).refused(), code, "{signed} sent as {sent_as}");
    }
}

#[test]
fn without_the_sealing_key_known_and_unknown_keys_are_refused_alike() {
    let (known, empty) = (view([key(ID, SECRET)]), view([]));
    let blind = verifier_with(Sealer::none(), CLOCK_WINDOW, &[REGION]);
    for sent in [legacy_now(), v4_now()] {
        let error = sent.check(&blind, &known, NOW).unwrap_err();
        assert_eq!(error, sent.check(&blind, &empty, NOW).unwrap_err());
        assert_eq!((error.status, error.code), (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
    }
    assert_eq!(blind.login(&known, ID, SECRET).unwrap_err().code, "ServiceUnavailable");
}

#[test]
fn a_secret_copied_to_another_key_verifies_nothing() {
    let victim = key("AKIDVICTIM", "another secret");
    let thief = AccessKey { sealed_secret: victim.sealed_secret.clone(), ..key(ID, SECRET) };
    let view = view([victim, thief]);
    let sent = Sent::get().with("x-amz-date", "20261121T110742Z").v4("another secret");
    assert_eq!(sent.check(&verifier(), &view, NOW).unwrap_err().code, "ServiceUnavailable");
}

#[test]
fn a_login_takes_the_key_and_its_secret_only() {
    let disabled = AccessKey { disabled: true, ..key("AKIDOFF", SECRET) };
    let view = view([AccessKey { read_only: true, ..key(ID, SECRET) }, disabled]);
    let verifier = verifier();
    let who = verifier.login(&view, ID, SECRET).unwrap();
    assert!(who.read_only && who.key_id == ID);
    for (id, secret, code) in [
        (ID, "wJalrXUtnFEMj", "SignatureDoesNotMatch"),
        (ID, "", "SignatureDoesNotMatch"),
        ("AKIDNONE", SECRET, "InvalidClientTokenId"),
        ("AKIDOFF", SECRET, "InvalidClientTokenId"),
        (NOBODY, SECRET, "InvalidClientTokenId"),
    ] {
        assert_eq!(verifier.login(&view, id, secret).unwrap_err().code, code, "{id}");
    }
    assert_eq!(verifier.refusals.with_label_values(&["InvalidClientTokenId"]).get(), 3);
}

#[test]
fn refusals_are_counted_by_code_and_tell_no_secret() {
    let (verifier, view) = (verifier(), view([key(ID, SECRET)]));
    let wrong = legacy_now().with("x-amz-date", "Sat, 21 Nov 2026 11:07:43 GMT");
    for sent in [&wrong, &wrong, &Sent::get()] {
        let error = sent.check(&verifier, &view, NOW).unwrap_err();
        assert!(!error.message.contains(SECRET) && !error.message.contains(ID));
    }
    assert_eq!(verifier.refusals.with_label_values(&["SignatureDoesNotMatch"]).get(), 2);
    assert_eq!(verifier.refusals.with_label_values(&["MissingAuthenticationToken"]).get(), 1);
    assert!(legacy_now().check(&verifier, &view, NOW).is_ok());
    assert_eq!(verifier.refusals.with_label_values(&["RequestExpired"]).get(), 0);
}

#[test]
fn before_the_store_was_read_no_key_is_called_unknown() {
    for sent in [legacy_now(), v4_now()] {
        let error = sent.check(&verifier(), &View::default(), NOW).unwrap_err();
        assert_eq!((error.status, error.code), (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
    }
    assert_eq!(verifier().login(&View::default(), ID, SECRET).unwrap_err().code, "ServiceUnavailable");
}
