//! The id of a request: what an operator quotes from an answer and finds in the log.

use std::fmt;

use rand::Rng;

/// A random UUID (version 4), as CloudFront's request ids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(u128);

impl RequestId {
    /// A new one.
    pub fn random() -> Self {
        const VERSION_4: u128 = 0x4 << 76;
        const VARIANT_1: u128 = 0x2 << 62;
        let random: u128 = rand::rng().random();
        Self(random & !(0xf << 76) & !(0x3 << 62) | VERSION_4 | VARIANT_1)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_uuid_of_version_4_and_no_two_are_the_same() {
        let ids: Vec<String> = (0..100).map(|_| RequestId::random().to_string()).collect();
        for id in &ids {
            let groups: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
            assert_eq!(id.as_bytes()[14], b'4', "{id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 100);
    }
}
