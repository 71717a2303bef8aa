//! How long a refusal takes does not tell whether the key exists.

use super::*;

/// Refusals of each kind.
const ROUNDS: usize = 1000;
/// Measurements, an odd number: the verdict is the one in the middle, as a machine with other work may disturb some of them.
const ATTEMPTS: usize = 11;

/// The ratio of the medians of refusing a wrong signature under a known and under an unknown key, 2,000 refusals taken in turns.
fn ratio(verifier: &Verifier, view: &View, known: &Sent, unknown: &Sent) -> f64 {
    let mut took = [Vec::with_capacity(ROUNDS), Vec::with_capacity(ROUNDS)];
    let hashes = [known, unknown].map(|sent| <[u8; 32]>::from(Sha256::digest(&sent.body)));
    for round in 0..2 * ROUNDS {
        // Pairs begin with either in turns, so that what comes first in a pair has no part in it.
        let which = (round + round / 2) % 2;
        let sent = [known, unknown][which];
        let signed = Signed {
            method: &sent.method,
            target: &sent.target,
            headers: &sent.headers,
            body_sha256: &hashes[which],
        };
        let start = tokio::time::Instant::now();
        let refused = verifier.verify(view, &signed, NOW);
        took[which].push(start.elapsed());
        assert!(refused.is_err());
    }
    let [known, unknown] = took.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64()
    });
    known / unknown
}

fn hides_which_keys_exist(sign: impl Fn(&str) -> Sent) {
    let keys = (0..500).map(|i| key(&format!("AKIA{i:016}"), "0123456789012345678901234567890123456789"));
    let (verifier, view) = (verifier(), view(keys));
    let (known, unknown) = (sign("AKIA0000000000000250"), sign("AKIA0000000000000999"));
    let code = |sent: &Sent| sent.check(&verifier, &view, NOW).unwrap_err().code;
    assert_eq!((code(&known), code(&unknown)), ("SignatureDoesNotMatch", "InvalidClientTokenId"));
    let mut ratios: Vec<f64> = (0..ATTEMPTS).map(|_| ratio(&verifier, &view, &known, &unknown)).collect();
    ratios.sort_by(f64::total_cmp);
    assert!((0.95..=1.05).contains(&ratios[ATTEMPTS / 2]), "known/unknown: {ratios:?}");
}

#[test]
fn a_legacy_refusal_takes_as_long_for_a_known_key_as_for_an_unknown_one() {
    hides_which_keys_exist(|id| {
        let date = "Sat, 21 Nov 2026 11:07:42 GMT";
        let value = legacy_authorization(id, "wrong", date);
        Sent::get().with("date", date).with("authorization", &value)
    });
}

#[test]
fn a_sigv4_refusal_takes_as_long_for_a_known_key_as_for_an_unknown_one() {
    hides_which_keys_exist(|id| {
        let sent = Sent::parse(captured::BOTO3_TAGS).with("x-amz-date", "20261121T110742Z");
        let value = v4_authorization(id, "wrong", REGION, &["host", "x-amz-date"], &sent);
        sent.with("authorization", &value)
    });
}
