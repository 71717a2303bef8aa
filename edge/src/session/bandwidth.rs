//! Server-side bandwidth detection, as FMS applications offer it.
//!
//! Two forms of the same measurement: script (`onBWCheck` calls, ended by `onBWDone(kbps, Δdown kbit, Δtime s, latency ms)`; asked for by
//! FLVPlayback's autoSenseBW and by `checkBandwidth`) and native (`_onbwcheck`, `_onbwdone`; asked for by `_checkbw`, which
//! librtmp and ffmpeg send). The first round is empty and gives the latency; the payload then grows by 16 KB a round, until a round took long
//! enough to be believed, or [`MOST_BYTES`] were spent. What the figure says is what passed in the longest rounds: what was queued before a
//! payload travels before it, and counts. The figure is never 0, because FLVPlayback divides by it.
//!
//! A client that doesn't answer is measured no further; after [`FORGOTTEN`] it may ask again.

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::Session;
use crate::rtmp::amf::Value;
use crate::rtmp::{command, reply};

/// How much longer each round's payload is than the last one's.
const STEP_BYTES: usize = 16 << 10;
/// Payload of all rounds at most.
const MOST_BYTES: usize = 160 << 10;
/// A round that took so long beyond the latency says enough.
const ENOUGH: Duration = Duration::from_millis(300);
/// A measurement that was not answered for so long is given up when another is asked for.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// Calls of ours carry transactions from here on.
const FIRST_TRANSACTION: f64 = 1000.0;

/// A measurement under way.
#[derive(Debug)]
pub(crate) struct BandwidthCheck {
    native: bool,
    round: usize,
    transaction: f64,
    sent_at: Instant,
    /// The shortest round trip seen.
    latency: Duration,
    /// Payload of this round, and what was queued before it.
    payload_bytes: usize,
    queued_bytes: usize,
    /// Payload of all rounds.
    spent_bytes: usize,
    /// What passed, and in what time: the sums that the figure is made of.
    passed_bytes: usize,
    passed_in: Duration,
}

impl BandwidthCheck {
    fn new(native: bool, transaction: f64, now: Instant) -> Self {
        Self {
            native,
            round: 0,
            transaction,
            sent_at: now,
            latency: Duration::ZERO,
            payload_bytes: 0,
            queued_bytes: 0,
            spent_bytes: 0,
            passed_bytes: 0,
            passed_in: Duration::ZERO,
        }
    }

    /// Takes the answer to the round under way into account; whether there is to be another.
    fn answered(&mut self, now: Instant) -> bool {
        let took = now.saturating_duration_since(self.sent_at);
        let beyond = took.saturating_sub(self.latency);
        if self.round == 0 {
            self.latency = took;
        } else {
            self.passed_bytes += self.payload_bytes + self.queued_bytes;
            self.passed_in += beyond;
            // A payload can't be quicker than nothing: the first round had to wait for something.
            self.latency = self.latency.min(took);
        }
        self.round += 1;
        self.payload_bytes = STEP_BYTES * self.round;
        let believed = self.round > 1 && beyond >= ENOUGH;
        !believed && self.spent_bytes + self.payload_bytes <= MOST_BYTES
    }

    /// kilobits a second, kilobits, seconds, latency in ms.
    fn figures(&self) -> [f64; 4] {
        let kilobits = (self.passed_bytes * 8) as f64 / 1000.0;
        let seconds = self.passed_in.as_secs_f64().max(0.001);
        let latency_ms = (self.latency.as_secs_f64() * 1000.0).round().max(1.0);
        [(kilobits / seconds).round().max(1.0), kilobits, seconds, latency_ms]
    }
}

impl Session {
    /// Begins a measurement, unless one is under way.
    pub(super) fn start_bandwidth_check(&mut self, native: bool) {
        let now = Instant::now();
        let transaction = match &self.bandwidth {
            Some(check) if now < check.sent_at + FORGOTTEN => return,
            // A late answer to that one must not be taken for one to this.
            Some(check) => check.transaction + 1.0,
            None => FIRST_TRANSACTION,
        };
        self.send_round(BandwidthCheck::new(native, transaction, now));
    }

    fn send_round(&mut self, mut check: BandwidthCheck) {
        let name = if check.native { "_onbwcheck" } else { "onBWCheck" };
        let payload = "x".repeat(check.payload_bytes);
        check.spent_bytes += check.payload_bytes;
        check.queued_bytes = self.out.batch.len_bytes();
        check.sent_at = Instant::now();
        let args = [Value::Null, Value::String(payload), Value::Number(check.round as f64)];
        self.out.command(0, command::encode(name, check.transaction, &args));
        self.bandwidth = Some(check);
    }

    /// The viewer answered a call of ours. Returns whether it was the measurement's.
    pub(super) fn on_bandwidth_answer(&mut self, transaction: f64) -> bool {
        let Some(mut check) = self.bandwidth.take_if(|check| check.transaction == transaction) else {
            return false;
        };
        if check.answered(Instant::now()) {
            check.transaction += 1.0;
            self.send_round(check);
        } else {
            let figures = check.figures();
            tracing::debug!(session = self.id, ?figures, "bandwidth measured");
            self.out.command(0, done(check.native, figures));
        }
        true
    }
}

fn done(native: bool, figures: [f64; 4]) -> Bytes {
    let [kbps, kilobits, seconds, latency_ms] = figures;
    if !native {
        return reply::on_bw_done_measured(kbps, kilobits, seconds, latency_ms);
    }
    let args: Vec<Value> = [Value::Null].into_iter().chain(figures.map(Value::Number)).collect();
    command::encode("_onbwdone", 0.0, &args)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measures a line of `bytes_a_second` and `latency_ms`; the figures and the payload spent.
    fn measure(bytes_a_second: f64, latency_ms: u64, queued_bytes: usize) -> ([f64; 4], usize) {
        let mut now = Instant::now();
        let mut check = BandwidthCheck::new(false, 1.0, now);
        loop {
            check.spent_bytes += check.payload_bytes;
            check.queued_bytes = if check.round == 0 { 0 } else { queued_bytes };
            let bytes = check.payload_bytes + check.queued_bytes;
            check.sent_at = now;
            now += Duration::from_millis(latency_ms) + Duration::from_secs_f64(bytes as f64 / bytes_a_second);
            if !check.answered(now) {
                return (check.figures(), check.spent_bytes);
            }
        }
    }

    #[test]
    fn the_figure_is_the_line_s() {
        for (kbps, latency_ms, queued) in
            [(56.0, 200, 0), (500.0, 80, 0), (500.0, 80, 100_000), (4000.0, 20, 0), (100_000.0, 1, 0)]
        {
            let ([measured, kilobits, seconds, latency], spent) = measure(kbps * 125.0, latency_ms, queued);
            assert!((measured - kbps).abs() <= kbps * 0.05, "{kbps} kb/s: {measured}");
            assert!(
                (kilobits / seconds - measured).abs() <= 1.0,
                "{kilobits} kbit in {seconds} s is {measured}"
            );
            assert_eq!(latency, latency_ms as f64);
            assert!(spent <= MOST_BYTES, "{spent}");
        }
        assert_eq!(measure(7000.0, 10, 0).1, STEP_BYTES, "a slow line is not burdened further");
    }

    #[test]
    fn the_figure_is_never_zero_nor_infinite() {
        for rate in [1.0, 1e12] {
            let figures = measure(rate, 0, 0).0;
            assert!(figures.iter().all(|figure| figure.is_finite()) && figures[0] >= 1.0, "{figures:?}");
        }
    }
}
