//! Fuzz targets: what a connection may begin with besides RTMP: a PROXY header, a policy request.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use proto::fuzzing::Input;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{POLICY, POLICY_REQUEST, answer_policy_request, proxy};
use crate::fuzzing::pieces;

/// A peer that sends its pieces and closes; keeps what it is told.
struct Peer<'a> {
    pieces: VecDeque<Bytes>,
    heard: &'a mut Vec<u8>,
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.pieces.front_mut() {
            let piece = piece.split_to(piece.len().min(out.remaining()));
            out.put_slice(&piece);
        }
        while self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Header = Result<(Option<SocketAddr>, Vec<u8>), String>;

fn header<'p>(deliveries: impl Iterator<Item = &'p [u8]>) -> Header {
    let mut heard = Vec::new();
    let mut peer = Peer { pieces: deliveries.map(Bytes::copy_from_slice).collect(), heard: &mut heard };
    let mut buffer = BytesMut::new();
    let read = proxy::read_header(&mut peer, &mut buffer).now_or_never();
    let Some(read) = read else { panic!("a peer that never waits is waited for") };
    let unread = peer.pieces.iter().flatten().copied();
    match read {
        Ok(address) => Ok((address, buffer.iter().copied().chain(unread).collect())),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            Err(error.to_string())
        }
    }
}

/// The first byte chooses how the bytes arrive; the rest begins with a PROXY v2 header, or doesn't.
pub fn proxy(data: &[u8]) {
    let mut choices = Input::new(data);
    let seed = choices.u8();
    let sent = choices.rest();
    let found = header(std::iter::once(sent).filter(|sent| !sent.is_empty()));
    assert_eq!(found, header(pieces(sent, seed)), "how bytes arrive makes a difference");
    let Ok((address, rest)) = found else { return };
    let body_bytes = usize::from(u16::from_be_bytes([sent[14], sent[15]]));
    assert_eq!(rest, &sent[16 + body_bytes..], "what follows the header is not left as it was");
    assert!(sent.starts_with(b"\r\n\r\n\0\r\nQUIT\n") && body_bytes <= 2048);
    // LOCAL and UNIX peers have no address of their own; whoever has one said it in 12 or 36 bytes.
    let expected = match (sent[12], sent[13] >> 4) {
        (0x21, 1) => 12,
        (0x21, 2) => 34,
        _ => usize::MAX,
    };
    assert_eq!(address.is_some(), body_bytes >= expected);
}

/// The first byte chooses how the bytes arrive, and how many the listener has read already; the rest is the request.
pub fn policy(data: &[u8]) {
    let mut choices = Input::new(data);
    let (seed, early) = (choices.u8(), usize::from(choices.u8()));
    let sent = choices.rest();
    let (early, late) = sent.split_at(early.min(sent.len()));
    let mut heard = Vec::new();
    let peer = Peer { pieces: pieces(late, seed).map(Bytes::copy_from_slice).collect(), heard: &mut heard };
    let answered = answer_policy_request(peer, BytesMut::from(early)).now_or_never();
    assert!(matches!(answered, Some(Ok(()))), "{answered:?}");
    // Some players leave the request's NUL out and wait for the answer.
    let asked = sent.starts_with(POLICY_REQUEST) || *sent == POLICY_REQUEST[..POLICY_REQUEST.len() - 1];
    let expected = if asked { [POLICY.as_bytes(), &[0]].concat() } else { Vec::new() };
    assert_eq!(heard, expected);
}
