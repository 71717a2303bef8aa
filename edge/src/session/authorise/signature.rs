//! The parameters that sign a stream name, and the check of the signature.
//!
//! `Expires` or `Policy`, `Signature` and `Key-Pair-Id` stand in any order among the viewer's own parameters, which may be part of what was
//! signed. Each may stand there once. A value may be percent-escaped; a query whose `=` were escaped along with everything else is read
//! as what it was. Bytes are base64 with `-` for `+`, `_` for `=` and `~` for `/`.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use ring::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

use super::Denial;

/// Longest `Key-Pair-Id`; those given are of 14 to 21 characters.
const KEY_PAIR_ID_BYTES: usize = 128;
/// Bytes of the longest signature, that of a key of 8192 bits.
const SIGNATURE_BYTES: usize = 1024;

/// Padding is often lost on the way.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Terms {
    /// A canned policy: the name itself, until then.
    Until {
        /// Seconds since 1970.
        seconds: u64,
        /// As the query says it.
        text: String,
    },
    /// A custom policy, as it was signed.
    Policy(Vec<u8>),
}

/// The parameters of a signed name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) key_pair_id: String,
    pub(crate) signature: Vec<u8>,
    pub(crate) terms: Terms,
    /// The viewer's own parameters, as they stood.
    pub(crate) own_query: Option<String>,
}

impl Parameters {
    /// Reads a query (without `?`).
    pub(crate) fn parse(query: &str) -> Result<Self, Denial> {
        let unescaped;
        let mut query = query;
        if !query.contains('=') && query.contains('%') {
            unescaped = percent_decode_str(query)
                .decode_utf8()
                .map_err(|_| Denial::Malformed("an escape is no UTF-8"))?;
            query = &unescaped;
        }
        let (mut expires, mut policy, mut signature, mut key_pair_id) = (None, None, None, None);
        let mut own = Vec::new();
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let slot = match name {
                "Expires" => &mut expires,
                "Policy" => &mut policy,
                "Signature" => &mut signature,
                "Key-Pair-Id" => &mut key_pair_id,
                _ => {
                    own.push(parameter);
                    continue;
                }
            };
            if slot.is_some() {
                return Err(Denial::Malformed("a parameter stands there twice"));
            }
            let value = percent_decode_str(value).decode_utf8();
            *slot = Some(value.map_err(|_| Denial::Malformed("an escape is no UTF-8"))?);
        }
        if expires.is_none() && policy.is_none() && signature.is_none() && key_pair_id.is_none() {
            return Err(Denial::Unsigned);
        }
        let (Some(signature), Some(key_pair_id)) = (signature, key_pair_id) else {
            return Err(Denial::Malformed("Signature or Key-Pair-Id is missing"));
        };
        if key_pair_id.is_empty() || key_pair_id.len() > KEY_PAIR_ID_BYTES {
            return Err(Denial::Malformed("Key-Pair-Id"));
        }
        let signature = decode(&signature).filter(|bytes| (1..=SIGNATURE_BYTES).contains(&bytes.len()));
        let terms = match (expires, policy) {
            (Some(text), None) => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let seconds = text.parse().ok().filter(|_| digits).ok_or(Denial::Malformed("Expires"))?;
                Terms::Until { seconds, text: text.into_owned() }
            }
            (None, Some(policy)) => {
                let bytes = decode(&policy).filter(|bytes| !bytes.is_empty());
                Terms::Policy(bytes.ok_or(Denial::Malformed("Policy"))?)
            }
            (None, None) => return Err(Denial::Malformed("neither Expires nor Policy")),
            (Some(_), Some(_)) => return Err(Denial::Malformed("both Expires and Policy")),
        };
        Ok(Self {
            key_pair_id: key_pair_id.into_owned(),
            signature: signature.ok_or(Denial::Malformed("Signature"))?,
            terms,
            own_query: (!own.is_empty()).then(|| own.join("&")).filter(|own| !own.is_empty()),
        })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let standard: String = text
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '=',
            '~' => '/',
            c => c,
        })
        .collect();
    BASE64.decode(standard).ok()
}

/// Whether `signature` is RSA-SHA1 (PKCS #1 v1.5) of `message` by this RSAPublicKey (DER). Takes some 30 µs with 2048 bits.
pub(super) fn is_signed_by(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    // Accounts of CloudFront's first years have keys of 1024 bits.
    let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key);
    key.verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_in_any_order_and_own_ones_kept_as_they_stood() {
        let canned = |query: &str| {
            let read = Parameters::parse(query).unwrap();
            assert_eq!(read.key_pair_id, "K1");
            assert_eq!(read.signature, b"\xfb\xff\xfe");
            assert_eq!(read.terms, Terms::Until { seconds: 12, text: "12".into() });
            read.own_query
        };
        assert_eq!(canned("Expires=12&Signature=-~~-&Key-Pair-Id=K1"), None);
        assert_eq!(canned("Key-Pair-Id=K1&Signature=-~~-&Expires=12"), None);
        assert_eq!(
            canned("color=red&Key-Pair-Id=K1&size=%20m&Expires=12&Signature=%2D%7e~-&x").as_deref(),
            Some("color=red&size=%20m&x")
        );
        assert_eq!(canned("Expires%3D12%26Signature%3D-~~-%26Key-Pair-Id%3DK1"), None);
        assert_eq!(canned("Signature=-~~-&Key-Pair-Id=K1&Expires=12&"), None);
    }

    #[test]
    fn padding_is_an_underscore_or_nothing() {
        for text in ["AQ__", "AQ", "AQ=="] {
            assert_eq!(decode(text).as_deref(), Some(&[1][..]), "{text}");
        }
        for text in ["A", "AQ__AQ", "é", "A Q", "AQ\n"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_signed_query_is_told_apart_and_refused() {
        for (query, denial) in [
            ("", Denial::Unsigned),
            ("color=red", Denial::Unsigned),
            ("expires=1&signature=AQ__", Denial::Unsigned),
            ("Expires=12", Denial::Malformed("Signature or Key-Pair-Id is missing")),
            ("Signature=AQ__&Key-Pair-Id=K1", Denial::Malformed("neither Expires nor Policy")),
            (
                "Expires=1&Policy=e30_&Signature=AQ__&Key-Pair-Id=K1",
                Denial::Malformed("both Expires and Policy"),
            ),
            (
                "Expires=1&Expires=2&Signature=AQ__&Key-Pair-Id=K1",
                Denial::Malformed("a parameter stands there twice"),
            ),
            (
                "Expires=1&Signature=AQ__&Signature=AQ__&Key-Pair-Id=K1",
                Denial::Malformed("a parameter stands there twice"),
            ),
            ("Expires=+1&Signature=AQ__&Key-Pair-Id=K1", Denial::Malformed("Expires")),
            ("Expires=&Signature=AQ__&Key-Pair-Id=K1", Denial::Malformed("Expires")),
            ("Expires=99999999999999999999&Signature=AQ__&Key-Pair-Id=K1", Denial::Malformed("Expires")),
            ("Expires=1&Signature=&Key-Pair-Id=K1", Denial::Malformed("Signature")),
            ("Expires=1&Signature=A&Key-Pair-Id=K1", Denial::Malformed("Signature")),
            ("Policy=&Signature=AQ__&Key-Pair-Id=K1", Denial::Malformed("Policy")),
            ("Policy=!&Signature=AQ__&Key-Pair-Id=K1", Denial::Malformed("Policy")),
            ("Expires=1&Signature=AQ__&Key-Pair-Id=", Denial::Malformed("Key-Pair-Id")),
            ("Expires=1&Signature=%ff&Key-Pair-Id=K1", Denial::Malformed("an escape is no UTF-8")),
        ] {
            assert_eq!(Parameters::parse(query), Err(denial), "{query}");
        }
        let long = format!("Expires=1&Signature={}&Key-Pair-Id=K1", "A".repeat(2000));
        assert_eq!(Parameters::parse(&long), Err(Denial::Malformed("Signature")));
    }
}
