//! Who hears what: edges learn who may sign stream names, shields also by which keys origins are read and who may use their own role.
//!
//! Secrets lie sealed in the store and in the replica's memory; they are opened at the moment they are sent to a shield. One that can't be opened
//! (another replica's key, damage) is withheld, counted and logged: the shield refuses that origin rather than read it by keys of yesterday.

use proto::token::Role;
use proto::v1::{Delta, OriginSecret, Published};

use crate::documents::{GRANTS, ORIGIN_SECRETS};
use crate::metrics::Metrics;
use crate::mirror::view::View;
use crate::seal::Sealer;

fn opened(secret: &OriginSecret, sealer: &Sealer, metrics: &Metrics) -> Option<OriginSecret> {
    let key = format!("{ORIGIN_SECRETS}{}", secret.credential);
    let plain = match sealer.open(&key, &secret.sealed_secret) {
        Ok(plain) => String::from_utf8(plain).ok(),
        Err(error) => {
            tracing::error!(%key, %error, "an origin's secret can't be opened: shields are not told it");
            None
        }
    };
    if plain.is_none() {
        metrics.unopened_secrets.inc();
    }
    let secret_access_key = plain?;
    Some(OriginSecret { secret_access_key, sealed_secret: Default::default(), ..secret.clone() })
}

/// All that a node of `role` hears of access at `view`.
pub(super) fn published(view: &View, role: Role, sealer: &Sealer, metrics: &Metrics) -> Published {
    let mut published = Published {
        signers: view.signers.values().map(|signer| (**signer).clone()).collect(),
        ..Default::default()
    };
    if role == Role::Shield {
        let secrets = view.origin_secrets.values();
        published.origin_secrets = secrets.filter_map(|secret| opened(secret, sealer, metrics)).collect();
        published.grants = view.grants.values().map(|grant| (**grant).clone()).collect();
    }
    published
}

/// A change, as a node of `role` hears it.
pub(super) fn delta(delta: &Delta, role: Role, sealer: &Sealer, metrics: &Metrics) -> Delta {
    let mut heard = delta.clone();
    let sealed = match &mut heard.published {
        Some(published) => std::mem::take(&mut published.origin_secrets),
        None => Vec::new(),
    };
    if role != Role::Shield {
        if let Some(published) = &mut heard.published {
            published.grants.clear();
        }
        heard.removed.retain(|key| !key.starts_with(ORIGIN_SECRETS) && !key.starts_with(GRANTS));
        return heard;
    }
    for secret in sealed {
        match opened(&secret, sealer, metrics) {
            Some(secret) => heard.published.get_or_insert_default().origin_secrets.push(secret),
            None => heard.removed.push(format!("{ORIGIN_SECRETS}{}", secret.credential)),
        }
    }
    heard
}
