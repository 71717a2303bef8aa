//! The command line: its options, and the calls an operator makes to a running control.

mod access;
mod backup;
mod lending;
mod logs;
mod purge;
mod sealing;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use penstock_control::client::admin::Admin;
use penstock_control::client::catalogue::refusals::find;
use penstock_control::client::config::load_master;
use penstock_control::client::credentials::{Credentials, TlsFiles};
use penstock_control::lifecycle::Change;
use penstock_control::membership::{role_name, state_name};
use penstock_control::settings::{Settings, reference};
use proto::token::{Role, is_node_id};
use proto::v1::{DistributionKind, NodeRole, NodeState, NodeStatus, Revision};

use access::{AccountsCommand, KeysCommand};
use lending::{GrantsCommand, OaiCommand, SignersCommand};
use logs::LogsCommand;

pub(crate) mod sign;

/// Penstock's control service: keeps the config, publishes it to edges and shields, and knows who is alive.
#[derive(Parser)]
#[command(name = "penstock-control", version, after_help = reference())]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Configuration file of `serve`; its fields are listed below
    #[arg(long, value_name = "FILE", env = "PENSTOCK_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Check the configuration and the declarative file it names, and exit
    #[arg(long, global = true)]
    pub(crate) check_config: bool,

    /// Where control listens: http://HOST:PORT; of several, separated by commas, the first that answers (status, nodes,
    /// purge, drain, apply, export, import, ca, accounts, keys, oai,
    /// grants, signers, logs)
    #[arg(
        long = "control",
        value_name = "URL",
        env = "PENSTOCK_CONTROL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7300",
        global = true
    )]
    pub(crate) endpoints: Vec<String>,

    /// An operator's token (all calls to a control); the master token (token)
    #[arg(long, value_name = "TOKEN", env = "PENSTOCK_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,

    /// A file that holds it
    #[arg(long, value_name = "FILE", env = "PENSTOCK_TOKEN_FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,

    /// PEM file of the cluster's CA, for https:// endpoints
    #[arg(long, value_name = "FILE", env = "PENSTOCK_TLS_CA", global = true)]
    pub(crate) tls_ca: Option<PathBuf>,

    /// PEM file of an operator's certificate (URI penstock://operator/NAME), instead of a token
    #[arg(long, value_name = "FILE", env = "PENSTOCK_TLS_CERT", requires = "tls_ca", global = true)]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file of its key
    #[arg(long, value_name = "FILE", env = "PENSTOCK_TLS_KEY", requires = "tls_cert", global = true)]
    pub(crate) tls_key: Option<PathBuf>,
}

/// What to do; `serve` if none is named.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the service until SIGTERM or SIGINT; SIGHUP applies the declarative file again
    Serve,
    /// Show the config's revision, the distributions, and which nodes have not applied it
    Status,
    /// Show the live nodes
    Nodes,
    /// Sign a stream name for a distribution with trusted signers, and print it
    Sign(sign::SignOptions),
    /// Make the declared distributions those of a file, by the same rules as distributions_file
    Apply {
        /// The file; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Write the config (distributions, API resources, accounts and sealed keys) to standard output
    Export,
    /// Put an exported config into the store, which gets a new id
    Import {
        /// The file; - for standard input
        file: PathBuf,
        /// Make the store what the file says, even if it holds a config
        #[arg(long)]
        replace: bool,
    },
    /// Print the certificate of the local authority, PEM: what clients of the control API are to trust
    Ca,
    /// Make shields and edges forget what they cached of a distribution
    Purge {
        /// The distribution's id
        distribution: String,
        /// Only this key (films/a.mp4), this folder (films/), or what begins alike (films/a*) [default: all]
        path: Option<String>,
    },
    /// Accounts of the control API
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Access keys, by which requests of the control API are signed
    #[command(subcommand)]
    Keys(KeysCommand),
    /// S3 keys of origin access identities
    #[command(subcommand)]
    Oai(OaiCommand),
    /// Buckets that accounts may have read by the shields' own role, or may have access logs written to
    #[command(subcommand)]
    Grants(GrantsCommand),
    /// Public keys by which signed names are checked
    #[command(subcommand)]
    Signers(SignersCommand),
    /// Access logs: a live view, and what is delivered, waits, or is refused
    #[command(subcommand)]
    Logs(LogsCommand),
    /// Take a node out of service without stopping it: an edge takes no new viewers and tells the rest goodbye, a shield is asked last
    Drain {
        /// The node's id
        node: String,
        /// Back into service
        #[arg(long)]
        undo: bool,
    },
    /// Print a token for a node or an operator, derived from the master token of --config, --token or --token-file
    Token {
        /// edge, shield or operator
        role: String,
        /// The only node it is good for [default: any of that role]
        node: Option<String>,
    },
}

/// Carries out an operator's call.
pub(crate) async fn call(options: &Options, command: &Command) -> Result<()> {
    if let Command::Token { role, node } = command {
        return token(options, role, node.as_deref());
    }
    let credentials = credentials(options)?;
    let mut failures = Vec::new();
    for endpoint in &options.endpoints {
        let mut admin = Admin::new(endpoint, &credentials)?;
        let outcome = match command {
            Command::Status => status(&mut admin).await,
            Command::Nodes => nodes(&mut admin).await,
            Command::Drain { node, undo } => drain(&mut admin, node, *undo).await,
            Command::Purge { distribution, path } => {
                purge::purge(&mut admin, distribution, path.as_deref()).await
            }
            Command::Accounts(command) => access::accounts(&mut admin, command).await,
            Command::Keys(command) => access::keys(&mut admin, command).await?,
            Command::Oai(command) => lending::oai(&mut admin, command).await?,
            Command::Grants(command) => lending::grants(&mut admin, command).await,
            Command::Signers(command) => lending::signers(&mut admin, command).await?,
            Command::Logs(command) => logs::logs(&mut admin, command).await?,
            Command::Apply { file } => backup::apply(&mut admin, file).await?,
            Command::Export => backup::export(&mut admin).await?,
            Command::Import { file, replace } => backup::import(&mut admin, file, *replace).await?,
            Command::Ca => admin.certificate_authority().await.map(|pem| print!("{pem}")),
            Command::Serve | Command::Token { .. } | Command::Sign(_) => Ok(()),
        };
        match outcome {
            Ok(()) => return Ok(()),
            Err(error) if error.reason.is_worth_another_shield() => {
                failures.push(format!("{endpoint}: {error}"))
            }
            Err(error) => bail!("{endpoint}: {error}"),
        }
    }
    bail!("{}", failures.join("\n"))
}

/// What the command line gives an operator to prove himself with.
fn credentials(options: &Options) -> Result<Credentials> {
    let tls = options.tls_ca.as_ref().map(|ca| TlsFiles {
        ca: ca.clone(),
        cert: options.tls_cert.clone(),
        key: options.tls_key.clone(),
        ..TlsFiles::default()
    });
    let (token, file) = (options.token.as_deref(), options.token_file.as_deref());
    Ok(Credentials::load(Role::Operator, None, token, file, tls.as_ref())?)
}

/// Prints a derived token.
fn token(options: &Options, role: &str, node: Option<&str>) -> Result<()> {
    let role = Role::of_name(role).filter(|role| *role != Role::Control);
    let Some(role) = role else { bail!("the role is one of edge, shield, operator") };
    if let Some(node) = node.filter(|node| !is_node_id(node)) {
        bail!("'{node}' is not 1 to 128 of [A-Za-z0-9._-]");
    }
    let master = match (&options.token, &options.token_file, options.config.as_deref()) {
        (None, None, Some(config)) => Settings::load(Some(config))?.master()?,
        (token, file, _) => load_master(token.as_deref(), file.as_deref())?,
    };
    println!("{}", master.token(role, node));
    Ok(())
}

type Answer = Result<(), proto::status::RemoteError>;

async fn status(admin: &mut Admin) -> Answer {
    let listed = admin.distributions().await?;
    let nodes = admin.nodes().await?.nodes;
    let newest = &listed.newest;
    println!("revision {} of store {}", newest.number, newest.store_id);
    println!("{} distributions", listed.distributions.len());
    for (d, deployment) in listed.distributions.iter().zip(&listed.deployments) {
        let kind = if d.kind() == DistributionKind::Web { "web" } else { "streaming" };
        let enabled = if d.enabled { "enabled" } else { "disabled" };
        let status = match deployment {
            Some(status) if status.deployed => "Deployed",
            Some(_) => "InProgress",
            None => "unknown",
        };
        println!(
            "  {}  {}  {kind}  {enabled}  {status}  {}  {}",
            d.id,
            d.domain,
            d.origin_host,
            d.aliases.join(",")
        );
        if let Some(status) = deployment.as_ref().filter(|status| !status.deployed) {
            if status.unreadable {
                println!("    its document in the store can't be read: nodes have the form before");
            } else {
                println!("    {}", held_up_by(&nodes, newest, &Change::of(d, status.modified)));
            }
        }
    }
    let counted = nodes.iter().filter(|n| n.condition != "excluded").count();
    if listed.deployed_floor >= newest.number {
        println!("deployed: all {counted} nodes that count have applied it");
    } else {
        println!("in progress: {}", held_up_by(&nodes, newest, &newest_of_all(newest)));
    }
    for status in nodes.iter().filter(|n| n.condition == "excluded") {
        let id = status.node.as_ref().map_or("", |n| &n.node_id);
        println!("excluded, away for {}: {id}", seconds(status.lapsed_ms));
    }
    sealing::usage(admin).await;
    logs::refusals(admin).await;
    Ok(())
}

/// That everything up to the newest revision was applied, whatever nodes made of it.
fn newest_of_all(newest: &Revision) -> Change<'_> {
    Change { id: "", revision: newest.number, enabled: false, required_features: &[] }
}

/// Which nodes don't serve by `change`, and how they stand.
fn held_up_by(nodes: &[NodeStatus], newest: &Revision, change: &Change<'_>) -> String {
    let (mut behind, mut unwilling) = (Vec::new(), Vec::new());
    let mut edges = 0;
    for status in nodes.iter().filter(|n| n.condition != "excluded") {
        let Some(node) = &status.node else { continue };
        edges += usize::from(node.role() == NodeRole::Edge && node.state() == NodeState::Ready);
        let applied = node.applied.as_ref().filter(|a| a.store_id == newest.store_id).map_or(0, |a| a.number);
        let lacks =
            |f: &&String| change.enabled && status.condition != "lapsed" && !node.features.contains(f);
        let lacking: Vec<&str> = change.required_features.iter().filter(lacks).map(String::as_str).collect();
        let refusal = if change.id.is_empty() { None } else { find(node.refusals.as_ref(), change.id) };
        // Who serves nothing of what is disabled does what is asked.
        let refusal = refusal.filter(|refusal| change.enabled || refusal.serves_older);
        if applied < change.revision {
            let since = match status.condition.as_str() {
                "lapsed" => format!("lapsed {} ago", seconds(status.lapsed_ms)),
                condition => format!("{condition} for {}", seconds(status.behind_ms)),
            };
            behind.push(format!("{} (at {applied} of {}, {since})", node.node_id, change.revision));
        } else if !lacking.is_empty() {
            behind.push(format!("{} (lacks {})", node.node_id, lacking.join(", ")));
        } else if let Some(refusal) = refusal {
            let serves = if refusal.serves_older { "serves the form before" } else { "serves nothing of it" };
            unwilling.push(format!("{} ({}; {serves})", node.node_id, refusal.reason));
        }
    }
    let mut names = Vec::new();
    if !behind.is_empty() {
        names.push(format!("not yet applied by {}", behind.join(", ")));
    }
    if !unwilling.is_empty() {
        names.push(format!("refused by {}", unwilling.join(", ")));
    }
    let names = names.join("; ");
    match (edges, names.is_empty()) {
        (0, true) => "there is no edge that is ready".into(),
        (0, false) => format!("there is no edge that is ready; {names}"),
        (_, false) => names,
        (_, true) => "applied by all; about to be recorded".into(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{:.1}s", Duration::from_millis(ms).as_secs_f64())
}

async fn nodes(admin: &mut Admin) -> Answer {
    let answer = admin.nodes().await?;
    let newest = answer.newest.unwrap_or_default();
    println!(
        "{:24} {:7} {:9} {:9} {:24} {:12} {:>10} {:>8}  version",
        "node", "role", "state", "condition", "address", "zone", "applied", "age"
    );
    for status in answer.nodes {
        let Some(node) = &status.node else { continue };
        let applied = match &node.applied {
            None => "nothing".to_owned(),
            Some(applied) if applied.store_id == newest.store_id => applied.number.to_string(),
            Some(_) => "other".to_owned(),
        };
        let state = match (status.lapsed_ms, status.drain) {
            (0, true) => "draining",
            (0, false) => state_name(node),
            _ => "gone",
        };
        let age = seconds(status.age_ms);
        println!(
            "{:24} {:7} {state:9} {:9} {:24} {:12} {applied:>10} {age:>8}  {}",
            node.node_id,
            role_name(node),
            status.condition,
            node.address,
            node.zone,
            node.version
        );
        let refusals = node.refusals.clone().unwrap_or_default();
        for refused in &refusals.listed {
            println!("    refuses {}: {}", refused.id, refused.reason);
        }
        let more = u64::from(refusals.count).saturating_sub(refusals.listed.len() as u64);
        if more > 0 {
            println!("    refuses {more} more, which may be any: no distribution counts as Deployed");
        }
    }
    Ok(())
}

async fn drain(admin: &mut Admin, node: &str, undo: bool) -> Answer {
    admin.drain(node, undo).await?;
    let what = if undo {
        "returns to service"
    } else {
        "drains; it returns with --undo or when its process is restarted"
    };
    println!("{node} {what}");
    Ok(())
}
