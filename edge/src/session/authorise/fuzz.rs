//! Fuzz target: stream names that may be signed, and policies.
//!
//! The corpus has names signed by the tools people use with the [`signer`](super::signer)'s key, so mutations start close to what is let in.
//! Whatever a name says: few signatures are checked for it, what is let in are keys it stands for, a signature that was touched lets
//! nothing in, and what was read can be said again.

use ::control::client::Catalogue;
use proto::object::check_key;
use proto::v1::{Distribution, Published, Signer, SignerKey};

use super::policy::Policy;
use super::signature::{Parameters, Terms};
use super::signer::{ACCOUNT, KEY_PAIR_ID, encode, public_key};
use super::{Denial, StreamName, Viewer, examine, resource};

/// What one name may cost: some ten extensions, as given and decoded, with the viewer's own query and without, each in three spellings of JSON.
const MOST_CHECKS: usize = 3 * 2 * 2 * 2 * 12;

/// A stream name; or, behind a first byte of `{`, a policy.
pub fn signed_name(data: &[u8]) {
    if data.first() == Some(&b'{') {
        policy(data);
    }
    let text = String::from_utf8_lossy(data);
    let name = StreamName::parse("", &text);
    let query = name.query.clone().unwrap_or_default();
    let parameters = Parameters::parse(&query);
    if let Ok(parameters) = &parameters {
        assert_eq!(Parameters::parse(&said_again(parameters)).as_ref(), Ok(parameters), "{query}");
        let whole = resource::candidates(&name, parameters.own_query.as_deref());
        for name in whole.iter().flat_map(|candidate| &candidate.names).take(8) {
            assert!(resource::fits("*", name) && resource::fits(&format!("{name}*"), name));
        }
    }

    let keys = vec![SignerKey { key_pair_id: KEY_PAIR_ID.into(), public_key: public_key().into() }];
    let signers = vec![Signer { account: ACCOUNT.into(), keys }];
    let catalogue = Catalogue::empty().with_published(Published { signers, ..Published::default() });
    let document = Distribution { trusted_signers: vec![ACCOUNT.into()], ..Distribution::default() };
    let viewer = Viewer { address: [192, 0, 2, 7].into(), now_ms: 1_700_000_000_000 };
    let mut checks = 0;
    let mut judge = |name: &StreamName| {
        let count = || {
            checks += 1;
            true
        };
        examine(&catalogue, &document, name, &viewer, count)
    };
    let Ok(pass) = judge(&name) else {
        assert!(checks <= MOST_CHECKS, "{checks} checks");
        return;
    };
    assert!(!pass.keys.is_empty());
    for key in &pass.keys {
        assert_eq!(check_key(key), Ok(()), "{key:?}");
        assert!(name.candidates().contains(key), "{key:?} is none of the name's");
    }
    let Ok(mut parameters) = parameters else { panic!("let in without parameters: {query}") };
    parameters.signature[0] ^= 1;
    let touched = StreamName::parse("", &format!("{}?{}", name.display, said_again(&parameters)));
    assert_eq!(judge(&touched), Err(Denial::Signature));
}

fn said_again(parameters: &Parameters) -> String {
    let Parameters { key_pair_id, signature, terms, own_query } = parameters;
    let escaped = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut said = own_query.as_ref().map(|own| format!("{own}&")).unwrap_or_default();
    said += &match terms {
        Terms::Until { text, .. } => format!("Expires={text}"),
        Terms::Policy(bytes) => format!("Policy={}", encode(bytes)),
    };
    format!("{said}&Signature={}&Key-Pair-Id={}", encode(signature), escaped(key_pair_id))
}

fn policy(data: &[u8]) {
    if let Ok(policy) = Policy::parse(data) {
        // Spaces around it change nothing.
        let spaced = [b" \r\n", data, b"\t "].concat();
        assert!(spaced.len() > 4096 || Policy::parse(&spaced) == Ok(policy));
    }
}
