//! Keys as they come, age, are refused and stay away; what gives them is a script.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use prometheus::Registry;
use proto::clock::SetClock;
use tokio::sync::Semaphore;

use super::*;

const T0: u64 = 1_700_000_000_000;

/// What the next load gives: an id and when it ends, an error, or a panic.
enum Next {
    Keys(&'static str, Option<u64>),
    Nothing(&'static str),
    Panic,
}

/// Gives what it was told, in turn, each when it is let.
struct Script {
    next: Arc<Mutex<VecDeque<Next>>>,
    asked: Arc<AtomicUsize>,
    let_go: Arc<Semaphore>,
}

impl Source for Script {
    fn load(&self) -> BoxFuture<'static, Result<Credentials, RoleError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (next, let_go) = (self.next.lock().unwrap().pop_front(), self.let_go.clone());
        async move {
            let_go.acquire().await.unwrap().forget();
            match next.expect("asked more often than the script goes") {
                Next::Nothing(why) => Err(RoleError::new(why)),
                Next::Panic => panic!("as told"),
                Next::Keys(id, ends_ms) => {
                    let ends = ends_ms.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
                    Ok(Credentials::new(id, "hush", Some("hush-too".into()), ends, "script"))
                }
            }
        }
        .boxed()
    }
}

struct Bench {
    role: PlatformRole,
    clock: Arc<SetClock>,
    asked: Arc<AtomicUsize>,
    let_go: Arc<Semaphore>,
    registry: Registry,
}

fn bench(script: impl IntoIterator<Item = Next>) -> Bench {
    let (clock, registry) = (SetClock::at_ms(T0), Registry::new());
    let (asked, let_go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1000)));
    let next = Arc::new(Mutex::new(script.into_iter().collect()));
    let source = Script { next, asked: asked.clone(), let_go: let_go.clone() };
    let metrics = RoleMetrics::new(&registry, "penstock_test").unwrap();
    let role = PlatformRole::of(Box::new(source), clock.clone(), Some(metrics));
    Bench { role, clock, asked, let_go, registry }
}

impl Bench {
    async fn id(&self) -> Result<String, String> {
        let keys = self.role.credentials().await;
        keys.map(|keys| keys.access_key_id().to_owned()).map_err(|error| error.to_string())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets tasks run until the keys held are those.
    async fn until_held(&self, id: &str) {
        for _ in 0..1000 {
            if self.role.key_id().as_deref() == Some(id) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{id} never came");
    }

    fn sample(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("penstock_test_{name}")).unwrap();
        let of = |m: &prometheus::proto::Metric| m.get_counter().get_value() + m.get_gauge().get_value();
        family.get_metric().iter().map(of).sum()
    }
}

/// So long, in minutes.
const MINUTE: u64 = 60_000;

#[tokio::test(start_paused = true)]
async fn keys_are_asked_for_when_needed_and_refreshed_while_they_are_valid() {
    let ends = |minutes: u64| Some(T0 + minutes * MINUTE);
    let bench = bench([Next::Keys("one", ends(60)), Next::Keys("two", ends(120))]);
    assert_eq!((bench.asked(), bench.role.key_id()), (0, None));
    assert_eq!(bench.id().await.unwrap(), "one");
    bench.clock.set_ms(T0 + 54 * MINUTE);
    assert_eq!((bench.id().await.unwrap().as_str(), bench.asked()), ("one", 1));
    // Five minutes before the end the old ones are still given while others are on their way.
    bench.let_go.forget_permits(usize::MAX);
    bench.clock.set_ms(T0 + 56 * MINUTE);
    for _ in 0..20 {
        assert_eq!(bench.id().await.unwrap(), "one");
    }
    bench.let_go.add_permits(1);
    bench.until_held("two").await;
    assert_eq!((bench.id().await.unwrap().as_str(), bench.asked()), ("two", 2));
    assert_eq!(bench.sample("role_expiry_timestamp_seconds"), ((T0 + 120 * MINUTE) / 1000) as f64);
    assert_eq!(bench.sample("role_loads_total"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_share_one_load_and_one_who_leaves_does_not_end_it() {
    let bench = bench([Next::Keys("one", None)]);
    bench.let_go.forget_permits(usize::MAX);
    let impatient = tokio::time::timeout(Duration::from_millis(1), bench.id()).await;
    assert!(impatient.is_err());
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let role = bench.role.clone();
            tokio::spawn(async move { role.credentials().await.unwrap().access_key_id().to_owned() })
        })
        .collect();
    tokio::task::yield_now().await;
    bench.let_go.add_permits(1);
    for one in waiting {
        assert_eq!(one.await.unwrap(), "one");
    }
    assert_eq!(bench.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_to_all_for_a_while_and_then_asked_again() {
    let bench = bench([Next::Nothing("as told"), Next::Panic, Next::Keys("one", None)]);
    for _ in 0..20 {
        assert_eq!(bench.id().await.unwrap_err(), "the platform gives this node no keys: as told");
    }
    assert_eq!(bench.asked(), 1);
    tokio::time::sleep(REST).await;
    assert!(bench.id().await.unwrap_err().contains("broke off"));
    tokio::time::sleep(REST).await;
    assert_eq!((bench.id().await.unwrap().as_str(), bench.asked()), ("one", 3));
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_says_nothing_is_given_up_in_time() {
    let bench = bench([Next::Keys("late", None), Next::Keys("one", None)]);
    bench.let_go.forget_permits(usize::MAX);
    let began = Instant::now();
    assert!(bench.id().await.unwrap_err().contains("no answer within 10 s"));
    assert_eq!(began.elapsed().as_secs(), LOAD.as_secs());
    bench.let_go.add_permits(1);
    tokio::time::sleep(REST).await;
    assert_eq!(bench.id().await.unwrap(), "one");
}

#[tokio::test(start_paused = true)]
async fn old_keys_serve_to_their_end_when_no_others_come() {
    let nothing = || Next::Nothing("away");
    let bench = bench([Next::Keys("one", Some(T0 + 9 * MINUTE)), nothing(), nothing(), nothing()]);
    assert_eq!(bench.id().await.unwrap(), "one");
    bench.clock.set_ms(T0 + 6 * MINUTE + 1);
    assert_eq!(bench.id().await.unwrap(), "one");
    tokio::time::sleep(Duration::from_millis(1)).await;
    // Failing does not have it asked for each request.
    for _ in 0..20 {
        assert_eq!((bench.id().await.unwrap().as_str(), bench.asked()), ("one", 2));
    }
    tokio::time::sleep(REST).await;
    assert_eq!(bench.id().await.unwrap(), "one");
    tokio::time::sleep(REST).await;
    assert_eq!(bench.asked(), 3);
    bench.clock.set_ms(T0 + 9 * MINUTE - MARGIN_MS);
    assert_eq!(bench.id().await.unwrap_err(), "the platform gives this node no keys: away");
}

#[tokio::test(start_paused = true)]
async fn refused_keys_are_not_used_again_unless_the_platform_insists() {
    let bench = bench([Next::Keys("one", None), Next::Keys("two", None), Next::Keys("two", None)]);
    assert_eq!(bench.id().await.unwrap(), "one");
    // Just come: the endpoint's trouble is not the keys'.
    assert!(bench.role.instead_of("one").await.is_none());
    assert_eq!(bench.asked(), 1);
    tokio::time::sleep(REST).await;
    bench.role.refused("another");
    assert_eq!((bench.id().await.unwrap().as_str(), bench.asked()), ("one", 1));
    let other = bench.role.instead_of("one").await.unwrap();
    assert_eq!((other.access_key_id(), bench.asked()), ("two", 2));
    tokio::time::sleep(REST).await;
    assert!(bench.role.instead_of("two").await.is_none(), "the same again");
    assert_eq!((bench.id().await.unwrap().as_str(), bench.asked()), ("two", 3));
}

#[tokio::test(start_paused = true)]
async fn keys_that_have_ended_are_none_and_short_lived_ones_are_refreshed_in_time() {
    let bench = bench([
        Next::Keys("past", Some(T0)),
        Next::Keys("short", Some(T0 + 12_000)),
        Next::Keys("next", Some(T0 + 24_000)),
    ]);
    assert!(bench.id().await.unwrap_err().contains("have expired"));
    tokio::time::sleep(REST).await;
    assert_eq!(bench.id().await.unwrap(), "short");
    bench.clock.set_ms(T0 + 7_999);
    assert_eq!((bench.id().await.unwrap().as_str(), bench.asked()), ("short", 2));
    bench.clock.set_ms(T0 + 8_001);
    assert_eq!(bench.id().await.unwrap(), "short");
    bench.until_held("next").await;
}

#[tokio::test]
async fn its_error_is_found_behind_others_and_nothing_shows_a_secret() {
    let bench = bench([Next::Keys("one", None), Next::Nothing("away")]);
    let keys = bench.role.provide_credentials().await.unwrap();
    assert!(!format!("{keys:?} {:?}", bench.role).contains("hush"));
    let error = CredentialsError::provider_error(RoleError::new("away"));
    assert_eq!(RoleError::behind(&error), Some(&RoleError::new("away")));
    assert_eq!(RoleError::behind(&std::io::Error::other("else")), None);
}
