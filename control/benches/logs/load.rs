//! Edges of the bench: segments of a given rate, handed over as edges do, one after the other.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use penstock_control::client::Credentials;
use penstock_control::client::admin::{self, LogClient};
use proto::access_log::{SegmentId, SegmentWriter};
use proto::clock::Clock;
use proto::token::{MasterToken, Role};
use proto::v1::{AccessEvent, AccessRecord, LogTarget, ShipRequest};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};

/// What is played and where it is logged.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Edges that hand over at a time.
    pub(crate) edges: usize,
    /// Distributions that events are of.
    pub(crate) distributions: usize,
    /// Viewers of an edge.
    pub(crate) viewers: usize,
    /// Events a second, of all edges.
    pub(crate) rate: usize,
    /// For how long, in seconds.
    pub(crate) seconds: usize,
    /// Of a segment, in seconds.
    pub(crate) segment_seconds: usize,
}

impl Load {
    /// The distributions, as control's `distributions_file` declares them.
    pub(crate) fn distributions_file(&self) -> String {
        let one = |n: usize| {
            format!(
                "  - name: films-{n}\n    id: {}\n    origin: films.s3.amazonaws.com\n    logging: {{bucket: {BUCKET}.s3.amazonaws.com, prefix: log/{n}}}\n",
                distribution_id(n)
            )
        };
        format!("distributions:\n{}", (0..self.distributions).map(one).collect::<String>())
    }
}

/// A viewer whose events are written.
struct Viewer {
    client_id: String,
    address: String,
    distribution: usize,
    film: usize,
    sc_bytes: u64,
}

/// Makes events of an edge's viewers.
pub(crate) struct Crowd {
    viewers: Vec<Viewer>,
    location: String,
    random: StdRng,
}

impl Crowd {
    /// Of the edge `edge`; the same viewers for the same number.
    pub(crate) fn new(edge: usize, load: &Load) -> Self {
        let mut random = StdRng::seed_from_u64(edge as u64);
        let viewers = (0..load.viewers).map(|_| Viewer {
            client_id: format!("{:032x}", random.random::<u128>()),
            address: std::net::Ipv4Addr::from_bits(random.random()).to_string(),
            distribution: random.random_range(0..load.distributions),
            film: random.random_range(0..500),
            sc_bytes: 3000,
        });
        Self { viewers: viewers.collect(), location: format!("BEN{edge}"), random }
    }

    /// Something that a viewer does at `time_ms`.
    pub(crate) fn event(&mut self, time_ms: u64) -> AccessRecord {
        const EVENTS: [AccessEvent; 7] = [
            AccessEvent::Connect,
            AccessEvent::Play,
            AccessEvent::Pause,
            AccessEvent::Unpause,
            AccessEvent::Seek,
            AccessEvent::Stop,
            AccessEvent::Disconnect,
        ];
        let at = self.random.random_range(0..self.viewers.len());
        let event = EVENTS[self.random.random_range(0..EVENTS.len())];
        let viewer = &mut self.viewers[at];
        viewer.sc_bytes += self.random.random_range(0..9_000_000);
        let distribution = viewer.distribution;
        let mut record = AccessRecord {
            time_ms,
            event: event.into(),
            distribution_id: distribution_id(distribution),
            target: Some(LogTarget {
                bucket_host: format!("{BUCKET}.s3.amazonaws.com"),
                prefix: format!("log/{distribution}"),
                account: String::new(),
            }),
            edge_location: self.location.clone(),
            client_ip: viewer.address.clone(),
            client_id: viewer.client_id.clone(),
            sc_bytes: viewer.sc_bytes,
            uri_stem: format!("rtmp://s{distribution:013}.cloudfront.net/cfx/st"),
            referrer: "http://player.example.com/player.swf".into(),
            page_url: format!("http://www.example.com/watch?film={}", viewer.film),
            user_agent: "LNX 10,0,32,18".into(),
            ..Default::default()
        };
        if !matches!(event, AccessEvent::Connect | AccessEvent::Disconnect) {
            record.stream_name = format!("films/film{}", viewer.film);
            record.stream_query = format!("id={:016x}", self.random.random::<u64>());
            record.file_ext = "mp4".into();
            record.stream_id = 1;
        }
        record
    }
}

/// The bucket that logs are delivered to.
pub(crate) const BUCKET: &str = "customers";

fn distribution_id(n: usize) -> String {
    format!("EBENCH{n:08}")
}

/// Hands over `load.seconds` of events as edge number `edge`; returns how many they were, and the longest time a hand-over took.
pub(crate) async fn hand_over(
    edge: usize,
    load: Load,
    control: String,
    master: &'static str,
) -> Result<(u64, Duration)> {
    let edge_id = format!("bench-edge-{edge}");
    let credentials: Credentials = MasterToken::new(master)?.token(Role::Edge, Some(&edge_id)).into();
    let mut client: LogClient = admin::access_logs(&control, &credentials, None)?;
    let (mut crowd, clock) = (Crowd::new(edge, &load), proto::clock::SystemClock);
    let each = load.rate * load.segment_seconds / load.edges;
    let (mut sent, mut longest, start) = (0, Duration::ZERO, Instant::now());
    for number in 1..=(load.seconds / load.segment_seconds) as u64 {
        // A segment is sealed when its time is over.
        sleep_until(start + Duration::from_secs(number * load.segment_seconds as u64)).await;
        let id = SegmentId { edge_id: edge_id.clone(), epoch: format!("{edge:016}"), number };
        let (mut bytes, began_ms) = (BytesMut::new(), clock.now_ms() - load.segment_seconds as u64 * 1000);
        let mut writer = SegmentWriter::new(id, &mut bytes);
        for i in 0..each {
            let time_ms = began_ms + (i * load.segment_seconds * 1000 / each) as u64;
            writer.put(&crowd.event(time_ms), &mut bytes);
        }
        writer.seal(&mut bytes);
        let segment = bytes.freeze();
        let began = Instant::now();
        loop {
            match client.ship(ShipRequest { segment: segment.clone() }).await {
                Ok(_) => break,
                Err(status) if began.elapsed() > Duration::from_secs(60) => {
                    return Err(status).context(format!("segment {number} of edge {edge}"));
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
        longest = longest.max(began.elapsed());
        sent += each as u64;
    }
    Ok((sent, longest))
}
