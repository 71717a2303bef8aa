//! The control API and the console, as one person on one machine uses them.
//!
//! At the first start of a data folder there are one account and one access key, which are also what the embedded S3 endpoint takes; the account may
//! have every bucket of that endpoint read for its origin access identities, and its distributions' access logs written to it. Afterwards all of it is the operator's to change: what was taken
//! away is not given again.

use anyhow::Context as _;
use control::accounts::{AccountLimits, Accounts, NewKey};
use control::api::{ApiConfig, auth};
use control::console::{BucketConfig, ConsoleConfig, PlayerConfig};
use control::door::{Door, DoorConfig};
use control::lending::grants::{self, ANY_BUCKET, Right};
use control::seal::Sealer;
use control::store::Store;
use control::{Control, console};
use proto::clock;
use proto::token::MasterToken;

use crate::identity::Identity;
use crate::ready::Bound;

/// The account of the one who runs it.
pub const ACCOUNT: &str = "000000000001";

/// Makes the account and its key, if this data folder has none yet.
pub async fn provide(store: &Store, sealer: &Sealer, identity: &Identity) -> anyhow::Result<()> {
    let accounts = Accounts::new(store.clone(), sealer.clone(), clock::system(), AccountLimits::default());
    if accounts.list().await?.iter().any(|account| account.account == ACCOUNT) {
        return Ok(());
    }
    // The account comes last: whatever stopped this before, it begins anew.
    for right in [Right::Read, Right::Logs] {
        grants::give(&**store, right, ACCOUNT, ANY_BUCKET).await.context("the grant")?;
    }
    accounts.ensure(ACCOUNT, "standalone").await.context("the account")?;
    let new = NewKey { account: ACCOUNT.into(), read_only: false, comment: "made at the first start".into() };
    let (id, secret) = (&identity.access_key_id, &identity.secret_access_key);
    accounts.import_key(new, id, secret).await.context("the access key")?;
    Ok(())
}

/// The door to API and console of `control`, whose secrets `sealer` seals.
pub fn door(
    control: &Control,
    sealer: &Sealer,
    master: &MasterToken,
    identity: &Identity,
    zone: &str,
    bound: &Bound,
) -> anyhow::Result<Door> {
    let config = ApiConfig { zone: zone.to_owned(), ..ApiConfig::default() };
    let context = control.context(config, clock::system(), sealer.clone(), master);
    let port = |at: usize| bound.rtmp.get(at).or(bound.rtmp.first()).map_or(1935, |address| address.port());
    let pages = ConsoleConfig {
        players: PlayerConfig {
            rtmp_port: port(0),
            tunnel_port: port(1),
            tls_port: port(0),
            edge_host: bound.rtmp.first().map(|address| crate::ready::host(*address)).unwrap_or_default(),
        },
        buckets: BucketConfig {
            endpoint: format!("http://{}", bound.s3),
            access_key_id: identity.access_key_id.clone(),
            secret_access_key: identity.secret_access_key.clone(),
            ..BucketConfig::default()
        },
        ..ConsoleConfig::default()
    };
    let pages = console::open(&context, control.reports(), pages).context("the console")?;
    let verify = auth::verify_by(&context).context("the key for secrets")?;
    Ok(Door::new(context, std::sync::Arc::new(verify), pages, DoorConfig::default())?)
}
