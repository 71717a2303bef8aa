//! Answers as clients get them: documents, headers, errors.
//!
//! Success is `text/xml`, an error `application/xml`, as the service of 2009 said. Every answer carries the request's id twice: clients of old look
//! for `x-amz-request-id`, those of today for `x-amzn-RequestId`. The date is that of the injected clock: jets3t sets its own clock by it
//! when it hears `RequestExpired`.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use http::header::{CONTENT_TYPE, DATE, ETAG, HeaderName, HeaderValue, LOCATION};
use http::{Response, StatusCode};

use super::request_id::RequestId;
use super::xml::{Element, document};
use super::{ApiError, Reply, Version};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const REQUEST_ID_TODAY: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// What every answer to one request says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// The request's id.
    pub(crate) id: RequestId,
    /// Now, in seconds since 1970.
    pub(crate) now_seconds: u64,
    /// The version asked, or the newest where none could be read.
    pub(crate) version: Version,
}

impl Stamp {
    /// Puts ids and date on an answer.
    pub(crate) fn on(&self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.id.to_string()) {
            headers.insert(REQUEST_ID, id.clone());
            headers.insert(REQUEST_ID_TODAY, id);
        }
        let now = UNIX_EPOCH + Duration::from_secs(self.now_seconds);
        if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
            headers.insert(DATE, date);
        }
    }

    /// An operation's answer; `base_url` is what a Location begins with.
    pub(crate) fn reply(&self, reply: Reply, base_url: &str) -> Response<Body> {
        let mut response = match reply.body {
            Some(root) => {
                let mut response = Response::new(Body::from(document(&root, &self.version.to_string())));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
                response
            }
            None => Response::new(Body::empty()),
        };
        *response.status_mut() = reply.status;
        let location = reply.location.map(|path| format!("{base_url}/{}/{path}", self.version));
        for (name, value) in [(ETAG, reply.etag), (LOCATION, location)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        self.on(&mut response);
        response
    }

    /// A refusal.
    pub(crate) fn refusal(&self, error: &ApiError) -> Response<Body> {
        let blame = if error.status.is_server_error() { "Receiver" } else { "Sender" };
        let root = Element::new("ErrorResponse")
            .with(
                Element::new("Error")
                    .with_text("Type", blame)
                    .with_text("Code", error.code)
                    .with_text("Message", error.message.as_str()),
            )
            .with_text("RequestId", self.id.to_string());
        let mut response = Response::new(Body::from(document(&root, &self.version.to_string())));
        *response.status_mut() = error.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        self.on(&mut response);
        response
    }
}

/// 413: a body that is not read, or not to its end.
pub(crate) fn too_large(limit_bytes: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        format!("the body of such a request may have {limit_bytes} bytes"),
    )
}

/// 503: try again.
pub(crate) fn unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn stamp(version: &str) -> Stamp {
        let version = Version::parse(version).unwrap();
        Stamp { id: RequestId::random(), now_seconds: 1_795_259_262, version }
    }

    async fn text(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_error_is_the_document_that_all_clients_know() {
        let stamp = stamp("2009-12-01");
        let error = ApiError::not_found("NoSuchStreamingDistribution", "there is no <E1>");
        let response = stamp.refusal(&error);
        assert_eq!(response.status(), 404);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "application/xml");
        assert_eq!(header("date"), "Sat, 21 Nov 2026 11:07:42 GMT");
        assert_eq!(header("x-amz-request-id"), stamp.id.to_string());
        assert_eq!(header("x-amzn-RequestId"), stamp.id.to_string());
        assert_eq!(
            text(response).await,
            format!(
                "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2009-12-01/\"><Error><Type>Sender</Type>\
                 <Code>NoSuchStreamingDistribution</Code><Message>there is no &lt;E1&gt;</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
                stamp.id
            )
        );
        let response = stamp.refusal(&ApiError::internal("x"));
        assert_eq!(response.status(), 500);
        assert!(text(response).await.contains("<Type>Receiver</Type>"));
    }

    #[tokio::test]
    async fn a_creation_tells_where_the_thing_is_and_its_tag() {
        let stamp = stamp("2020-05-31");
        let reply = Reply::created("streaming-distribution/E1", Element::new("StreamingDistribution"))
            .with_etag("E2QWRUHAPOMQZL");
        let response = stamp.reply(reply, "https://cloudfront.amazonaws.com");
        assert_eq!(response.status(), 201);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(
            header("location"),
            "https://cloudfront.amazonaws.com/2020-05-31/streaming-distribution/E1"
        );
        assert_eq!(header("etag"), "E2QWRUHAPOMQZL");
        assert_eq!(header("content-type"), "text/xml");
        let response = stamp.reply(Reply::no_content(), "x");
        assert_eq!(
            (response.status().as_u16(), response.headers().contains_key("content-type")),
            (204, false)
        );
        assert_eq!(text(response).await, "");
    }
}
