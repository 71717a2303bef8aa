//! Conditions and ranges of a read, judged against the handle that is open (RFC 9110 §13.2.2, §14).

use http::{HeaderMap, HeaderValue, header};
use s3s::dto::{ETag, ETagCondition, Range, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::refusal::refuse;

/// The conditions a request carries.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

fn matches_strongly(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|wanted| wanted.as_strong() == Some(etag))
}

fn matches_weakly(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|wanted| wanted.value() == etag)
}

fn failed() -> S3Error {
    refuse(S3ErrorCode::PreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
}

impl Conditions {
    /// Whether a read of this version may go on; 412 or 304 otherwise.
    pub(crate) fn judge_read(&self, etag: &str, modified: &Timestamp) -> S3Result<()> {
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !matches_strongly(condition, etag) => return Err(failed()),
            (None, Some(since)) if modified > since => return Err(failed()),
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if matches_weakly(condition, etag) => Err(not_modified(etag, modified)),
            (None, Some(since)) if modified <= since => Err(not_modified(etag, modified)),
            _ => Ok(()),
        }
    }

    /// Whether a write may replace what is there (`None`: nothing is).
    pub(crate) fn judge_write(&self, current: Option<&str>) -> S3Result<()> {
        if let Some(condition) = &self.if_match {
            match current {
                None => return Err(super::refusal::no_such_key()),
                Some(etag) if !matches_strongly(condition, etag) => return Err(failed()),
                Some(_) => {}
            }
        }
        if let (Some(condition), Some(etag)) = (&self.if_none_match, current)
            && matches_weakly(condition, etag)
        {
            return Err(failed());
        }
        Ok(())
    }
}

fn not_modified(etag: &str, modified: &Timestamp) -> S3Error {
    let mut error = refuse(S3ErrorCode::NotModified, "Not Modified");
    let mut headers = HeaderMap::new();
    if let Ok(value) = ETag::Strong(etag.to_owned()).to_http_header() {
        headers.insert(header::ETAG, value);
    }
    if let Some(value) = http_date(modified) {
        headers.insert(header::LAST_MODIFIED, value);
    }
    error.set_headers(headers);
    error
}

fn http_date(time: &Timestamp) -> Option<HeaderValue> {
    let mut text = Vec::new();
    time.format(TimestampFormat::HttpDate, &mut text).ok()?;
    HeaderValue::from_bytes(&text).ok()
}

/// Whether `Range` is to be obeyed: an `If-Range` that names another version asks for the whole object.
pub(crate) fn range_applies(headers: &HeaderMap, etag: &str, modified: &Timestamp) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    ETag::parse_http_header(value.as_bytes()).is_ok_and(|wanted| wanted.as_strong() == Some(etag))
        || http_date(modified).is_some_and(|date| date == *value)
}

/// Start and end (exclusive) of the bytes asked for; 416 with the object's size if there are none such.
pub(crate) fn resolve_range(range: Range, size: u64) -> S3Result<(u64, u64)> {
    let resolved = match range {
        Range::Int { first, last } => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
        // More than there is means all there is.
        Range::Suffix { length } => (size - length.min(size), size),
    };
    if resolved.0 < resolved.1 {
        return Ok(resolved);
    }
    let mut error = refuse(S3ErrorCode::InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn etag(text: &str) -> Option<ETagCondition> {
        Some(ETagCondition::parse_http_header(text.as_bytes()).unwrap())
    }

    #[test]
    fn ranges_are_clipped_to_the_object() {
        let int = |first, last| resolve_range(Range::Int { first, last }, 10).ok();
        assert_eq!(int(0, Some(3)), Some((0, 4)));
        assert_eq!(int(4, None), Some((4, 10)));
        assert_eq!(int(4, Some(u64::MAX)), Some((4, 10)));
        assert_eq!(int(9, Some(9)), Some((9, 10)));
        assert_eq!(int(10, None), None);
        let suffix = |length, size| resolve_range(Range::Suffix { length }, size).ok();
        assert_eq!(suffix(4, 10), Some((6, 10)));
        assert_eq!(suffix(40, 10), Some((0, 10)));
        assert_eq!(suffix(0, 10), None);
        assert_eq!(suffix(4, 0), None);
    }

    #[test]
    fn an_etag_condition_outranks_the_date_beside_it() {
        let code = |c: Conditions| c.judge_read("v1", &at(100)).map_err(|e| e.code().clone()).err();
        assert_eq!(
            code(Conditions {
                if_match: etag("\"v1\""),
                if_unmodified_since: Some(at(50)),
                ..Default::default()
            }),
            None
        );
        assert_eq!(
            code(Conditions { if_match: etag("\"v2\""), ..Default::default() }),
            Some(S3ErrorCode::PreconditionFailed)
        );
        assert_eq!(
            code(Conditions { if_match: etag("W/\"v1\""), ..Default::default() }),
            Some(S3ErrorCode::PreconditionFailed)
        );
        assert_eq!(
            code(Conditions { if_unmodified_since: Some(at(99)), ..Default::default() }),
            Some(S3ErrorCode::PreconditionFailed)
        );
        assert_eq!(
            code(Conditions { if_none_match: etag("W/\"v1\""), ..Default::default() }),
            Some(S3ErrorCode::NotModified)
        );
        assert_eq!(
            code(Conditions {
                if_none_match: etag("\"v2\""),
                if_modified_since: Some(at(200)),
                ..Default::default()
            }),
            None
        );
        assert_eq!(
            code(Conditions { if_modified_since: Some(at(100)), ..Default::default() }),
            Some(S3ErrorCode::NotModified)
        );
        assert_eq!(code(Conditions { if_modified_since: Some(at(99)), ..Default::default() }), None);
    }

    #[test]
    fn a_write_condition_looks_at_what_is_there() {
        let absent_only = Conditions { if_none_match: etag("*"), ..Default::default() };
        assert!(absent_only.judge_write(None).is_ok());
        assert!(absent_only.judge_write(Some("v1")).is_err());
        let replace = Conditions { if_match: etag("\"v1\""), ..Default::default() };
        assert!(replace.judge_write(Some("v1")).is_ok());
        assert!(replace.judge_write(Some("v2")).is_err());
        assert!(replace.judge_write(None).is_err());
    }
}
