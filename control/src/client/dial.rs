//! How a node opens its connections: TCP, or whatever a [`Dialer`] puts in its place.
//!
//! Sockets are passed in, also those a client opens later: a simulation hands over connections of its own network, and the channels
//! above it (to control, to shields) are the same as in production. Without a dialer a channel uses TCP.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, select_ok};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use super::tls::peers::Tls;

/// A connection, whatever carries it.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

/// A connection being opened.
pub type Connecting = BoxFuture<'static, io::Result<Box<dyn Connection>>>;

/// Opens connections. Clones share what opens them.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Fn(Uri) -> Connecting + Send + Sync>);

impl Dialer {
    /// Connections are opened by `open`, which is given `http://HOST:PORT`.
    pub fn new(open: impl Fn(Uri) -> Connecting + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Box<dyn Connection>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let opening = (self.0)(uri);
        Box::pin(async move { opening.await.map(TokioIo::new) })
    }
}

/// A channel to `endpoint` (`http://HOST:PORT`, with `tls` too) that connects when first used, through `dialer` if there is one, and inside TLS if
/// there is any: by what `tls` has at that moment.
pub fn channel(endpoint: &Endpoint, dialer: Option<&Dialer>, tls: Option<&Tls>) -> Channel {
    let secure = |tls: &Tls| endpoint.connect_with_connector_lazy(inside(tls.clone(), dialer.cloned()));
    match (tls, dialer) {
        (Some(tls), _) => secure(tls),
        (None, Some(dialer)) => endpoint.connect_with_connector_lazy(dialer.clone()),
        (None, None) => endpoint.connect_lazy(),
    }
}

/// Connections inside TLS, over what `dialer` opens, or TCP.
pub fn inside(tls: Tls, dialer: Option<Dialer>) -> Dialer {
    Dialer::new(move |uri| {
        let (tls, dialer) = (tls.clone(), dialer.clone());
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().to_owned();
            let stream = match dialer {
                Some(dialer) => (dialer.0)(uri).await?,
                None => tcp(&uri).await?,
            };
            let stream: Box<dyn Connection> = Box::new(tls.connect(&host, stream).await?);
            Ok(stream)
        })
    })
}

/// How long one address of a name is tried alone before the next is tried beside it, as RFC 8305 has it.
const NEXT_ADDRESS: Duration = Duration::from_millis(300);

async fn tcp(uri: &Uri) -> io::Result<Box<dyn Connection>> {
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let addresses = (0u32..).zip(tokio::net::lookup_host(authority).await?);
    let tries: Vec<_> = addresses
        .map(|(n, address)| {
            let turn = tokio::time::sleep(NEXT_ADDRESS * n);
            async move {
                turn.await;
                TcpStream::connect(address).await
            }
            .boxed()
        })
        .collect();
    if tries.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{authority} has no address")));
    }
    let (stream, _others) = select_ok(tries).await?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}
