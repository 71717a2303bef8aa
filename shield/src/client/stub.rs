//! The Read call, with blocks that are not copied on arrival.
//!
//! It sends and understands exactly what the generated stub does, but hands a block out as the slice of the connection's
//! buffer it came in ([`proto::message`]). Such a slice keeps its buffer, which the connection makes as large as the
//! frame: a block and a few bytes. A status comes, as in tonic, from the trailers, or from the headers of an answer that is nothing else.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use proto::message::{Messages, framed};
use proto::token::Bearer;
use proto::v1::{ReadRequest, ReadResponse};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// Longest message a reader takes: a few blocks.
const MESSAGE_BYTES: usize = 4 << 20;
/// The method's path.
const PATH: &str = "/penstock.v1.Shield/Read";

/// Calls Read over one connection, with the node token.
pub(super) struct ReadStub(InterceptedService<Channel, Bearer>);

impl ReadStub {
    pub(super) fn new(channel: Channel, bearer: &Bearer) -> Self {
        Self(InterceptedService::new(channel, bearer.clone()))
    }

    /// Opens a stream; ready once the shield's headers are here.
    pub(super) async fn read(&mut self, request: ReadRequest) -> Result<Response<Blocks>, Status> {
        let mut call = Request::new(Body::new(Full::new(framed(&request))));
        *call.method_mut() = http::Method::POST;
        *call.version_mut() = http::Version::HTTP_2;
        *call.uri_mut() = http::Uri::from_static(PATH);
        call.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        call.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let failed = |e| Status::from_error(Box::new(e));
        poll_fn(|cx| self.0.poll_ready(cx)).await.map_err(failed)?;
        let answer = self.0.call(call).await.map_err(failed)?;
        let only_headers = Status::from_header_map(answer.headers());
        if let Some(status) = &only_headers
            && status.code() != Code::Ok
        {
            return Err(status.clone());
        }
        let http = answer.status();
        if http != StatusCode::OK {
            return Err(Status::unavailable(format!("the shield's port answered HTTP {http}")));
        }
        Ok(Response::new(Blocks {
            body: Mutex::new(Some(Body::new(answer.into_body()))),
            messages: Messages::new(MESSAGE_BYTES),
            ended_well: only_headers.is_some(),
        }))
    }
}

/// The messages of one Read.
pub(super) struct Blocks {
    /// None once the stream has ended. Never locked: the mutex makes it `Sync`, which tonic's body is not.
    body: Mutex<Option<Body>>,
    messages: Messages<ReadResponse>,
    /// Whether a status of success was seen.
    ended_well: bool,
}

impl Blocks {
    /// The next message; `None` after the last. Losing the future loses nothing.
    pub(super) async fn message(&mut self) -> Result<Option<ReadResponse>, Status> {
        loop {
            match self.messages.take() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(status) => return self.end(Err(status)),
            }
            let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
            let Some(body) = body else { return Ok(None) };
            match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.messages.push(data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        match Status::from_header_map(&trailers) {
                            Some(status) if status.code() != Code::Ok => return self.end(Err(status)),
                            Some(_) => self.ended_well = true,
                            None => {}
                        }
                    }
                },
                Some(Err(status)) => return self.end(Err(status)),
                None if !self.messages.is_between_messages() => {
                    return self.end(Err(Status::internal("the stream ended within a message")));
                }
                None if !self.ended_well => {
                    return self.end(Err(Status::unknown("the stream ended without a status")));
                }
                None => return self.end(Ok(None)),
            }
        }
    }

    fn end(&mut self, with: Result<Option<ReadResponse>, Status>) -> Result<Option<ReadResponse>, Status> {
        self.body = Mutex::new(None);
        self.messages = Messages::new(MESSAGE_BYTES);
        with
    }
}
