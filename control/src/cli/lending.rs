//! `oai`, `grants` and `signers`: what an operator lends to accounts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use penstock_control::client::admin::Admin;

use super::Answer;
use super::access::read_secret;

#[derive(Subcommand)]
pub(crate) enum OaiCommand {
    /// Give an origin access identity S3 keys, by which shields read the buckets of its distributions
    SetKeys {
        /// The identity's id
        id: String,
        /// The id of the S3 access key
        #[arg(long, value_name = "KEY")]
        access_key_id: String,
        /// A file that holds its secret; - for standard input
        #[arg(long, value_name = "FILE")]
        secret_key_file: PathBuf,
    },
    /// Take the S3 keys of an identity away: shields read by their own role again, where that is granted
    ClearKeys {
        /// The identity's id
        id: String,
    },
    /// List the identities with their accounts and the ids of their S3 keys
    List,
}

#[derive(Subcommand)]
pub(crate) enum GrantsCommand {
    /// Let an account's origin access identities read a bucket by the shields' own role, or its access logs be written to one
    Add {
        /// The account's number
        account: String,
        /// The bucket; * for any
        bucket: String,
        /// For access logs, and not for reading: where an account needs both, grant twice
        #[arg(long)]
        logs: bool,
    },
    /// Take a grant back
    Remove {
        /// The account's number
        account: String,
        /// The bucket, as it was granted
        bucket: String,
        /// The grant for access logs, not that for reading
        #[arg(long)]
        logs: bool,
    },
    /// List the grants, and what each is for
    List,
}

#[derive(Subcommand)]
pub(crate) enum SignersCommand {
    /// Have signed names of an account be checked by a public key under the Key-Pair-Id that scripts know
    Add {
        /// The account's number
        account: String,
        /// The Key-Pair-Id, such as APKAEIBAERJR2EXAMPLE
        #[arg(long)]
        id: String,
        /// A file that holds the public key, PEM
        #[arg(long, value_name = "FILE")]
        public_key_file: PathBuf,
    },
    /// Forget an imported key
    Remove {
        /// The account's number
        account: String,
        /// Its Key-Pair-Id
        id: String,
    },
    /// List the signing keys of all accounts, those of the control API (K...) among them
    List,
}

/// The outer error of each is of this side, before any control was asked.
pub(super) async fn oai(admin: &mut Admin, command: &OaiCommand) -> Result<Answer> {
    Ok(match command {
        OaiCommand::SetKeys { id, access_key_id, secret_key_file } => {
            let secret = read_secret(secret_key_file)?;
            if access_key_id.is_empty() || secret.is_empty() {
                bail!("an access key has an id and a secret; clear-keys takes both away");
            }
            admin.set_origin_keys(id, access_key_id, &secret).await
        }
        OaiCommand::ClearKeys { id } => admin.set_origin_keys(id, "", "").await,
        OaiCommand::List => admin.origin_keys().await.map(|identities| {
            for keys in identities {
                let key = if keys.access_key_id.is_empty() { "-" } else { keys.access_key_id.as_str() };
                println!("{}  {}  {key}", keys.identity, keys.account);
            }
        }),
    })
}

pub(super) async fn grants(admin: &mut Admin, command: &GrantsCommand) -> Answer {
    match command {
        GrantsCommand::Add { account, bucket, logs: false } => {
            admin.change_grant(account, bucket, false).await
        }
        GrantsCommand::Add { account, bucket, logs: true } => {
            admin.change_log_grant(account, bucket, false).await
        }
        GrantsCommand::Remove { account, bucket, logs: false } => {
            admin.change_grant(account, bucket, true).await
        }
        GrantsCommand::Remove { account, bucket, logs: true } => {
            admin.change_log_grant(account, bucket, true).await
        }
        GrantsCommand::List => admin.grants().await.map(|listed| {
            let read = listed.grants.iter().map(|grant| (grant, "read"));
            let mut all: Vec<_> = read.chain(listed.log_grants.iter().map(|grant| (grant, "logs"))).collect();
            all.sort_by_key(|(grant, _)| (&grant.account, &grant.bucket));
            for (grant, right) in all {
                println!("{}  {}  {right}", grant.account, grant.bucket);
            }
        }),
    }
}

pub(super) async fn signers(admin: &mut Admin, command: &SignersCommand) -> Result<Answer> {
    Ok(match command {
        SignersCommand::Add { account, id, public_key_file: file } => {
            let pem = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
            if pem.trim().is_empty() {
                bail!("{}: is empty", file.display());
            }
            admin.change_signer(account, id, &pem).await
        }
        SignersCommand::Remove { account, id } => admin.change_signer(account, id, "").await,
        SignersCommand::List => admin.signers().await.map(|signers| {
            for signer in signers {
                for key in signer.keys {
                    println!("{}  {}", signer.account, key.key_pair_id);
                }
            }
        }),
    })
}
