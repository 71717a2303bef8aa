//! Fuzz targets: a whole session against a client that says anything; and the names a client may give.
//!
//! [`dispatch`] runs a real [`Session`] on a [`Wire`] that plays a script: a handshake, mostly a `connect`, then commands with arguments that
//! may be nonsense, waits, a peer that stops reading. Time is paused, so hours pass in milliseconds. Whatever the script: the session
//! ends, its queue and its turns stay bounded, what it sent is well-formed RTMP, what it recorded agrees with that, and it leaves no count behind.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use control::client::Catalogue;
use proto::distribution::validate;
use proto::fuzzing::Input;
use proto::object::{OriginId, check_key};
use proto::v1::{Distribution, DistributionKind, LogTarget, Revision};
use tokio::sync::watch;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;

use super::connect::{folders_of, host_of};
use super::names::StreamName;
use super::{End, Session, Shared};
use crate::Edge;
use crate::config::EdgeConfig;
use crate::config::log::LogConfig;
use crate::log::memory::{MemorySink, Pace};
use crate::rtmp::amf;
use crate::rtmp::chunk::{ChunkReader, MAX_MESSAGE_BYTES, ReaderLimits};
use crate::rtmp::command;
use crate::rtmp::message::type_id;
use crate::transport::encrypted::Encrypted;

pub(super) mod bucket;
pub(super) mod records;
pub(super) mod script;
mod wire;

use bucket::Bucket;
use wire::Wire;

/// S0, S1 and S2.
const GREETING_BYTES: usize = 3073;
/// Queue of outgoing bytes at which reading and filling stop.
const BATCH_BYTES: usize = 16 << 10;
/// What one more command or sample may add to a full queue: a sample, a bandwidth check's payload, a name said back a few times.
const LAST_BYTES: usize = 128 << 10;
/// Within this much paused time a session must have ended.
const LIFETIME: Duration = Duration::from_secs(6 * 3600);

fn config() -> EdgeConfig {
    EdgeConfig {
        default_distribution: Some("EGTXBD79H29TRA".into()),
        batch_bytes: BATCH_BYTES,
        max_streams: 4,
        max_playlist: 4,
        max_calls: 4,
        cache_bytes: 4 << 20,
        read_ahead_total_bytes: 4 << 20,
        index_cache_bytes: 1 << 20,
        index_bytes: 1 << 20,
        fetches: 4,
        message_bytes: 8 << 10,
        stall_timeout_ms: 120_000,
        log: LogConfig { rejected: true, ..LogConfig::default() },
        ..EdgeConfig::default()
    }
}

pub(super) fn distribution() -> Distribution {
    let origin_host = "media.s3.amazonaws.com".to_owned();
    Distribution {
        id: "EGTXBD79H29TRA".into(),
        kind: DistributionKind::Streaming.into(),
        domain: "s5c39gqb8ow64r.penstock.localhost".into(),
        enabled: true,
        origin_id: OriginId::of(&origin_host, "").as_str().into(),
        origin_host,
        logging: Some(LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), ..LogTarget::default() }),
        ..Default::default()
    }
}

fn shared(sink: &Arc<MemorySink>) -> Arc<Shared> {
    let document = distribution();
    assert_eq!(validate(&document), Ok(()));
    let revision = Revision { store_id: "fuzz".into(), number: 1 };
    let catalogue = Catalogue::empty().replace(revision, vec![document], Vec::new());
    let catalogue = watch::channel(Arc::new(catalogue)).1;
    match Edge::new(config(), Arc::new(Bucket), catalogue, &prometheus::Registry::new()) {
        Ok(edge) => {
            edge.log_to(sink.clone());
            edge.shared().clone()
        }
        Err(error) => panic!("{error}"),
    }
}

/// `data` is the script: see [`script::script`].
pub fn dispatch(data: &[u8]) {
    converse(data);
}

/// Runs a script; gives what the session sent, and how many messages of each type that is.
fn converse(data: &[u8]) -> (Vec<u8>, [usize; 256]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => panic!("{error}"),
    };
    runtime.block_on(async {
        let sink = MemorySink::new();
        // A log that is quick, one that is slow, and one that takes its time.
        sink.set_pace(match data.len() % 4 {
            0 => Pace::Takes(Duration::from_millis(7)),
            1 => Pace::Takes(Duration::from_millis(500)),
            _ => Pace::AtOnce,
        });
        let shared = shared(&sink);
        let shutdown = CancellationToken::new();
        let wire = Wire::new(script::script(&mut Input::new(data)), shutdown.clone());
        let mut transport = Encrypted::new(wire);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 49_152));
        let mut session = Session::new(shared.clone(), peer);
        let Ok(end) = timeout(LIFETIME, session.run(&mut transport, shutdown)).await else {
            panic!("the session goes on for ever");
        };
        session.log_end(&end);
        assert!(session.streams.iter().all(|stream| stream.op.is_none()));
        assert!(!matches!(end, End::Io(_)), "{end}");
        drop(session);
        let wire = transport.into_inner();
        let bound = 4 * BATCH_BYTES + LAST_BYTES;
        assert!(wire.longest_queue <= bound, "{} bytes waited to be sent", wire.longest_queue);
        assert_eq!((shared.metrics.sessions.get(), shared.metrics.playing.get()), (0, 0));
        let counts = check_sent(&wire.sent, wire.blocked());
        records::check(&sink.records(), wire.sent.len() as u64);
        (wire.sent, counts)
    })
}

/// What the session sent must be a greeting, then messages a strict reader understands. A blocked peer sees no more than a part.
fn check_sent(sent: &[u8], cut: bool) -> [usize; 256] {
    let mut counts = [0; 256];
    let Some(chunks) = sent.get(GREETING_BYTES..) else { return counts };
    let limits = ReaderLimits {
        message_bytes: MAX_MESSAGE_BYTES,
        chunk_streams: 4 + 4 * config().max_streams,
        in_flight_bytes: 2 * MAX_MESSAGE_BYTES,
    };
    let (mut reader, mut input) = (ChunkReader::new(limits), BytesMut::from(chunks));
    let roomy = amf::Limits { depth: 64, values: usize::MAX };
    let (mut connects, mut streams) = (0, Vec::new());
    // The newest time of a stream's sounds and pictures: it falls only where a play, a seek or an unpause begins.
    let mut times: HashMap<(u32, u8), u32> = HashMap::new();
    loop {
        let message = match reader.read(&mut input) {
            Ok(Some(message)) => message,
            Ok(None) => break,
            Err(error) => {
                panic!("a reader can't follow: {error}, {} bytes before the end", input.remaining())
            }
        };
        assert!(message.type_id <= 20, "type {}", message.type_id);
        counts[usize::from(message.type_id)] += 1;
        if matches!(message.type_id, type_id::AUDIO | type_id::VIDEO) {
            let (stream, time) = (message.stream_id, message.timestamp);
            assert!(streams.contains(&stream), "media on stream {stream}");
            let before = times.insert((stream, message.type_id), time).unwrap_or(0);
            assert!(before <= time, "stream {stream}, type {}: {before}, then {time}", message.type_id);
        }
        if message.type_id == type_id::USER_CONTROL && message.payload.starts_with(&[0, 0]) {
            times.retain(|(stream, _), _| message.payload[2..] != stream.to_be_bytes());
        }
        match message.type_id {
            type_id::COMMAND => {
                let command = command::parse(&message, &roomy);
                let Ok(Some(command)) = command else { panic!("no command: {command:?}") };
                let number = command.args.first().and_then(amf::Value::as_number);
                let of_connect =
                    command.args.first().and_then(|information| information.get("objectEncoding"));
                connects += usize::from(of_connect.is_some());
                if command.name == "_result" {
                    streams.extend(number.map(|id| id as u32));
                }
            }
            type_id::DATA if message.stream_id != 0 => {
                assert!(amf::decode_all(&message.payload, &roomy).is_ok());
            }
            _ => {}
        }
    }
    assert!(cut || input.is_empty(), "{} bytes are no message", input.len());
    assert!(connects <= 1, "connect succeeded {connects} times");
    assert_eq!(reader.skipped(), 0);
    counts
}

/// What a client may name: an app, a tcUrl and a stream, one a line.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (app, url, name) = (line(), line(), line());

    let folders = folders_of(app, true);
    if let Ok(folders) = &folders {
        assert!(folders.is_empty() || folders.split('/').all(|folder| !folder.is_empty()), "{folders:?}");
        assert!(!folders.contains('?'));
        assert_eq!(folders_of(app, false).is_ok(), folders.is_empty());
        assert_eq!(folders_of(&format!("/{app}?x=/y"), true).as_ref(), Ok(folders));
    }
    if let Some(host) = host_of(url) {
        assert!(!host.is_empty() && !host.ends_with('.') && !host.contains(['/', '?', '#']), "{host:?}");
        assert_eq!(host, host.to_ascii_lowercase());
        let plain = !host.contains([':', '@', '[', ']']);
        assert!(!plain || host_of(&format!("rtmp://{host}:1935/cfx/st")).as_ref() == Some(&host), "{host:?}");
    }

    let parsed = StreamName::parse(&folders.unwrap_or_default(), name);
    assert!(
        parsed.weight_bytes() <= 4096 + 2 * 1024,
        "{} bytes kept of {}",
        parsed.weight_bytes(),
        name.len()
    );
    let candidates = parsed.candidates();
    assert!(candidates.len() <= 20);
    for (at, key) in candidates.iter().enumerate() {
        assert_eq!(check_key(key), Ok(()), "{key:?}");
        assert!(!candidates[..at].contains(key), "{key:?} is tried twice");
    }
    assert!(!parsed.display.contains('?') && parsed.display.len() <= name.len());
    // What is displayed names the same file, and is what it is displayed as.
    let again = StreamName::parse("", &parsed.display);
    assert!(again.query.is_none() || parsed.display.contains('%'), "{parsed:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_of_the_corpus_reach_the_films() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/dispatch");
        let counts = |name: &str| converse(&std::fs::read(corpus.join(name)).unwrap()).1;
        for play in ["00", "01", "02", "03", "05", "06"] {
            let counts = counts(&format!("play-{play}"));
            assert!(counts[9] >= 10, "play-{play}: {} pictures", counts[9]);
        }
        assert!(counts("play-04")[8] > 10);
        // Three a play, one a file's metadata, one an item's or a switch's completion.
        for (name, data) in [("switch", 5), ("switch-early", 5), ("swap", 6), ("append-and-wait", 9)] {
            let counts = counts(name);
            assert!(counts[18] >= data, "{name}: {} data messages", counts[18]);
        }
        for (name, commands) in
            [("length-storm", 256), ("play-and-seek", 8), ("storm", 6), ("bandwidth", 4), ("playlist", 8)]
        {
            let counts = counts(name);
            assert!(counts[20] >= commands, "{name}: {} commands", counts[20]);
        }
    }

    #[test]
    fn a_switch_in_mid_play_takes_place_and_is_said() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/dispatch");
        let said = |sent: &[u8], what: &[u8]| sent.windows(what.len()).filter(|bytes| *bytes == what).count();
        for (name, switches) in
            [("switch-in-mid-play", 1), ("switch-twice", 2), ("switch-and-seek", 1), ("switch-paused", 1)]
        {
            let (sent, counts) = converse(&std::fs::read(corpus.join(name)).unwrap());
            assert_eq!(said(&sent, b"NetStream.Play.TransitionComplete"), switches, "{name}");
            // With the first file's own, and those after a seek or an unpause.
            assert!(counts[18] >= 4 + 2 * switches && counts[9] > 100, "{name}: {:?}", &counts[..21]);
            let of_other = said(&sent, &[40; 10]);
            assert!(of_other > 50, "{name}: {of_other} messages of the other file");
        }
    }
}
