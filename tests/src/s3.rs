//! A small S3 client: enough of SigV4 to make buckets and put, get and delete objects in the embedded endpoint.
//!
//! Written for the tests so that the server isn't checked by the same SDK the shield uses.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::http::{self, Answer};

/// One bucket, addressed path-style.
#[derive(Clone, Debug)]
pub struct Bucket {
    addr: String,
    name: String,
    key_id: String,
    secret: String,
}

impl Bucket {
    /// Bucket `name` at `addr`; requests are signed with these keys, or anonymous if `key_id` is empty.
    pub fn new(addr: &str, name: &str, key_id: &str, secret: &str) -> Self {
        Self { addr: addr.into(), name: name.into(), key_id: key_id.into(), secret: secret.into() }
    }

    /// Makes the bucket; it is private.
    pub fn create(&self) {
        let made = self.send("PUT", "", &[], &[]);
        assert!(made.status == 200, "create {}: {} {}", self.name, made.status, made.text());
    }

    /// Stores an object.
    pub fn put(&self, key: &str, bytes: &[u8], headers: &[(&str, &str)]) {
        let done = self.send("PUT", key, headers, bytes);
        assert!(done.status == 200, "put {key}: {} {}", done.status, done.text());
    }

    /// Removes an object.
    pub fn delete(&self, key: &str) {
        let done = self.send("DELETE", key, &[], &[]);
        assert!(done.status == 204, "delete {key}: {} {}", done.status, done.text());
    }

    /// Fetches an object, or a part of it with a `range` header.
    pub fn get(&self, key: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", key, headers, &[])
    }

    /// Any request on a key (empty: the bucket itself). A `?query` may follow the key.
    pub fn send(&self, method: &str, key: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let (key, query) = key.split_once('?').unwrap_or((key, ""));
        let path = match key {
            "" => format!("/{}", self.name),
            key => format!("/{}/{}", self.name, encode(key)),
        };
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        if self.key_id.is_empty() {
            return http::request(&self.addr, method, &target, headers, body).unwrap();
        }
        let (day, time) = now();
        let hash = hex::encode(Sha256::digest(body));
        let mut all: Vec<(String, String)> =
            headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), (*v).to_owned())).collect();
        all.extend([
            ("host".to_owned(), self.addr.clone()),
            ("x-amz-content-sha256".to_owned(), hash.clone()),
            ("x-amz-date".to_owned(), time.clone()),
        ]);
        all.sort();
        let names = all.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(";");
        let canonical: String = all.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|q| !q.is_empty())
            .map(|q| if q.contains('=') { q.into() } else { format!("{q}=") })
            .collect();
        pairs.sort();
        let request = format!("{method}\n{path}\n{}\n{canonical}\n{names}\n{hash}", pairs.join("&"));
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(request.as_bytes())));
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [day.as_str(), "us-east-1", "s3", "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex::encode(hmac(&key, to_sign.as_bytes()));
        let auth = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key_id
        );
        let mut sent: Vec<(&str, &str)> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        sent.push(("authorization", &auth));
        http::request(&self.addr, method, &target, &sent, body).unwrap()
    }
}

/// HMAC-SHA256.
pub fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn encode(key: &str) -> String {
    key.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                (b as char).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// Day and time now.
fn now() -> (String, String) {
    date_and_time(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
}

/// Day and time in the forms SigV4 wants (UTC), of that many seconds after 1970.
pub fn date_and_time(seconds: u64) -> (String, String) {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days as i64);
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!("{date}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
    (date, time)
}

/// Days since 1970 as year, month, day: counts 400-year eras from 1 March of year 0, when leap days come last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_become_dates() {
        assert_eq!(super::civil(0), (1970, 1, 1));
        assert_eq!(super::civil(11_016), (2000, 2, 29));
        assert_eq!(super::civil(20_778), (2026, 11, 21));
    }
}
