//! The handshake's part of a session: its steps, the key exchange of an encrypted one, and the start of the cipher.
//!
//! While a key exchange waits or runs, nothing is read: what a client sends early stays in its socket. The handshake's time goes on.

use super::swf::SwfCheck;
use super::{End, Phase, Session};
use crate::key_exchanges::Pending;
use crate::rtmp::chunk::Batch;
use crate::rtmp::handshake::{Exchanged, HandshakeStep, SessionKeys};
use crate::transport::encrypted::Ciphering;

impl Session {
    /// Goes on with the handshake; whether it is over.
    pub(super) fn greet(&mut self) -> Result<bool, End> {
        while let Phase::Handshake(handshake) = &mut self.phase {
            match handshake.advance(&mut self.input) {
                Ok(HandshakeStep::NeedMore) => return Ok(false),
                Ok(HandshakeStep::Reply(bytes)) => self.out.batch.push_bytes(bytes),
                Ok(HandshakeStep::KeyExchange(work)) => {
                    let begun = self.shared.key_exchanges.begin(self.peer.ip(), *work);
                    self.key_exchange = Some(begun.map_err(|refusal| {
                        End::Limit(refusal.reason(), "the key exchange is refused".to_owned())
                    })?);
                    return Ok(false);
                }
                Ok(HandshakeStep::Done) => {
                    self.swf = SwfCheck::keyed(handshake.s1_end());
                    self.phase = Phase::Greeted;
                }
                Ok(HandshakeStep::Encrypted(keys)) => {
                    self.swf = SwfCheck::keyed(handshake.s1_end());
                    self.encrypt(&keys);
                }
                Err(error) => {
                    self.shared.metrics.refused.with_label_values(&[error.reason()]).inc();
                    return Err(End::Handshake(error.to_string()));
                }
            }
        }
        Ok(true)
    }

    /// Goes on after a key exchange. `None`: it was lost.
    pub(super) fn on_exchanged(&mut self, exchanged: Option<Exchanged>) {
        let outcome = match (&mut self.phase, exchanged) {
            (Phase::Handshake(handshake), Some(exchanged)) => {
                self.out.batch.push_bytes(handshake.resume(exchanged));
                self.consume()
            }
            _ => Err(End::Handshake("the key exchange was lost".to_owned())),
        };
        if let Err(end) = outcome {
            self.ending = Some(end);
        }
    }

    /// The handshake is over. What was read too far is decrypted here, the rest by the transport; what is queued is the end of the handshake.
    fn encrypt(&mut self, keys: &SessionKeys) {
        let (send, mut receive) = keys.ciphers();
        receive.apply(&mut self.input);
        self.ciphering = Some(Box::new(Ciphering {
            send,
            receive,
            plain_bytes: self.out.batch.len_bytes(),
            buffer_bytes: self.shared.config.rtmpe.buffer_bytes,
            buffer: Batch::new(),
        }));
        self.phase = Phase::Greeted;
    }
}

/// The outcome of the key exchange under way, if one is.
pub(super) async fn done(exchange: &mut Option<Pending>) -> Option<Exchanged> {
    match exchange {
        Some(pending) => {
            let exchanged = pending.await;
            *exchange = None;
            exchanged
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
