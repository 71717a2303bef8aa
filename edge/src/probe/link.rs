//! The bytes of RTMP to and from the server, whatever carries and enciphers them.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Failure;
use super::dial::{Dialer, Stream};
use super::report::{self, Narrator};
use super::target::Target;
use super::tunnel::Tunnel;
use crate::rtmp::handshake::cipher::{Cipher, SessionKeys};

enum Carrier {
    Stream(Box<dyn Stream>),
    Tunnel(Box<Tunnel>),
}

/// One connection to the server.
pub(super) struct Link {
    carrier: Carrier,
    dialer: Dialer,
    /// For what is sent, and for what is received.
    ciphers: Option<(Cipher, Cipher)>,
    pub(super) received_bytes: u64,
}

impl Link {
    /// Reaches the server.
    pub(super) async fn open(target: &Target, dialer: Dialer, told: &mut Narrator) -> Result<Self, Failure> {
        let carrier = if target.variant.tunnel {
            Carrier::Tunnel(Box::new(Tunnel::open(&dialer, &target.authority, told).await?))
        } else {
            Carrier::Stream(dialer.open(told).await?)
        };
        Ok(Self { carrier, dialer, ciphers: None, received_bytes: 0 })
    }

    /// Everything from here on is enciphered; `input` came already.
    pub(super) fn encipher(&mut self, keys: &SessionKeys, input: &mut BytesMut) {
        let (send, mut receive) = keys.ciphers();
        receive.apply(input);
        self.ciphers = Some((send, receive));
    }

    pub(super) async fn send(&mut self, mut bytes: BytesMut, told: &mut Narrator) -> io::Result<()> {
        if let Some((send, _)) = &mut self.ciphers {
            send.apply(&mut bytes);
        }
        match &mut self.carrier {
            Carrier::Stream(stream) => {
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
            Carrier::Tunnel(tunnel) => {
                tunnel.repair(&self.dialer, told).await.map_err(io::Error::other)?;
                tunnel.send(&bytes).await
            }
        }
    }

    /// Waits for more bytes; `UnexpectedEof` when there will be none. May be given up and called again.
    pub(super) async fn receive(&mut self, input: &mut BytesMut, told: &mut Narrator) -> io::Result<()> {
        let before = input.len();
        match &mut self.carrier {
            Carrier::Stream(stream) => {
                input.reserve(16 << 10);
                stream.read_buf(input).await?;
            }
            Carrier::Tunnel(tunnel) => {
                while input.len() == before && !tunnel.is_over() {
                    tunnel.repair(&self.dialer, told).await.map_err(io::Error::other)?;
                    tunnel.receive(input).await?;
                }
            }
        }
        let count = input.len() - before;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        if let Some((_, receive)) = &mut self.ciphers {
            receive.apply(&mut input[before..]);
        }
        self.received_bytes += count as u64;
        Ok(())
    }

    /// What the tunnel came to, if there is one.
    pub(super) fn tunnel(&self) -> Option<report::Tunnel> {
        match &self.carrier {
            Carrier::Tunnel(tunnel) => Some(tunnel.found.clone()),
            Carrier::Stream(_) => None,
        }
    }

    /// Leaves, as a player that stops does.
    pub(super) async fn close(&mut self) {
        match &mut self.carrier {
            Carrier::Stream(stream) => drop(stream.shutdown().await),
            Carrier::Tunnel(tunnel) => tunnel.close().await,
        }
    }
}
