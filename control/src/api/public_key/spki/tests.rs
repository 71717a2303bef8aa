//! Keys as openssl writes them, and what is none.

use proptest::prelude::*;
use ring::signature::{RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

use super::*;

const KEYS: [(usize, &str); 4] = [
    (1024, include_str!("1024.pem")),
    (1536, include_str!("1536.pem")),
    (2048, include_str!("2048.pem")),
    (4096, include_str!("4096.pem")),
];

#[test]
fn keys_of_every_size_are_read_down_to_the_rsa_public_key() {
    for (bits, pem) in KEYS {
        let key = rsa_public_key(pem).unwrap();
        // SEQUENCE of the modulus, one byte more than its size, and the exponent.
        assert_eq!(key[0], SEQUENCE, "{bits}");
        assert!((bits / 8 + 5..bits / 8 + 20).contains(&key.len()), "{bits}: {}", key.len());
        // The verifier takes it: a wrong signature is a wrong signature, of whatever key.
        let verifier = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, &key);
        assert!(verifier.verify(b"message", &vec![1; bits / 8]).is_err());
    }
}

#[test]
fn line_ends_and_layout_do_not_matter() {
    let (_, pem) = KEYS[2];
    let key = rsa_public_key(pem).unwrap();
    assert_eq!(rsa_public_key(&pem.replace('\n', "\r\n")), Ok(key.clone()));
    assert_eq!(rsa_public_key(&format!("\n  {} \n\n", pem.trim())), Ok(key.clone()));
    let one_line = pem.trim().replace("-----\n", "----- ").replace("\n-----", " -----").replace('\n', "");
    assert_eq!(rsa_public_key(&one_line), Ok(key));
}

#[test]
fn what_is_no_usable_key_is_refused_by_its_reason() {
    let (_, pem) = KEYS[2];
    let body = |text: &str| format!("{BEGIN}\n{text}\n{END}\n");
    let cases = [
        ("", BadKey::Pem),
        ("MIIB", BadKey::Pem),
        (&body("MIIB")[..], BadKey::Der),
        (&body("!!!!")[..], BadKey::Pem),
        (&body("")[..], BadKey::Der),
        (&format!("{pem}{pem}")[..], BadKey::Pem),
        (&format!("note\n{pem}")[..], BadKey::Pem),
        (&"x".repeat(PEM_BYTES_MAX + 1)[..], BadKey::Pem),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", BadKey::Private),
        (include_str!("ec.pem"), BadKey::Algorithm),
        (include_str!("512.pem"), BadKey::Modulus(512)),
    ];
    for (text, reason) in cases {
        assert_eq!(rsa_public_key(text), Err(reason), "{text}");
    }
}

fn der(pem: &str) -> Vec<u8> {
    let digits: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(digits).unwrap()
}

proptest! {
    #[test]
    fn a_cut_or_bent_key_is_refused_and_never_panics(at in 0..294_usize, byte in any::<u8>(), cut in any::<bool>()) {
        let mut der = der(KEYS[2].1);
        if cut {
            der.truncate(at);
            prop_assert!(of_info(&der).is_err());
        } else {
            der[at] = byte;
            // Within the numbers another byte is another key; elsewhere it is none.
            if let Ok(key) = of_info(&der) {
                prop_assert_eq!(check(&key), Ok(()));
            }
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = of_info(&bytes);
        let _ = rsa_public_key(&String::from_utf8_lossy(&bytes));
    }
}
