//! Why a bucket doesn't take log files, in words for who can mend it.
//!
//! What is kept of a refusal is a line of text that names S3's code, or what stands for one. The codes that come up are few, and each has one
//! thing to be done about it; any other is shown as it is.

/// The operator has not lent the bucket.
const NOT_GRANTED: &str = "NotGranted";
/// Records name a place that control never had their distribution log to.
const UNKNOWN: &str = "UnknownTarget";
/// What was staged isn't there, or not as it was.
const STAGING_LOST: &str = "StagingLost";

/// What a code means, and what can be done.
const MEANINGS: &[(&str, &str)] = &[
    (
        NOT_GRANTED,
        "The operator has not allowed this account to have logs written to the bucket. Ask for a grant (penstock-control grants add ACCOUNT BUCKET --logs).",
    ),
    (
        UNKNOWN,
        "An edge handed over records for a place that their distribution was never told to log to. The operator has to look at that edge.",
    ),
    ("StagingBucket", "It is the operator's own bucket for what waits to be delivered. Name another."),
    (
        STAGING_LOST,
        "It is not the bucket: something that was staged for the file is gone or damaged. If it stays so, the file is delivered without it, and what is lost is counted. The operator has to look at the staging bucket.",
    ),
    ("NoSuchBucket", "There is no such bucket. Create it, or name another."),
    ("InvalidBucketName", "The name can't be a bucket's. Name another."),
    (
        "AccessDenied",
        "The bucket doesn't let the operator's keys write to it. Allow s3:PutObject in its policy.",
    ),
    (
        "AllAccessDisabled",
        "The bucket doesn't let the operator's keys write to it. Allow s3:PutObject in its policy.",
    ),
    (
        "InvalidAccessKeyId",
        "The bucket's endpoint doesn't know the operator's keys. The operator has to mend that.",
    ),
    (
        "SignatureDoesNotMatch",
        "The bucket's endpoint doesn't accept the operator's keys. The operator has to mend that.",
    ),
    ("ExpiredToken", "The operator's keys have expired. The operator has to mend that."),
    (
        "AuthorizationHeaderMalformed",
        "The bucket is in another region than its host says. Name its host with the region.",
    ),
    (
        "PermanentRedirect",
        "The bucket is in another region than its host says. Name its host with the region.",
    ),
    ("SlowDown", "The bucket asks for fewer requests. Nothing needs to be done."),
    ("Throttling", "The bucket asks for fewer requests. Nothing needs to be done."),
    ("ThrottlingException", "The bucket asks for fewer requests. Nothing needs to be done."),
    ("TooManyRequests", "The bucket asks for fewer requests. Nothing needs to be done."),
    ("RequestLimitExceeded", "The bucket asks for fewer requests. Nothing needs to be done."),
    ("QuotaExceeded", "The bucket is full. Make room in it, or name another."),
    ("XMinioStorageFull", "The bucket's endpoint is full. Its operator has to make room."),
];

/// What is said of a refusal whose code says nothing to us.
const OTHER: &str = "The bucket can't be reached, or gave an answer that is not understood.";

/// The code that `error` names, as [`super::bucket::BucketError`] and [`super::deliver`] write it.
fn named(error: &str) -> &str {
    // At the end: what stands before it has the key in it, which may be called anything.
    let said = error.rsplit_once("refused (").map(|(_, rest)| rest.trim_end_matches(')'));
    match said {
        Some(code) => code,
        None if error.starts_with("there is no bucket") => "NoSuchBucket",
        None if error.starts_with("account ") && error.contains(" has no grant ") => NOT_GRANTED,
        None if error.starts_with("unknown distribution or account") => UNKNOWN,
        None if error.starts_with("segment ") || error.starts_with("the held file ") => STAGING_LOST,
        None => "",
    }
}

fn known(error: &str) -> Option<&'static (&'static str, &'static str)> {
    let code = named(error);
    MEANINGS.iter().find(|(known, _)| *known == code)
}

/// The code in `error`, the last thing a bucket said, as far as it is one of those that have a meaning: all that the owner of a distribution is
/// shown of it, for the rest may name what is the operator's alone.
pub fn code(error: &str) -> Option<&'static str> {
    known(error).map(|(code, _)| *code)
}

/// What `error` means for a person.
pub fn meaning(error: &str) -> &'static str {
    known(error).map_or(OTHER, |(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bucket_says_is_put_in_words() {
        for (error, says) in [
            ("put logs/p/E.gz: refused (AccessDenied)", "s3:PutObject"),
            ("there is no bucket 'logs'", "Create it"),
            ("account 111122223333 has no grant to log to bucket 'logs'", "Ask for a grant"),
            ("unknown distribution or account: E1 was never told to log there", "look at that edge"),
            ("the held file p/E.gz is gone from staging", "staging bucket"),
            ("segment e/0/1 is gone from staging, and 3 more", "delivered without it"),
            ("put granted/AccessDenied/E.gz: refused (XOther)", "can't be reached"),
            ("the bucket did not answer in time", "can't be reached"),
            ("put logs/p/E.gz: refused (SlowDown)", "Nothing needs to be done"),
            ("put logs/p/SlowDown2.gz: connection refused", "can't be reached"),
            ("", "can't be reached"),
        ] {
            assert!(meaning(error).contains(says), "{error}: {}", meaning(error));
        }
    }

    #[test]
    fn nothing_but_a_code_is_told_of_what_a_bucket_said() {
        assert_eq!(code("put http://10.0.0.7:9000/logs/x: refused (AccessDenied)"), Some("AccessDenied"));
        assert_eq!(code("connect to http://10.0.0.7:9000: connection refused"), None);
    }

    #[test]
    fn every_meaning_ends_in_what_to_do() {
        for (code, meaning) in MEANINGS {
            assert!(code.bytes().all(|b| b.is_ascii_alphanumeric()), "{code}");
            assert!(meaning.ends_with('.') && meaning.matches(". ").count() >= 1, "{code}");
        }
    }
}
