//! Ten thousand distributions of a hundred accounts: what the control API, a cold edge, a change and control's memory cost.
//!
//! `cargo bench -p penstock-control --bench scale` starts etcd and the real `penstock-control`, creates the distributions by the API's own operation,
//! and prints each figure beside its target:
//!
//! * a page of a list (100 items), asked of the API's operation over etcd, in milliseconds of the server;
//! * an edge that knows nothing, from its start to the whole catalogue, over gRPC;
//! * one change, from the call that makes it until the last of fifty subscribed nodes has applied it (all in this process, each with its own connection);
//! * control's resident memory, with everybody subscribed.
//!
//! It ends with failure if a target is missed. `--distributions`, `--accounts` and `--subscribers` change the numbers.

#[path = "parts/boxes.rs"]
mod boxes;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use boxes::{Boxes, MASTER, memory_mb};
use clap::Parser;
use futures::{StreamExt, TryStreamExt};
use penstock_control::accounts::Principal;
use penstock_control::api::paging::PageRequest;
use penstock_control::api::streaming::config::StreamingConfig;
use penstock_control::api::{ApiConfig, Context, streaming};
use penstock_control::client::admin::Admin;
use penstock_control::client::{Credentials, Node, NodeConfig, NodeRole, NodeState};
use penstock_control::seal::Sealer;
use penstock_control::store::Store;
use penstock_control::store::etcd::{Etcd, EtcdConfig};
use penstock_control::{Control, ControlConfig};
use prometheus::Registry;
use proto::token::{MasterToken, Role};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(120);
/// Creates under way at once.
const WRITERS: usize = 16;
/// Changes measured.
const CHANGES: usize = 20;

const LIST_TARGET_MS: f64 = 100.0;
const COLD_TARGET_MS: f64 = 2000.0;
const CHANGE_TARGET_MS: f64 = 1000.0;
const MEMORY_TARGET_MB: f64 = 300.0;

#[derive(Parser)]
struct Options {
    #[arg(long, default_value_t = 10_000)]
    distributions: usize,
    #[arg(long, default_value_t = 100)]
    accounts: usize,
    #[arg(long, default_value_t = 50)]
    subscribers: usize,
    /// cargo's own
    #[arg(long, hide = true)]
    bench: bool,
}

fn rss_mb(pid: u32) -> f64 {
    memory_mb(pid, "VmRSS:")
}

fn credentials(role: Role) -> Result<Credentials> {
    Ok(MasterToken::new(MASTER)?.token(role, None).into())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let last = values.last().copied().unwrap_or(0.0);
    (values.get(values.len() / 2).copied().unwrap_or(0.0), last)
}

fn principal(account: usize) -> Principal {
    Principal {
        account: format!("{:012}", 100_000_000_000 + account),
        key_id: "AKIDBENCH".into(),
        read_only: false,
    }
}

fn config(n: usize) -> StreamingConfig {
    StreamingConfig {
        caller_reference: format!("reference-{n}"),
        // A few distributions share a bucket.
        origin: format!("bucket-{}.s3.amazonaws.com", n / 3),
        aliases: vec![format!("films-{n}.example.com"), format!("clips-{n}.example.com")],
        comment: format!("the {n}th of the bench"),
        enabled: true,
        ..Default::default()
    }
}

/// What the API's operations work on, over the same store as the process.
fn context(store: &Store) -> Result<Context> {
    let control = Control::new(store.clone(), ControlConfig::default(), &Registry::new())?;
    Ok(control.context(
        ApiConfig::default(),
        proto::clock::system(),
        Sealer::none(),
        &MasterToken::new(MASTER)?,
    ))
}

fn node(n: usize, control: &str, registry: &Registry, stop: &CancellationToken) -> Result<Node> {
    let config = NodeConfig {
        node_id: format!("edge-{n}"),
        role: NodeRole::Edge,
        address: "127.0.0.1:9".into(),
        zone: String::new(),
        weight: 0,
        control: vec![control.to_owned()],
        credentials: credentials(Role::Edge)?,
        state_dir: Default::default(),
        version: "bench".into(),
    };
    let node = Node::start(config, registry, stop.clone())?;
    node.set_state(NodeState::Ready);
    Ok(node)
}

async fn knows(node: &Node, distributions: usize, revision: u64) -> Result<()> {
    let mut catalogue = node.catalogue.clone();
    let known =
        catalogue.wait_for(|c| c.distributions.len() >= distributions && c.revision.number >= revision);
    timeout(LONG, known).await.context("in time")??;
    Ok(())
}

struct Figures(bool);

impl Figures {
    fn show(&mut self, what: &str, value: f64, worst: f64, target: f64, unit: &str) {
        let fits = worst <= target;
        self.0 &= fits;
        let verdict = if fits { "" } else { "   MISSED" };
        println!("{what:46} {value:9.1} {worst:9.1} {target:9.1} {unit}{verdict}");
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let boxes = Boxes::start("api: {listen: '127.0.0.1:0'}\n").await?;
    let etcd = EtcdConfig {
        endpoints: vec![boxes.etcd.clone()],
        prefix: "default".into(),
        user: None,
        password: None,
    };
    let store: Store = Arc::new(Etcd::new(etcd));
    let url = boxes.control.clone();
    let fresh_mb = rss_mb(boxes.pid);

    // Written as clients write them, while control follows.
    let context = context(&store)?;
    let began = Instant::now();
    let each_account = options.distributions.div_ceil(options.accounts);
    let writes = futures::stream::iter(0..options.distributions).map(|n| {
        let context = &context;
        async move {
            let owner = principal(n / each_account);
            let made = streaming::create(context, &owner, config(n), Vec::new(), streaming::Repeat::Refused);
            let made = made.await.map_err(|e| anyhow::anyhow!("distribution {n}: {e:?}"))?;
            Ok::<_, anyhow::Error>(made.id)
        }
    });
    let ids: Vec<String> = writes.buffer_unordered(WRITERS).try_collect().await?;
    println!(
        "{} distributions of {} accounts written in {:.1} s",
        ids.len(),
        options.accounts,
        began.elapsed().as_secs_f64()
    );
    let mut admin = Admin::new(&url, &credentials(Role::Operator)?)?;
    let newest = store.get("head").await?.context("a head")?.modified;
    let began = Instant::now();
    loop {
        if let Ok(listed) = admin.distributions().await
            && listed.distributions.len() == ids.len()
            && listed.newest.number >= newest
        {
            break;
        }
        ensure!(began.elapsed() < LONG, "control did not learn of all of them: {}", boxes.log());
        sleep(Duration::from_millis(100)).await;
    }

    println!("{:46} {:>9} {:>9} {:>9}", "", "median", "worst", "target");
    let mut figures = Figures(true);
    let mut pages = Vec::new();
    for account in 0..options.accounts {
        let began = Instant::now();
        let first = PageRequest::first(&context.config.limits);
        let page = streaming::list(&context, &principal(account), first).await;
        let page = page.map_err(|e| anyhow::anyhow!("a list: {e:?}"))?;
        pages.push(ms(began));
        ensure!(page.items.len() == each_account.min(100), "a page of {} items", page.items.len());
    }
    let (typical, worst) = median(pages);
    figures.show("a page of a list", typical, worst, LIST_TARGET_MS, "ms");

    let (mut colds, stop) = (Vec::new(), CancellationToken::new());
    for _ in 0..5 {
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let began = Instant::now();
        let cold = node(0, &url, &registry, &stop)?;
        knows(&cold, ids.len(), 0).await?;
        colds.push(ms(began));
        stop.cancel();
    }
    let (typical, worst) = median(colds);
    figures.show("an edge's cold subscribe", typical, worst, COLD_TARGET_MS, "ms");

    let mut nodes = Vec::new();
    for n in 0..options.subscribers {
        nodes.push(node(n, &url, &Registry::new(), &stop)?);
    }
    for node in &nodes {
        knows(node, ids.len(), 0).await?;
    }
    let (mut changes, mut deployments) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let id = &ids[change * 37 % ids.len()];
        let owner = {
            let catalogue = nodes[0].catalogue.borrow().clone();
            let known = catalogue.distributions.get(id).context("a distribution")?;
            Principal { account: known.account.clone(), ..principal(0) }
        };
        let now = streaming::get(&context, &owner, id).await.map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let next = StreamingConfig { comment: format!("change {change}"), ..now.config.clone() };
        let began = Instant::now();
        let made = streaming::update(&context, &owner, id, Some(&now.etag), &next).await;
        let revision = made.map_err(|e| anyhow::anyhow!("an update: {e:?}"))?.revision;
        for node in &nodes {
            knows(node, ids.len(), revision).await?;
        }
        changes.push(ms(began));
        while admin.nodes().await?.newest.is_some_and(|n| n.number < revision)
            || floor(&boxes.metrics).await? < revision as f64
        {
            ensure!(began.elapsed() < LONG, "the change was not deployed");
            sleep(Duration::from_millis(20)).await;
        }
        deployments.push(ms(began));
    }
    let (typical, worst) = median(changes);
    figures.show(
        &format!("one change at all of {} nodes", nodes.len()),
        typical,
        worst,
        CHANGE_TARGET_MS,
        "ms",
    );
    let (typical, worst) = median(deployments);
    println!("{:46} {typical:9.1} {worst:9.1} {:>9} ms", "  … and known to be deployed on all", "");
    let mb = rss_mb(boxes.pid);
    figures.show("control's resident memory", mb, mb, MEMORY_TARGET_MB, "MB");
    println!(
        "(control's at its start: {fresh_mb:.0} MB; this process with {} catalogues: {:.0} MB)",
        nodes.len(),
        rss_mb(std::process::id())
    );
    stop.cancel();
    ensure!(figures.0, "a target was missed");
    Ok(())
}

/// The deployed floor as control's metrics show it.
async fn floor(metrics: &str) -> Result<f64> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(metrics).await?;
    stream
        .write_all(
            format!("GET /metrics HTTP/1.1\r\nHost: {metrics}\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    let line = page.lines().find_map(|line| line.strip_prefix("penstock_control_deployed_floor "));
    Ok(line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0))
}
