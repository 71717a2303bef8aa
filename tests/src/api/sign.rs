//! Both signatures of the control API, written for the tests from AWS's public descriptions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use ring::hmac;
use sha2::{Digest, Sha256};

use crate::s3;

/// `Authorization` of the first clients: HMAC-SHA1 over the date as it is sent, and nothing else.
pub fn legacy(id: &str, secret: &str, date: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let signature = hmac::sign(&key, date.as_bytes());
    format!("AWS {id}:{}", base64::engine::general_purpose::STANDARD.encode(signature))
}

/// What SigV4 signs of a request.
#[derive(Clone, Debug)]
pub struct Signed<'a> {
    /// Method.
    pub method: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    /// Headers to sign, names in lower case; `host` and `x-amz-date` among them.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: &'a [u8],
    /// Day and service of the scope.
    pub day: &'a str,
    /// `us-east-1/cloudfront` unless it shall be wrong.
    pub scope: &'a str,
    /// The value of `x-amz-date`.
    pub time: &'a str,
}

/// `Authorization` of SigV4.
pub fn v4(id: &str, secret: &str, request: Signed<'_>) -> String {
    let Signed { method, target, mut headers, body, day, scope, time } = request;
    headers.sort();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|q| !q.is_empty())
        .map(|q| if q.contains('=') { q.to_owned() } else { format!("{q}=") })
        .collect();
    pairs.sort();
    let names = headers.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(n, v)| format!("{n}:{}\n", v.trim())).collect();
    let hash = hex::encode(Sha256::digest(body));
    let canonical = format!("{method}\n{path}\n{}\n{lines}\n{names}\n{hash}", pairs.join("&"));
    let scope = format!("{day}/{scope}/aws4_request");
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = s3::hmac(&key, part.as_bytes());
    }
    let signature = hex::encode(s3::hmac(&key, to_sign.as_bytes()));
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// Day and time as SigV4 writes them.
pub fn amz_date(at: SystemTime) -> (String, String) {
    s3::date_and_time(at.duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// A date as HTTP writes it: `Sat, 21 Nov 2026 11:07:42 GMT`.
pub fn http_date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}

/// Now, moved by that many seconds.
pub fn shifted(seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_real_clients() {
        let date = "Sat, 21 Nov 2026 11:07:42 GMT";
        let signed = legacy("AKIDEXAMPLE", "wJalrXUtnFEMI", date);
        assert_eq!(signed, "AWS AKIDEXAMPLE:52QrC31t4mqE9TK+nOQLwgxpIqQ=");
        // The request boto3 made, see tests/captures.
        let text = std::fs::read(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("captures/boto3-01-POST_2020_05_31_streaming_distribution.http"),
        )
        .unwrap();
        let end = text.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let v4 = v4(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI",
            Signed {
                method: "POST",
                target: "/2020-05-31/streaming-distribution",
                headers: vec![
                    ("host".into(), "127.0.0.1:18443".into()),
                    ("x-amz-date".into(), "20261121T110904Z".into()),
                ],
                body: &text[end + 4..],
                day: "20261121",
                scope: "us-east-1/cloudfront",
                time: "20261121T110904Z",
            },
        );
        let wanted = "c19ad42030dfb0cb90643602fbcb963f1313bda4f36d2af7c9ac5b79874c85ab";
        assert!(v4.ends_with(wanted), "{v4}");
    }
}
