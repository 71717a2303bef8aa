//! Shipping to gRPC servers that answer as they are told, from a spool that is a folder.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use proto::token::{MasterToken, Role};
use proto::v1::access_logs_server::{AccessLogs, AccessLogsServer};
use proto::v1::{LogStatsRequest, LogStatsResponse, TailEvent, TailRequest};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status};

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// How a control answers.
#[derive(Clone, Debug)]
enum Says {
    Takes,
    Has,
    Refuses(Reason),
    Nothing,
}

#[derive(Default)]
struct Heard {
    answers: VecDeque<Says>,
    segments: Vec<String>,
}

/// A control: answers in the order it was told, then takes everything.
#[derive(Clone, Default)]
struct FakeControl(Arc<Mutex<Heard>>);

impl FakeControl {
    fn says(self, answers: impl IntoIterator<Item = Says>) -> Self {
        self.0.lock().unwrap().answers.extend(answers);
        self
    }

    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().segments.clone()
    }

    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(AccessLogsServer::with_interceptor(self.clone(), master().guard()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }
}

#[tonic::async_trait]
impl AccessLogs for FakeControl {
    async fn ship(&self, request: Request<ShipRequest>) -> Result<Response<ShipResponse>, Status> {
        let says = {
            let mut heard = self.0.lock().unwrap();
            let text = String::from_utf8(request.into_inner().segment.to_vec()).unwrap();
            heard.segments.push(text);
            heard.answers.pop_front().unwrap_or(Says::Takes)
        };
        match says {
            Says::Takes => Ok(Response::new(ShipResponse { repeated: false })),
            Says::Has => Ok(Response::new(ShipResponse { repeated: true })),
            Says::Refuses(reason) => Err(RemoteError::new(reason, "as told").into()),
            Says::Nothing => std::future::pending().await,
        }
    }

    type TailStream = ReceiverStream<Result<TailEvent, Status>>;

    async fn tail(&self, _: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        Err(Status::unimplemented("tail"))
    }

    async fn log_stats(&self, _: Request<LogStatsRequest>) -> Result<Response<LogStatsResponse>, Status> {
        Err(Status::unimplemented("stats"))
    }
}

fn master() -> MasterToken {
    MasterToken::new("0123456789abcdef").unwrap()
}

/// A spool whose segments are files that hold their number as text.
struct Folder {
    dir: tempfile::TempDir,
    sealed: Mutex<VecDeque<SealedSegment>>,
    unsealed: Mutex<Vec<u64>>,
    aside: Mutex<Vec<u64>>,
    more: Notify,
}

impl Folder {
    fn with(numbers: impl IntoIterator<Item = u64>) -> Arc<Self> {
        let folder = Self {
            dir: tempfile::tempdir().unwrap(),
            sealed: Mutex::default(),
            unsealed: Mutex::default(),
            aside: Mutex::default(),
            more: Notify::new(),
        };
        numbers.into_iter().for_each(|number| folder.put(number, "edge-1"));
        Arc::new(folder)
    }

    fn put(&self, number: u64, edge: &str) {
        let path = self.path(number);
        std::fs::write(&path, number.to_string()).unwrap();
        let id = SegmentId { edge_id: edge.into(), epoch: "0123456789abcdef".into(), number };
        self.sealed.lock().unwrap().push_back(SealedSegment { id, path, records: 1, bytes: 10 });
        self.more.notify_one();
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.path().join(format!("{number}.seg"))
    }

    async fn until_empty(&self) {
        let empty = async {
            while self.waiting() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONG, empty).await.expect("all handed over in time");
    }
}

impl SegmentSource for Folder {
    async fn next_sealed(&self) -> SealedSegment {
        loop {
            if let Some(first) = self.sealed.lock().unwrap().front() {
                return first.clone();
            }
            self.more.notified().await;
        }
    }

    fn forget(&self, id: &SegmentId) {
        self.sealed.lock().unwrap().retain(|sealed| sealed.id != *id);
        let _ = std::fs::remove_file(self.path(id.number));
    }

    // It drops nothing.
    fn not_taken(&self, _: &SegmentId) {}

    fn set_aside(&self, segment: &SealedSegment) {
        self.sealed.lock().unwrap().retain(|sealed| sealed.id != segment.id);
        self.aside.lock().unwrap().push(segment.id.number);
    }

    fn waiting(&self) -> usize {
        self.sealed.lock().unwrap().len()
    }

    async fn seal(&self) -> bool {
        for number in self.unsealed.lock().unwrap().drain(..) {
            self.put(number, "edge-1");
        }
        true
    }
}

struct Started {
    shipping: Shipping<Folder>,
    registry: Registry,
}

fn start(spool: &Arc<Folder>, control: &[String], config: ShipConfig) -> Started {
    let registry = Registry::new();
    let credentials = Credentials::from(master().token(Role::Edge, Some("edge-1")));
    let route = Route { node_id: "edge-1".into(), control: control.to_vec(), credentials };
    let shipping = Shipping::start(spool.clone(), config, route, None, &registry).unwrap();
    Started { shipping, registry }
}

impl Started {
    fn counter(&self, name: &str, reason: Option<&str>) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == format!("penstock_edge_log_{name}")).unwrap();
        let of = |m: &&prometheus::proto::Metric| {
            reason.is_none_or(|reason| m.get_label().iter().any(|l| l.value() == reason))
        };
        family.get_metric().iter().filter(of).map(|m| m.get_counter().get_value() as u64).sum()
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// An address nobody listens at.
async fn nobody() -> String {
    url(TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap())
}

fn texts(numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(u64::to_string).collect()
}

#[tokio::test]
async fn segments_are_handed_over_in_order_and_forgotten_once_acknowledged() {
    let control = FakeControl::default().says([Says::Takes, Says::Has]);
    let spool = Folder::with(1..=3);
    let started = start(&spool, &[url(control.serve().await)], ShipConfig::default());
    spool.until_empty().await;
    spool.put(4, "edge-1");
    spool.until_empty().await;
    assert_eq!(control.heard(), texts(&[1, 2, 3, 4]));
    assert!(!spool.path(1).exists());
    assert_eq!(started.counter("shipped_segments_total", None), 4);
    assert_eq!(started.counter("shipped_bytes_total", None), 40);
    assert_eq!(started.counter("ship_repeated_segments_total", None), 1);
}

#[tokio::test]
async fn f33_what_fails_is_tried_again_before_the_next_one_is() {
    let refusals =
        [Reason::Unavailable, Reason::Overloaded, Reason::Internal, Reason::Unauthenticated, Reason::Denied];
    let control = FakeControl::default().says(refusals.map(Says::Refuses));
    let spool = Folder::with(1..=2);
    let started = start(&spool, &[url(control.serve().await)], ShipConfig::default());
    spool.until_empty().await;
    assert_eq!(control.heard(), texts(&[1, 1, 1, 1, 1, 1, 2]));
    for reason in refusals {
        assert_eq!(started.counter("ship_failures_total", Some(reason.as_str())), 1, "{reason:?}");
    }
    assert!(spool.aside.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_endpoint_that_is_gone_or_says_nothing_is_left_for_the_next() {
    let (mute, control) = (FakeControl::default().says(vec![Says::Nothing; 9]), FakeControl::default());
    let endpoints = [nobody().await, url(mute.serve().await), url(control.serve().await)];
    let spool = Folder::with(1..=2);
    let config = ShipConfig { call_timeout_ms: 500, ..Default::default() };
    let _started = start(&spool, &endpoints, config);
    spool.until_empty().await;
    assert_eq!(control.heard(), texts(&[1, 2]));
}

#[tokio::test]
async fn a_segment_that_will_never_be_taken_is_set_aside_and_holds_up_nobody() {
    let control = FakeControl::default().says([
        Says::Refuses(Reason::Invalid),
        Says::Takes,
        Says::Refuses(Reason::Denied),
    ]);
    let spool = Folder::with(1..=2);
    // Of a spool that another edge wrote, for which this one may not speak.
    spool.put(3, "edge-2");
    spool.put(4, "edge-1");
    let started = start(&spool, &[url(control.serve().await)], ShipConfig::default());
    spool.until_empty().await;
    assert_eq!(control.heard(), texts(&[1, 2, 3, 4]));
    assert_eq!(*spool.aside.lock().unwrap(), [1, 3]);
    assert_eq!(started.counter("ship_refused_segments_total", None), 2);
    assert_eq!(started.counter("shipped_segments_total", None), 2);
}

#[tokio::test]
async fn a_segment_that_the_spool_gave_up_is_passed_over() {
    let control = FakeControl::default();
    let spool = Folder::with(1..=2);
    std::fs::remove_file(spool.path(1)).unwrap();
    let _started = start(&spool, &[url(control.serve().await)], ShipConfig::default());
    spool.until_empty().await;
    assert_eq!(control.heard(), texts(&[2]));
}

#[tokio::test]
async fn a_drain_seals_and_hands_over_what_is_left() {
    let control = FakeControl::default();
    let spool = Folder::with(1..=2);
    spool.unsealed.lock().unwrap().extend([3, 4]);
    let config = ShipConfig { drain_ms: 60_000, ..Default::default() };
    let started = start(&spool, &[url(control.serve().await)], config);
    let left =
        tokio::time::timeout(LONG, started.shipping.drain()).await.expect("it ends once nothing is left");
    assert_eq!(left, 0);
    assert_eq!(control.heard(), texts(&[1, 2, 3, 4]));
}

#[tokio::test]
async fn a_drain_is_bounded_where_control_is_away_and_keeps_what_is_left() {
    let spool = Folder::with(1..=2);
    let config = ShipConfig { drain_ms: 700, ..Default::default() };
    let started = start(&spool, &[nobody().await], config);
    let began = tokio::time::Instant::now();
    assert_eq!(started.shipping.drain().await, 2);
    assert!(began.elapsed() < LONG / 2);
    assert!(spool.path(1).exists() && spool.path(2).exists());
}

#[tokio::test]
async fn an_endpoint_that_can_not_be_one_is_named() {
    let spool = Folder::with([]);
    let credentials = Credentials::from(master().token(Role::Edge, None));
    let mut route = Route { node_id: "edge-1".into(), control: vec!["control:1".into()], credentials };
    let start = |route: &Route| {
        let (spool, config) = (spool.clone(), ShipConfig::default());
        Shipping::start(spool, config, route.clone(), None, &Registry::new()).err().unwrap().to_string()
    };
    assert!(start(&route).contains("'control:1'"));
    route.control.clear();
    assert_eq!(start(&route), "control: names no endpoint");
}

#[test]
fn the_reference_names_every_field_and_its_default() {
    use crate::client::config::fields;
    for field in fields::of::<ShipConfig>() {
        assert!(REFERENCE.contains(&format!("  logs.ship.{} ", field.path.join("."))));
    }
    let config = ShipConfig::default();
    assert_eq!(config.check(), Ok(()));
    for value in [config.call_timeout_ms, config.drain_ms] {
        assert!(REFERENCE.contains(&format!("[default: {value}]")), "{value}");
    }
}
