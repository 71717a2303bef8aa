//! What an operation answers.

use http::StatusCode;

use super::xml::Element;

/// An answer; the door adds request ids, dates and the version's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200, 201 or 204.
    pub status: StatusCode,
    /// The `ETag`, unquoted.
    pub etag: Option<String>,
    /// The path below the version, such as `streaming-distribution/E…`: the Location is made of it.
    pub location: Option<String>,
    /// The document; `None` with 204.
    pub body: Option<Element>,
}

impl Reply {
    /// 200 with a document.
    pub fn ok(body: Element) -> Self {
        Self { status: StatusCode::OK, etag: None, location: None, body: Some(body) }
    }

    /// 201 with a document and where it lives from now on.
    pub fn created(location: impl Into<String>, body: Element) -> Self {
        Self { status: StatusCode::CREATED, etag: None, location: Some(location.into()), body: Some(body) }
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, etag: None, location: None, body: None }
    }

    /// The same with an ETag.
    pub fn with_etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = Some(etag.into());
        self
    }
}
