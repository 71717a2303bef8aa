//! How long S3 lets an answer be believed: `Cache-Control` and `Expires`.
//!
//! As CloudFront did for streaming distributions: `s-maxage` wins over `max-age`, either wins over `Expires`; `no-cache`,
//! `no-store` and `private` mean no lifetime at all. The configured bounds are applied by the caller.

use std::time::Duration;

/// The lifetime that `cache_control` names, else `expires_in` (time left until `Expires`).
pub(crate) fn max_age(cache_control: Option<&str>, expires_in: Option<Duration>) -> Option<Duration> {
    let (mut max_age, mut shared) = (None, None);
    for directive in cache_control.unwrap_or_default().split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = || value.trim().trim_matches('"').parse::<u64>().ok().map(Duration::from_secs);
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" | "private" => return Some(Duration::ZERO),
            "max-age" => max_age = seconds(),
            "s-maxage" => shared = seconds(),
            _ => {}
        }
    }
    shared.or(max_age).or(expires_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_lifetime_wins() {
        let s = |n| Some(Duration::from_secs(n));
        assert_eq!(max_age(None, None), None);
        assert_eq!(max_age(Some("public, max-age=60"), s(5)), s(60));
        assert_eq!(max_age(Some("max-age=60, S-MaxAge = \"90\""), None), s(90));
        assert_eq!(max_age(Some("no-cache, max-age=60"), None), s(0));
        assert_eq!(max_age(Some("public"), s(5)), s(5));
        assert_eq!(max_age(Some("max-age=soon"), None), None);
    }
}
