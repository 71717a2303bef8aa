//! The cluster whose logs are looked at: each box a process that can be killed and started again as it was.
//!
//! Between them, each way that logs take goes through a [`Valve`]: from each edge to each control, and from controls to the S3 server, once for
//! staging and once for the customers' buckets. The S3 server is a `penstock` of its own (only its embedded S3 is used) on a port and a folder
//! that stay, or any other S3 server's address.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::Logged;
use super::gate::Gate;
use super::valve::Valve;
use super::viewer::Viewer;
use super::witness::{Connection, Fate};
use crate::cluster::{Node, below, control_yaml, free, node_yaml, start_etcd, with_config, write};
use crate::process::product;
use crate::s3::Bucket;
use crate::{eventually, media};

/// The operator's bucket.
pub const STAGING: &str = "staging";

/// An S3 server, and keys that open it.
#[derive(Clone, Debug)]
pub struct S3Place {
    /// `IP:PORT`.
    pub addr: String,
    /// Access key id and secret.
    pub keys: (String, String),
}

impl S3Place {
    /// A bucket there.
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::new(&self.addr, name, &self.keys.0, &self.keys.1)
    }
}

/// How one is set up.
#[derive(Clone, Debug)]
pub struct LogSetup {
    /// How many edges.
    pub edges: usize,
    /// How many controls.
    pub controls: usize,
    /// YAML under the controls' `logs:`, besides where buckets are.
    pub logs: String,
    /// YAML under the edges' `edge:`.
    pub edge: String,
    /// YAML under the edges' `logs.spool:`.
    pub spool: String,
    /// Distributions with logging, by letter: `a` logs into bucket `logs-a`.
    pub letters: &'static str,
    /// Another server for staging and delivery than the embedded one.
    pub elsewhere: Option<S3Place>,
    /// `IP:PORT` of an S3 endpoint over [`elsewhere`](Self::elsewhere) that controls use in its place, with keys that their platform gives.
    pub by_platform: Option<String>,
    /// Whether [`Gate`]s stand before staging and delivery.
    pub gated: bool,
    /// Words before each edge's own command line: `env`, `unshare`. `STATE` in them is its state folder.
    pub before_edge: Vec<String>,
    /// Words before each control's.
    pub before_control: Vec<String>,
}

impl Default for LogSetup {
    fn default() -> Self {
        Self {
            edges: 1,
            controls: 1,
            logs: "file_age_seconds: 1\nbucket_timeout_ms: 5000\nship_timeout_ms: 10000".into(),
            edge: String::new(),
            spool: "segment_bytes: 65536\nseal_after_ms: 500".into(),
            letters: "a",
            elsewhere: None,
            by_platform: None,
            gated: false,
            before_edge: Vec::new(),
            before_control: Vec::new(),
        }
    }
}

/// A running one; dropping it ends all of it.
pub struct LogCluster {
    /// Edges.
    pub edges: Vec<Node>,
    /// The shield.
    pub shield: Node,
    /// Controls.
    pub controls: Vec<Node>,
    /// The ways logs take: from each edge to each control (edge by edge), then to staging, then to delivery.
    pub ways: Vec<Valve>,
    /// With [`LogSetup::gated`]: what stands before staging, and what before delivery.
    pub gates: Vec<Gate>,
    /// etcd.
    pub etcd: Node,
    /// The S3 server, if it is ours.
    pub s3: S3Server,
    /// The distributions that log.
    pub logged: Vec<Logged>,
    /// What probes saw: their records must be in the files too.
    pub probes: Vec<Connection>,
    elsewhere: Option<S3Place>,
    folder: tempfile::TempDir,
}

/// A `penstock` used for its embedded S3, on a port and a folder that stay.
pub struct S3Server {
    node: Node,
    keys: (String, String),
}

impl S3Server {
    fn start(folder: &Path) -> Self {
        let (s3, metrics, ready) = (free(), free(), folder.join("s3-ready.json"));
        let mut args = vec![media::folder().display().to_string()];
        for (name, value) in [
            ("--data", folder.join("s3").display().to_string()),
            ("--listen", free()),
            ("--api", free()),
            ("--s3", s3.clone()),
            ("--metrics", metrics.clone()),
            ("--ready-file", ready.display().to_string()),
        ] {
            args.extend([name.to_owned(), value]);
        }
        let mut node = Node::start("s3", product("penstock"), args, s3, metrics, folder);
        let said = crate::standalone::wait_ready(&mut node.process, &ready).unwrap();
        let key = |name: &str| said[name].as_str().unwrap().to_owned();
        Self { keys: (key("access_key_id"), key("secret_access_key")), node }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.node.process.kill();
    }

    /// Starts it again with what it has on disk.
    pub fn start_again(&mut self) {
        self.node.restart();
    }

    /// Waits until it answers.
    pub fn wait_ready(&mut self) {
        self.node.wait_ready();
    }

    fn place(&self) -> S3Place {
        S3Place { addr: self.node.addr.clone(), keys: self.keys.clone() }
    }
}

impl LogCluster {
    /// Starts one and waits until every edge serves every distribution.
    pub fn start(setup: &LogSetup) -> Self {
        let temp = crate::scratch::folder();
        let folder = temp.path();
        let s3 = S3Server::start(folder);
        let logged: Vec<Logged> =
            setup.letters.chars().enumerate().map(|(i, letter)| logged(i, letter)).collect();
        let place = setup.elsewhere.clone().unwrap_or_else(|| s3.place());
        place.bucket(STAGING).create();
        logged.iter().for_each(|one| place.bucket(&one.bucket).create());
        let etcd = start_etcd(folder, 1).remove(0);
        let file = write(folder, "distributions.yaml", &declared(&logged));
        let gates: Vec<Gate> =
            if setup.gated { (0..2).map(|_| Gate::start(&place.addr)).collect() } else { Vec::new() };
        let asked = setup.by_platform.as_ref().unwrap_or(&place.addr);
        let buckets = [0, 1].map(|i| Valve::start(gates.get(i).map_or(asked, |gate| gate.addr())));
        let mut controls: Vec<Node> = (1..=setup.controls)
            .map(|n| {
                let (grpc, metrics) = (free(), free());
                let clients = format!("'http://{}'", etcd.addr);
                let text = control_yaml(&grpc, &metrics, &clients, &file, &free())
                    + &logs_yaml(setup.by_platform.is_none().then_some(&place), &buckets, &setup.logs);
                let config = write(folder, &format!("control-{n}.yaml"), &text);
                started(
                    &format!("control-{n}"),
                    "penstock-control",
                    &setup.before_control,
                    &config,
                    grpc,
                    metrics,
                    folder,
                )
            })
            .collect();
        controls.iter_mut().for_each(Node::wait_ready);
        let mut shield = start_shield(&s3.place(), &controls, folder);
        shield.wait_ready();
        let mut ways: Vec<Valve> = Vec::new();
        let edges: Vec<Node> = (1..=setup.edges)
            .map(|n| {
                let own: Vec<Valve> = controls.iter().map(|control| Valve::start(&control.addr)).collect();
                let edge = start_edge(n, &own, setup, folder);
                ways.extend(own);
                edge
            })
            .collect();
        ways.extend(buckets);
        let elsewhere = setup.elsewhere.clone();
        let mut cluster = Self {
            edges,
            shield,
            controls,
            ways,
            gates,
            etcd,
            s3,
            logged,
            probes: Vec::new(),
            elsewhere,
            folder: temp,
        };
        cluster.wait_serving();
        cluster
    }

    /// Where the log buckets are.
    pub fn place(&self) -> S3Place {
        self.elsewhere.clone().unwrap_or_else(|| self.s3.place())
    }

    /// Where the boxes keep their files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where an edge keeps its spool, as the edge sees it: it may have a file system of its own.
    pub fn spool(&self, edge: usize) -> PathBuf {
        let own = self.folder().join(&self.edges[edge].name).join("access-log");
        let root = PathBuf::from(format!("/proc/{}/root", self.edges[edge].process.pid()));
        let inside = root.join(own.strip_prefix("/").unwrap());
        if inside.is_dir() { inside } else { own }
    }

    /// The ways of one edge to the controls.
    pub fn ways_of_edge(&self, edge: usize) -> &[Valve] {
        let each = self.controls.len();
        &self.ways[edge * each..(edge + 1) * each]
    }

    /// Waits until every edge is ready and plays a film of every distribution.
    pub fn wait_serving(&mut self) {
        self.edges.iter_mut().for_each(Node::wait_ready);
        let mut probes = Vec::new();
        for (edge, one) in self.edges.iter().flat_map(|edge| self.logged.iter().map(move |one| (edge, one))) {
            eventually(&format!("{} at {}", one.host, edge.name), Duration::from_secs(60), || {
                let id = format!("probe-{}", self.probes.len() + probes.len());
                let mut viewer = Viewer::open(&edge.addr, &one.host, &id)?;
                let mut played = Fate::Refused;
                if viewer.is_alive() {
                    viewer.create_stream();
                    played = viewer.play("mp3:film", "film", "p=probe", None);
                }
                probes.push(viewer.leave());
                (played == Fate::Seen).then_some(())
            });
        }
        self.probes.extend(probes);
    }

    /// Makes the declarative file hold these distributions, and has the controls look at it.
    pub fn declare(&self, logged: &[Logged]) {
        // Whole or not at all: control may be looking.
        let new = write(self.folder(), "distributions.new", &declared(logged));
        std::fs::rename(new, self.folder().join("distributions.yaml")).unwrap();
        self.controls.iter().for_each(|control| control.process.signal("HUP"));
    }
}

/// Distribution number `i`, of that letter.
fn logged(i: usize, letter: char) -> Logged {
    Logged {
        id: format!("E0000000LOG{i:02}"),
        host: format!("s000000000log{letter}.penstock.localhost"),
        bucket: format!("logs-{letter}"),
        prefix: format!("{letter}/"),
    }
}

/// Bytes of segments in a spool's folder that hold records; what is there besides is small.
pub fn spooled_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        let size = file.metadata().ok()?.len();
        // A segment being written begins with its header.
        let empty = if name.ends_with(".part") { HEADER_BYTES } else { 0 };
        (name.ends_with(".seg") || name.ends_with(".part")).then(|| size.saturating_sub(empty))
    });
    sizes.sum()
}

/// More than a segment's header takes, less than a record.
const HEADER_BYTES: u64 = 80;

fn declared(logged: &[Logged]) -> String {
    let mut text = "distributions:\n".to_owned();
    for one in logged {
        text += &format!(
            "  - {{name: {host}, id: {id}, domain: {host}, origin: media.s3.amazonaws.com, \
             logging: {{bucket: {bucket}.s3.amazonaws.com, prefix: {prefix}}}}}\n",
            host = one.host,
            id = one.id,
            bucket = one.bucket,
            prefix = one.prefix
        );
    }
    text
}

/// `place` has the keys; none are the platform's.
fn logs_yaml(place: Option<&S3Place>, buckets: &[Valve; 2], more: &str) -> String {
    let keys = match place.map(|place| &place.keys) {
        Some((id, secret)) => {
            format!("region: us-east-1, access_key_id: '{id}', secret_access_key: '{secret}'")
        }
        None => "region: us-east-1, provider: aws".to_owned(),
    };
    let own = format!(
        "staging: {{endpoint: 'http://{}', bucket: {STAGING}, prefix: segments, {keys}}}\n\
         delivery: {{endpoint: 'http://{}', {keys}}}\n",
        buckets[0].addr(),
        buckets[1].addr()
    );
    below("logs", &format!("{own}{more}"))
}

fn started(
    name: &str,
    program: &str,
    before: &[String],
    config: &str,
    addr: String,
    metrics: String,
    folder: &Path,
) -> Node {
    let state = folder.join(name).display().to_string();
    let mut words: Vec<String> = before.iter().map(|word| word.replace("STATE", &state)).collect();
    words.push(product(program).display().to_string());
    words.extend(with_config(config));
    let program = PathBuf::from(words.remove(0));
    Node::start(name, program, words, addr, metrics, folder)
}

fn start_shield(place: &S3Place, controls: &[Node], folder: &Path) -> Node {
    let (addr, metrics) = (free(), free());
    let all: Vec<String> = controls.iter().map(|control| format!("'http://{}'", control.addr)).collect();
    let node = node_yaml("shield-1", &controls[0].addr, &addr, &metrics, folder)
        .replace(&format!("['http://{}']", controls[0].addr), &format!("[{}]", all.join(", ")));
    let origins = format!("origins:\n  media.s3.amazonaws.com: {{endpoint: 'http://{}'}}\n", place.addr);
    let config = write(folder, "shield-1.yaml", &format!("{node}{}", below("shield", &origins)));
    started("shield-1", "penstock-shield", &[], &config, addr, metrics, folder)
}

fn start_edge(n: usize, ways: &[Valve], setup: &LogSetup, folder: &Path) -> Node {
    let (name, addr, metrics) = (format!("edge-{n}"), free(), free());
    let all: Vec<String> = ways.iter().map(|way| format!("'http://{}'", way.addr())).collect();
    let node = node_yaml(&name, "CONTROLS", &addr, &metrics, folder)
        .replace("['http://CONTROLS']", &format!("[{}]", all.join(", ")));
    // As many seeks as a script likes; the limit is tested elsewhere.
    let edge = below("edge", &format!("seek_interval_ms: 1\n{}", setup.edge));
    let (spool, ship) = (below("spool", &setup.spool), below("ship", "call_timeout_ms: 10000"));
    let text = format!("{node}{edge}{}", below("logs", &format!("{spool}{ship}")));
    let config = write(folder, &format!("{name}.yaml"), &text);
    started(&name, "penstock-edge", &setup.before_edge, &config, addr, metrics, folder)
}
