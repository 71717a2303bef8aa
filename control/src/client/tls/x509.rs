//! What a certificate says about itself, for people: names, validity, fingerprint.
//!
//! Only for logs, metrics and the probe: nothing is decided by it, so it is lenient. A field that isn't where X.509 (RFC 5280, section 4.1)
//! has it is left empty; nothing is read beyond the bytes at hand.

use sha2::{Digest, Sha256};

/// A certificate, described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Whom it is for, such as `CN=example.com, O=Example`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Host names and addresses it is good for, 32 at most.
    pub names: Vec<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: Option<i64>,
    /// When it ends.
    pub not_after: Option<i64>,
    /// SHA-256 of the whole, in hexadecimal with colons, as `openssl x509 -fingerprint -sha256` shows it.
    pub fingerprint: String,
}

/// Names kept of one certificate.
const MOST_NAMES: usize = 32;
/// Characters kept of a name.
const NAME_CHARS: usize = 256;

const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANISATION: &[u8] = &[0x55, 4, 10];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 6;
const OCTET_STRING: u8 = 4;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Elements of DER, one after the other.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 3))?;
                (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (body, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, body))
    }
}

/// Describes a certificate in DER.
pub fn describe(der: &[u8]) -> Description {
    let digest: Vec<String> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    let mut found = Description { fingerprint: digest.join(":"), ..Default::default() };
    let Some((SEQUENCE, certificate)) = Elements(der).next() else { return found };
    let Some((SEQUENCE, signed)) = Elements(certificate).next() else { return found };
    // Version, where there is one; serial number; algorithm; then what is wanted.
    let mut fields = Elements(signed).skip_while(|(tag, _)| *tag == 0xa0).skip(2);
    found.issuer = fields.next().map(|(_, name)| distinguished(name)).unwrap_or_default();
    let mut validity =
        Elements(fields.next().map_or(&[], |(_, validity)| validity)).map(|(tag, text)| time(tag, text));
    (found.not_before, found.not_after) = (validity.next().flatten(), validity.next().flatten());
    found.subject = fields.next().map(|(_, name)| distinguished(name)).unwrap_or_default();
    let extensions = fields.find(|(tag, _)| *tag == 0xa3).and_then(|(_, wrapped)| Elements(wrapped).next());
    for (_, extension) in Elements(extensions.map_or(&[], |(_, list)| list)) {
        let mut parts = Elements(extension);
        if parts.next() == Some((OBJECT_IDENTIFIER, SUBJECT_ALTERNATIVE_NAME))
            && let Some((_, value)) = parts.find(|(tag, _)| *tag == OCTET_STRING)
            && let Some((SEQUENCE, names)) = Elements(value).next()
        {
            found.names =
                Elements(names).filter_map(|(tag, name)| alternative(tag, name)).take(MOST_NAMES).collect();
        }
    }
    found
}

/// The parts of a distinguished name that people look for.
fn distinguished(name: &[u8]) -> String {
    let sets = Elements(name).filter(|(tag, _)| *tag == SET).flat_map(|(_, set)| Elements(set));
    let parts = sets.filter_map(|(_, attribute)| {
        let mut parts = Elements(attribute);
        let label = match parts.next()? {
            (OBJECT_IDENTIFIER, COMMON_NAME) => "CN",
            (OBJECT_IDENTIFIER, ORGANISATION) => "O",
            _ => return None,
        };
        Some(format!("{label}={}", text(parts.next()?.1)))
    });
    parts.take(8).collect::<Vec<_>>().join(", ")
}

fn alternative(tag: u8, name: &[u8]) -> Option<String> {
    match (tag, name) {
        (0x82, name) => Some(text(name)),
        (0x87, &[a, b, c, d]) => Some(std::net::Ipv4Addr::new(a, b, c, d).to_string()),
        (0x87, name) => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(name).ok()?).to_string()),
        _ => None,
    }
}

/// Text of a stranger, fit for a terminal.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(NAME_CHARS).collect()
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` in seconds since 1970.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let year_digits = match tag {
        UTC_TIME => 2,
        GENERALIZED_TIME => 4,
        _ => return None,
    };
    if digits.len() != year_digits + 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, len: usize| {
        digits[from..from + len].iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
    };
    let year = match (year_digits, number(0, year_digits)) {
        (2, year @ 0..50) => 2000 + year,
        (2, year) => 1900 + year,
        (_, year) => year,
    };
    let rest: Vec<i64> = (0..5).map(|i| number(year_digits + 2 * i, 2)).collect();
    let &[month @ 1..=12, day, hour, minute, second] = &rest[..] else { return None };
    // Days since 1970, counted in years that begin in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Seconds since 1970 as `YYYY-MM-DD`.
pub fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_what_it_was_made_with() {
        let names = ["a.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}.example");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        params.not_before = rcgen::date_time_ymd(2024, 2, 29);
        params.not_after = rcgen::date_time_ymd(2050, 12, 31);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let found = describe(made.der());
        assert_eq!(found.subject, "CN=a\u{fffd}.example, O=Example");
        assert_eq!((&found.issuer, &found.names[..]), (&found.subject, &names[..]));
        // `date -ud 2024-02-29 +%s`, and the same for the last day, which takes the four-digit form.
        assert_eq!((found.not_before, found.not_after), (Some(1_709_164_800), Some(2_556_057_600)));
        assert_eq!(found.fingerprint.len(), 32 * 3 - 1);
        for cut in 0..made.der().len() {
            describe(&made.der()[..cut]);
        }
    }

    #[test]
    fn times_and_dates_agree() {
        for (text, seconds, shown) in [
            ("700101000000Z", 0, "1970-01-01"),
            ("000229235959Z", 951_868_799, "2000-02-29"),
            ("491231000000Z", 2_524_521_600, "2049-12-31"),
            ("500101000000Z", -631_152_000, "1950-01-01"),
        ] {
            assert_eq!(time(UTC_TIME, text.as_bytes()), Some(seconds), "{text}");
            assert_eq!(date(seconds), shown);
        }
        for odd in ["", "Z", "7001010000Z", "700001000000Z", "7x0101000000Z", "700101000000"] {
            assert_eq!(time(UTC_TIME, odd.as_bytes()), None, "{odd}");
        }
    }
}
