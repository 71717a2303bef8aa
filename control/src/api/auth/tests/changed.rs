//! Whatever byte of what was signed is changed, the request is refused.

use proptest::prelude::*;

use super::*;

/// A letter or digit other than `was`.
fn other(was: u8, pick: u8) -> u8 {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let at = usize::from(pick) % LETTERS.len();
    if LETTERS[at] == was { LETTERS[(at + 1) % LETTERS.len()] } else { LETTERS[at] }
}

fn change(text: &str, at: usize, pick: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] = other(bytes[at], pick);
    String::from_utf8(bytes).unwrap()
}

/// Name and value of each parameter, unescaped, in order of name and value: what a query means.
fn meaning(target: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let query = target.split_once('?').map_or("", |(_, q)| q);
    let plain = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let pairs = query.split('&').filter(|p| !p.is_empty());
    let mut pairs: Vec<_> = pairs
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(name, value)| (plain(name), plain(value)))
        .collect();
    pairs.sort();
    pairs
}

fn request() -> impl Strategy<Value = Sent> {
    let method = prop_oneof![Just(Method::GET), Just(Method::PUT), Just(Method::POST), Just(Method::DELETE)];
    let path = "(/[A-Za-z0-9._~-]{1,12}){1,4}(%20[a-z]{1,3})?";
    let query = prop_oneof![
        Just(String::new()),
        Just("?WithTags".to_owned()),
        "\\?Marker=[A-Z0-9]{1,14}&MaxItems=[0-9]{1,3}",
        "\\?Resource=arn%3Aaws%3Acloudfront%3A%3A[0-9]{12}%3Astreaming-distribution%2FE[A-Z0-9]{1,9}",
    ];
    let etag = "E[A-Z0-9]{1,13}";
    let body = proptest::collection::vec(any::<u8>(), 0..200);
    (method, path, query, etag, body).prop_map(|(method, path, query, etag, body)| {
        let sent = Sent { method, target: format!("{path}{query}"), body, ..Sent::get() };
        let sent = sent.with("x-amz-date", "20261121T110742Z").with("if-match", &etag);
        let value = v4_authorization(ID, SECRET, REGION, &["host", "if-match", "x-amz-date"], &sent);
        sent.with("authorization", &value)
    })
}

proptest! {
    #[test]
    fn c03_a_changed_byte_of_a_legacy_signature_or_date_is_refused(at in any::<usize>(), pick in any::<u8>()) {
        let right = legacy_now();
        prop_assert_eq!(right.refused(), None);
        let value = right.headers["authorization"].to_str().unwrap().to_owned();
        let start = value.find(':').unwrap() + 1;
        let wrong = format!("{}{}", &value[..start], change(&value[start..], at, pick));
        prop_assert_eq!(right.clone().with("authorization", &wrong).refused(), Some("SignatureDoesNotMatch"));
        let date = change("Sat, 21 Nov 2026 11:07:42 GMT", at, pick);
        prop_assert!(right.with("date", &date).refused().is_some());
    }

    #[test]
    fn a_changed_byte_of_anything_that_sigv4_signs_is_refused(
        sent in request(), at in any::<usize>(), pick in any::<u8>(),
    ) {
        prop_assert_eq!(sent.refused(), None);

        for name in ["host", "if-match", "x-amz-date"] {
            let value = change(sent.headers[name].to_str().unwrap(), at, pick);
            prop_assert!(sent.clone().with(name, &value).refused().is_some(), "{}: {}", name, value);
        }
        let value = change(sent.headers["authorization"].to_str().unwrap(), at, pick);
        prop_assert!(sent.clone().with("authorization", &value).refused().is_some(), "{}", value);

        let changed = Sent { target: change(&sent.target, at, pick), ..sent.clone() };
        let path = |sent: &Sent| sent.target.split('?').next().unwrap().to_owned();
        // %2F and %2f are one parameter, as is %41 and A.
        let same = path(&changed) == path(&sent) && meaning(&changed.target) == meaning(&sent.target);
        prop_assert_eq!(changed.refused().is_none(), same, "{}", changed.target);

        let longer = Sent { body: [&sent.body[..], b"x"].concat(), ..sent.clone() };
        prop_assert!(longer.refused().is_some());
        if !sent.body.is_empty() {
            let mut changed = sent.clone();
            let at = at % changed.body.len();
            changed.body[at] ^= pick.max(1);
            prop_assert!(changed.refused().is_some());
        }
        let method = if sent.method == Method::PUT { Method::POST } else { Method::PUT };
        let changed = Sent { method, ..sent };
        prop_assert!(changed.refused().is_some());
    }

    #[test]
    fn any_header_is_answered_without_a_panic(
        authorization in "(AWS |AWS4-HMAC-SHA256 )?[ -~]{0,120}", date in "[ -~]{0,40}", target in "/[!-~]{0,60}",
    ) {
        let sent = Sent { target, ..Sent::get() };
        prop_assert!(sent.with("date", &date).with("authorization", &authorization).refused().is_some());
    }
}
