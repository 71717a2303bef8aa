//! Descriptions over an origin in memory, on paused time.

use proto::object::OriginId;

use super::*;
use crate::origin::fault::Faulty;
use crate::origin::memory::Memory;
use crate::origin::table;

struct Bench {
    stats: Arc<Stats>,
    source: Arc<Source>,
    origin: Faulty,
    objects: Memory,
    object: ObjectKey,
}

fn bench(config: ShieldConfig) -> Bench {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let config = Arc::new(config);
    let objects = Memory::new();
    let origin = Faulty::new(objects.clone());
    let origins = table::Table::new(config.clone(), metrics.clone());
    let id = OriginId::of("bucket", "");
    origins.add(id.clone(), Arc::new(origin.clone()));
    let source = origins.get(&id).unwrap();
    Bench {
        stats: Arc::new(Stats::new(config, metrics)),
        source,
        origin,
        objects,
        object: ObjectKey::new(id, "film"),
    }
}

impl Bench {
    async fn stat(&self, retired: Option<&str>) -> Result<Arc<str>, Reason> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let question = Question { object: &self.object, retired, cache_only: false, deadline };
        self.stats.stat(&self.source, question).await.map(|(d, _)| d.version).map_err(|e| e.reason)
    }

    fn version(&self, version: &Arc<str>) -> ObjectVersion {
        ObjectVersion { object: self.object.clone(), version: version.clone() }
    }
}

fn down() -> OriginError {
    OriginError::Server { status: 503, message: "slow down".into() }
}

#[tokio::test(start_paused = true)]
async fn a_description_is_believed_for_its_time_and_then_checked() {
    let bench = bench(ShieldConfig::default());
    let one = bench.objects.put("film", "one");
    assert_eq!(bench.stat(None).await, Ok(one.clone()));
    let two = bench.objects.put("film", "two!");
    tokio::time::advance(Duration::from_secs(86_399)).await;
    assert_eq!(bench.stat(None).await, Ok(one));
    assert_eq!(bench.origin.heads(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(bench.stat(None).await, Ok(two.clone()));
    tokio::time::advance(Duration::from_secs(86_401)).await;
    assert_eq!(bench.stat(None).await, Ok(two), "unchanged");
    assert_eq!(bench.origin.heads(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_404_is_believed_for_the_negative_time() {
    let bench = bench(ShieldConfig { negative_ttl_s: 300, ..Default::default() });
    assert_eq!(bench.stat(None).await, Err(Reason::NotFound));
    let one = bench.objects.put("film", "one");
    tokio::time::advance(Duration::from_secs(299)).await;
    assert_eq!(bench.stat(None).await, Err(Reason::NotFound));
    assert_eq!(bench.origin.heads(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(bench.stat(None).await, Ok(one));
}

#[tokio::test(start_paused = true)]
async fn a_403_is_believed_too() {
    let bench = bench(ShieldConfig::default());
    bench.objects.put("film", "one");
    bench.origin.inject_heads([OriginError::Forbidden("film".into())]);
    assert_eq!(bench.stat(None).await, Err(Reason::Forbidden));
    assert_eq!(bench.stat(None).await, Err(Reason::Forbidden));
    assert_eq!(bench.origin.heads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failing_origin_leaves_the_stale_description_and_is_not_remembered() {
    let bench = bench(ShieldConfig::default());
    bench.origin.inject_heads([down()]);
    assert_eq!(bench.stat(None).await, Err(Reason::OriginFailed));
    let one = bench.objects.put("film", "one");
    assert_eq!(bench.stat(None).await, Ok(one.clone()));
    tokio::time::advance(Duration::from_secs(90_000)).await;
    bench.origin.inject_heads([down()]);
    assert_eq!(bench.stat(None).await, Ok(one));
    let two = bench.objects.put("film", "two");
    assert_eq!(bench.stat(None).await, Ok(two));
}

#[tokio::test(start_paused = true)]
async fn many_askers_cost_one_head() {
    let bench = bench(ShieldConfig::default());
    let one = bench.objects.put("film", "one");
    let gate = bench.origin.gate();
    let all = futures::future::join_all((0..50).map(|_| bench.stat(None)));
    gate.add_permits(1);
    assert!(all.await.into_iter().all(|v| v == Ok(one.clone())));
    assert_eq!(bench.origin.heads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retired_version_is_not_handed_out_again() {
    let bench = bench(ShieldConfig::default());
    let one = bench.objects.put("film", "one");
    bench.stat(None).await.unwrap();
    let two = bench.objects.put("film", "two");
    tokio::time::advance(Duration::from_millis(1)).await;
    // An edge heard of it at another shield.
    let begun = Instant::now();
    assert_eq!(bench.stat(Some(&one)).await, Ok(two.clone()));
    assert!(begun.elapsed() <= STORM);
    // A hint that is out of date costs nothing.
    assert_eq!(bench.stat(Some(&one)).await, Ok(two.clone()));
    assert_eq!(bench.origin.heads(), 2);
    // This shield's own fill heard of it.
    let three = bench.objects.put("film", "three");
    bench.stats.retire(&bench.version(&two));
    assert_eq!(bench.stat(None).await, Ok(three.clone()));
    assert_eq!(bench.stat(None).await, Ok(three));
    assert_eq!(bench.origin.heads(), 3);
}

#[tokio::test(start_paused = true)]
async fn hints_about_the_current_version_make_no_storm() {
    let bench = bench(ShieldConfig::default());
    let one = bench.objects.put("film", "one");
    let begun = Instant::now();
    tokio::time::advance(Duration::from_millis(1)).await;
    for _ in 0..10 {
        let all = futures::future::join_all((0..20).map(|_| bench.stat(Some(&one)))).await;
        assert!(all.into_iter().all(|v| v == Ok(one.clone())));
    }
    let most = 1 + begun.elapsed().as_millis() / STORM.as_millis();
    assert!(
        u128::from(bench.origin.heads()) <= most,
        "{} heads in {:?}",
        bench.origin.heads(),
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_description_can_be_checked_every_time() {
    let bench = bench(ShieldConfig { revalidate_always: true, ..Default::default() });
    for text in ["one", "two", "three"] {
        let version = bench.objects.put("film", text);
        assert_eq!(bench.stat(None).await, Ok(version));
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_forgets_errors_too() {
    let bench = bench(ShieldConfig::default());
    assert_eq!(bench.stat(None).await, Err(Reason::NotFound));
    let one = bench.objects.put("film", "one");
    assert_eq!(bench.stats.purge(&Scope::whole(&OriginId::of("other", ""))).await, 0);
    let origin = bench.object.origin.as_str();
    for other in [("fil", true), ("film2", false), ("film/", false)] {
        assert_eq!(bench.stats.purge(&Scope::of([(origin, other.0, other.1)])).await, 0, "{other:?}");
        assert_eq!(bench.stat(None).await, Err(Reason::NotFound), "{other:?}");
    }
    assert_eq!(bench.stats.purge(&Scope::of([(origin, "fi", false)])).await, 1);
    assert_eq!(bench.stat(None).await, Ok(one.clone()));
    assert_eq!(bench.stat(None).await, Ok(one));
    let two = bench.objects.put("film", "two!");
    assert_eq!(bench.stats.purge(&Scope::of([(origin, "film", true), (origin, "x", true)])).await, 1);
    assert_eq!(bench.stat(None).await, Ok(two));
}

#[tokio::test(start_paused = true)]
async fn a_slow_origin_meets_the_deadline() {
    let bench = bench(ShieldConfig::default());
    let _gate = bench.origin.gate();
    let begun = Instant::now();
    assert_eq!(bench.stat(None).await, Err(Reason::Deadline));
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
}
