//! Whose GET goes next to an endpoint.
//!
//! Two bounded queues, demand and read-ahead, each with its own bound on GETs under way (they use separate connections).
//! No read-ahead GET starts while a demand GET waits. When a viewer comes to wait for a GET that was queued as read-ahead,
//! it changes queues. A job is a closure: dropping it unstarted is safe, and is what happens to one that finds no room.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use proto::v1::Priority;
use tokio::runtime::Handle;

use super::Demanded;
use crate::config::{Connections, Queue};
use crate::metrics::Metrics;

/// A GET to be made.
pub(crate) struct Job {
    /// Its run.
    pub(crate) id: u64,
    /// Whether somebody waits for it.
    pub(crate) demanded: Demanded,
    /// The work, told which connections to use.
    pub(crate) work: Box<dyn FnOnce(Priority) -> BoxFuture<'static, ()> + Send>,
}

#[derive(Default)]
struct State {
    demand: VecDeque<Job>,
    read_ahead: VecDeque<Job>,
    running_demand: usize,
    running_read_ahead: usize,
}

/// The GETs of one endpoint.
pub(crate) struct Schedule {
    state: Mutex<State>,
    connections: Connections,
    queue: Queue,
    metrics: Metrics,
}

impl Schedule {
    pub(crate) fn new(connections: Connections, queue: Queue, metrics: Metrics) -> Self {
        Self { state: Mutex::default(), connections, queue, metrics }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job, or drops it when its queue is full.
    pub(crate) fn submit(self: &Arc<Self>, job: Job) {
        let refused = {
            let mut state = self.lock();
            let demanded = job.demanded.load(Ordering::SeqCst);
            let (queue, bound, name) = match demanded {
                true => (&mut state.demand, self.queue.demand, "demand"),
                false => (&mut state.read_ahead, self.queue.read_ahead, "read-ahead"),
            };
            if queue.len() < bound {
                queue.push_back(job);
                self.metrics.queued_fills.with_label_values(&[name]).inc();
                None
            } else {
                Some(job)
            }
        };
        // Dropped outside the lock: a job's drop tells its waiters, who may ask again at once.
        drop(refused);
        self.pump();
    }

    /// Moves a queued read-ahead job to the demand queue; one already under way stays as it is.
    pub(crate) fn promote(self: &Arc<Self>, id: u64) {
        {
            let mut state = self.lock();
            let Some(at) = state.read_ahead.iter().position(|job| job.id == id) else { return };
            if let Some(job) = state.read_ahead.remove(at) {
                // Past the bound by as many as there were read-ahead jobs: they were admitted once already.
                state.demand.push_back(job);
                self.metrics.queued_fills.with_label_values(&["read-ahead"]).dec();
                self.metrics.queued_fills.with_label_values(&["demand"]).inc();
            }
        }
        self.pump();
    }

    /// Starts what may start.
    fn pump(self: &Arc<Self>) {
        // Without a runtime the process is going down, and queued jobs go with it.
        let Ok(runtime) = Handle::try_current() else { return };
        loop {
            let (job, permit) = {
                let mut state = self.lock();
                let state = &mut *state;
                let (job, priority) =
                    if state.running_demand < self.connections.demand && !state.demand.is_empty() {
                        state.running_demand += 1;
                        (state.demand.pop_front(), Priority::Demand)
                    } else if state.demand.is_empty()
                        && state.running_read_ahead < self.connections.read_ahead
                        && !state.read_ahead.is_empty()
                    {
                        state.running_read_ahead += 1;
                        (state.read_ahead.pop_front(), Priority::ReadAhead)
                    } else {
                        return;
                    };
                (job, Permit { schedule: self.clone(), priority })
            };
            let name = permit.name();
            self.metrics.queued_fills.with_label_values(&[name]).dec();
            self.metrics.running_fills.with_label_values(&[name]).inc();
            if let Some(job) = job {
                runtime.spawn(async move {
                    let permit = permit;
                    (job.work)(permit.priority).await;
                });
            }
        }
    }
}

/// A GET's place among those under way; given back on drop, so also by a panic.
struct Permit {
    schedule: Arc<Schedule>,
    priority: Priority,
}

impl Permit {
    fn name(&self) -> &'static str {
        match self.priority {
            Priority::Demand => "demand",
            Priority::ReadAhead => "read-ahead",
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.schedule.lock();
            match self.priority {
                Priority::Demand => state.running_demand -= 1,
                Priority::ReadAhead => state.running_read_ahead -= 1,
            }
        }
        self.schedule.metrics.running_fills.with_label_values(&[self.name()]).dec();
        self.schedule.pump();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use tokio::sync::{Semaphore, mpsc};

    struct Bench {
        schedule: Arc<Schedule>,
        gate: Arc<Semaphore>,
        started: mpsc::Receiver<(u64, Priority)>,
        note: mpsc::Sender<(u64, Priority)>,
    }

    fn bench(demand: usize, read_ahead: usize, queued: usize) -> Bench {
        let connections = Connections { demand, read_ahead, stat: 1 };
        let queue = Queue { demand: queued, read_ahead: queued };
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let (note, started) = mpsc::channel(100);
        Bench {
            schedule: Arc::new(Schedule::new(connections, queue, metrics)),
            gate: Arc::new(Semaphore::new(0)),
            started,
            note,
        }
    }

    impl Bench {
        fn submit(&self, id: u64, demanded: bool) {
            let (gate, note) = (self.gate.clone(), self.note.clone());
            let work = move |priority| -> BoxFuture<'static, ()> {
                Box::pin(async move {
                    note.send((id, priority)).await.unwrap();
                    gate.acquire().await.unwrap().forget();
                })
            };
            self.schedule.submit(Job {
                id,
                demanded: Arc::new(AtomicBool::new(demanded)),
                work: Box::new(work),
            });
        }

        async fn next(&mut self) -> (u64, Priority) {
            self.started.recv().await.unwrap()
        }
    }

    #[tokio::test]
    async fn demand_goes_before_read_ahead() {
        let mut bench = bench(1, 1, 10);
        bench.submit(1, true);
        bench.submit(2, true);
        bench.submit(3, false);
        assert_eq!(bench.next().await, (1, Priority::Demand));
        tokio::task::yield_now().await;
        assert!(bench.started.try_recv().is_err());
        bench.gate.add_permits(1);
        assert_eq!(bench.next().await, (2, Priority::Demand));
        // Nobody waits any more, so read-ahead may start beside it.
        assert_eq!(bench.next().await, (3, Priority::ReadAhead));
    }

    #[tokio::test]
    async fn a_promoted_job_overtakes() {
        let mut bench = bench(1, 1, 10);
        bench.submit(1, false);
        bench.submit(2, false);
        bench.submit(3, false);
        assert_eq!(bench.next().await, (1, Priority::ReadAhead));
        bench.schedule.promote(3);
        assert_eq!(bench.next().await, (3, Priority::Demand));
        bench.gate.add_permits(1);
        assert_eq!(bench.next().await, (2, Priority::ReadAhead));
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_job_and_a_panic_gives_its_place_back() {
        let mut bench = bench(1, 1, 1);
        bench.submit(1, true);
        assert_eq!(bench.next().await.0, 1);
        bench.submit(2, true);
        bench.submit(3, true);
        bench.gate.add_permits(1);
        assert_eq!(bench.next().await.0, 2);
        let work = |_| -> BoxFuture<'static, ()> { Box::pin(async { panic!("on purpose") }) };
        bench.schedule.submit(Job { id: 4, demanded: Arc::new(AtomicBool::new(true)), work: Box::new(work) });
        bench.gate.add_permits(1);
        tokio::time::timeout(std::time::Duration::from_secs(5), async {
            while bench.schedule.lock().running_demand > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        bench.submit(5, true);
        assert_eq!(bench.next().await.0, 5);
    }
}
