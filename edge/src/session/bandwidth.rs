//! Server-side bandwidth detection, as FMS applications offer it.
//!
//! Two forms of the same measurement: script (`onBWCheck` calls, ended by `onBWDone(kbps, Δdown, Δtime, latency)`; asked for by
//! FLVPlayback's autoSenseBW and by `checkBandwidth`) and native (`_onbwcheck`, `_onbwdone`; asked for by `_checkbw`, which
//! librtmp and ffmpeg send). Payloads grow a round, capped; the figure is never 0, because FLVPlayback divides by it.

use bytes::Bytes;
use tokio::time::Instant;

use super::Session;
use crate::rtmp::amf::Value;
use crate::rtmp::command;

/// Payload bytes of the rounds.
const ROUNDS_BYTES: [usize; 3] = [0, 16 << 10, 32 << 10];
/// Calls of ours carry transactions from here on.
const FIRST_TRANSACTION: f64 = 1000.0;

/// A measurement under way.
pub(crate) struct BandwidthCheck {
    native: bool,
    round: usize,
    transaction: f64,
    sent_at: Instant,
    latency_ms: f64,
    bytes: usize,
    elapsed_ms: f64,
}

impl Session {
    /// Begins a measurement, unless one is under way.
    pub(super) fn start_bandwidth_check(&mut self, native: bool) {
        if self.bandwidth.is_some() {
            return;
        }
        let check = BandwidthCheck {
            native,
            round: 0,
            transaction: FIRST_TRANSACTION,
            sent_at: Instant::now(),
            latency_ms: 0.0,
            bytes: 0,
            elapsed_ms: 0.0,
        };
        self.send_round(check);
    }

    fn send_round(&mut self, mut check: BandwidthCheck) {
        let name = if check.native { "_onbwcheck" } else { "onBWCheck" };
        let payload = "x".repeat(ROUNDS_BYTES[check.round]);
        check.transaction = FIRST_TRANSACTION + check.round as f64;
        check.sent_at = Instant::now();
        let args = [Value::Null, Value::String(payload), Value::Number(check.round as f64)];
        self.out.command(0, command::encode(name, check.transaction, &args));
        self.bandwidth = Some(check);
    }

    /// The viewer answered a call of ours. Returns whether it was the measurement's.
    pub(super) fn on_bandwidth_answer(&mut self, transaction: f64) -> bool {
        let Some(mut check) = self.bandwidth.take() else { return false };
        if transaction != check.transaction {
            self.bandwidth = Some(check);
            return false;
        }
        let elapsed_ms = check.sent_at.elapsed().as_secs_f64() * 1000.0;
        if check.round == 0 {
            check.latency_ms = elapsed_ms;
        } else {
            check.bytes += ROUNDS_BYTES[check.round];
            check.elapsed_ms += (elapsed_ms - check.latency_ms).max(0.0);
        }
        check.round += 1;
        if check.round < ROUNDS_BYTES.len() {
            self.send_round(check);
            return true;
        }
        self.out.command(0, done(&check));
        true
    }
}

fn done(check: &BandwidthCheck) -> Bytes {
    let kilobits = (check.bytes * 8) as f64 / 1000.0;
    let seconds = check.elapsed_ms.max(1.0) / 1000.0;
    let name = if check.native { "_onbwdone" } else { "onBWDone" };
    let figures =
        [(kilobits / seconds).round().max(1.0), kilobits, seconds, check.latency_ms.round().max(1.0)];
    let mut args = vec![Value::Null];
    args.extend(figures.map(Value::Number));
    command::encode(name, 0.0, &args)
}
