//! Whether the bytes of a small object are the ones that were uploaded.
//!
//! A range of an object has no checksum, but the ETag of a single upload is the MD5 of the whole on most endpoints. So an object of up to
//! `verify_bytes` is fetched in one GET, its blocks are held back until the last byte, and bytes that don't fit are fetched again.
//!
//! Not every ETag of an MD5's form is one (some endpoints draw them by lot), and nothing says which are. So an origin is believed
//! after it has once been right. Until then, two fetches that agree with each other but not with the ETag show that its ETags are none, and
//! from then on it isn't checked any more.

use std::sync::atomic::{AtomicU8, Ordering};

use md5::{Digest, Md5};

/// Whether an origin's ETags are MD5s, as far as is known.
#[derive(Debug, Default)]
pub(crate) struct Trust(AtomicU8);

const PROVEN: u8 = 1;
const REFUTED: u8 = 2;

impl Trust {
    /// One was right.
    fn prove(&self) {
        self.0.store(PROVEN, Ordering::Relaxed);
    }

    fn is_proven(&self) -> bool {
        self.0.load(Ordering::Relaxed) == PROVEN
    }

    /// Its ETags are no MD5s.
    fn refute(&self) {
        self.0.store(REFUTED, Ordering::Relaxed);
    }

    /// Whether its ETags are known to be none.
    pub(crate) fn is_refuted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == REFUTED
    }
}

/// A sum of a whole object in the making.
pub(crate) struct Check {
    expected: [u8; 16],
    sum: Md5,
    /// What an earlier fetch of the same bytes came to.
    before: Option<[u8; 16]>,
}

/// What a sum shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// These are the bytes.
    Right,
    /// The ETag is no MD5; nothing is known of the bytes.
    NoSum,
    /// They are not, or the ETag is no MD5: another fetch will tell.
    Wrong,
}

impl Check {
    /// Against what may be the object's MD5.
    pub(crate) fn new(expected: [u8; 16]) -> Self {
        Self { expected, sum: Md5::new(), before: None }
    }

    /// More bytes, in order.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
    }

    /// The last byte has been added. Begins anew.
    pub(crate) fn judge(&mut self, trust: &Trust) -> Verdict {
        let found: [u8; 16] = self.sum.finalize_reset().into();
        if found == self.expected {
            trust.prove();
            return Verdict::Right;
        }
        if !trust.is_proven() && self.before == Some(found) {
            trust.refute();
            return Verdict::NoSum;
        }
        self.before = Some(found);
        Verdict::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(check: &mut Check, bytes: &[u8], trust: &Trust) -> Verdict {
        check.add(bytes);
        check.judge(trust)
    }

    #[test]
    fn an_origin_is_believed_once_it_was_right() {
        let (trust, sum) = (Trust::default(), Md5::digest(b"film").into());
        let mut check = Check::new(sum);
        assert_eq!(judge(&mut check, b"fiLm", &trust), Verdict::Wrong);
        assert_eq!(judge(&mut check, b"film", &trust), Verdict::Right);
        // From now on the same wrong bytes again are wrong again.
        let mut check = Check::new(sum);
        for _ in 0..3 {
            assert_eq!(judge(&mut check, b"fiLm", &trust), Verdict::Wrong);
        }
        assert!(!trust.is_refuted());
    }

    #[test]
    fn etags_that_are_no_sums_are_found_out() {
        let trust = Trust::default();
        let mut check = Check::new([7; 16]);
        assert_eq!(judge(&mut check, b"film", &trust), Verdict::Wrong);
        assert_eq!(judge(&mut check, b"film", &trust), Verdict::NoSum);
        assert!(trust.is_refuted());
    }
}
