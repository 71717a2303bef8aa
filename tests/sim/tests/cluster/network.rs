//! Turmoil's connections as the services want them: for tonic's servers and channels, and as an edge's transport.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use control::client::Dialer;
use edge::rtmp::chunk::Batch;
use edge::transport::Transport;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// Bytes of one simulated segment.
const SEGMENT_BYTES: usize = 16 << 10;

/// A connection a gRPC server accepted.
pub(crate) struct Accepted(TcpStream);

impl tonic::transport::server::Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Listens on all addresses of this host.
pub(crate) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await
}

/// What a gRPC server is given.
pub(crate) fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<Accepted>> {
    futures::stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _)| Accepted(stream));
        Some((accepted, listener))
    })
}

/// Opens connections of the simulated network.
pub(crate) fn dialer() -> Dialer {
    Dialer::new(|uri| {
        Box::pin(async move {
            let (host, port) =
                (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or_default());
            let stream = TcpStream::connect((host, port)).await?;
            Ok(Box::new(stream) as Box<dyn control::client::dial::Connection>)
        })
    })
}

/// An edge's side of a viewer's connection.
pub(crate) struct Viewer {
    /// Never contended: a session is one task.
    stream: Mutex<TcpStream>,
}

impl Viewer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Mutex::new(stream) }
    }

    fn stream(&self) -> MutexGuard<'_, TcpStream> {
        self.stream.lock().unwrap()
    }
}

impl Transport for Viewer {
    async fn readable(&self) -> io::Result<()> {
        let mut byte = [0];
        poll_fn(|cx| self.stream().poll_peek(cx, &mut ReadBuf::new(&mut byte))).await.map(drop)
    }

    async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let stream = self.stream();
            pin!(stream.writable()).poll(cx)
        })
        .await
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut bytes = [0; 4096];
        let mut read = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        match Pin::new(&mut *self.stream()).poll_read(&mut cx, &mut read) {
            Poll::Ready(done) => done.map(|()| {
                buffer.extend_from_slice(read.filled());
                read.filled().len()
            }),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let mut segment = Vec::with_capacity(batch.len_bytes().min(SEGMENT_BYTES));
        let mut slices = [io::IoSlice::new(&[]); 128];
        let count = batch.io_slices(&mut slices);
        for slice in &slices[..count] {
            segment.extend_from_slice(&slice[..slice.len().min(SEGMENT_BYTES - segment.len())]);
        }
        let written = self.stream().try_write(&segment)?;
        Buf::advance(batch, written);
        Ok(written)
    }

    async fn close(&mut self) {
        let mut stream = self.stream();
        // Never waits on this network, so the lock isn't held over anything.
        let _ = futures::FutureExt::now_or_never(stream.shutdown());
    }
}
