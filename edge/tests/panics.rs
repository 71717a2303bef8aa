//! Fault 27: a session that panics takes nobody along. Defects aren't to be had on demand, so the seam towards shields panics in the session's stead: a
//! description is asked for in the session's own task, its answer is shared by all who asked, a range is read in the task of its fill.

// A test's helpers may panic, and its client runs on real sockets in real time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use control::client::Catalogue;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use penstock_edge::Edge;
use penstock_edge::config::EdgeConfig;
use penstock_edge::log::memory::MemorySink;
use penstock_edge::object::{RangeSource, ReadError};
use prometheus::Registry;
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion, OriginId};
use proto::range::ByteRange;
use proto::v1::{AccessEvent, Distribution, DistributionKind, LogTarget, Priority, Revision};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// An FLV of 12 s: a Sorenson keyframe every 100 ms, each unlike the others.
fn film() -> Vec<u8> {
    let mut out = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
    for i in 0..120u32 {
        let body: Vec<u8> =
            std::iter::once(0x12).chain((0..3000u32).map(|n| (n.wrapping_mul(31) ^ i) as u8)).collect();
        let (len, time) = ((body.len() as u32).to_be_bytes(), (i * 100).to_be_bytes());
        out.extend([9, len[1], len[2], len[3], time[1], time[2], time[3], time[0], 0, 0, 0]);
        out.extend(&body);
        out.extend((body.len() as u32 + 11).to_be_bytes());
    }
    out
}

/// Serves the film under every name, and panics for some.
struct Source(Bytes);

impl RangeSource for Source {
    fn stat(
        &self,
        object: &ObjectKey,
        _: Option<Arc<str>>,
    ) -> BoxFuture<'static, Result<ObjectInfo, ReadError>> {
        let (object, size_bytes) = (object.clone(), self.0.len() as u64);
        assert!(!object.key.contains("in-the-session"), "a defect, on purpose");
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!object.key.contains("in-the-answer"), "a defect, on purpose");
            let id = ObjectVersion { object, version: "\"v1\"".into() };
            Ok(ObjectInfo { id, size_bytes, content_type: "video/x-flv".into() })
        })
    }

    fn read(
        &self,
        object: &ObjectVersion,
        _: u64,
        range: ByteRange,
        _: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>> {
        let bytes = self.0.slice(range.start as usize..range.end as usize);
        let panics = object.object.key.contains("in-the-fill");
        futures::stream::once(async move {
            assert!(!panics, "a defect, on purpose");
            Ok((range.start, bytes))
        })
        .boxed()
    }
}

/// What a viewer was sent until the end, or until it was closed.
#[derive(Debug, Default)]
struct Played {
    pictures: Vec<Vec<u8>>,
    stopped: bool,
    refused: Option<String>,
}

/// Plays `name` with a buffer of 2 s, as a client of its own implementation.
fn play(addr: SocketAddr, name: &str) -> Played {
    let end = Instant::now() + Duration::from_secs(40);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut handshake = Handshake::new(PeerType::Client);
    stream.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).unwrap();
    let mut buffer = vec![0; 1 << 16];
    let rest = loop {
        let Ok(n @ 1..) = stream.read(&mut buffer) else { continue };
        match handshake.process_bytes(&buffer[..n]).unwrap() {
            HandshakeProcessResult::InProgress { response_bytes } => {
                stream.write_all(&response_bytes).unwrap()
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                stream.write_all(&response_bytes).unwrap();
                break remaining_bytes;
            }
        }
    };
    let mut config = ClientSessionConfig::new();
    config.tc_url = Some("rtmp://films.example/cfx/st".into());
    config.playback_buffer_length_ms = 2000;
    let (mut session, mut todo) = ClientSession::new(config).unwrap();
    todo.push(session.request_connection("cfx/st".into()).unwrap());
    todo.extend(session.handle_input(&rest).unwrap());
    let mut played = Played::default();
    loop {
        for result in std::mem::take(&mut todo) {
            match result {
                ClientSessionResult::OutboundResponse(packet) => stream.write_all(&packet.bytes).unwrap(),
                ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestAccepted) => {
                    todo.push(session.request_playback(name.into()).unwrap());
                }
                ClientSessionResult::RaisedEvent(ClientSessionEvent::VideoDataReceived { data, .. }) => {
                    played.pictures.push(data.to_vec());
                }
                ClientSessionResult::RaisedEvent(ClientSessionEvent::UnhandleableOnStatusCode { code }) => {
                    played.stopped |= code == "NetStream.Play.Stop";
                    if code.contains("Fail") || code.contains("NotFound") || code.contains("Invalid") {
                        played.refused = Some(code);
                    }
                }
                _ => {}
            }
        }
        if !todo.is_empty() {
            continue;
        }
        if played.stopped || played.refused.is_some() {
            return played;
        }
        assert!(
            Instant::now() < end,
            "{name}: neither the end nor a refusal: {} pictures",
            played.pictures.len()
        );
        match stream.read(&mut buffer) {
            Ok(0) => return played,
            Ok(n) => todo = session.handle_input(&buffer[..n]).unwrap(),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return played,
            Err(_) => {}
        }
    }
}

/// The sum of a metric's samples whose labels contain `label`.
fn metric(registry: &Registry, name: &str, label: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|f| f.name() == name);
    let samples = family.map(|f| f.get_metric()).unwrap_or_default();
    samples
        .iter()
        .filter(|m| label.is_empty() || m.get_label().iter().any(|l| l.value() == label))
        .map(|m| {
            m.get_gauge().get_value()
                + m.get_counter().get_value()
                + m.get_histogram().get_sample_count() as f64
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f27_a_session_that_panics_takes_nobody_along_and_leaves_nothing_behind() {
    let document = Distribution {
        id: "E1234567890123".into(),
        kind: DistributionKind::Streaming.into(),
        domain: "s1234567890123.penstock.localhost".into(),
        aliases: vec!["films.example".into()],
        enabled: true,
        origin_host: "media.s3.amazonaws.com".into(),
        origin_id: OriginId::of("media.s3.amazonaws.com", "").as_str().into(),
        logging: Some(LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), ..LogTarget::default() }),
        ..Default::default()
    };
    let revision = Revision { store_id: "test".into(), number: 1 };
    let catalogue = Arc::new(Catalogue::empty().replace(revision, vec![document], vec![]));
    let (_keep, catalogue) = watch::channel(catalogue);
    let registry = Registry::new();
    let source = Arc::new(Source(film().into()));
    let edge = Edge::new(EdgeConfig::default(), source, catalogue, &registry).unwrap();
    let sink = MemorySink::new();
    edge.log_to(sink.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(edge.serve(vec![listener], shutdown.clone()));

    // Twelve seconds of film with two seconds of buffer: it plays while the others panic.
    let witness = std::thread::spawn(move || play(addr, "film"));
    let panics: Vec<_> = (0..20).map(|_| std::thread::spawn(move || play(addr, "in-the-session"))).collect();
    for thread in panics {
        let played = thread.join().unwrap();
        assert!(played.pictures.is_empty() && !played.stopped, "{played:?}");
    }
    assert_eq!(metric(&registry, "penstock_edge_session_seconds", "panicked"), 20.0);
    // An answer that panics is shared by all who asked; each is told.
    let askers: Vec<_> = (0..20).map(|_| std::thread::spawn(move || play(addr, "in-the-answer"))).collect();
    for thread in askers {
        let told = thread.join().unwrap();
        assert!(told.refused.is_some() && told.pictures.is_empty(), "{told:?}");
    }
    assert_eq!(metric(&registry, "penstock_edge_session_seconds", "panicked"), 20.0);
    // A fill that panics is the viewer's failed read: it is told, and isn't left waiting.
    let told = std::thread::spawn(move || play(addr, "in-the-fill")).join().unwrap();
    assert!(told.refused.is_some() && told.pictures.is_empty(), "{told:?}");

    let seen = tokio::task::spawn_blocking(move || witness.join().unwrap()).await.unwrap();
    assert!(seen.stopped && seen.pictures.len() == 120, "{} pictures", seen.pictures.len());
    for (i, picture) in (0u32..).zip(&seen.pictures) {
        assert!(
            picture[1..].iter().zip(0u32..).all(|(b, n)| *b == (n.wrapping_mul(31) ^ i) as u8),
            "picture {i}"
        );
    }
    let again = std::thread::spawn(move || play(addr, "film-again")).join().unwrap();
    assert_eq!(again.pictures.len(), 120);
    let end = Instant::now() + Duration::from_secs(10);
    for gauge in ["penstock_edge_sessions", "penstock_edge_playing_streams", "penstock_edge_connections"] {
        while metric(&registry, gauge, "") != 0.0 {
            assert!(Instant::now() < end, "{gauge}: {}", metric(&registry, gauge, ""));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // Who panicked has left as everybody leaves.
    let mut sessions: HashMap<String, Vec<AccessEvent>> = HashMap::new();
    for record in sink.records() {
        sessions.entry(record.client_id.clone()).or_default().push(record.event());
    }
    use AccessEvent::{Connect, Disconnect, Play, Stop};
    let mut whole: Vec<Vec<AccessEvent>> = sessions.into_values().collect();
    whole.sort_by_key(Vec::len);
    let (brief, played) = whole.split_at(41);
    assert!(brief.iter().all(|events| *events == [Connect, Disconnect]), "{brief:?}");
    assert_eq!(played, [vec![Connect, Play, Stop, Disconnect], vec![Connect, Play, Stop, Disconnect]]);
    shutdown.cancel();
    serving.await.unwrap();
}
