//! The scheme of 2009: `Authorization: AWS KEYID:SIGNATURE`, where the signature is the base64 of HMAC-SHA1 under the secret
//! over one date, and over nothing else.
//!
//! The date is the value of `x-amz-date` if that was sent, else of `Date`, byte for byte. Since method, path and body are not
//! signed, one who hears such a request can send others under it for as long as the clock's window is open: it belongs on
//! TLS, and the door takes it in the clear only where the network is trusted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::hmac;

use super::{Claim, Refusal, Scheme, date, single};

/// What was signed.
pub(super) struct Statement<'a> {
    date: &'a str,
}

impl Statement<'_> {
    pub(super) fn is_signed_by(&self, secret: &[u8], signature: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        hmac::verify(&key, self.date.as_bytes(), signature).is_ok()
    }
}

/// Reads `KEYID:SIGNATURE`.
pub(super) fn claim<'a>(credentials: &'a str, headers: &'a HeaderMap) -> Result<Claim<'a>, Refusal> {
    let (key_id, signature) = credentials
        .split_once(':')
        .filter(|(key_id, signature)| !key_id.is_empty() && !signature.is_empty())
        .ok_or(Refusal::Incomplete("Authorization is not AWS KEYID:SIGNATURE"))?;
    let date = match single(headers, "x-amz-date")? {
        Some(date) => date,
        None => single(headers, "date")?
            .ok_or(Refusal::Incomplete("the request has neither an x-amz-date nor a Date header"))?,
    };
    let date_ms = date::parse_ms(date).ok_or(Refusal::Incomplete("the request's date can't be read"))?;
    // What is no base64 is no signature of anything: empty bytes go the same way and fit no secret.
    let signature = STANDARD.decode(signature).unwrap_or_default();
    Ok(Claim { key_id, signature, date_ms, scheme: Scheme::Legacy(Statement { date }) })
}
