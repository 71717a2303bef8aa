//! The service over real gRPC on loopback, seen by edges of other makes and by edges that don't read.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use control::client::Credentials;
use futures::StreamExt;
use prometheus::Registry;
use proto::token::{Bearer, MasterToken};
use proto::v1::shield_client::ShieldClient as Stock;
use proto::v1::shield_server::ShieldServer;
use proto::v1::{NodeState, Priority, ShieldMap, ShieldNode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

use super::*;
use crate::ShieldConfig;
use crate::client::{ClientConfig, ShieldClient};
use crate::config::Reads;
use crate::origin::fault::Faulty;
use crate::origin::memory::Memory;

const MIB: u64 = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

/// What a node of `role` proves itself with.
fn credentials(role: Role) -> Credentials {
    MasterToken::new("a-token-for-tests").unwrap().token(role, None).into()
}

fn bucket() -> OriginId {
    OriginId::of("bucket.s3.amazonaws.com", "")
}

fn bytes(len: u64) -> Bytes {
    (0..len).map(|i| (i * 131 + i / 65_521) as u8).collect()
}

fn shield(objects: &Memory, read: Reads) -> (Arc<Shield>, Faulty) {
    let origin = Faulty::new(objects.clone());
    let config = ShieldConfig { cache_bytes: 16 * MIB, read, ..Default::default() };
    let shield = Shield::new(config, &Registry::new()).unwrap();
    shield.add_origin(bucket(), origin.clone());
    (shield, origin)
}

async fn serve(shield: &Arc<Shield>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let shield = shield.clone();
    tokio::spawn(async move {
        shield.serve(listener, &credentials(Role::Shield), CancellationToken::new()).await
    });
    address
}

/// A client of tonic's own making, on a connection of its own from `ip`, with the smallest windows.
fn stock(address: &str, ip: &str) -> Stock<InterceptedService<Channel, Bearer>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .local_address(Some(ip.parse::<IpAddr>().unwrap()))
        .initial_stream_window_size(65_535)
        .initial_connection_window_size(65_535)
        .connect_lazy();
    Stock::with_interceptor(channel, credentials(Role::Edge).peer())
}

fn request(version: &str, key: &str, start: u64, end: u64) -> ReadRequest {
    ReadRequest {
        origin_id: bucket().as_str().into(),
        key: key.into(),
        version: version.into(),
        start,
        end,
        ..Default::default()
    }
}

async fn collect(mut stream: Streaming<ReadResponse>) -> Result<Vec<u8>, RemoteError> {
    let mut out = Vec::new();
    while let Some(message) = stream.message().await? {
        out.extend_from_slice(&message.data);
    }
    Ok(out)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(DEADLINE, async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_servers_of_tonics_own_making_read_the_same_bytes() {
    let objects = Memory::new();
    let film = bytes(5 * MIB + 77);
    let version = objects.put("films/a.mp4", film.clone());
    let (shield, _) = shield(&objects, Reads::default());

    // Its client, our server.
    let mut stub = stock(&serve(&shield).await, "127.0.0.1");
    let stream = stub.read(request(&version, "films/a.mp4", 3, film.len() as u64)).await.unwrap();
    assert!(collect(stream.into_inner()).await.unwrap() == film[3..]);
    let past = request(&version, "films/a.mp4", 0, film.len() as u64 + 1);
    let error = collect(stub.read(past).await.unwrap().into_inner()).await.unwrap_err();
    assert_eq!(error.reason, Reason::Invalid);
    let nowhere = ReadRequest { origin_id: "nowhere".into(), ..request(&version, "films/a.mp4", 0, 1) };
    assert_eq!(RemoteError::from(stub.read(nowhere).await.unwrap_err()).reason, Reason::UnknownOrigin);

    // Our client, its server.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = ShieldServer::with_interceptor(Service(shield), credentials(Role::Shield).guard().unwrap());
    let incoming = TcpIncoming::from(listener);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    let node =
        ShieldNode { node_id: "a".into(), address, state: NodeState::Ready.into(), ..Default::default() };
    let map = ShieldMap { generation: 1, shields: vec![node], store_id: "s".into() };
    let (_publish, map) = watch::channel(Arc::new(map));
    let client =
        ShieldClient::new(&credentials(Role::Edge), map, ClientConfig::default(), &Registry::new()).unwrap();
    let object = ObjectKey::new(bucket(), "films/a.mp4");
    let read = |version: &str, end| {
        let version = ObjectVersion { object: object.clone(), version: version.into() };
        let range = ByteRange::new(3, end);
        client.read(&version, u64::MAX, range, Priority::Demand).map(|slice| slice.map(|(_, bytes)| bytes))
    };
    let got: Vec<_> = read(&version, film.len() as u64).collect().await;
    assert!(got.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat() == film[3..]);
    let gone: Vec<_> = read("\"another\"", 4).collect().await;
    assert_eq!(gone[0].as_ref().unwrap_err().reason, Reason::VersionRetired);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_hold_no_more_than_the_budget_and_others_read_on() {
    let objects = Memory::new();
    let film = bytes(24 * MIB);
    let version = objects.put("films/a.mp4", film.clone());
    let read = Reads { inflight_bytes: 16 * MIB, window_blocks: 4, busy_ms: 300, ..Default::default() };
    let (shield, _) = shield(&objects, read);
    let address = serve(&shield).await;
    let whole = || request(&version, "films/a.mp4", 0, film.len() as u64);
    let peak = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let watching = tokio::spawn({
        let (shield, peak) = (shield.clone(), peak.clone());
        async move {
            loop {
                peak.fetch_max(shield.budget.held_bytes(), std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });

    // Edges at one address open streams and don't read them. The first is there before it gets crowded.
    let mut patient = stock(&address, "127.0.0.2").read(whole()).await.unwrap().into_inner();
    until("the first stream sends", || shield.metrics.served_bytes.get() >= 2 * MIB).await;
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(stock(&address, "127.0.0.2").read(whole()).await.unwrap());
    }
    // Their half is full, and one more hears so.
    until("the slow fill their half", || shield.budget.held_bytes() >= 8 * MIB).await;
    until("one more is refused", || {
        shield.metrics.read_errors.with_label_values(&[Reason::Overloaded.as_str()]).get() > 0
    })
    .await;
    let refused = stock(&address, "127.0.0.2").read(whole()).await.unwrap().into_inner();
    assert_eq!(timeout(DEADLINE, collect(refused)).await.unwrap().unwrap_err().reason, Reason::Overloaded);

    // An edge elsewhere reads as if nothing were, and gets back what the slow ones had asked ahead.
    let mut healthy = stock(&address, "127.0.0.1");
    let reads = timeout(DEADLINE, async {
        let mut reads = 0;
        while reads < 3 || shield.metrics.read_taken_back.get() == 0 {
            let got = collect(healthy.read(whole()).await.unwrap().into_inner()).await.unwrap();
            assert!(got == film);
            reads += 1;
        }
    });
    reads.await.expect("the healthy edge reads, and blocks asked ahead are taken back");

    // When the crowd has gone, the first stream goes on where it was, without a gap.
    drop(slow);
    let mut got = Vec::new();
    while let Some(message) = timeout(DEADLINE, patient.message()).await.unwrap().unwrap() {
        assert_eq!(message.offset, got.len() as u64);
        got.extend_from_slice(&message.data);
    }
    assert!(got == film);
    drop(patient);
    until("everything is given back", || shield.budget.held_bytes() == 0).await;
    watching.abort();
    let peak = peak.load(std::sync::atomic::Ordering::Relaxed);
    assert!(peak <= 16 * MIB, "{peak} bytes held");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_wait_for_a_stalled_origin_leave_room_for_hot_ones() {
    let objects = Memory::new();
    let (hot, cold) = (bytes(6 * MIB), bytes(40 * MIB));
    let hot_version = objects.put("hot.mp4", hot.clone());
    let cold_version = objects.put("cold.mp4", cold);
    let read = Reads { inflight_bytes: 8 * MIB, ..Default::default() };
    let (shield, origin) = shield(&objects, read);
    let mut stub = stock(&serve(&shield).await, "127.0.0.1");
    let whole = || request(&hot_version, "hot.mp4", 0, hot.len() as u64);
    assert!(collect(stub.read(whole()).await.unwrap().into_inner()).await.unwrap() == hot);

    // From here on the origin answers nothing.
    let _gate = origin.gate();
    let mut waiting = Vec::new();
    for start in 0..20 {
        let cold = request(&cold_version, "cold.mp4", 2 * start * MIB, (2 * start + 2) * MIB);
        waiting.push(stub.read(cold).await.unwrap());
    }
    until("they wait", || shield.budget.held_bytes() >= 4 * MIB).await;
    let got = timeout(DEADLINE, collect(stub.read(whole()).await.unwrap().into_inner())).await.unwrap();
    assert!(got.unwrap() == hot);
    assert_eq!(shield.metrics.read_waits.get(), 0, "it found room at once");
}
