//! Greeting a connection that begins with TLS: its handshake, and the first bytes inside.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Certificates;
use crate::http::rewind::Rewind;

/// First byte of a TLS connection: a record that carries a handshake.
pub const FIRST_BYTE: u8 = 0x16;

/// A connection after its TLS handshake.
pub type Stream = TlsStream<Rewind<TcpStream>>;

/// Shakes hands on `stream`, of which `early` was read already, and reads the first bytes inside.
///
/// # Errors
/// When the handshake fails, when the peer leaves before it has said what it speaks, and when that is TLS once more.
pub async fn greet(
    certificates: &Certificates,
    stream: TcpStream,
    early: BytesMut,
) -> io::Result<(Stream, BytesMut)> {
    // A handshake is a few small writes in turns with the peer's: none of them waits for company.
    let _ = stream.set_nodelay(true);
    let acceptor = TlsAcceptor::from(certificates.current());
    let mut stream = acceptor.accept(Rewind::new(stream, early.freeze())).await?;
    let mut inside = BytesMut::with_capacity(4096);
    if stream.read_buf(&mut inside).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed after the handshake"));
    }
    if inside.chunk().first() == Some(&FIRST_BYTE) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "tls inside tls"));
    }
    Ok((stream, inside))
}
