//! The limit of open files (RLIMIT_NOFILE): asked for at start, so that it isn't met under load.
//!
//! Systems give processes a low soft limit for the sake of old programs and a higher hard one that a process may raise itself to. Each
//! process knows what it may come to need, and asks here before it opens a port.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit as far as `needed`, where the hard one allows, and returns the soft limit now in force (`u64::MAX`: none).
pub fn provide(needed: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current else { return u64::MAX };
    let wanted = needed.min(limit.maximum.unwrap_or(u64::MAX));
    if soft >= wanted {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => {
            tracing::info!(from = soft, to = wanted, "the limit of open files is raised");
            wanted
        }
        Err(error) => {
            tracing::warn!(soft, wanted, %error, "the limit of open files can't be raised");
            soft
        }
    }
}

/// A service that may need more open files than it gets.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{what}, with {reserve} files besides, need {needed} open files, but the limit (RLIMIT_NOFILE) is {available}: \
     raise it (`ulimit -n {needed}`; LimitNOFILE={needed} in a systemd unit), or {remedy}"
)]
pub struct TooFew {
    /// What needs them, in numbers and words.
    pub what: String,
    /// Files it needs for anything else.
    pub reserve: u64,
    /// Files in total.
    pub needed: u64,
    /// The limit.
    pub available: u64,
    /// The other way out.
    pub remedy: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_no_further_than_needed_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        let soft = before.current.unwrap();
        assert_eq!(provide(1), soft);
        if before.maximum.is_none_or(|hard| hard > soft) {
            assert_eq!(provide(soft + 1), soft + 1);
        }
        let most = provide(u64::MAX);
        assert_eq!(Some(most), before.maximum.or(Some(u64::MAX)));
    }
}
