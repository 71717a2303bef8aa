//! `keys reseal`, and what `status` says of the keys that seal secrets.

use penstock_control::client::admin::Admin;
use proto::status::{Reason, RemoteError};
use proto::v1::ListSealingKeysResponse;

/// Has all secrets sealed under the current key, and says how many were.
pub(super) async fn reseal(admin: &mut Admin) -> Result<(), RemoteError> {
    let (mut resealed, mut current, mut unopened) = (0, 0, 0);
    let mut after = String::new();
    loop {
        let done = admin.reseal_secrets(&after).await?;
        resealed += done.resealed;
        current += done.current;
        unopened += done.unopened;
        for named in &done.named {
            // What is in the store is not to reach the terminal as it is.
            println!("not opened: {}", named.escape_debug());
        }
        if done.next.is_empty() {
            break;
        }
        after = done.next;
    }
    println!("{resealed} secrets were sealed anew, {current} were under the current key already");
    if unopened > 0 {
        let reason = format!("{unopened} secrets can't be opened and stay as they are");
        return Err(RemoteError::new(Reason::Invalid, reason));
    }
    let usage = admin.sealing_keys().await?;
    let left = count(&usage, "former") + count(&usage, "unknown");
    if left > 0 {
        let reason = format!(
            "{left} more were made meanwhile under another key: a replica still seals under it; restart it with the new settings, then run this again"
        );
        return Err(RemoteError::new(Reason::Invalid, reason));
    }
    Ok(())
}

fn count(usage: &ListSealingKeysResponse, standing: &str) -> u64 {
    usage.keys.iter().filter(|key| key.standing == standing).map(|key| key.documents).sum()
}

/// The lines of `status`; none where there are no secrets.
pub(super) async fn usage(admin: &mut Admin) {
    match admin.sealing_keys().await {
        Ok(usage) => lines(&usage).iter().for_each(|line| println!("{line}")),
        Err(error) => println!("secrets: unknown ({error})"),
    }
}

/// What is of use when a backup was put back: what no key here opens.
pub(super) fn unopened(usage: &ListSealingKeysResponse) -> Vec<String> {
    lines(usage)
        .into_iter()
        .filter(|line| line.contains("does not have") || line.contains("damaged"))
        .collect()
}

fn lines(usage: &ListSealingKeysResponse) -> Vec<String> {
    let mut lines: Vec<String> = usage
        .keys
        .iter()
        .map(|key| {
            let (documents, id) = (key.documents, &key.key_id);
            match key.standing.as_str() {
                "current" => format!("secrets: {documents} sealed under the current key {id}"),
                "former" => format!("secrets: {documents} still under the former key {id}: penstock-control keys reseal"),
                _ => format!(
                    "secrets: {documents} under key {id}, which this control does not have: give it in secrets.old_key_files"
                ),
            }
        })
        .collect();
    if usage.damaged > 0 {
        lines.push(format!("secrets: {} are damaged", usage.damaged));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::v1::SealingKeyUsage;

    #[test]
    fn each_key_has_its_line_and_only_what_cannot_be_opened_is_told_of_a_backup() {
        let key = |standing: &str, documents| SealingKeyUsage {
            key_id: format!("id-{standing}"),
            standing: standing.into(),
            documents,
        };
        let usage = ListSealingKeysResponse {
            keys: vec![key("current", 3), key("former", 2), key("unknown", 1)],
            damaged: 4,
        };
        assert_eq!((count(&usage, "former"), count(&usage, "unknown")), (2, 1));
        let all = lines(&usage);
        assert_eq!(all.len(), 4);
        assert!(all[1].contains("2 still under the former key id-former") && all[1].contains("keys reseal"));
        assert_eq!(unopened(&usage), all[2..]);
        assert!(lines(&ListSealingKeysResponse::default()).is_empty());
    }
}
