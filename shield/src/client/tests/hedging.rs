//! Slow shields: hedges, their budget, and who may read S3 in place of whom.

use futures::future::join_all;

use super::relay::{Mode, Relay};
use super::*;

const IDS: [&str; 2] = ["shield-0", "shield-1"];

fn eager() -> ClientConfig {
    let hedge = config::Hedge { floor_ms: 30, ceiling_ms: 100, samples: 1, ..Default::default() };
    ClientConfig { hedge, ..config() }
}

fn hedges(client: &ShieldClient, outcome: &str) -> u64 {
    client.inner.metrics.hedges.with_label_values(&[outcome]).get()
}

struct Pair {
    home: Server,
    other: Server,
    films: Vec<ObjectKey>,
    size: u64,
}

impl Pair {
    /// Two shields and `count` films at home at the first.
    fn start(count: usize, size: u64) -> Self {
        let objects = Memory::new();
        let films = objects_at(IDS[0], &IDS, count);
        let film_bytes = bytes(size);
        films.iter().for_each(|film| drop(objects.put(&film.key, film_bytes.clone())));
        let [home, other] = IDS.map(|id| Server::start(id, &objects));
        Self { home, other, films, size }
    }

    /// A client that has read the first film, so that it knows how fast that goes.
    async fn client(&self, config: ClientConfig) -> ShieldClient {
        let map = map_of(vec![self.home.node(NodeState::Ready), self.other.node(NodeState::Ready)]);
        let client = ShieldClient::new(&credentials(Role::Edge), map, config, &Registry::new()).unwrap();
        whole(&client, &self.films[0]).await.unwrap();
        client
    }

    /// Reads a film whose version is known to be that of the first.
    async fn read(&self, client: &ShieldClient, film: &ObjectKey) -> Result<Bytes, RemoteError> {
        let info = client.stat(film, None).await?;
        let all = ByteRange::new(0, u64::MAX);
        collect(client.read(&info.id, self.size, all, Priority::Demand), 0).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_home_is_overtaken_by_a_shield_that_has_the_bytes() {
    let pair = Pair::start(2, 3 * MIB);
    warm(&pair.other, &pair.films[1]).await;
    let client = pair.client(eager()).await;
    let info = client.stat(&pair.films[1], None).await.unwrap();
    let _held = pair.home.origin.gate();
    let begun = Instant::now();
    let all = ByteRange::new(0, u64::MAX);
    let got = collect(client.read(&info.id, pair.size, all, Priority::Demand), 0).await.unwrap();
    assert!(got == bytes(pair.size));
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert_eq!((hedges(&client, "won"), hedges(&client, "not-cached")), (1, 0));
    assert_eq!(gets(&[&pair.other]), 1, "only what warmed it");
    // Read-ahead has time.
    let mut ahead = std::pin::pin!(client.read(&info.id, pair.size, all, Priority::ReadAhead));
    assert!(timeout(Duration::from_millis(400), ahead.next()).await.is_err());
    assert_eq!(hedges(&client, "won"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_cached_is_waited_for_at_home() {
    let pair = Pair::start(2, MIB);
    let client = pair.client(eager()).await;
    pair.home.origin.inject([Fault::Delay(Duration::from_millis(700))]);
    assert!(pair.read(&client, &pair.films[1]).await.unwrap() == bytes(MIB));
    assert_eq!((hedges(&client, "won"), hedges(&client, "not-cached")), (0, 1));
    assert_eq!((gets(&[&pair.home]), gets(&[&pair.other])), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hedge_that_has_only_the_beginning_hands_back_to_the_home() {
    let pair = Pair::start(2, 12 * MIB);
    let client = pair.client(eager()).await;
    // The other holds the first four blocks.
    let info = client.stat(&pair.films[1], None).await.unwrap();
    let only = super::client(&[&pair.other]);
    let start = ByteRange::new(0, 4 * MIB);
    collect(only.read(&info.id, pair.size, start, Priority::Demand), 0).await.unwrap();
    let warmed = pair.other.origin.gets().len();
    let gate = pair.home.origin.gate();
    let open = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(600)).await;
        gate.add_permits(100);
    });
    assert!(pair.read(&client, &pair.films[1]).await.unwrap() == bytes(pair.size));
    open.await.unwrap();
    assert_eq!(hedges(&client, "won"), 1);
    assert_eq!(pair.other.origin.gets().len(), warmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_origin_does_not_double_the_load_of_shields() {
    let pair = Pair::start(121, 1000);
    let hedge = config::Hedge { burst: 2, floor_ms: 5, ceiling_ms: 10, samples: 1, ..Default::default() };
    let client = pair.client(ClientConfig { hedge, ..config() }).await;
    pair.home.origin.inject(vec![Fault::Delay(Duration::from_millis(150)); 120]);
    for films in pair.films[1..].chunks(20) {
        for read in join_all(films.iter().map(|film| pair.read(&client, film))).await {
            read.unwrap();
        }
    }
    let sent: u64 = ["won", "not-cached", "late", "failed"].iter().map(|how| hedges(&client, how)).sum();
    // Two saved up and one in twenty of 121.
    assert!((6..=8).contains(&sent), "{sent} hedges for 120 slow reads");
    assert!(client.inner.metrics.hedges_refused.get() >= 100);
    assert_eq!((gets(&[&pair.home]), gets(&[&pair.other])), (121, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_at_a_hundredth_of_its_speed_is_overtaken_in_mid_stream() {
    let pair = Pair::start(2, 6 * MIB);
    warm(&pair.other, &pair.films[1]).await;
    let relay = Relay::start(&pair.home.address).await;
    let mut slow = pair.home.node(NodeState::Ready);
    slow.address.clone_from(&relay.address);
    let map = map_of(vec![slow, pair.other.node(NodeState::Ready)]);
    let client = ShieldClient::new(&credentials(Role::Edge), map, eager(), &Registry::new()).unwrap();
    let info = client.stat(&pair.films[1], None).await.unwrap();
    let all = ByteRange::new(0, u64::MAX);
    let mut stream = std::pin::pin!(client.read(&info.id, pair.size, all, Priority::Demand));
    let (_, first) = stream.next().await.unwrap().unwrap();
    // A block a minute; some of the next are in sockets' buffers already.
    relay.set(Mode::Rate(20_000));
    let begun = Instant::now();
    let rest = collect(stream, first.len() as u64).await.unwrap();
    assert!(rest == bytes(pair.size).slice(first.len()..));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_too_slow_to_wait_for_is_replaced_from_a_cache_first() {
    let pair = Pair::start(3, MIB);
    warm(&pair.other, &pair.films[1]).await;
    let hedge = config::Hedge { percent: 0, ..Default::default() };
    let client = pair.client(ClientConfig { hedge, first_message_ms: 500, ..config() }).await;
    let _held = pair.home.origin.gate();
    let info = |film: &ObjectKey| ObjectVersion { object: film.clone(), version: pair.version() };
    let all = ByteRange::new(0, u64::MAX);
    for (film, more) in [(&pair.films[1], 0), (&pair.films[2], 1)] {
        let before = gets(&[&pair.other]);
        let got = collect(client.read(&info(film), MIB, all, Priority::Demand), 0).await.unwrap();
        assert!(got == bytes(MIB));
        assert_eq!(gets(&[&pair.other]) - before, more, "S3 is read only for what is cached nowhere");
    }
    assert_eq!(client.inner.metrics.attempts.with_label_values(&["not-cached"]).get(), 1);
    assert_eq!(client.inner.metrics.tripped.get(), 0, "its origin is slow, and it says so itself");
}

impl Pair {
    /// Of every film: their bytes are the same.
    fn version(&self) -> Arc<str> {
        Memory::new().put("x", bytes(self.size))
    }
}
