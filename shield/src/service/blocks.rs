//! Read as a gRPC server method, with blocks that are not copied on their way out.
//!
//! [`Door`] stands before the generated server: a Read goes to [`Service`] and its messages leave as their head and their
//! block ([`proto::message`]); all other calls pass through. What is on the wire is what the generated server would
//! send, give or take the order of fields. The body is pulled: a message is made when the connection has sent the one before.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use proto::message::{Messages, framed, head};
use proto::v1::shield_server::{self, ShieldServer};
use proto::v1::{ReadRequest, ReadResponse};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use super::Service;

/// The method's path.
const PATH: &str = "/penstock.v1.Shield/Read";
/// Longest request taken: an object's key is at most 1 KiB.
const REQUEST_BYTES: usize = 64 << 10;

/// Messages below this go out in one piece: a second frame costs more than the copy.
const SMALL_BYTES: usize = 16 << 10;

/// The whole service, as tonic serves it.
#[derive(Clone)]
pub(crate) struct Door {
    service: Service,
    others: ShieldServer<Service>,
}

impl Door {
    pub(crate) fn new(service: Service) -> Self {
        Self { others: ShieldServer::new(service.clone()), service }
    }
}

impl NamedService for Door {
    const NAME: &'static str = <ShieldServer<Service> as NamedService>::NAME;
}

impl tonic::codegen::Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Request<Body>) -> Self::Future {
        if call.uri().path() != PATH {
            return self.others.call(call);
        }
        let service = self.service.clone();
        Box::pin(async move { Ok(read(&service, call).await.unwrap_or_else(Status::into_http)) })
    }
}

async fn read(service: &Service, call: Request<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = call.into_parts();
    let request = only_message(body).await?;
    let request =
        tonic::Request::from_parts(MetadataMap::from_headers(parts.headers), parts.extensions, request);
    let stream = shield_server::Shield::read(service, request).await?.into_inner();
    let mut answer = Response::new(Body::new(Outgoing { stream: Some(stream), block: Bytes::new() }));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(answer)
}

/// The request of a call that carries one.
async fn only_message(mut body: Body) -> Result<ReadRequest, Status> {
    let mut messages = Messages::new(REQUEST_BYTES);
    loop {
        if let Some(request) = messages.take()? {
            return Ok(request);
        }
        match body.frame().await {
            Some(frame) => messages.push(frame?.into_data().unwrap_or_default()),
            None => return Err(Status::internal("the call ended before its request")),
        }
    }
}

/// The messages of a stream as frames: a head, its block, and the status as trailers.
struct Outgoing {
    /// None once the trailers are out.
    stream: Option<BoxStream<'static, Result<ReadResponse, Status>>>,
    /// What goes out before the next message.
    block: Bytes,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.block.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.block)))));
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let status = match ready!(stream.as_mut().poll_next(cx)) {
            Some(Ok(message)) if message.data.len() < SMALL_BYTES => {
                return Poll::Ready(Some(Ok(Frame::data(framed(&message)))));
            }
            Some(Ok(message)) => {
                let head = head(&message);
                self.block = message.data;
                return Poll::Ready(Some(Ok(Frame::data(head))));
            }
            Some(Err(status)) => status,
            None => Status::new(tonic::Code::Ok, ""),
        };
        self.stream = None;
        let mut trailers = http::HeaderMap::new();
        status.add_header(&mut trailers)?;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none()
    }
}
