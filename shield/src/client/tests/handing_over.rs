//! Changes of the map: what moves, who asks whom, and that S3 is not read again for it.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::join_all;

use super::*;

const FILM_BYTES: u64 = 2 * SEGMENT_BYTES + 12_345;

/// Every film's bytes; made once, as that takes a second.
fn film_bytes() -> Bytes {
    static BYTES: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| bytes(FILM_BYTES)).clone()
}

struct Cluster {
    servers: Vec<Server>,
    map: watch::Sender<Arc<ShieldMap>>,
    films: Vec<ObjectKey>,
    objects: Memory,
}

impl Cluster {
    /// `count` shields that know of each other, none of them in the map, and `films` films.
    fn start(count: usize, films: usize) -> Self {
        let objects = Memory::new();
        let films: Vec<_> = (0..films).map(|i| ObjectKey::new(bucket(), &format!("films/{i}.mp4"))).collect();
        films.iter().for_each(|film| drop(objects.put(&film.key, film_bytes())));
        let map = watch::channel(Arc::new(ShieldMap::default())).0;
        let servers: Vec<_> = (0..count).map(|i| Server::start(&format!("shield-{i}"), &objects)).collect();
        let cluster = Self { servers, map, films, objects };
        cluster.servers.iter().for_each(|server| cluster.introduce(server));
        cluster
    }

    fn introduce(&self, server: &Server) {
        let runtime = server.runtime.as_ref().unwrap().handle().clone();
        let _inside = runtime.enter();
        server
            .shield
            .follow_map(&server.id, &credentials(Role::Shield), self.map.subscribe(), None, &Registry::new())
            .unwrap();
    }

    fn publish(&self, states: &[(usize, NodeState)]) {
        let generation = self.map.borrow().generation + 1;
        let shields = states.iter().map(|(i, state)| self.servers[*i].node(*state)).collect();
        self.map.send_replace(Arc::new(ShieldMap { generation, shields, store_id: "s".into() }));
    }

    fn ready(&self, ids: &[usize]) {
        self.publish(&ids.iter().map(|i| (*i, NodeState::Ready)).collect::<Vec<_>>());
    }

    fn client(&self) -> ShieldClient {
        ShieldClient::new(&credentials(Role::Edge), self.map.subscribe(), config(), &Registry::new()).unwrap()
    }

    async fn read_all(&self, client: &ShieldClient) {
        for film in &self.films {
            assert!(whole(client, film).await.unwrap() == film_bytes());
        }
    }

    /// How often each block was fetched: ranges don't name their film, so all films are taken together.
    fn fetched_blocks(&self) -> BTreeMap<u64, u64> {
        let mut blocks = BTreeMap::new();
        for get in self.servers.iter().flat_map(|server| server.origin.gets()) {
            get.clip(FILM_BYTES).blocks().for_each(|block| *blocks.entry(block).or_default() += 1);
        }
        blocks
    }

    fn received(&self) -> u64 {
        self.servers.iter().map(|server| server.shield.metrics.owner_bytes.get()).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_that_joins_and_one_that_leaves_cost_s3_nothing() {
    let cluster = Cluster::start(3, 3);
    cluster.ready(&[0, 1]);
    let client = cluster.client();
    cluster.read_all(&client).await;
    let once: BTreeMap<u64, u64> = (0..ByteRange::new(0, FILM_BYTES).blocks().end).map(|b| (b, 3)).collect();
    assert_eq!(cluster.fetched_blocks(), once);
    let asked = cluster.received();
    assert_eq!(asked, 0);
    // The third joins: a third of the segments move to it, from the caches of the others.
    cluster.ready(&[0, 1, 2]);
    cluster.read_all(&client).await;
    assert_eq!(cluster.fetched_blocks(), once);
    let moved = cluster.received();
    assert!(moved > 0 && cluster.servers[2].shield.metrics.served_bytes.get() > 0);
    // The first leaves: it drains, and those who take over ask it.
    cluster.publish(&[(0, NodeState::Draining), (1, NodeState::Ready), (2, NodeState::Ready)]);
    cluster.read_all(&client).await;
    assert_eq!(cluster.fetched_blocks(), once);
    assert!(cluster.received() > moved);
    // Now they have all of it: it may go, and nobody is asked any more.
    let moved = cluster.received();
    cluster.ready(&[1, 2]);
    cluster.read_all(&client).await;
    assert_eq!((cluster.fetched_blocks(), cluster.received()), (once, moved));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_that_restarts_cold_takes_from_the_one_that_stood_in() {
    let mut cluster = Cluster::start(2, 3);
    cluster.ready(&[0]);
    let client = cluster.client();
    cluster.read_all(&client).await;
    let before = cluster.fetched_blocks();
    // The second is new to the map and to itself: it knows of no map without it.
    cluster.servers[1] = Server::start("shield-1", &cluster.objects);
    cluster.ready(&[0, 1]);
    cluster.introduce(&cluster.servers[1]);
    let client = cluster.client();
    cluster.read_all(&client).await;
    assert_eq!(cluster.fetched_blocks(), before);
    assert!(cluster.servers[1].shield.metrics.served_bytes.get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_with_different_maps_are_all_answered_and_blocks_are_not_filled_twice() {
    let cluster = Cluster::start(3, 3);
    cluster.ready(&[0, 1]);
    // An edge that will not hear of the change.
    let (_old, behind) = watch::channel(cluster.map.borrow().clone());
    let stale = ShieldClient::new(&credentials(Role::Edge), behind, config(), &Registry::new()).unwrap();
    let fresh = cluster.client();
    cluster.ready(&[0, 1, 2]);
    for server in &cluster.servers {
        server.origin.inject(vec![Fault::Delay(Duration::from_millis(60)); 200]);
    }
    let reads =
        cluster.films.iter().flat_map(|film| [whole(&stale, film).boxed(), whole(&fresh, film).boxed()]);
    for read in join_all(reads).await {
        assert!(read.unwrap() == film_bytes());
    }
    let fetched: u64 = cluster.fetched_blocks().values().sum();
    let blocks = 3 * ByteRange::new(0, FILM_BYTES).blocks().end;
    // Two shields that miss the same block within one round trip of each other may both go to S3.
    assert!((blocks..=blocks + blocks / 10).contains(&fetched), "{fetched} blocks fetched of {blocks}");
    assert!(cluster.received() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_asks_the_home_that_only_its_edge_cannot_reach() {
    let cluster = Cluster::start(2, 1);
    cluster.ready(&[0, 1]);
    cluster.read_all(&cluster.client()).await;
    let before = cluster.fetched_blocks();
    // To this edge the first shield is dead.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut map = ShieldMap::clone(&cluster.map.borrow());
    map.shields[0].address = gone.to_string();
    let (_keep, map) = watch::channel(Arc::new(map));
    let cut_off = ShieldClient::new(&credentials(Role::Edge), map, config(), &Registry::new()).unwrap();
    cluster.read_all(&cut_off).await;
    assert_eq!(cluster.fetched_blocks(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_stopped_delays_a_fill_but_fails_none() {
    let mut cluster = Cluster::start(2, 2);
    cluster.ready(&[0]);
    cluster.read_all(&cluster.client()).await;
    cluster.servers[0].kill();
    // It has left a map in which it still is.
    cluster.ready(&[0, 1]);
    let begun = Instant::now();
    cluster.read_all(&cluster.client()).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_under_way_stays_on_its_stream_when_the_map_changes() {
    let cluster = Cluster::start(2, 1);
    let film = &cluster.films[0];
    cluster.ready(&[0]);
    let client = cluster.client();
    let info = client.stat(film, None).await.unwrap();
    let all = ByteRange::new(0, u64::MAX);
    let mut stream = std::pin::pin!(client.read(&info.id, info.size_bytes, all, Priority::Demand));
    let (_, first) = stream.next().await.unwrap().unwrap();
    // The only shield leaves the map; the new one has nothing.
    cluster.ready(&[1]);
    let rest = collect(stream, first.len() as u64).await.unwrap();
    assert!(rest == film_bytes().slice(first.len()..));
    let served = |i: usize| cluster.servers[i].shield.metrics.served_bytes.get();
    assert!(served(0) >= SEGMENT_BYTES, "the segment it was in the midst of: {}", served(0));
    assert_eq!(served(1), FILM_BYTES - SEGMENT_BYTES, "all that came after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_that_returns_is_eased_in_while_the_one_before_answers_from_its_cache() {
    let cluster = Cluster::start(2, 0);
    let ids = ["shield-0", "shield-1"];
    let films = objects_at("shield-1", &ids, 60);
    let block = bytes(MIB);
    films.iter().for_each(|film| drop(cluster.objects.put(&film.key, block.clone())));
    cluster.ready(&[0]);
    let slow_start = config::SlowStart { ms: 60_000, first: 2, last: 3, wait_ms: 100 };
    let config = ClientConfig { slow_start, ..config() };
    let client =
        ShieldClient::new(&credentials(Role::Edge), cluster.map.subscribe(), config, &Registry::new())
            .unwrap();
    let mut infos = Vec::new();
    for film in &films {
        infos.push(client.stat(film, None).await.unwrap());
    }
    let all = ByteRange::new(0, u64::MAX);
    let read = |info: &ObjectInfo| collect(client.read(&info.id, MIB, all, Priority::Demand), 0);
    // All but the last ten are cached by the one that was alone.
    for info in &infos[..50] {
        read(info).await.unwrap();
    }
    cluster.ready(&[0, 1]);
    for got in join_all(infos.iter().map(read)).await {
        assert!(got.unwrap() == bytes(MIB));
    }
    let eased = client.inner.metrics.eased.get();
    assert!(eased >= 20, "{eased} of 60 found no room");
    let served = cluster.servers[1].shield.metrics.served_bytes.get() / MIB;
    assert!((10..=40).contains(&served), "{served} of 60 were served by the one that returned");
    // The ten that nobody had were fetched by their home alone; no block was fetched twice.
    assert_eq!(cluster.servers[0].origin.gets().len(), 50);
    assert_eq!(cluster.servers[1].origin.gets().len(), 10);
}
