//! Tests of `key_exchanges`.

use bytes::BytesMut;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::rtmp::handshake::client::{ClientHandshake, Variant};
use crate::rtmp::handshake::{HandshakeStep, ServerHandshake};

/// What a client's packet asks to be computed, and who checks the outcome.
fn work() -> (KeyExchange, ServerHandshake) {
    let client = ClientHandshake::new(Variant::Encrypted, &mut StdRng::seed_from_u64(1));
    let mut server = ServerHandshake::new(&mut StdRng::seed_from_u64(2));
    match server.advance(&mut BytesMut::from(&client.hello()[..])) {
        Ok(HandshakeStep::KeyExchange(work)) => (*work, server),
        other => panic!("{other:?}"),
    }
}

fn exchanges(config: RtmpeConfig) -> (KeyExchanges, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    (KeyExchanges::new(&config, metrics.clone()), metrics)
}

fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

#[tokio::test]
async fn the_outcome_comes_back_and_is_metered() {
    let (exchanges, metrics) = exchanges(RtmpeConfig::default());
    let (work, mut server) = work();
    let pending = exchanges.begin(address(1), work).unwrap();
    assert_eq!(metrics.key_exchanges.get(), 1);
    let reply = server.resume(pending.await.unwrap());
    assert_eq!((reply.len(), reply[0]), (3073, 6));
    assert_eq!((metrics.key_exchanges.get(), metrics.key_exchange_seconds.get_sample_count()), (0, 1));
}

#[tokio::test]
async fn past_the_queue_it_is_refused_until_a_place_is_free() {
    let config = RtmpeConfig { dh_concurrency: 1, dh_queue: 2, ..Default::default() };
    let (exchanges, metrics) = exchanges(config);
    let (work, _) = work();
    let mut waiting: Vec<Pending> =
        (0..3).map(|_| exchanges.begin(address(1), work.clone()).unwrap()).collect();
    assert_eq!(exchanges.begin(address(2), work.clone()).err(), Some(Refusal::Queue));
    // A viewer that leaves while it waits gives up its place.
    waiting.pop();
    waiting.push(exchanges.begin(address(2), work.clone()).unwrap());
    assert_eq!(metrics.key_exchanges.get(), 3);
    for pending in waiting {
        assert!(pending.await.is_some());
    }
    assert_eq!(metrics.key_exchanges.get(), 0);
    assert!(exchanges.begin(address(2), work).is_ok());
}

#[tokio::test]
async fn one_that_runs_keeps_its_thread_even_if_nobody_waits() {
    let config = RtmpeConfig { dh_concurrency: 1, dh_queue: 0, ..Default::default() };
    let (exchanges, metrics) = exchanges(config);
    let (work, _) = work();
    let mut pending = exchanges.begin(address(1), work.clone()).unwrap();
    assert!(futures::poll!(&mut pending).is_pending() || metrics.key_exchanges.get() == 0);
    drop(pending);
    // Whether it is still at work or not, the account is right: as soon as none is counted, there is a place.
    while metrics.key_exchanges.get() > 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(10), async {
        while exchanges.begin(address(1), work.clone()).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_address_gets_its_rate_and_two_seconds_worth_at_once() {
    let mut rates = Rates::new(10, 100);
    let mut allowed =
        |host, times: usize| (0..times).filter(|_| rates.allow(address(host), Instant::now())).count();
    assert_eq!(allowed(1, 100), 20);
    assert_eq!(allowed(2, 5), 5, "others are not touched");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(allowed(1, 100), 10);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!((allowed(1, 100), allowed(2, 100)), (20, 20));
}

#[tokio::test(start_paused = true)]
async fn the_table_of_addresses_is_bounded_and_forgets_who_was_quiet() {
    let mut rates = Rates::new(1, 3);
    for host in 0..100 {
        assert!(rates.allow(address(host), Instant::now()));
    }
    assert_eq!(rates.used_until.len(), 3);
    assert!(rates.allow(address(0), Instant::now()) && !rates.allow(address(0), Instant::now()));
    assert!((0..10).all(|_| rates.allow(address(99), Instant::now())), "who has no place is not held up");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(rates.allow(address(99), Instant::now()));
    assert_eq!(rates.used_until.keys().collect::<Vec<_>>(), [&address(99)]);
}

#[test]
fn a_network_of_64_bits_counts_as_one_address() {
    let network = |text: &str| network_of(text.parse().unwrap());
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
    assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
    assert_eq!(network("::ffff:192.0.2.7"), address(7));
    assert_ne!(network("192.0.2.7"), network("192.0.2.8"));
}
