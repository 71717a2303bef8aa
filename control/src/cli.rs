//! The command line: its options, and the calls an operator makes to a running control.

mod access;
mod backup;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use penstock_control::client::admin::Admin;
use penstock_control::client::config::load_token;
use penstock_control::membership::{role_name, state_name};
use penstock_control::settings::reference;
use proto::v1::DistributionKind;

use access::{AccountsCommand, KeysCommand};

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
    /// purge, accounts, keys)
    #[arg(
        long = "control",
        value_name = "URL",
        env = "PENSTOCK_CONTROL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7300",
        global = true
    )]
    pub(crate) endpoints: Vec<String>,

    /// The node token (status, nodes, purge, accounts, keys)
    #[arg(long, value_name = "TOKEN", env = "PENSTOCK_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,

    /// A file that holds the node token (status, nodes, purge, accounts, keys)
    #[arg(long, value_name = "FILE", env = "PENSTOCK_TOKEN_FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
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
        /// Only keys that start with this [default: all]
        path: Option<String>,
    },
    /// Accounts of the control API
    #[command(subcommand)]
    Accounts(AccountsCommand),
    /// Access keys, by which requests of the control API are signed
    #[command(subcommand)]
    Keys(KeysCommand),
}

/// Carries out an operator's call.
pub(crate) async fn call(options: &Options, command: &Command) -> Result<()> {
    let token = load_token(options.token.as_deref(), options.token_file.as_deref())?;
    let mut failures = Vec::new();
    for endpoint in &options.endpoints {
        let mut admin = Admin::new(endpoint, &token)?;
        let outcome = match command {
            Command::Status => status(&mut admin).await,
            Command::Nodes => nodes(&mut admin).await,
            Command::Purge { distribution, path } => {
                let prefix = path.as_deref().unwrap_or_default().trim_start_matches('/');
                purge(&mut admin, distribution, prefix).await
            }
            Command::Ca => admin.certificate_authority().await.map(|pem| print!("{pem}")),
            Command::Apply { file } => backup::apply(&mut admin, file).await?,
            Command::Export => backup::export(&mut admin).await?,
            Command::Import { file, replace } => backup::import(&mut admin, file, *replace).await?,
            Command::Accounts(command) => access::accounts(&mut admin, command).await,
            Command::Keys(command) => access::keys(&mut admin, command).await?,
            Command::Serve => Ok(()),
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

type Answer = Result<(), proto::status::RemoteError>;

async fn status(admin: &mut Admin) -> Answer {
    let (distributions, newest) = admin.distributions().await?;
    let nodes = admin.nodes().await?.nodes;
    println!("revision {} of store {}", newest.number, newest.store_id);
    println!("{} distributions", distributions.len());
    for d in &distributions {
        let kind = if d.kind() == DistributionKind::Web { "web" } else { "streaming" };
        let enabled = if d.enabled { "enabled" } else { "disabled" };
        println!("  {}  {}  {kind}  {enabled}  {}  {}", d.id, d.domain, d.origin_host, d.aliases.join(","));
    }
    let behind: Vec<&str> = nodes
        .iter()
        .filter_map(|n| n.node.as_ref())
        .filter(|n| n.applied.as_ref() != Some(&newest))
        .map(|n| n.node_id.as_str())
        .collect();
    match behind.as_slice() {
        [] => println!("deployed: all {} live nodes have applied it", nodes.len()),
        behind => println!("in progress: not yet applied by {}", behind.join(", ")),
    }
    Ok(())
}

async fn nodes(admin: &mut Admin) -> Answer {
    let answer = admin.nodes().await?;
    let newest = answer.newest.unwrap_or_default();
    println!(
        "{:24} {:7} {:9} {:24} {:12} {:>10} {:>8}  version",
        "node", "role", "state", "address", "zone", "applied", "age"
    );
    for status in answer.nodes {
        let Some(node) = status.node else { continue };
        let applied = match &node.applied {
            None => "nothing".to_owned(),
            Some(applied) if applied.store_id == newest.store_id => applied.number.to_string(),
            Some(_) => "other".to_owned(),
        };
        let age = Duration::from_millis(status.age_ms).as_secs_f64();
        println!(
            "{:24} {:7} {:9} {:24} {:12} {applied:>10} {age:>7.1}s  {}",
            node.node_id,
            role_name(&node),
            state_name(&node),
            node.address,
            node.zone,
            node.version
        );
    }
    Ok(())
}

async fn purge(admin: &mut Admin, distribution: &str, prefix: &str) -> Answer {
    let answer = admin.purge(distribution, prefix).await?;
    let revision = answer.revision.unwrap_or_default().number;
    println!(
        "{} cache entries dropped at shields; edges forget at revision {revision}",
        answer.shield_entries
    );
    if !answer.unreached.is_empty() {
        println!("not reached, will hear of it through their subscription: {}", answer.unreached.join(", "));
    }
    Ok(())
}
