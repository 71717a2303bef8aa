//! Rotations over a store in memory, with others at work.

use prost::Message;
use proto::v1::{AccessKey, CertificateAuthority, OriginSecret};

use super::super::SealingKey;
use super::*;
use crate::accounts::{AccountLimits, Accounts, KeyChange, NewKey};
use crate::documents::{CERTIFICATE_AUTHORITY, KEYS, ORIGIN_SECRETS};
use crate::store::{Store, memory};

fn key(fill: u8) -> SealingKey {
    SealingKey::parse(&hex::encode([fill; 32]), "test").unwrap()
}

/// `(key, secret, document)` of one of each kind.
fn documents(sealer: &Sealer, keys: usize) -> Vec<(String, String, Vec<u8>)> {
    let sealed = |key: &str, secret: &str| sealer.seal(key, secret.as_bytes()).unwrap().into();
    let mut all = Vec::new();
    for n in 0..keys {
        let (id, secret) = (format!("AKIA{n:04}"), format!("secret-{n}"));
        let key = format!("{KEYS}{id}");
        let document = AccessKey {
            sealed_secret: sealed(&key, &secret),
            id,
            account: "111122223333".into(),
            comment: "kept".into(),
            read_only: true,
            ..Default::default()
        };
        all.push((key, secret, document.encode_to_vec()));
    }
    let key = format!("{ORIGIN_SECRETS}oai/E1");
    let document = OriginSecret {
        credential: "oai/E1".into(),
        access_key_id: "AKID".into(),
        sealed_secret: sealed(&key, "of a bucket"),
        ..Default::default()
    };
    all.push((key, "of a bucket".into(), document.encode_to_vec()));
    let key = CERTIFICATE_AUTHORITY.to_owned();
    let document =
        CertificateAuthority { certificate_pem: "PEM".into(), sealed_key: sealed(&key, "of the authority") };
    all.push((key, "of the authority".into(), document.encode_to_vec()));
    all
}

async fn filled(sealer: &Sealer, keys: usize) -> Store {
    let store = memory::open().await.unwrap();
    for (key, _, document) in documents(sealer, keys) {
        store.commit(Transaction::default().put(key, document)).await.unwrap();
    }
    // What begins alike and holds no secret.
    store.commit(Transaction::default().put("keyless/a", "x").put("accounts/1", "x")).await.unwrap();
    store
}

async fn whole(store: &Store, sealer: &Sealer) -> Resealed {
    let mut all = Resealed::default();
    let mut after = Some(String::new());
    while let Some(from) = after {
        let part = some(&**store, sealer, &from).await.unwrap();
        all.resealed += part.resealed;
        all.current += part.current;
        all.unopened += part.unopened;
        all.named.extend(part.named);
        after = part.next;
    }
    all
}

async fn opens_all(store: &Store, sealer: &Sealer, keys: usize) {
    for (key, secret, before) in documents(sealer, keys) {
        let entry = store.get(&key).await.unwrap().unwrap();
        let document = Document::read(&key, &entry.value).unwrap();
        assert_eq!(sealer.open(&key, document.sealed()).unwrap(), secret.as_bytes(), "{key}");
        // All else is as it was.
        let (a, b) =
            (Document::read(&key, &entry.value).unwrap(), Document::read(&key, &before.into()).unwrap());
        assert_eq!(a.with(Vec::new()), b.with(Vec::new()), "{key}");
    }
}

#[tokio::test]
async fn all_is_sealed_anew_under_the_current_key_and_a_second_run_finds_nothing_to_do() {
    let (old, both, new) =
        (Sealer::new(&key(1), &[]), Sealer::new(&key(2), &[key(1)]), Sealer::new(&key(2), &[]));
    let keys = AT_ONCE + 30;
    let store = filled(&old, keys).await;
    let usage = Usage::of_store(&*store).await.unwrap();
    assert_eq!(usage.count_of(&both, Standing::Former), keys as u64 + 2);
    assert_eq!(usage.count_of(&new, Standing::Unknown), keys as u64 + 2);
    assert_eq!((usage.count_of(&old, Standing::Current), usage.damaged), (keys as u64 + 2, 0));

    let done = whole(&store, &both).await;
    assert_eq!((done.resealed, done.current, done.unopened), (keys as u64 + 2, 0, 0));
    opens_all(&store, &new, keys).await;
    let usage = Usage::of_store(&*store).await.unwrap();
    assert_eq!(usage.keys, BTreeMap::from([(KeyId(key(2).id()), keys as u64 + 2)]));
    let head = store.head().await.unwrap().revision;
    assert_eq!(whole(&store, &both).await.current, keys as u64 + 2);
    assert_eq!(store.head().await.unwrap().revision, head, "nothing was written");
}

#[tokio::test]
async fn a_run_that_broke_off_is_gone_on_with() {
    let (old, both) = (Sealer::new(&key(1), &[]), Sealer::new(&key(2), &[key(1)]));
    let store = filled(&old, AT_ONCE + 30).await;
    let first = some(&*store, &both, "").await.unwrap();
    assert_eq!(first.resealed, AT_ONCE as u64);
    // From the start again, as who was interrupted does.
    let rest = whole(&store, &both).await;
    assert_eq!((rest.current, rest.resealed), (AT_ONCE as u64, 32));
    opens_all(&store, &both, AT_ONCE + 30).await;
}

#[tokio::test]
async fn what_no_key_opens_is_named_and_stays() {
    let store = filled(&Sealer::new(&key(3), &[]), 2).await;
    let ours = Sealer::new(&key(2), &[key(1)]);
    let mine = ours.seal("keys/AKIAMINE", b"secret").unwrap();
    let mine = AccessKey { id: "AKIAMINE".into(), sealed_secret: mine.into(), ..Default::default() };
    let cut = AccessKey { id: "AKIACUT".into(), sealed_secret: vec![1, 2].into(), ..Default::default() };
    let transaction = Transaction::default().put("keys/AKIAMINE", mine.encode_to_vec());
    store.commit(transaction.put("keys/AKIACUT", cut.encode_to_vec())).await.unwrap();
    let before = store.list("").await.unwrap().entries;
    let done = whole(&store, &ours).await;
    assert_eq!((done.resealed, done.current, done.unopened), (0, 1, 5));
    let id = hex::encode(key(3).id());
    assert!(
        done.named.iter().any(|named| named.starts_with("keys/AKIA0001: ") && named.contains(&id)),
        "{done:?}"
    );
    assert_eq!(store.list("").await.unwrap().entries, before);
    let usage = Usage::of_store(&*store).await.unwrap();
    assert_eq!((usage.count_of(&ours, Standing::Unknown), usage.damaged), (4, 1));
}

/// Operators disable, import and delete keys while all are sealed anew: nobody's change is lost, and none fails.
#[tokio::test(flavor = "multi_thread")]
async fn who_writes_meanwhile_keeps_what_he_wrote() {
    let (old, both) = (Sealer::new(&key(1), &[]), Sealer::new(&key(2), &[key(1)]));
    let store = memory::open().await.unwrap();
    let clock = proto::clock::system();
    let accounts = |sealer: &Sealer| {
        Accounts::new(store.clone(), sealer.clone(), clock.clone(), AccountLimits::default())
    };
    let (before, after) = (accounts(&old), accounts(&both));
    let account = before.create(None, "one").await.unwrap().account;
    let new = || NewKey { account: account.clone(), ..Default::default() };
    for n in 0..60 {
        before.import_key(new(), &format!("KEY{n:03}"), "secret-before").await.unwrap();
    }
    let writing = async {
        for n in 0..60 {
            let id = format!("KEY{n:03}");
            match n % 4 {
                0 => drop(after.change_key(&id, None, KeyChange::Disable).await.unwrap()),
                1 => drop(after.change_key(&id, None, KeyChange::Delete).await.unwrap()),
                2 => drop(after.import_key(new(), &id, "secret-after").await.unwrap()),
                // A replica that was not restarted yet.
                _ => drop(before.change_key(&id, None, KeyChange::Disable).await.unwrap()),
            }
        }
    };
    let resealing = async {
        for _ in 0..3 {
            whole(&store, &both).await;
        }
    };
    tokio::join!(writing, resealing);
    whole(&store, &both).await;
    let keys = after.keys(None).await.unwrap();
    assert_eq!(keys.len(), 45);
    let current = Sealer::new(&key(2), &[]);
    for found in keys {
        let n: usize = found.id[3..].parse().unwrap();
        let secret = current.open(&format!("{KEYS}{}", found.id), &found.sealed_secret).unwrap();
        let expected: &[u8] = if n % 4 == 2 { b"secret-after" } else { b"secret-before" };
        assert_eq!((secret.as_slice(), found.disabled), (expected, matches!(n % 4, 0 | 3)), "{}", found.id);
    }
}
