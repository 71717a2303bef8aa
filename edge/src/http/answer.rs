//! What requests are answered with: heads spelled as players need them, and bodies of known length.
//!
//! librtmp reads a response by hand: the status line must begin `HTTP/1.1 200 `, the length must stand as `Content-Length: N` with these
//! capitals and one space, and a chunked body is not understood. So every body here knows its length, and the connection writes header
//! names in title case.

use std::convert::Infallible;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::tunnel::flight::Flight;
use super::tunnel::reply::Refusal;

/// Every value of the polling byte, and 0: the end.
static BYTES: [u8; 7] = [0x00, 0x01, 0x03, 0x05, 0x09, 0x11, 0x21];

/// Bytes of a body.
pub(crate) enum Content {
    /// Any.
    Bytes(Bytes),
    /// A tunnel's.
    Flight(Flight),
}

impl Buf for Content {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.remaining(),
            Self::Flight(flight) => flight.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.chunk(),
            Self::Flight(flight) => flight.chunk(),
        }
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.chunks_vectored(out),
            Self::Flight(flight) => flight.chunks_vectored(out),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::Flight(flight) => flight.advance(count),
        }
    }
}

/// A body: one piece, its length known.
pub(crate) struct Whole(Option<Content>);

impl Whole {
    fn len_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Buf::remaining)
    }
}

impl Body for Whole {
    type Data = Content;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Content>, Infallible>>> {
        let content = self.0.take().filter(|content| content.remaining() > 0);
        Poll::Ready(content.map(|content| Ok(Frame::data(content))))
    }

    fn is_end_stream(&self) -> bool {
        self.len_bytes() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len_bytes() as u64)
    }
}

/// What a request is answered with.
pub(crate) type Answer = Response<Whole>;

/// An answer in plain sight: status, type, body.
pub(crate) fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Whole(Some(Content::Bytes(body.into()))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// A tunnel's answer.
fn tunnelled(content: Content) -> Answer {
    let mut answer = Response::new(Whole(Some(content)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-fcs"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONNECTION, HeaderValue::from_static("Keep-Alive"));
    answer
}

/// A tunnel's answer with those bytes.
pub(crate) fn bytes(body: impl Into<Bytes>) -> Answer {
    tunnelled(Content::Bytes(body.into()))
}

/// A tunnel's answer with nothing but the polling byte.
pub(crate) fn polling_byte(byte: u8) -> Answer {
    match BYTES.iter().position(|known| *known == byte) {
        Some(at) => bytes(Bytes::from_static(&BYTES[at..=at])),
        None => bytes(vec![byte]),
    }
}

/// A tunnel's answer with data.
pub(crate) fn data(flight: Flight) -> Answer {
    tunnelled(Content::Flight(flight))
}

/// A refusal, after which the connection is closed: nothing that follows a request we did not understand is another request.
pub(crate) fn refusal(refusal: Refusal) -> Answer {
    let (status, _, text) = refusal.parts();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = plain(status, "text/plain", format!("{text}\n"));
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if refusal == Refusal::Method {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    answer
}
