//! Client and service together, over real gRPC on loopback.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use proto::object::OriginId;
use proto::range::SEGMENT_BYTES;
use proto::token::{MasterToken, Role};
use proto::v1::shield_client::ShieldClient as Stub;
use proto::v1::{NodeState, PurgeRequest, ReadRequest, ShieldNode, StatRequest};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::origin::fault::{Fault, Faulty};
use crate::origin::memory::Memory;
use crate::{Shield, ShieldConfig};

mod faults;
mod handing_over;
mod hedging;
mod relay;

const MIB: u64 = 1 << 20;

/// A shield on a runtime of its own, so that it can die as a process dies: at once, with its connections.
struct Server {
    id: String,
    address: String,
    origin: Faulty,
    shield: Arc<Shield>,
    stop: CancellationToken,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    fn start(id: &str, objects: &Memory) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let origin = Faulty::new(objects.clone());
        let config = ShieldConfig { minimum_ttl_s: 0, ..Default::default() };
        let shield = Shield::new(config, &Registry::new()).unwrap();
        shield.add_origin(bucket(), origin.clone());
        let stop = CancellationToken::new();
        let (tell, told) = mpsc::sync_channel(1);
        let (serving, stopped) = (shield.clone(), stop.clone());
        runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().to_string()).unwrap();
            serving.serve(listener, &credentials(Role::Shield), stopped).await.unwrap();
        });
        let address = told.recv().unwrap();
        Self { id: id.to_owned(), address, origin, shield, stop, runtime: Some(runtime) }
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn node(&self, state: NodeState) -> ShieldNode {
        let (node_id, address) = (self.id.clone(), self.address.clone());
        ShieldNode { node_id, address, state: state.into(), ..Default::default() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

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

fn config() -> ClientConfig {
    ClientConfig {
        probe_after_ms: 300,
        probe_ms: 300,
        stall_ms: 2_000,
        first_message_ms: 3_000,
        ..Default::default()
    }
}

fn map_of(shields: Vec<ShieldNode>) -> watch::Receiver<Arc<ShieldMap>> {
    watch::channel(Arc::new(ShieldMap { generation: 1, shields, store_id: "s".into() })).1
}

fn client(servers: &[&Server]) -> ShieldClient {
    let map = map_of(servers.iter().map(|s| s.node(NodeState::Ready)).collect());
    ShieldClient::new(&credentials(Role::Edge), map, config(), &Registry::new()).unwrap()
}

async fn collect(
    stream: impl Stream<Item = Result<(u64, Bytes), RemoteError>>,
    start: u64,
) -> Result<Bytes, RemoteError> {
    let mut out = Vec::new();
    let mut stream = std::pin::pin!(stream);
    while let Some(slice) = stream.next().await {
        let (at, slice) = slice?;
        assert_eq!(at, start + out.len() as u64, "in order, without gaps");
        out.extend_from_slice(&slice);
    }
    Ok(out.into())
}

fn film() -> ObjectKey {
    ObjectKey::new(bucket(), "films/a.mp4")
}

/// `count` objects whose first segment is at home at `home`, one of `ids`.
fn objects_at(home: &str, ids: &[&str], count: usize) -> Vec<ObjectKey> {
    let ring = ring::Ring::new(ids.iter().map(|id| (*id, 100)));
    let names = (0..).map(|i| ObjectKey::new(bucket(), &format!("films/{i}.mp4")));
    let is_there = |object: &ObjectKey| ring.home(ring::position_of(object, 0)).map(|n| ids[n]) == Some(home);
    names.filter(is_there).take(count).collect()
}

/// All of an object, as it is now.
async fn whole(client: &ShieldClient, object: &ObjectKey) -> Result<Bytes, RemoteError> {
    let info = client.stat(object, None).await?;
    let all = ByteRange::new(0, u64::MAX);
    collect(client.read(&info.id, info.size_bytes, all, Priority::Demand), 0).await
}

/// Makes a shield cache an object.
async fn warm(server: &Server, object: &ObjectKey) {
    whole(&client(&[server]), object).await.unwrap();
}

/// The GETs shields sent, by block: each object is one block or more long.
fn gets(servers: &[&Server]) -> usize {
    servers.iter().map(|s| s.origin.gets().len()).sum()
}

/// Waits until `done`, for at most twenty seconds.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_comes_whole_and_in_order_from_several_shields() {
    let objects = Memory::new();
    let film_bytes = bytes(2 * SEGMENT_BYTES + 12_345);
    let version = objects.put("films/a.mp4", film_bytes.clone());
    let servers: Vec<_> = (0..3).map(|i| Server::start(&format!("shield-{i}"), &objects)).collect();
    let client = client(&servers.iter().collect::<Vec<_>>());
    let info = client.stat(&film(), None).await.unwrap();
    assert_eq!(
        (&*info.id.version, info.size_bytes, &*info.content_type),
        (&*version, film_bytes.len() as u64, "video/x-test")
    );
    for (start, end) in
        [(0, u64::MAX), (5, 6), (MIB - 1, MIB + 1), (SEGMENT_BYTES - 10, SEGMENT_BYTES + 10), (7, 7)]
    {
        let range = ByteRange::new(start, end).clip(info.size_bytes);
        let got = collect(client.read(&info.id, info.size_bytes, range, Priority::Demand), range.start)
            .await
            .unwrap();
        assert!(got == film_bytes.slice(range.start as usize..range.end as usize), "[{start}, {end})");
    }
    // Each byte was fetched once, wherever.
    let fetched: u64 =
        servers.iter().flat_map(|s| s.origin.gets()).map(|r| r.clip(info.size_bytes).len()).sum();
    assert_eq!(fetched, info.size_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_killed_in_mid_stream_costs_no_byte() {
    let objects = Memory::new();
    let film_bytes = bytes(24 * MIB);
    objects.put("films/a.mp4", film_bytes.clone());
    let mut servers: Vec<_> = (0..2).map(|i| Server::start(&format!("shield-{i}"), &objects)).collect();
    let client = client(&servers.iter().collect::<Vec<_>>());
    let info = client.stat(&film(), None).await.unwrap();
    let mut stream =
        std::pin::pin!(client.read(&info.id, info.size_bytes, ByteRange::new(0, u64::MAX), Priority::Demand));
    let mut out = Vec::new();
    while let Some(slice) = timeout(Duration::from_secs(10), stream.next()).await.unwrap() {
        let (at, slice) = slice.unwrap();
        assert_eq!(at, out.len() as u64);
        out.extend_from_slice(&slice);
        if at == 3 * MIB {
            // Whichever serves the first segment.
            let home = servers.iter().position(|s| s.origin.gets().iter().any(|r| r.start == 0)).unwrap();
            servers[home].kill();
        }
    }
    assert!(out == film_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_origin_is_waited_for_at_one_shield() {
    let objects = Memory::new();
    let film_bytes = bytes(MIB);
    objects.put("films/a.mp4", film_bytes.clone());
    let servers: Vec<_> = (0..2).map(|i| Server::start(&format!("shield-{i}"), &objects)).collect();
    let client = client(&servers.iter().collect::<Vec<_>>());
    let info = client.stat(&film(), None).await.unwrap();
    for server in &servers {
        server.origin.inject([Fault::Delay(Duration::from_millis(1_500))]);
    }
    let all = ByteRange::new(0, u64::MAX);
    assert!(collect(client.read(&info.id, MIB, all, Priority::Demand), 0).await.unwrap() == film_bytes);
    assert_eq!(servers.iter().map(|s| s.origin.gets().len()).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_no_other_shield_can_help_come_through() {
    let objects = Memory::new();
    let old = objects.put("films/a.mp4", bytes(2 * MIB));
    let servers: Vec<_> = (0..2).map(|i| Server::start(&format!("shield-{i}"), &objects)).collect();
    let client = client(&servers.iter().collect::<Vec<_>>());
    let missing = ObjectKey::new(bucket(), "films/none.mp4");
    assert_eq!(client.stat(&missing, None).await.unwrap_err().reason, Reason::NotFound);
    let foreign = ObjectKey::new(OriginId::of("other", ""), "films/a.mp4");
    assert_eq!(client.stat(&foreign, None).await.unwrap_err().reason, Reason::UnknownOrigin);
    let info = client.stat(&film(), None).await.unwrap();
    // Replaced: the old version ends, and the next open finds the new one within a second.
    let new = objects.put("films/a.mp4", bytes(3 * MIB));
    let all = ByteRange::new(0, u64::MAX);
    let error = collect(client.read(&info.id, info.size_bytes, all, Priority::Demand), 0).await.unwrap_err();
    assert_eq!(error.reason, Reason::VersionRetired);
    let begun = Instant::now();
    let info = client.stat(&film(), Some(&old)).await.unwrap();
    assert_eq!((info.id.version, info.size_bytes), (new, 3 * MIB));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_is_not_hammered() {
    let objects = Memory::new();
    objects.put("films/a.mp4", bytes(MIB));
    let servers: Vec<_> = (0..3).map(|i| Server::start(&format!("shield-{i}"), &objects)).collect();
    let client = client(&servers.iter().collect::<Vec<_>>());
    let info = client.stat(&film(), None).await.unwrap();
    let down =
        || Fault::Error(crate::origin::OriginError::Server { status: 503, message: "slow down".into() });
    for server in &servers {
        server.origin.inject(std::iter::repeat_with(down).take(10));
    }
    let all = ByteRange::new(0, u64::MAX);
    let error = collect(client.read(&info.id, MIB, all, Priority::Demand), 0).await.unwrap_err();
    assert_eq!(error.reason, Reason::OriginFailed);
    assert_eq!(servers.iter().map(|s| s.origin.gets().len()).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_shield_and_no_living_shield_are_refused_clearly() {
    let map = map_of(Vec::new());
    let client = ShieldClient::new(&credentials(Role::Edge), map, config(), &Registry::new()).unwrap();
    let error = client.stat(&film(), None).await.unwrap_err();
    assert!(error.reason == Reason::Unavailable && error.message.contains("no shield"), "{error}");
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let node = ShieldNode {
        node_id: "a".into(),
        address: gone.to_string(),
        state: NodeState::Ready.into(),
        ..Default::default()
    };
    let client =
        ShieldClient::new(&credentials(Role::Edge), map_of(vec![node]), config(), &Registry::new()).unwrap();
    assert_eq!(client.stat(&film(), None).await.unwrap_err().reason, Reason::Unavailable);
}

#[tokio::test]
async fn a_read_is_small_while_it_waits() {
    let map = map_of(Vec::new());
    let client = ShieldClient::new(&credentials(Role::Edge), map, config(), &Registry::new()).unwrap();
    let version = ObjectVersion { object: film(), version: "v".into() };
    let stream = client.read(&version, 5, ByteRange::new(0, 5), Priority::Demand);
    let size = size_of_val(&stream);
    assert!(size < 10 << 10, "{size} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_refused() {
    let objects = Memory::new();
    objects.put("films/a.mp4", "x");
    let server = Server::start("shield-0", &objects);
    let map = map_of(vec![server.node(NodeState::Ready)]);
    let other = MasterToken::new("another-token-of-16").unwrap().token(Role::Edge, None);
    let client = ShieldClient::new(&other.into(), map, config(), &Registry::new()).unwrap();
    assert_eq!(client.stat(&film(), None).await.unwrap_err().reason, Reason::Unauthenticated);
    assert_eq!(server.origin.heads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_is_followed_and_draining_shields_come_last() {
    let objects = Memory::new();
    objects.put("films/a.mp4", bytes(10));
    let (one, two) = (Server::start("one", &objects), Server::start("two", &objects));
    let (publish, map) = watch::channel(Arc::new(ShieldMap::default()));
    let client = ShieldClient::new(&credentials(Role::Edge), map, config(), &Registry::new()).unwrap();
    assert!(!client.has_shields());
    for (states, heads) in [
        ((NodeState::Ready, NodeState::Joining), (1, 0)),
        ((NodeState::Draining, NodeState::Ready), (1, 1)),
        ((NodeState::Draining, NodeState::Joining), (1, 1)),
    ] {
        let shields = vec![one.node(states.0), two.node(states.1)];
        publish.send_replace(Arc::new(ShieldMap { generation: 2, shields, store_id: "s".into() }));
        client.stat(&film(), None).await.unwrap();
        assert_eq!((one.origin.heads(), two.origin.heads()), heads, "{states:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_refuses_what_makes_no_sense_and_answers_from_the_cache_alone_when_told() {
    let objects = Memory::new();
    let film_bytes = bytes(2 * MIB);
    let version = objects.put("films/a.mp4", film_bytes.clone());
    let server = Server::start("shield-0", &objects);
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect_lazy();
    let mut stub = Stub::with_interceptor(channel.clone(), credentials(Role::Edge).peer());
    let request = |start, end, cache_only| ReadRequest {
        origin_id: bucket().as_str().into(),
        key: "films/a.mp4".into(),
        version: version.to_string(),
        start,
        end,
        cache_only,
        ..Default::default()
    };
    async fn reason(stub: &mut super::channels::Stub, request: ReadRequest) -> Reason {
        let error = match stub.read(request).await {
            Ok(answer) => answer.into_inner().message().await.unwrap_err(),
            Err(error) => error,
        };
        RemoteError::from(error).reason
    }
    assert_eq!(reason(&mut stub, request(5, 5, false)).await, Reason::Invalid);
    assert_eq!(reason(&mut stub, request(0, 2 * MIB + 1, false)).await, Reason::Invalid);
    assert_eq!(reason(&mut stub, request(3 * MIB, 4 * MIB, false)).await, Reason::Invalid);
    let dots = ReadRequest { key: "../x".into(), ..request(0, 1, false) };
    assert_eq!(reason(&mut stub, dots).await, Reason::Invalid);
    let stat = StatRequest {
        origin_id: bucket().as_str().into(),
        key: "films/a.mp4".into(),
        cache_only: true,
        ..Default::default()
    };
    assert_eq!(RemoteError::from(stub.stat(stat.clone()).await.unwrap_err()).reason, Reason::NotCached);

    // Only control may order a purge; it forgets what was read.
    let refused = stub
        .purge(PurgeRequest {
            origin_id: bucket().as_str().into(),
            key_prefix: "films/".into(),
            exact: false,
        })
        .await
        .unwrap_err();
    assert_eq!(RemoteError::from(refused).reason, Reason::Denied);
    let mut control = Stub::with_interceptor(channel, MasterToken::new("a-token-for-tests").unwrap().peer());
    let purge =
        PurgeRequest { origin_id: bucket().as_str().into(), key_prefix: "films/".into(), exact: false };
    control.purge(purge.clone()).await.unwrap();
    assert_eq!(reason(&mut stub, request(0, 1, true)).await, Reason::NotCached);
    let mut stream = stub.read(request(MIB + 5, MIB + 9, false)).await.unwrap().into_inner();
    let message = stream.message().await.unwrap().unwrap();
    assert_eq!(
        (message.offset, message.data.as_ref()),
        (MIB + 5, &film_bytes[MIB as usize + 5..MIB as usize + 9])
    );
    assert_eq!((message.version.as_str(), message.size_bytes), (&*version, 2 * MIB));
    let mut stream = stub.read(request(MIB + 5, MIB + 6, true)).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert_eq!(control.purge(purge).await.unwrap().into_inner().entries, 1);
    assert_eq!(reason(&mut stub, request(MIB + 5, MIB + 6, true)).await, Reason::NotCached);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_credentials_on_one_bucket_never_share_a_block() {
    let objects = Memory::new();
    objects.put("films/a.mp4", bytes(MIB));
    let server = Server::start("shield-0", &objects);
    // The same bucket, read without a credential: S3 refuses.
    let refused = Faulty::new(objects.clone());
    let no = || crate::origin::OriginError::Forbidden("no access".into());
    refused.inject(std::iter::repeat_with(|| Fault::Error(no())).take(9));
    refused.inject_heads(std::iter::repeat_with(no).take(9));
    let anonymous = OriginId::of("bucket.s3.amazonaws.com", "nobody");
    server.shield.add_origin(anonymous.clone(), refused);
    let client = client(&[&server]);
    let info = client.stat(&film(), None).await.unwrap();
    let all = ByteRange::new(0, u64::MAX);
    collect(client.read(&info.id, MIB, all, Priority::Demand), 0).await.unwrap();
    let same = ObjectKey::new(anonymous, "films/a.mp4");
    assert_eq!(client.stat(&same, None).await.unwrap_err().reason, Reason::Forbidden);
    let guessed = ObjectVersion { object: same, version: info.id.version };
    let error = collect(client.read(&guessed, MIB, all, Priority::Demand), 0).await.unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_told_to_stop_lets_streams_end() {
    let objects = Memory::new();
    let film_bytes = bytes(12 * MIB);
    objects.put("films/a.mp4", film_bytes.clone());
    let server = Server::start("shield-0", &objects);
    let client = client(&[&server]);
    let info = client.stat(&film(), None).await.unwrap();
    let all = ByteRange::new(0, u64::MAX);
    let mut stream = std::pin::pin!(client.read(&info.id, info.size_bytes, all, Priority::Demand));
    let (_, first) = stream.next().await.unwrap().unwrap();
    server.stop.cancel();
    let rest = collect(stream, first.len() as u64).await.unwrap();
    assert!(rest == film_bytes.slice(first.len()..));
}
