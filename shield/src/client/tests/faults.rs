//! Dead, stopped, flapping and failing shields: how much is asked of whom, and when it ends.

use futures::future::join_all;

use super::relay::{Mode, Relay};
use super::*;
use crate::origin::OriginError;

const IDS: [&str; 2] = ["shield-0", "shield-1"];

/// Two shields, the first behind a relay, and `count` objects of one block at home there.
struct Pair {
    servers: Vec<Server>,
    relay: Relay,
    films: Vec<ObjectKey>,
}

impl Pair {
    async fn start(count: usize) -> Self {
        let objects = Memory::new();
        let films = objects_at(IDS[0], &IDS, count);
        let block = bytes(MIB);
        films.iter().for_each(|film| drop(objects.put(&film.key, block.clone())));
        let servers: Vec<_> = IDS.iter().map(|id| Server::start(id, &objects)).collect();
        let relay = Relay::start(&servers[0].address).await;
        Self { servers, relay, films }
    }

    fn client(&self, config: ClientConfig) -> ShieldClient {
        let mut first = self.servers[0].node(NodeState::Ready);
        first.address.clone_from(&self.relay.address);
        let map = map_of(vec![first, self.servers[1].node(NodeState::Ready)]);
        ShieldClient::new(&credentials(Role::Edge), map, config, &Registry::new()).unwrap()
    }
}

fn attempts(client: &ShieldClient) -> u64 {
    let all = ["ok", "unavailable", "deadline", "internal", "origin-failed", "overloaded", "not-cached"];
    all.iter().map(|reason| client.inner.metrics.attempts.with_label_values(&[reason]).get()).sum()
}

fn down() -> Fault {
    Fault::Error(OriginError::Server { status: 503, message: "slow down".into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_shield_costs_two_seconds_once_and_is_asked_again_when_it_goes_on() {
    let pair = Pair::start(30).await;
    let client = pair.client(ClientConfig::default());
    whole(&client, &pair.films[0]).await.unwrap();
    pair.relay.set(Mode::Silent);
    let begun = Instant::now();
    whole(&client, &pair.films[1]).await.unwrap();
    let first = begun.elapsed();
    assert!((1_700..3_500).contains(&first.as_millis()), "{first:?}");
    assert_eq!(client.inner.metrics.tripped.get(), 1);
    let begun = Instant::now();
    for film in &pair.films[2..12] {
        whole(&client, film).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert_eq!(gets(&[&pair.servers[0]]), 1);
    pair.relay.set(Mode::Pass);
    let mut films = pair.films[12..].iter().cycle();
    until("its return", async || {
        whole(&client, films.next().unwrap()).await.unwrap();
        // A read that was hedged ends before its trial: the shield has been asked, and has yet to have answered.
        gets(&[&pair.servers[0]]) > 1 && client.inner.metrics.tripped.get() == 0
    })
    .await;
    let changes = |to: &str| client.inner.metrics.breaker_changes.with_label_values(&[to]).get();
    assert_eq!((changes("open"), changes("half-open"), changes("closed")), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_lets_one_read_through_and_the_others_elsewhere() {
    let pair = Pair::start(40).await;
    let config = ClientConfig {
        breaker: config::BreakerConfig { open_ms: 200, ..Default::default() },
        ..super::config()
    };
    let client = pair.client(config);
    pair.relay.set(Mode::Cut);
    whole(&client, &pair.films[0]).await.unwrap();
    // The origin of the shield that returns is held up: so is the trial, and until it is over nobody else comes.
    let gate = pair.servers[0].origin.gate();
    let info = client.stat(&pair.films[1], None).await.unwrap();
    pair.relay.set(Mode::Pass);
    let topology = client.inner.topology();
    let node = topology.nodes().find(|n| n.id == IDS[0]).unwrap();
    until("half-open", async || {
        client.inner.askable(&topology, &pair.films[0], 0);
        client.inner.metrics.breaker_changes.with_label_values(&["half-open"]).get() == 1
    })
    .await;
    let all = ByteRange::new(0, u64::MAX);
    let read = |film: &ObjectKey| {
        let id = ObjectVersion { object: film.clone(), version: info.id.version.clone() };
        collect(client.read(&id, MIB, all, Priority::Demand), 0)
    };
    let trial = tokio::spawn(read(&pair.films[1]));
    until("the trial", async || gets(&[&pair.servers[0]]) == 1).await;
    for done in join_all(pair.films[2..].iter().map(read)).await {
        done.unwrap();
    }
    assert_eq!(gets(&[&pair.servers[0]]), 1);
    assert!(node.breaker.is_tripped());
    gate.add_permits(1_000);
    trial.await.unwrap().unwrap();
    assert!(!node.breaker.is_tripped());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flapping_shield_is_asked_less_and_less_and_no_read_fails() {
    let pair = Pair::start(100).await;
    let config = ClientConfig {
        breaker: config::BreakerConfig { open_ms: 100, open_most_ms: 60_000, ..Default::default() },
        ..super::config()
    };
    let client = pair.client(config);
    let begun = Instant::now();
    for (i, film) in pair.films.iter().enumerate() {
        pair.relay.set(if i % 4 < 2 { Mode::Cut } else { Mode::Pass });
        whole(&client, film).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let opened = client.inner.metrics.breaker_changes.with_label_values(&["open"]).get();
    // Each time it opened it stays so for at least half of 100, 200, 400 ... ms.
    let most = 2 + (1 + begun.elapsed().as_millis() as u64 / 50).ilog2() as u64;
    assert!((1..=most).contains(&opened), "{opened} times in {:?}", begun.elapsed());
    assert!(gets(&[&pair.servers[0]]) < pair.films.len() / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_all_shields_dead_little_is_asked_and_each_read_ends_clearly() {
    let objects = Memory::new();
    objects.put("films/a.mp4", bytes(MIB));
    let server = Server::start(IDS[0], &objects);
    let mut relays = Vec::new();
    for _ in 0..3 {
        relays.push(Relay::start(&server.address).await);
    }
    let node = |(i, relay): (usize, &Relay)| {
        let mut node = server.node(NodeState::Ready);
        (node.node_id, node.address) = (format!("shield-{i}"), relay.address.clone());
        node
    };
    let map = map_of(relays.iter().enumerate().map(node).collect());
    let client = ShieldClient::new(&credentials(Role::Edge), map, config(), &Registry::new()).unwrap();
    let info = client.stat(&film(), None).await.unwrap();
    relays.iter().for_each(|relay| relay.set(Mode::Cut));
    let before = (attempts(&client), relays.iter().map(Relay::accepted).sum::<u64>());
    let begun = Instant::now();
    let all = ByteRange::new(0, u64::MAX);
    let reads = (0..100).map(|_| collect(client.read(&info.id, MIB, all, Priority::Demand), 0));
    for read in join_all(reads).await {
        let error = read.unwrap_err();
        assert_eq!(error.reason, Reason::Unavailable, "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    // Each read may find each shield dead once; then there are only probes.
    assert!(attempts(&client) - before.0 <= 300, "{} attempts", attempts(&client) - before.0);
    let before = attempts(&client);
    for _ in 0..3 {
        whole(&client, &film()).await.unwrap_err();
    }
    assert_eq!(attempts(&client), before, "while all are left alone, none is asked");
    let probed = client.inner.metrics.probes.with_label_values(&["dead"]).get();
    let seconds = begun.elapsed().as_secs() + 1;
    assert!(probed <= 3 * 2 * seconds, "{probed} probes in {seconds} s");
    // One is back: the next read finds it without waiting for its turn.
    relays[1].set(Mode::Pass);
    until("a read", async || whole(&client, &film()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_of_living_shields_stay_within_their_budget() {
    let pair = Pair::start(100).await;
    let retry = config::Retry { percent: 20, burst: 5, ..Default::default() };
    let client = pair.client(ClientConfig { retry, ..super::config() });
    let mut infos = Vec::new();
    for film in &pair.films {
        infos.push(client.stat(film, None).await.unwrap());
    }
    for server in &pair.servers {
        server.origin.inject(std::iter::repeat_with(down).take(300));
    }
    let all = ByteRange::new(0, u64::MAX);
    for info in &infos {
        let error = collect(client.read(&info.id, MIB, all, Priority::Demand), 0).await.unwrap_err();
        assert_eq!(error.reason, Reason::OriginFailed);
    }
    // One each, five saved up, a fifth of them twice.
    let sent = gets(&[&pair.servers[0], &pair.servers[1]]);
    assert!((120..=126).contains(&sent), "{sent} GETs for 100 reads");
    assert_eq!(client.inner.metrics.tripped.get(), 0, "an origin's failure says nothing of a shield");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_progress_ends_at_its_deadline_and_one_that_is_not_read_from_does_not() {
    let pair = Pair::start(1).await;
    let client = pair.client(ClientConfig { deadline_ms: 900, ..super::config() });
    let info = client.stat(&pair.films[0], None).await.unwrap();
    let gates: Vec<_> = pair.servers.iter().map(|s| s.origin.gate()).collect();
    let all = ByteRange::new(0, u64::MAX);
    let begun = Instant::now();
    let error = collect(client.read(&info.id, MIB, all, Priority::Demand), 0).await.unwrap_err();
    assert_eq!(error.reason, Reason::Deadline, "{error}");
    assert!((850..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    gates.iter().for_each(|gate| gate.add_permits(100));
    // Its consumer pauses for longer than the deadline between two slices.
    let objects = Memory::new();
    objects.put("films/a.mp4", bytes(4 * MIB));
    let server = Server::start("shield-0", &objects);
    let map = map_of(vec![server.node(NodeState::Ready)]);
    let config = ClientConfig { deadline_ms: 300, ..super::config() };
    let client = ShieldClient::new(&credentials(Role::Edge), map, config, &Registry::new()).unwrap();
    let info = client.stat(&film(), None).await.unwrap();
    let mut stream = std::pin::pin!(client.read(&info.id, 4 * MIB, all, Priority::Demand));
    let (_, first) = stream.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(collect(stream, first.len() as u64).await.unwrap().len() as u64, 4 * MIB - first.len() as u64);
}
