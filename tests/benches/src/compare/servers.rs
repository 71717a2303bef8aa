//! The servers that are measured, each started as a person would who wants it fast.
//!
//! nginx has one worker, which is its master too, on its one core; sendfile, logs and events are as in any tuned installation.
//! nginx-rtmp has no `tcp_nodelay`, and its paced sending has no knob but the client's buffer. With its default queue of 256
//! messages it leaves out frames when a viewer downloads (rtmpdump's file lacks them too), so downloads get [`DOWNLOAD_QUEUE`];
//! paced viewers get the default, which takes less memory.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::place::{Place, fresh};
use super::process::{Running, free, listens};

const MASTER: &str = "the-token-of-the-comparison";
/// A node's token, as control's command line prints it.
fn token(place: &Place, role: &str) -> Result<String> {
    let mut control = std::process::Command::new(place.product("penstock-control")?);
    let printed = control.args(["token", role, "--token", MASTER]).output()?;
    anyhow::ensure!(
        printed.status.success(),
        "penstock-control token: {}",
        String::from_utf8_lossy(&printed.stderr)
    );
    Ok(String::from_utf8_lossy(&printed.stdout).trim().to_owned())
}

/// What viewers of the cluster call it.
const HOST: &str = "films.example.com";

/// `out_queue` of nginx-rtmp for downloads, in messages.
pub const DOWNLOAD_QUEUE: u32 = 4096;

/// Gauges of what block caches hold.
const CACHES: [&str; 2] = ["penstock_edge_cache_bytes", "penstock_shield_cache_bytes"];

/// A server with all its processes; they end with it.
#[derive(Debug)]
pub struct Server {
    /// Its name in the table.
    pub name: &'static str,
    /// Where viewers go.
    pub addr: SocketAddr,
    /// Application in RTMP.
    pub app: &'static str,
    /// Host in tcUrl, if it matters.
    pub host: Option<&'static str>,
    /// The processes that are measured.
    pub pids: Vec<u32>,
    /// Processes that are shown but not counted: a bucket.
    pub others: Vec<u32>,
    /// Resident bytes of what is measured when it had just started.
    pub fresh_bytes: u64,
    metrics: Vec<SocketAddr>,
    processes: Vec<Running>,
}

impl Server {
    fn folder(place: &Place, name: &str) -> Result<PathBuf> {
        fresh(&place.folder, &format!("run-{name}"))
    }

    fn new(
        name: &'static str,
        addr: SocketAddr,
        app: &'static str,
        pids: Vec<u32>,
        processes: Vec<Running>,
    ) -> Self {
        let fresh_bytes = pids.iter().map(|pid| crate::proc::rss_bytes(*pid)).sum();
        Self {
            name,
            addr,
            app,
            host: None,
            pids,
            others: Vec::new(),
            fresh_bytes,
            metrics: Vec::new(),
            processes,
        }
    }

    /// Keeps a bucket running as long as this; it is shown but not counted.
    pub fn keep(&mut self, bucket: Running) {
        self.others.push(bucket.pid());
        self.processes.push(bucket);
    }

    /// The last warnings and errors in its processes' logs.
    pub fn complaints(&self) -> String {
        let is_one = |line: &&str| line.contains("WARN") || line.contains("ERROR");
        let logs = self.processes.iter().map(Running::log_text);
        let last = logs.filter_map(|log| Some(log.lines().rfind(is_one)?.to_owned()));
        last.collect::<Vec<_>>().join(" | ")
    }

    /// Bytes of media its block caches hold now, as its own gauges say; 0 without any.
    pub fn cached_bytes(&self) -> f64 {
        let pages = self.metrics.iter().filter_map(|addr| http_get(*addr, "/metrics"));
        pages.map(|page| CACHES.iter().map(|name| gauge(&page, name)).sum::<f64>()).sum()
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Penstock in one process, over the films.
pub fn standalone(place: &Place, edge: &str) -> Result<Server> {
    Ok(standalone_on(place, &place.server_core, "penstock", edge)?.0)
}

/// A bucket: the S3 endpoint of a standalone whose other parts idle, on the driver's core.
pub fn bucket(place: &Place) -> Result<(Running, SocketAddr)> {
    let (mut server, s3) = standalone_on(place, &place.driver_core, "bucket", "")?;
    Ok((server.processes.remove(0), s3))
}

/// The access key id and the secret that this run's [`bucket`] takes, and the folder that its buckets are folders in.
pub fn bucket_keys(place: &Place) -> Result<([String; 2], PathBuf)> {
    let folder = place.folder.join("run-bucket");
    let ready: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("ready.json"))?)?;
    let text = |name: &str| ready[name].as_str().map(str::to_owned).context("a key in the ready file");
    Ok(([text("access_key_id")?, text("secret_access_key")?], folder.join("data/buckets")))
}

fn standalone_on(place: &Place, core: &str, name: &str, edge: &str) -> Result<(Server, SocketAddr)> {
    let folder = Server::folder(place, name)?;
    let ready = folder.join("ready.json");
    let config = folder.join("penstock.yaml");
    std::fs::write(&config, format!("log_filter: warn\n{}", below("edge", edge)))?;
    let text = |p: &Path| p.display().to_string();
    let mut args = vec![text(&place.films), "--data".into(), text(&folder.join("data"))];
    args.extend(["--ready-file".into(), text(&ready), "--config".into(), text(&config)]);
    for port in ["--listen", "--api", "--s3", "--metrics"] {
        args.extend([port.to_owned(), "127.0.0.1:0".to_owned()]);
    }
    let mut process = Running::start(core, &place.product("penstock")?, &args, &folder.join("log"))?;
    process.wait(|| ready.exists())?;
    let ready: Value = serde_json::from_str(&std::fs::read_to_string(&ready)?)?;
    let addr = |at: &str| -> Result<SocketAddr> {
        Ok(ready.pointer(at).and_then(Value::as_str).context("an address in the ready file")?.parse()?)
    };
    let mut server = Server::new("penstock", addr("/rtmp/0")?, "cfx/st", vec![process.pid()], vec![process]);
    server.metrics.push(addr("/metrics")?);
    Ok((server, addr("/s3")?))
}

/// Penstock with edge, shield and control each a process, before a bucket. Measured are edge (first) and shield.
pub fn cluster(place: &Place, bucket: SocketAddr, edge: &str, shield: &str) -> Result<Server> {
    cluster_logging(place, bucket, [edge, shield], &Logs::default())
}

/// What the files of a cluster say of access logs, as YAML.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// More of control's file.
    pub control: String,
    /// More of the distribution's entry, with a comma before it.
    pub entry: String,
    /// More of the edge's file.
    pub edge: String,
}

/// The same, and what is said of access logs.
pub fn cluster_logging(
    place: &Place,
    bucket: SocketAddr,
    [edge, shield]: [&str; 2],
    logs: &Logs,
) -> Result<Server> {
    let folder = Server::folder(place, "cluster")?;
    let (grpc, shield_addr, edge_addr) = (free()?, free()?, free()?);
    let distributions = folder.join("distributions.yaml");
    let entry = format!("{{name: films, origin: media.s3.amazonaws.com, aliases: [{HOST}]{}}}", logs.entry);
    std::fs::write(&distributions, format!("distributions:\n  - {entry}\n"))?;
    let control = format!(
        "listen: {grpc}\nmetrics: {}\ntoken: {MASTER}\nstore: {{redb: {{path: '{}'}}}}\ndistributions_file: '{}'\n\
         {}",
        free()?,
        folder.join("control.redb").display(),
        distributions.display(),
        logs.control
    );
    let node = |name: &str, addr: SocketAddr, listen: String| -> Result<(String, SocketAddr)> {
        let metrics = free()?;
        let state = folder.join(name);
        let token = token(place, if name.starts_with("edge") { "edge" } else { "shield" })?;
        let text = format!(
            "node_id: {name}\naddress: {addr}\ntoken: {token}\ncontrol: ['http://{grpc}']\nlisten: {listen}\n\
             metrics: {metrics}\nstate_dir: '{}'\n",
            state.display()
        );
        Ok((text, metrics))
    };
    let origins = format!("origins: {{media.s3.amazonaws.com: {{endpoint: 'http://{bucket}'}}}}\n{shield}");
    let (shield_node, shield_metrics) = node("shield-1", shield_addr, shield_addr.to_string())?;
    let (edge_node, edge_metrics) = node("edge-1", edge_addr, format!("[{edge_addr}]"))?;
    let start = |name: &str, words: &[&str], config: &str, core: &str| -> Result<Running> {
        let path = folder.join(format!("{name}.yaml"));
        std::fs::write(&path, config)?;
        let mut args = strings(words);
        args.extend(["--config".into(), path.display().to_string()]);
        Running::start(core, &place.product(name)?, &args, &folder.join(format!("{name}.log")))
    };
    let mut control = start("penstock-control", &[], &control, &place.driver_core)?;
    control.wait(|| listens(grpc))?;
    let shield_yaml = shield_node + &below("shield", &origins);
    let mut shield = start("penstock-shield", &[], &shield_yaml, &place.server_core)?;
    shield.wait(|| is_ready(shield_metrics))?;
    let mut edge =
        start("penstock-edge", &[], &(edge_node + &logs.edge + &below("edge", edge)), &place.server_core)?;
    edge.wait(|| is_ready(edge_metrics))?;
    let pids = vec![edge.pid(), shield.pid()];
    let mut server = Server::new("penstock", edge_addr, "cfx/st", pids, vec![edge, shield, control]);
    server.host = Some(HOST);
    server.metrics.extend([edge_metrics, shield_metrics]);
    Ok(server)
}

/// nginx with nginx-rtmp over the films (application `vod`), or over a bucket behind HTTP (`far`); and plain HTTP of the films.
/// `queue` is in messages; `None` leaves the default.
pub fn nginx(
    place: &Place,
    chunk_bytes: u32,
    queue: Option<u32>,
    bucket: Option<SocketAddr>,
) -> Result<(Server, SocketAddr)> {
    let folder = Server::folder(place, "nginx")?;
    std::fs::create_dir_all(folder.join("temp"))?;
    let (rtmp, http) = (free()?, free()?);
    let films = place.films.display();
    let mut conf = "load_module modules/ngx_rtmp_module.so;\n".to_owned();
    conf += "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000; user root;\n";
    conf += "error_log log warn; pid nginx.pid;\n";
    conf += "events { worker_connections 16384; use epoll; multi_accept on; }\n";
    writeln!(conf, "rtmp {{ access_log off; server {{ listen {rtmp}; chunk_size {chunk_bytes};")?;
    if let Some(queue) = queue {
        writeln!(conf, "out_queue {queue}; out_cork 8;")?;
    }
    writeln!(conf, "application vod {{ play {films}; }}")?;
    if let Some(bucket) = bucket {
        writeln!(
            conf,
            "application far {{ play_temp_path {}; play http://{bucket}/media; }}",
            folder.join("temp").display()
        )?;
    }
    conf += "} }\n";
    conf += "http { access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; open_file_cache max=64;\n";
    for path in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(conf, "{path}_temp_path temp/{path};")?;
    }
    writeln!(conf, "server {{ listen {http}; root {films}; }} }}")?;
    std::fs::write(folder.join("nginx.conf"), conf)?;
    let args = strings(&["-p", &format!("{}/", folder.display()), "-c", "nginx.conf", "-e", "log"]);
    // The module's path is relative to nginx's own prefix, which -p replaces.
    std::os::unix::fs::symlink("/usr/lib/nginx/modules", folder.join("modules"))?;
    let program = ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].map(PathBuf::from);
    let program = program
        .into_iter()
        .find(|p| p.is_file())
        .context("nginx is missing: install nginx and libnginx-mod-rtmp")?;
    let mut process = Running::start(&place.server_core, &program, &args, &folder.join("output"))?;
    process.wait(|| listens(rtmp) && listens(http))?;
    Ok((Server::new("nginx-rtmp", rtmp, "vod", vec![process.pid()], vec![process]), http))
}

/// The bare sender of [`super::send`].
pub fn sender(place: &Place) -> Result<Server> {
    let folder = Server::folder(place, "sender")?;
    let addr = free()?;
    let args = strings(&["--send", &addr.to_string()]);
    let mut process = Running::start(&place.server_core, &place.own("compare"), &args, &folder.join("log"))?;
    process.wait(|| listens(addr))?;
    Ok(Server::new("writev", addr, "", vec![process.pid()], vec![process]))
}

/// A piece of YAML below a key.
fn below(key: &str, text: &str) -> String {
    let lines: String = text.lines().filter(|l| !l.trim().is_empty()).map(|l| format!("  {l}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("{key}:\n{lines}") }
}

/// The sum of a metric's samples on a page, whatever their labels.
fn gauge(page: &str, name: &str) -> f64 {
    let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
    samples
        .filter(|(n, _)| n.split('{').next() == Some(name))
        .filter_map(|(_, v)| v.parse::<f64>().ok())
        .sum()
}

/// Whether the node whose health stands at this address says it is ready.
fn is_ready(addr: SocketAddr) -> bool {
    http_get(addr, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// A whole answer to a GET, head and body.
pub fn http_get(addr: SocketAddr, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(addr).ok()?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).ok()?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    socket.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_the_sum_of_its_samples() {
        let page = "# TYPE a gauge\na{x=\"1\"} 2\na{x=\"2\"} 3.5\nab 9\n";
        assert_eq!((gauge(page, "a"), gauge(page, "b")), (5.5, 0.0));
    }

    #[test]
    fn yaml_goes_below_its_key_or_away() {
        assert_eq!(below("edge", "a: 1\nb: 2"), "edge:\n  a: 1\n  b: 2\n");
        assert_eq!(below("edge", ""), "");
    }
}
