//! `accounts` and `keys`: who may use the control API.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use penstock_control::client::admin::Admin;
use proto::status::RemoteError;
use proto::v1::{AccessKeyChange, AccessKeyInfo, CreateAccessKeyRequest};

#[derive(Subcommand)]
pub(crate) enum AccountsCommand {
    /// Make an account and print its number
    Create {
        /// Its number, 12 digits [default: drawn]
        account: Option<String>,
        /// A name for people
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List the accounts
    List,
    /// Delete an account that has neither access keys nor resources
    Delete {
        /// Its number
        account: String,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make an access key and print it with its secret, which is shown this once
    Create(NewKey),
    /// Take in an access key whose secret is known already; the same id again gets the new secret
    Import {
        /// The key's id
        id: String,
        /// A file that holds the secret; - for standard input
        #[arg(long, value_name = "FILE")]
        secret_file: PathBuf,
        #[command(flatten)]
        new: NewKey,
    },
    /// List the access keys
    List {
        /// Only those of this account
        #[arg(long)]
        account: Option<String>,
    },
    /// Have a key verify nothing from now on
    Disable {
        /// The key's id
        id: String,
    },
    /// Have a disabled key verify again
    Enable {
        /// The key's id
        id: String,
    },
    /// Forget a key
    Delete {
        /// The key's id
        id: String,
    },
    /// Seal all secrets in the store (of access keys, of origins, of the local authority) under the current secrets.key: the last step before a
    /// former key may go. May be interrupted and repeated
    Reseal,
}

#[derive(Args)]
pub(crate) struct NewKey {
    /// Its account [default: the only one; a first one is made if there is none]
    #[arg(long)]
    account: Option<String>,
    /// It may list and read, and change nothing
    #[arg(long)]
    read_only: bool,
    /// For people
    #[arg(long, default_value = "")]
    comment: String,
}

impl NewKey {
    fn request(&self) -> CreateAccessKeyRequest {
        CreateAccessKeyRequest {
            account: self.account.clone().unwrap_or_default(),
            read_only: self.read_only,
            comment: self.comment.clone(),
            ..CreateAccessKeyRequest::default()
        }
    }
}

pub(super) async fn accounts(admin: &mut Admin, command: &AccountsCommand) -> Result<(), RemoteError> {
    match command {
        AccountsCommand::Create { account, name } => {
            let made = admin.create_account(account.as_deref().unwrap_or_default(), name).await?;
            println!("{}", made.account);
        }
        AccountsCommand::List => {
            for account in admin.accounts().await? {
                println!("{}  {}", account.account, account.name);
            }
        }
        AccountsCommand::Delete { account } => admin.delete_account(account).await?,
    }
    Ok(())
}

/// The outer error is of this side, before any control was asked.
pub(super) async fn keys(admin: &mut Admin, command: &KeysCommand) -> Result<Result<(), RemoteError>> {
    Ok(match command {
        KeysCommand::Create(new) => create(admin, new.request()).await,
        KeysCommand::Import { id, secret_file, new } => {
            let secret = read_secret(secret_file)?;
            create(admin, CreateAccessKeyRequest { id: id.clone(), secret, ..new.request() }).await
        }
        KeysCommand::List { account } => list(admin, account.as_deref().unwrap_or_default()).await,
        KeysCommand::Disable { id } => change(admin, id, AccessKeyChange::Disable).await,
        KeysCommand::Enable { id } => change(admin, id, AccessKeyChange::Enable).await,
        KeysCommand::Delete { id } => change(admin, id, AccessKeyChange::Delete).await,
        KeysCommand::Reseal => super::sealing::reseal(admin).await,
    })
}

pub(super) fn read_secret(file: &Path) -> Result<String> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| file.display().to_string())?
    };
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        bail!("{}: holds no secret", file.display());
    }
    Ok(secret.to_owned())
}

async fn create(admin: &mut Admin, request: CreateAccessKeyRequest) -> Result<(), RemoteError> {
    let made = admin.create_key(request).await?;
    let key = made.key.unwrap_or_default();
    // As variables, so that a shell and every AWS tool can take them as they are.
    println!("AWS_ACCESS_KEY_ID={}", key.id);
    if made.secret.is_empty() {
        eprintln!("The key belongs to account {}.", key.account);
    } else {
        println!("AWS_SECRET_ACCESS_KEY={}", made.secret);
        eprintln!("The key belongs to account {}. Its secret is not shown again.", key.account);
    }
    Ok(())
}

async fn list(admin: &mut Admin, account: &str) -> Result<(), RemoteError> {
    for key in admin.keys(account).await? {
        println!("{}", line(&key));
    }
    Ok(())
}

async fn change(admin: &mut Admin, id: &str, change: AccessKeyChange) -> Result<(), RemoteError> {
    let key = admin.change_key(id, change).await?;
    match change {
        AccessKeyChange::Delete => println!("{} deleted", key.id),
        _ => println!("{}", line(&key)),
    }
    Ok(())
}

fn line(key: &AccessKeyInfo) -> String {
    let rights = if key.read_only { "read-only" } else { "full" };
    let state = if key.disabled { "disabled" } else { "enabled" };
    format!("{:20}  {}  {rights:9}  {state:8}  {}", key.id, key.account, key.comment).trim_end().to_owned()
}
