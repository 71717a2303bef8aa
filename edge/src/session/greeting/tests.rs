//! Whole sessions that begin with an encrypted handshake, on a transport in memory.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BytesMut};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;

use super::super::holding::tests::shared;
use super::super::{Shared, serve};
use crate::config::EdgeConfig;
use crate::config::rtmpe::RtmpeConfig;
use crate::rtmp::chunk::{Batch, ChunkWriter, OutMessage};
use crate::rtmp::handshake::client::{ClientHandshake, Greeting, Variant};
use crate::transport::Transport;

/// What lies between a client and the session.
#[derive(Default)]
struct Line {
    to_server: BytesMut,
    to_client: BytesMut,
    closed: bool,
}

/// The session's end of it. Takes no more than 100 bytes at a time.
#[derive(Clone, Default)]
struct Wire {
    line: Arc<Mutex<Line>>,
    sent: Arc<Notify>,
    answered: Arc<Notify>,
}

impl Wire {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap()
    }

    fn send(&self, bytes: &[u8]) {
        self.line().to_server.extend_from_slice(bytes);
        self.sent.notify_one();
    }

    /// Waits until so many bytes have come, or the session has closed.
    async fn wait(&self, bytes: usize) {
        while self.line().to_client.len() < bytes && !self.line().closed {
            timeout(Duration::from_secs(60), self.answered.notified()).await.unwrap();
        }
    }
}

impl Transport for Wire {
    async fn readable(&self) -> io::Result<()> {
        while self.line().to_server.is_empty() {
            self.sent.notified().await;
        }
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let sent = &mut self.line().to_server;
        if sent.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = sent.len().min(4096);
        buffer.extend_from_slice(&sent.split_to(count));
        Ok(count)
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let count = batch.len_bytes().min(100);
        self.line().to_client.extend_from_slice(&batch.copy_to_bytes(count));
        self.answered.notify_one();
        Ok(count)
    }

    async fn close(&mut self) {
        self.line().closed = true;
        self.answered.notify_one();
    }
}

fn begin(shared: &Arc<Shared>, host: u8) -> (Wire, JoinHandle<()>) {
    let wire = Wire::default();
    let peer = ([192, 0, 2, host], 49_152).into();
    (wire.clone(), tokio::spawn(serve(shared.clone(), wire, peer, CancellationToken::new())))
}

fn client() -> ClientHandshake {
    ClientHandshake::new(Variant::Encrypted, &mut StdRng::seed_from_u64(1))
}

async fn greeted(wire: &Wire) -> Greeting {
    let mut client = client();
    wire.send(&client.hello());
    wire.wait(3073).await;
    let greeting = client.advance(&mut wire.line().to_client).unwrap();
    greeting.unwrap()
}

/// A `connect` whose distribution nobody knows.
fn connect() -> Vec<u8> {
    let mut batch = Batch::new();
    let mut head = b"\x02\0\x07connect\0".to_vec();
    head.extend_from_slice(&1f64.to_be_bytes());
    head.extend_from_slice(b"\x03\0\x03app\x02\0\x06cfx/st\0\x05tcUrl\x02\0\x0crtmp://x/cfx\0\0\x09");
    let message = OutMessage { csid: 3, timestamp: 0, type_id: 20, stream_id: 0, head: &head, payload: &[] };
    ChunkWriter::new().write(&mut batch, message).unwrap();
    batch.copy_to_bytes(batch.len_bytes()).to_vec()
}

#[tokio::test]
async fn s9_an_encrypted_session_is_heard_and_answered_to_its_last_byte() {
    let shared = shared(EdgeConfig::default());
    for at_once in [true, false] {
        let (wire, session) = begin(&shared, 1);
        let greeting = greeted(&wire).await;
        let (mut send, mut receive) = greeting.keys.unwrap().ciphers();
        let mut sent = connect();
        send.apply(&mut sent);
        if at_once {
            sent.splice(0..0, greeting.c2.iter().copied());
        } else {
            wire.send(&greeting.c2);
            tokio::task::yield_now().await;
        }
        wire.send(&sent);
        timeout(Duration::from_secs(60), session).await.unwrap().unwrap();
        let mut said = std::mem::take(&mut wire.line().to_client);
        receive.apply(&mut said);
        let says = |text: &str| said.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(says("NetConnection.Connect.Rejected") && says("DistributionNotFound"));
        assert!(said.ends_with(b"\x02\0\x05close\0\0\0\0\0\0\0\0\0\x05"), "the last word is there too");
    }
    assert_eq!(shared.budget().queues.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_handshake_s_time_covers_the_key_exchange_and_nothing_is_read_meanwhile() {
    let rtmpe = RtmpeConfig { dh_concurrency: 1, ..Default::default() };
    let shared = shared(EdgeConfig { rtmpe, handshake_timeout_ms: 3000, ..Default::default() });
    let threads = shared.key_exchanges.occupy();
    let (wire, session) = begin(&shared, 1);
    wire.send(&client().hello());
    while shared.metrics.key_exchanges.get() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    wire.send(&vec![0; 1 << 20]);
    timeout(Duration::from_secs(4), session).await.unwrap().unwrap();
    assert_eq!(wire.line().to_server.len(), 1 << 20);
    assert!(wire.line().to_client.is_empty());
    let refused = |reason| shared.metrics.refused.with_label_values(&[reason]).get();
    assert_eq!((refused("handshake_timeout"), shared.metrics.key_exchanges.get()), (1, 0));
    drop(threads);
    greeted(&begin(&shared, 1).0).await;
}

#[tokio::test]
async fn who_asks_too_often_is_closed_and_counted_and_others_are_not() {
    let rtmpe = RtmpeConfig { dh_per_address_per_second: 1, ..Default::default() };
    let shared = shared(EdgeConfig { rtmpe, ..Default::default() });
    for host in [1, 2] {
        for _ in 0..2 {
            greeted(&begin(&shared, host).0).await;
        }
    }
    let (wire, session) = begin(&shared, 1);
    wire.send(&client().hello());
    session.await.unwrap();
    assert!(wire.line().closed && wire.line().to_client.is_empty());
    assert_eq!(shared.metrics.refused.with_label_values(&["key_exchange_rate"]).get(), 1);
}
