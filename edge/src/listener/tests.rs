//! Connections end alone.

use super::*;
use crate::metrics::Counted;

#[tokio::test]
async fn f27_a_connection_that_panics_is_counted_and_takes_nobody_along() {
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    let tracker = TaskTracker::new();
    let (ready, go) = tokio::sync::oneshot::channel::<()>();
    let beside = tracker.spawn(contained(metrics.clone(), async move {
        go.await.unwrap();
    }));
    let held = Counted::new(&metrics.connections);
    tracker.spawn(contained(metrics.clone(), async move {
        let _held = held;
        tokio::task::yield_now().await;
        panic!("one session fails");
    }));
    while metrics.panics.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.connections.get(), 0, "what it held was given back");
    assert!(!beside.is_finished());
    ready.send(()).unwrap();
    beside.await.unwrap();
    tracker.close();
    tracker.wait().await;
    assert_eq!(metrics.panics.get(), 1);
}
