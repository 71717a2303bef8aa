//! A whole cluster on loopback, each box a process: etcd, an S3 endpoint behind a counting proxy, control, two shields, two
//! edges.
//!
//! The S3 endpoint is a standalone's (its other parts idle). Shields reach it only through the proxy, so every request a
//! shield makes is counted by something that isn't the product.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::authority::Authority;
use crate::counting_proxy::CountingProxy;
use crate::faulty_s3::FaultyS3;
use crate::link::Link;
use crate::process::{Running, product};
use crate::standalone::{Options, Standalone};
use crate::tokens::{self, MASTER};
use crate::wire::{Client, PATIENCE};
use crate::{eventually, http};

/// Under which control seals secrets.
pub const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The streaming distribution over the public bucket `media`.
pub const PUBLIC: &str = "s0000000public.penstock.localhost";
/// A CNAME of it.
pub const ALIAS: &str = "films.example.com";
/// A web distribution over the same bucket.
pub const WEB: &str = "d0000000000web.penstock.localhost";
/// A disabled one.
pub const DISABLED: &str = "s0000000disabl.penstock.localhost";
/// One over the private bucket `vault`, with the right keys.
pub const READER: &str = "s0000000reader.penstock.localhost";
/// One over `vault` without keys.
pub const STRANGER: &str = "s0000000strang.penstock.localhost";
/// One over `vault` with wrong keys.
pub const FORGER: &str = "s0000000forger.penstock.localhost";

/// With [`Setup::faulty`]: one over bucket `media` behind an endpoint of its own, which nothing disturbs.
pub const BESIDE: &str = "s0000000beside.penstock.localhost";
/// With [`Setup::faulty`]: one whose endpoint's name doesn't resolve.
pub const NOWHERE: &str = "s000000nowhere.penstock.localhost";

/// How one is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// What bucket `media` shows; the shared media if `None`.
    pub media: Option<PathBuf>,
    /// More YAML of control's file.
    pub control: String,
    /// `IP:PORT` of the control API; any port if empty.
    pub api: String,
    /// YAML under the edges' `edge:`.
    pub edge: String,
    /// YAML under the shields' `shield:`; `'ID'` and `'SECRET'` in it stand for the keys that open all buckets.
    pub shield: String,
    /// Whether gRPC uses TLS with certificates that name the nodes, who then have no tokens.
    pub tls: bool,
    /// More entries of the shields' `origins:`, a line each.
    pub origins: String,
    /// Words before each shield's own command line, such as `env A=B`.
    pub before_shield: Vec<String>,
    /// How many members etcd has; 1 if 0.
    pub etcds: usize,
    /// How many shields; 2 if 0.
    pub shields: usize,
    /// Whether shields reach buckets `media` and `vault` through a [`FaultyS3`]; adds [`BESIDE`] and [`NOWHERE`].
    pub faulty: bool,
    /// Whether edges reach each shield through a [`Link`].
    pub links: bool,
    /// More entries of the declarative file, a line each.
    pub distributions: String,
    /// YAML of the credential `reader` instead of the right keys; `ID` and `SECRET` in it stand for these.
    pub reader: Option<String>,
    /// Whether control follows no file: the operator's command applied it once, and may apply others.
    pub applied: bool,
}

/// One box: a process, how to start it again, and its ports.
pub struct Node {
    /// Its name.
    pub name: String,
    /// The process.
    pub process: Running,
    /// `IP:PORT` of what it is for: RTMP, gRPC.
    pub addr: String,
    /// `IP:PORT` of health and metrics.
    pub metrics: String,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
}

impl Node {
    pub(crate) fn start(
        name: &str,
        program: PathBuf,
        args: Vec<String>,
        addr: String,
        metrics: String,
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let process = Running::start(&program, &args, &[], &log).unwrap();
        Self { name: name.into(), process, addr, metrics, program, args, log }
    }

    /// Starts it again, as it was; it must have ended.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Running::start(&self.program, &self.args, &[], &self.log).unwrap();
    }

    /// What follows `start` in the words it was started with.
    pub fn argument(&self, start: &str) -> String {
        self.args.iter().find_map(|word| word.strip_prefix(start)).unwrap_or_default().to_owned()
    }

    /// Waits until it says it is ready.
    pub fn wait_ready(&mut self) {
        eventually(&format!("{} ready", self.name), Duration::from_secs(40), || {
            if let Some(status) = self.process.ended() {
                panic!("{} ended with {status}\n{}", self.name, self.process.log());
            }
            http::get(&self.metrics, "/readyz").is_ok_and(|a| a.status == 200).then_some(())
        });
    }

    /// The sum of all samples of a metric; 0 while it can't be had.
    pub fn metric(&self, name: &str) -> f64 {
        let samples = http::metrics(&self.metrics).unwrap_or_default();
        samples.iter().filter(|(k, _)| k.split('{').next() == Some(name)).map(|(_, v)| v).sum()
    }

    /// Resident memory, in bytes; 0 when it is gone.
    pub fn rss_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
    }

    /// All samples of its metrics page.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        http::metrics(&self.metrics).unwrap()
    }
}

/// A running cluster. Dropping it ends all of it.
pub struct Cluster {
    /// Two edges.
    pub edges: Vec<Node>,
    /// Two shields.
    pub shields: Vec<Node>,
    /// Control.
    pub control: Node,
    /// `IP:PORT` of the control API and the console.
    pub api: String,
    /// etcd, or its first member.
    pub etcd: Node,
    /// Its other members, with [`Setup::etcds`].
    pub etcd_others: Vec<Node>,
    /// What stands between the shields and S3.
    pub proxy: CountingProxy,
    /// What misbehaves between the shields and the proxy, with [`Setup::faulty`].
    pub faulty: Option<FaultyS3>,
    /// The way to [`BESIDE`]'s bucket.
    pub beside: CountingProxy,
    /// What stands before each shield, with [`Setup::links`].
    pub links: Vec<Link>,
    /// The S3 endpoint.
    pub s3: Standalone,
    authority: Option<Authority>,
    folder: tempfile::TempDir,
}

/// An address nobody listens on now. (Another process could take it before we do: loopback ports are plenty. A network namespace of the test's
/// own has fewer, but only us: there they are counted up from below those the kernel gives to clients.)
pub(crate) fn free() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let host = crate::netns::host();
    if host == "127.0.0.1" {
        return TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    }
    format!("{host}:{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Indents a piece of YAML below a key.
pub(crate) fn below(key: &str, text: &str) -> String {
    let lines: String = text.lines().filter(|l| !l.trim().is_empty()).map(|l| format!("  {l}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("{key}:\n{lines}") }
}

impl Cluster {
    /// Starts one and waits until every box is ready and both edges know the distributions.
    pub fn start(setup: Setup) -> Self {
        let temp = crate::scratch::folder();
        let folder = temp.path();
        let s3 = Standalone::with(Options { media: setup.media, ..Default::default() });
        let proxy = CountingProxy::start(s3.s3());
        let beside = CountingProxy::start(s3.s3());
        let faulty = setup.faulty.then(|| FaultyS3::start(proxy.addr()));
        let endpoint = faulty.as_ref().map_or(proxy.addr(), FaultyS3::addr).to_owned();
        let vault = s3.bucket("vault");
        vault.create();

        let mut etcds = start_etcd(folder, setup.etcds.max(1));
        let clients: Vec<String> = etcds.iter().map(|member| format!("'http://{}'", member.addr)).collect();
        let (clients, etcd_others) = (clients.join(", "), etcds.split_off(1));
        let etcd = etcds.remove(0);

        let own = distributions(setup.faulty);
        let distributions = write(folder, "distributions.yaml", &format!("{own}{}", setup.distributions));
        let (grpc, metrics) = (free(), free());
        let api = if setup.api.is_empty() { free() } else { setup.api };
        let authority = setup.tls.then(|| Authority::make(folder));
        let own =
            authority.as_ref().map(|authority| authority.section("control", "control")).unwrap_or_default();
        let mut text = control_yaml(&grpc, &metrics, &clients, &distributions, &api) + &own + &setup.control;
        if setup.applied {
            text = text.replace(&format!("distributions_file: {distributions}\n"), "");
        }
        let config = write(folder, "control.yaml", &text);
        let mut control = Node::start(
            "control",
            product("penstock-control"),
            with_config(&config),
            grpc.clone(),
            metrics,
            folder,
        );
        control.wait_ready();
        if setup.applied {
            command(&grpc, &["apply", "-f", &distributions]).expect(0);
        }

        let (id, secret) = s3.keys();
        let mut own = origins_yaml(&endpoint, id, secret, setup.reader.as_deref());
        if setup.faulty {
            own = own.replacen("origins:\n", &format!("origins:\n{}", faulty_origins(beside.addr())), 1);
        }
        own = own.replacen("origins:\n", &format!("origins:\n{}", setup.origins), 1);
        let more =
            setup.shield.replace("'ID'", &format!("'{id}'")).replace("'SECRET'", &format!("'{secret}'"));
        own = format!("{own}\n{more}");
        let shield_count = if setup.shields == 0 { 2 } else { setup.shields };
        let mut links = Vec::new();
        let mut shields: Vec<Node> = (1..=shield_count)
            .map(|n| {
                let (addr, metrics) = (free(), free());
                let mut node = node_yaml(&format!("shield-{n}"), &grpc, &addr, &metrics, folder);
                if let Some(authority) = &authority {
                    node = authority.in_place_of_token(&node, "shield", &format!("shield-{n}"));
                }
                if setup.links {
                    let link = Link::start(&addr);
                    node = node
                        .replace(&format!("\naddress: {addr}\n"), &format!("\naddress: {}\n", link.addr()));
                    links.push(link);
                }
                let config =
                    write(folder, &format!("shield-{n}.yaml"), &format!("{node}{}", below("shield", &own)));
                let mut words = setup.before_shield.clone();
                words.push(product("penstock-shield").display().to_string());
                words.extend(with_config(&config));
                let program = PathBuf::from(words.remove(0));
                Node::start(&format!("shield-{n}"), program, words, addr, metrics, folder)
            })
            .collect();
        shields.iter_mut().for_each(Node::wait_ready);
        let mut edges: Vec<Node> = (1..=2)
            .map(|n| {
                let (addr, metrics) = (free(), free());
                let mut node = node_yaml(&format!("edge-{n}"), &grpc, &addr, &metrics, folder);
                if let Some(authority) = &authority {
                    node = authority.in_place_of_token(&node, "edge", &format!("edge-{n}"));
                }
                let config = write(
                    folder,
                    &format!("edge-{n}.yaml"),
                    &format!("{node}{}", below("edge", &setup.edge)),
                );
                Node::start(
                    &format!("edge-{n}"),
                    product("penstock-edge"),
                    with_config(&config),
                    addr,
                    metrics,
                    folder,
                )
            })
            .collect();
        edges.iter_mut().for_each(Node::wait_ready);
        let cluster = Self {
            edges,
            shields,
            control,
            api,
            etcd,
            etcd_others,
            proxy,
            faulty,
            beside,
            links,
            s3,
            authority,
            folder: temp,
        };
        cluster.wait_shields(shield_count);
        cluster.wait_distributions();
        cluster
    }

    /// Waits until both edges accept a connect: a node is ready with whatever control knew when it came.
    fn wait_distributions(&self) {
        for edge in &self.edges {
            eventually(&format!("distributions at {}", edge.name), Duration::from_secs(40), || {
                let mut client = Client::open(&edge.addr);
                client.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
                (client.wait_answer(1.0, PATIENCE).0 == "_result").then_some(())
            });
        }
    }

    /// Waits until both edges know this many shields.
    pub fn wait_shields(&self, count: usize) {
        for edge in &self.edges {
            eventually(&format!("{count} shields known to {}", edge.name), Duration::from_secs(40), || {
                // The gauge of the client moves only with its next call; the log tells at once.
                let log = edge.process.log();
                let last = log.lines().rfind(|l| l.contains("shield map"))?;
                last.contains(&format!("shields={count}")).then_some(())
            });
        }
    }

    /// What misbehaves before S3; there only with [`Setup::faulty`].
    pub fn faulty(&self) -> &FaultyS3 {
        self.faulty.as_ref().expect("a cluster with a faulty S3")
    }

    /// Waits until nothing is left of what viewers did: no session, stream or fill. Dead shields don't count.
    pub fn wait_settled(&mut self) {
        const EDGE: &[&str] = &["connections", "sessions", "playing_streams"];
        const SHIELD: &[&str] = &["read_streams", "filling_blocks", "queued_fills", "running_fills"];
        for (nodes, crate_name, gauges) in
            [(&mut self.edges, "edge", EDGE), (&mut self.shields, "shield", SHIELD)]
        {
            for node in nodes.iter_mut().filter_map(|n| n.process.ended().is_none().then_some(n)) {
                for gauge in gauges {
                    let name = format!("penstock_{crate_name}_{gauge}");
                    eventually(&format!("{name} of {} at 0", node.name), Duration::from_secs(90), || {
                        let samples = http::metrics(&node.metrics).ok()?;
                        let mut all = samples.iter().filter(|(k, _)| k.split('{').next() == Some(&name));
                        all.all(|(_, v)| *v == 0.0).then_some(())
                    });
                }
            }
        }
    }

    /// Starts one more edge, set up like the first, in the network namespace of the caller; it ends when dropped.
    pub fn another_edge(&self, name: &str) -> Node {
        self.another_edge_with(name, "")
    }

    /// As [`Cluster::another_edge`], with more YAML under its `edge:`, which the first one's must not be without.
    pub fn another_edge_with(&self, name: &str, more: &str) -> Node {
        let (first, folder) = (&self.edges[0], self.folder.path());
        let (addr, metrics) = (free(), free());
        let text = std::fs::read_to_string(folder.join("edge-1.yaml")).unwrap();
        let text = text.replace("edge-1", name).replace(&first.addr, &addr).replace(&first.metrics, &metrics);
        let text = more.lines().fold(text, |text, line| format!("{text}  {line}\n"));
        let config = write(folder, &format!("{name}.yaml"), &text);
        let mut edge = Node::start(name, first.program.clone(), with_config(&config), addr, metrics, folder);
        edge.wait_ready();
        eventually("shields known to it", Duration::from_secs(40), || {
            edge.process.log().contains("shield map").then_some(())
        });
        edge
    }

    /// Starts one more replica of control, set up like the first; gives it and the `IP:PORT` of its API. It ends when dropped.
    pub fn another_control(&self, name: &str) -> (Node, String) {
        let (first, folder) = (&self.control, self.folder.path());
        let (addr, metrics, api) = (free(), free(), free());
        let text = std::fs::read_to_string(folder.join("control.yaml")).unwrap();
        let text =
            text.replace(&first.addr, &addr).replace(&first.metrics, &metrics).replace(&self.api, &api);
        let config = write(folder, &format!("{name}.yaml"), &text);
        let mut control =
            Node::start(name, first.program.clone(), with_config(&config), addr, metrics, folder);
        control.wait_ready();
        (control, api)
    }

    /// The RTMP address of an edge.
    pub fn rtmp(&self, edge: usize) -> &str {
        &self.edges[edge].addr
    }

    /// Where the boxes keep their files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the declarative file its own entries and these, a line each, and has control look at it.
    pub fn declare(&self, entries: &str) {
        let text = format!("{}{entries}", distributions(self.faulty.is_some()));
        // Whole or not at all: control may be looking.
        let new = write(self.folder(), "distributions.new", &text);
        std::fs::rename(new, self.folder().join("distributions.yaml")).unwrap();
        self.control.process.signal("HUP");
    }

    /// Runs `penstock-control` with these words against the cluster's control.
    pub fn control_command(&self, words: &[&str]) -> crate::players::Outcome {
        if let Some(authority) = &self.authority {
            let endpoint = format!("https://{}", self.control.addr);
            authority.certify("operator", "operator");
            let [ca, cert, key] = ["ca.pem", "operator.crt", "operator.key"].map(|f| authority.file(f));
            let mut args =
                vec!["--control", &endpoint, "--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
            args.extend(words);
            return crate::players::run(20, product("penstock-control").to_str().unwrap(), &args);
        }
        command(&self.control.addr, words)
    }
}

/// Runs `penstock-control` with these words against the control whose gRPC is at `addr`, as an operator.
fn command(addr: &str, words: &[&str]) -> crate::players::Outcome {
    let endpoint = format!("http://{addr}");
    let token = tokens::derived("operator", "*");
    let mut args = vec!["--control", &endpoint, "--token", &token];
    args.extend(words);
    crate::players::run(20, product("penstock-control").to_str().unwrap(), &args)
}

pub(crate) fn with_config(path: &str) -> Vec<String> {
    vec!["--config".into(), path.into()]
}

/// Starts etcd of this many members and waits until it has a leader.
pub(crate) fn start_etcd(folder: &Path, members: usize) -> Vec<Node> {
    let addrs: Vec<(String, String)> = (0..members).map(|_| (free(), free())).collect();
    let names: Vec<String> =
        (1..=members).map(|n| if n == 1 { "etcd".into() } else { format!("etcd-{n}") }).collect();
    let all: Vec<String> =
        names.iter().zip(&addrs).map(|(name, (_, peers))| format!("{name}=http://{peers}")).collect();
    let start = |(name, (clients, peers)): (&String, &(String, String))| {
        let args = vec![
            format!("--name={name}"),
            format!("--data-dir={}", folder.join(name).display()),
            format!("--listen-client-urls=http://{clients}"),
            format!("--advertise-client-urls=http://{clients}"),
            format!("--listen-peer-urls=http://{peers}"),
            format!("--initial-advertise-peer-urls=http://{peers}"),
            format!("--initial-cluster={}", all.join(",")),
        ];
        Node::start(name, "etcd".into(), args, clients.clone(), clients.clone(), folder)
    };
    let nodes: Vec<Node> = names.iter().zip(&addrs).map(start).collect();
    for node in &nodes {
        eventually(&node.name, Duration::from_secs(40), || {
            http::get(&node.addr, "/health").is_ok_and(|a| a.text().contains("true")).then_some(())
        });
    }
    nodes
}

/// An address as a YAML string: an IPv6 one would begin a list.
fn plain(addr: &str) -> String {
    if addr.starts_with('[') { format!("'{addr}'") } else { addr.to_owned() }
}

pub(crate) fn control_yaml(grpc: &str, metrics: &str, etcd: &str, distributions: &str, api: &str) -> String {
    let (grpc, metrics, api) = (plain(grpc), plain(metrics), plain(api));
    format!(
        "listen: {grpc}\nmetrics: {metrics}\ntoken: {MASTER}\nstore:\n  etcd:\n    endpoints: [{etcd}]\n\
         distributions_file: {distributions}\nsecrets:\n  key: {SEALING_KEY}\napi:\n  listen: {api}\n"
    )
}

pub(crate) fn node_yaml(name: &str, control: &str, addr: &str, metrics: &str, folder: &Path) -> String {
    let state = folder.join(name);
    let (addr, metrics) = (plain(addr), plain(metrics));
    // Good for any node of its role: a config is copied for another node of another name.
    let token = tokens::derived(if name.starts_with("edge") { "edge" } else { "shield" }, "*");
    let listen = if name.starts_with("edge") { format!("[{addr}]") } else { addr.clone() };
    format!(
        "node_id: {name}\naddress: {addr}\ntoken: {token}\ncontrol: ['http://{control}']\nlisten: {listen}\nmetrics: {metrics}\nstate_dir: {}\n",
        state.display()
    )
}

fn origins_yaml(endpoint: &str, id: &str, secret: &str, reader: Option<&str>) -> String {
    let reader = reader
        .unwrap_or("{access_key_id: 'ID', secret_access_key: 'SECRET'}")
        .replace("ID", id)
        .replace("SECRET", secret);
    format!(
        "origins:\n  media.s3.amazonaws.com: {{endpoint: 'http://{endpoint}'}}\n  vault.s3.amazonaws.com: {{endpoint: 'http://{endpoint}'}}\n\
         credentials:\n  reader: {reader}\n  forger: {{access_key_id: '{id}', secret_access_key: wrong}}\n"
    )
}

/// Entries of `origins:` for [`BESIDE`] and [`NOWHERE`].
fn faulty_origins(beside: &str) -> String {
    format!(
        "  beside.s3.amazonaws.com: {{endpoint: 'http://{beside}', bucket: media}}\n  \
         nowhere.s3.amazonaws.com: {{endpoint: 'http://no-such-host.invalid:9000', bucket: media}}\n"
    )
}

fn distributions(faulty: bool) -> String {
    let entry = |name: &str, n: u32, domain: &str, bucket: &str, more: &str| {
        format!(
            "  - {{name: {name}, id: E00000000000{n}, domain: {domain}, origin: {bucket}.s3.amazonaws.com{more}}}\n"
        )
    };
    let mut text = "distributions:\n".to_owned();
    text += &entry("public", 1, PUBLIC, "media", &format!(", aliases: [{ALIAS}]"));
    text += &entry("web", 2, WEB, "media", ", kind: web");
    text += &entry("disabled", 3, DISABLED, "media", ", enabled: false");
    text += &entry("reader", 4, READER, "vault", ", credential: reader");
    text += &entry("stranger", 5, STRANGER, "vault", "");
    text += &entry("forger", 6, FORGER, "vault", ", credential: forger");
    if faulty {
        text += &entry("beside", 7, BESIDE, "beside", "");
        text += &entry("nowhere", 8, NOWHERE, "nowhere", "");
    }
    text
}
