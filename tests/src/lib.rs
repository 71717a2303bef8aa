//! What the end-to-end tests are built from.
//!
//! The product runs as the processes an operator starts ([`standalone`], [`cluster`]); viewers are the players people use
//! ([`players`]) or a scripted socket ([`wire`]). Nothing here links a crate of the product, so a mistake in the edge's chunk
//! writer can't be hidden by the same mistake in the reader that checks it. A [`tunnel`] carries either through HTTP.
//!
//! Bad networks are [`netns`] (namespaces of the test's own: loss, reordering, rates, cuts, black holes) and [`relay`] (delay); what stands between
//! two boxes is a [`splice`], and [`deaf`] keeps the config from a node. Many viewers at once are a [`crowd`]. [`red5`] says what that one of the players must see, over any variant.
//! Operators' clients are in [`api`]; access logs are read by [`logs`]. A [`platform`] gives nodes keys of their own.
//!
//! Where things come from: binaries from `PENSTOCK_BIN_DIR` (else the folder cargo built this test into), media from
//! `tests/media/make` (into `PENSTOCK_TEST_MEDIA`, else cargo's target folder). Counts that a long run raises are read by
//! [`scale`].

pub mod api;
pub mod authority;
pub mod broken;
pub mod cluster;
pub mod counting_proxy;
pub mod crowd;
pub mod deaf;
pub mod etcd;
pub mod faulty_s3;
pub mod flv;
pub mod http;
pub mod link;
pub mod log_chaos;
pub mod logs;
pub mod media;
pub mod netns;
pub mod packets;
pub mod platform;
pub mod players;
pub mod process;
pub mod red5;
pub mod relay;
pub mod rml;
pub mod s3;
pub mod scratch;
pub mod splice;
pub mod standalone;
pub mod tls;
pub mod tokens;
pub mod tunnel;
pub mod viewer;
pub mod wire;

use std::time::{Duration, Instant};

/// Asks `probe` until it gives something or `within` has passed; `what` is named when it doesn't.
pub fn eventually<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder of this test binary's own, emptied. What stands in a `static` is never dropped, so a temporary one would stay behind.
pub fn own_folder() -> std::path::PathBuf {
    let folder = std::env::current_exe().unwrap().with_extension("media");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// `usual`, multiplied by `PENSTOCK_TEST_SCALE` (1 unless `tests/run --long` raises it).
pub fn scale(usual: usize) -> usize {
    let factor = std::env::var("PENSTOCK_TEST_SCALE").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    usual * factor
}

/// Runs `work` over `items` on `workers` threads and gives the results in order. A panic in one is a panic here.
pub fn parallel<T: Send, R: Send>(workers: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let queue = std::sync::Mutex::new(items.into_iter().enumerate());
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let next = queue.lock().unwrap_or_else(|e| e.into_inner()).next();
                        let Some((i, item)) = next else { break mine };
                        mine.push((i, work(item)));
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    });
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, r)| r).collect()
}
