//! SWF verification: a distribution may name the SWF files its players must be.
//!
//! FMS asks with user control event 26 once a connect has succeeded; the player answers with event 27: the length of its SWF, and a
//! proof that it has the file: an HMAC of the file's hash, keyed with the end of this connection's S1, so that an overheard answer is worth
//! nothing on the next. Until the answer is right, what the player sends is kept, in order and within limits, and not acted on. A wrong
//! answer, or none in `swf_timeout_ms`, is told as a rejected connect and ends the connection.
//!
//! This keeps other people's players out, not people: whoever has the SWF has its hash. Where a distribution has no rule nobody is asked,
//! and an answer is ignored.
//!
//! Source: librtmp's `SWFVerify` (rtmpdump's `--swfhash` and `--swfsize`), the one client at hand that answers.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use proto::v1::AllowedSwf;
use sha2::Sha256;
use tokio::time::{Duration, Instant};
use tracing::info;

use super::{End, Session};
use crate::rtmp::amf::Value;
use crate::rtmp::message::{Message, type_id};
use crate::rtmp::{control, reply};

/// Most that is kept of a player that hasn't answered yet: messages, and bytes of them.
const HELD_MESSAGES: usize = 64;
const HELD_BYTES: usize = 64 << 10;

/// What a refusal is called, beside CloudFront's own codes.
const CODE: &str = "SwfVerificationFailed";

/// Where a session is with it.
#[derive(Debug, Default)]
pub(super) struct SwfCheck {
    /// The end of S1.
    key: [u8; 32],
    awaited: Option<Awaited>,
}

#[derive(Debug)]
struct Awaited {
    until: Instant,
    held: Vec<Message>,
    held_bytes: usize,
}

impl SwfCheck {
    /// Nothing asked yet, on a connection whose S1 ended so.
    pub(super) fn keyed(key: [u8; 32]) -> Self {
        Self { key, awaited: None }
    }

    /// Whether the player was asked and hasn't answered.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// Bytes of messages kept until the answer.
    pub(super) fn held_bytes(&self) -> usize {
        self.awaited.as_ref().map_or(0, |awaited| awaited.held_bytes)
    }
}

/// Whether `answer`, the body of event 27, proves one of the files of `rule`.
fn proves(answer: &[u8], key: &[u8; 32], rule: &[AllowedSwf]) -> Result<(), &'static str> {
    let Some((head, proof)) = answer.split_last_chunk::<32>() else { return Err("the answer is too short") };
    // The length stands there twice.
    let &[0, 27, 1, 1, a, b, c, d, _, _, _, _] = head else { return Err("the answer is none of version 1") };
    let size = u32::from_be_bytes([a, b, c, d]);
    let is_proven = |swf: &AllowedSwf| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
        mac.update(&swf.hash);
        mac.verify_slice(proof).is_ok()
    };
    match rule.iter().find(|swf| is_proven(swf)) {
        None => Err("the player is none of the allowed SWF files"),
        Some(swf) if swf.size_bytes != 0 && swf.size_bytes != size => Err("the SWF file has another length"),
        Some(_) => Ok(()),
    }
}

impl Session {
    /// Asks the player, if its distribution has a rule.
    pub(super) fn ask_for_swf(&mut self) {
        let Some(connection) = self.connection() else { return };
        if connection.distribution.swf_verification.is_empty() {
            return;
        }
        control::swf_verify_request(&mut self.out.batch);
        let until = Instant::now() + Duration::from_millis(self.shared.config.swf_timeout_ms);
        self.swf.awaited = Some(Awaited { until, held: Vec::new(), held_bytes: 0 });
    }

    /// A message of a player that hasn't answered yet: judged if it is the answer, else kept.
    pub(super) fn on_message_unverified(&mut self, message: Message) -> Result<(), End> {
        let event = message.payload.first_chunk::<2>().map(|event| u16::from_be_bytes(*event));
        match (message.type_id, event) {
            (type_id::USER_CONTROL, Some(27)) => self.on_swf_answer(&message.payload),
            (type_id::USER_CONTROL, Some(6)) => {
                // A ping can't wait; nothing else depends on it.
                let awaited = self.swf.awaited.take();
                let answered = self.on_message(message);
                self.swf.awaited = awaited;
                answered
            }
            _ => {
                let Some(awaited) = &mut self.swf.awaited else { return Ok(()) };
                awaited.held_bytes += message.payload.len();
                awaited.held.push(message);
                if awaited.held.len() > HELD_MESSAGES || awaited.held_bytes > HELD_BYTES {
                    let text = format!("{} messages before the answer which SWF it is", awaited.held.len());
                    return Err(End::Limit("swf_held", text));
                }
                Ok(())
            }
        }
    }

    fn on_swf_answer(&mut self, answer: &Bytes) -> Result<(), End> {
        let Some(connection) = self.connection() else { return Ok(()) };
        proves(answer, &self.swf.key, &connection.distribution.swf_verification)
            .map_err(|why| self.reject_swf(why))?;
        info!(session = self.id, "the player is an allowed SWF file");
        let held = self.swf.awaited.take().map(|awaited| awaited.held).unwrap_or_default();
        held.into_iter().try_for_each(|message| self.on_message(message))
    }

    /// When to look again, with `wake`: at the latest when the answer is due. Rejects the player when it is overdue.
    pub(super) fn await_swf(&mut self, now: Instant, wake: Option<Instant>) -> Option<Instant> {
        let Some(until) = self.swf.awaited.as_ref().map(|awaited| awaited.until) else { return wake };
        if self.ending.is_some() {
            return wake;
        }
        if until <= now {
            self.ending = Some(self.reject_swf("no answer came in time"));
            return wake;
        }
        Some(wake.map_or(until, |wake| wake.min(until)))
    }

    /// Says why in the connection's own status, because its connect has been answered, and closes.
    fn reject_swf(&mut self, why: &'static str) -> End {
        info!(session = self.id, peer = %self.peer, code = CODE, reason = why, "connect rejected");
        self.shared.metrics.rejected.with_label_values(&[CODE]).inc();
        let text = format!("[ Server.Reject ] : {CODE}: {why}");
        let application = [("application", Value::object([("message", Value::from(CODE))]))];
        let rejected = "NetConnection.Connect.Rejected";
        self.out.command(0, reply::status("error", rejected, &text, None, &self.id, &application));
        self.out.command(0, reply::close());
        End::Rejected(CODE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(key: &[u8; 32], hash: &[u8], size: u32) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(hash);
        let proof = mac.finalize().into_bytes();
        [&[0, 27, 1, 1][..], &size.to_be_bytes(), &size.to_be_bytes(), &proof].concat()
    }

    #[test]
    fn an_answer_proves_a_file_by_hash_key_and_length() {
        let (key, hash) = ([9; 32], [7; 32]);
        let rule = |size_bytes| {
            let other = AllowedSwf { hash: vec![8; 32].into(), size_bytes: 1 };
            [other, AllowedSwf { hash: hash.to_vec().into(), size_bytes }]
        };
        let right = answer(&key, &hash, 1234);
        assert_eq!(right.len(), 44);
        assert_eq!(proves(&right, &key, &rule(1234)), Ok(()));
        assert_eq!(proves(&right, &key, &rule(0)), Ok(()));
        assert!(proves(&right, &key, &rule(1235)).is_err());
        assert!(proves(&right, &[8; 32], &rule(0)).is_err(), "an answer of another connection");
        assert!(proves(&answer(&key, &[6; 32], 1234), &key, &rule(0)).is_err());
        assert!(proves(&right, &key, &[]).is_err());
        for len in 0..right.len() {
            assert!(proves(&right[..len], &key, &rule(0)).is_err(), "{len} bytes");
        }
        let mut later = right.clone();
        later[2] = 2;
        assert!(proves(&later, &key, &rule(0)).is_err());
    }
}
