//! Seals: opened by the right key, at the right place, unharmed.

use super::*;
use proptest::prelude::*;

const KEY: &str = "keys/AKIAEXAMPLE";

fn key(fill: u8) -> SealingKey {
    SealingKey::parse(&hex::encode([fill; 32]), "test").unwrap()
}

#[test]
fn a_secret_opens_only_for_the_document_it_was_sealed_for() {
    let sealer = Sealer::new(&key(1), &[]);
    let sealed = sealer.seal(KEY, b"wJalrXUtnFEMI").unwrap();
    assert_eq!(sealer.open(KEY, &sealed).unwrap(), b"wJalrXUtnFEMI");
    assert_eq!(sealer.open("keys/AKIAOTHER", &sealed), Err(SealError::Tampered));
    assert!(!sealed.windows(6).any(|w| w == b"wJalrX"), "the secret shows");
    // Same secret, same document: nothing in common but version and key id.
    let again = sealer.seal(KEY, b"wJalrXUtnFEMI").unwrap();
    assert_ne!(sealed[NONCE_AT..], again[NONCE_AT..]);
}

#[test]
fn another_key_opens_nothing_and_says_so() {
    let sealed = Sealer::new(&key(1), &[]).seal(KEY, b"secret").unwrap();
    assert_eq!(Sealer::new(&key(2), &[]).open(KEY, &sealed), Err(SealError::OtherKey(KeyId(key(1).id()))));
}

#[test]
fn a_key_with_the_same_id_but_other_bytes_opens_nothing() {
    let sealed = Sealer::new(&key(1), &[]).seal(KEY, b"secret").unwrap();
    let mut forged = sealed.clone();
    forged[1..NONCE_AT].copy_from_slice(&key(2).id());
    assert_eq!(Sealer::new(&key(2), &[]).open(KEY, &forged), Err(SealError::Tampered));
}

#[test]
fn after_a_rotation_old_secrets_open_and_new_ones_are_sealed_under_the_new_key() {
    let before = Sealer::new(&key(1), &[]);
    let sealed = before.seal(KEY, b"secret").unwrap();
    let after = Sealer::new(&key(2), &[key(1)]);
    assert_eq!(after.open(KEY, &sealed).unwrap(), b"secret");
    assert!(before.is_current(&sealed) && !after.is_current(&sealed));
    let renewed = after.seal(KEY, b"secret").unwrap();
    assert!(after.is_current(&renewed));
    assert_eq!(before.open(KEY, &renewed), Err(SealError::OtherKey(KeyId(key(2).id()))));
    assert_eq!(Sealer::new(&key(2), &[]).open(KEY, &renewed).unwrap(), b"secret");
    let standing = |fill: u8| after.standing(KeyId(key(fill).id()));
    assert_eq!([2, 1, 3].map(standing), [Standing::Current, Standing::Former, Standing::Unknown]);
    assert_eq!(KeyId::of_sealed(&sealed), Some(KeyId(key(1).id())));
    assert_eq!(KeyId::of_sealed(b"none"), None);
}

#[test]
fn without_a_key_nothing_is_sealed_or_opened() {
    let sealer = Sealer::none();
    assert!(!sealer.has_key());
    assert_eq!(sealer.seal(KEY, b"secret"), Err(SealError::NoKey));
    let sealed = Sealer::new(&key(1), &[]).seal(KEY, b"secret").unwrap();
    assert_eq!(sealer.open(KEY, &sealed), Err(SealError::NoKey));
}

#[test]
fn derived_keys_differ_by_label_and_by_key_and_are_the_same_everywhere() {
    let sealer = Sealer::new(&key(1), &[key(2)]);
    let cookies = sealer.derive("cookies").unwrap();
    let alone = |fill| Sealer::new(&key(fill), &[]).derive("cookies").unwrap();
    assert_eq!(cookies, [alone(1), alone(2)].concat(), "the current one's first, then what others sign by");
    assert_ne!(cookies, sealer.derive("cookies2").unwrap());
    assert_ne!(alone(1), alone(2));
    assert_eq!(Sealer::none().derive("cookies"), Err(SealError::NoKey));
}

#[test]
fn a_key_is_32_bytes_in_hex_or_base64_and_nothing_else() {
    let bytes: [u8; 32] = std::array::from_fn(|i| (i * 7 + 250) as u8);
    let expected = SealingKey::parse(&hex::encode(bytes), "x").unwrap();
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    for text in [
        hex::encode_upper(bytes),
        format!("  {}\n", hex::encode(bytes)),
        STANDARD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
    ] {
        assert_eq!(SealingKey::parse(&text, "x").unwrap(), expected, "{text}");
    }
    for text in ["", "letmein", &"a".repeat(63), &"0".repeat(66), &"g".repeat(64), &STANDARD.encode([0; 31])]
    {
        let error = SealingKey::parse(text, "secrets.key").unwrap_err().to_string();
        assert!(error.starts_with("secrets.key: "), "{text}: {error}");
        assert!(text.is_empty() || !error.contains(text), "the error shows what was given");
    }
    assert!(!format!("{expected:?}").contains(&hex::encode(&bytes[..4])));
}

#[test]
fn a_key_file_is_made_once_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets.key");
    assert!(matches!(SealingKey::read(&path), Err(KeyError::File { .. })));
    let made: Vec<SealingKey> = std::thread::scope(|scope| {
        let makers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| SealingKey::read_or_create(&path).unwrap())).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    assert!(made.iter().all(|key| *key == made[0]));
    assert_eq!(SealingKey::read(&path).unwrap(), made[0]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "drafts are left");
}

proptest! {
    #[test]
    fn a_changed_or_cut_secret_does_not_open(
        plain in proptest::collection::vec(any::<u8>(), 0..80), at in any::<usize>(), flip in 1u8..,
    ) {
        let sealer = Sealer::new(&key(1), &[key(2)]);
        let sealed = sealer.seal(KEY, &plain).unwrap();
        prop_assert_eq!(sealer.open(KEY, &sealed).unwrap(), plain);
        let at = at % sealed.len();
        let mut changed = sealed.clone();
        changed[at] ^= flip;
        prop_assert!(sealer.open(KEY, &changed).is_err());
        prop_assert!(sealer.open(KEY, &sealed[..at]).is_err());
    }

    #[test]
    fn arbitrary_bytes_do_not_open(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(Sealer::new(&key(1), &[]).open(KEY, &bytes).is_err());
    }
}
