//! Signed names against a distribution's trusted signers, with signatures made here and by the tools people use.

use ::control::client::Catalogue;
use proto::v1::{Distribution, Published, Signer, SignerKey};

use super::signer::{ACCOUNT, KEY_PAIR_ID, canned, custom, encode, public_key, sign};
use super::*;

/// Seconds since 1970 in these tests.
const NOW: u64 = 1_700_000_000;
const LATER: u64 = NOW + 60;

fn catalogue() -> Catalogue {
    let keys = vec![SignerKey { key_pair_id: KEY_PAIR_ID.into(), public_key: public_key().into() }];
    let stranger = Signer {
        account: "999999999999".into(),
        keys: vec![SignerKey { key_pair_id: "STRANGER".into(), public_key: public_key().into() }],
    };
    let signers = vec![Signer { account: ACCOUNT.into(), keys }, stranger];
    Catalogue::empty().with_published(Published { signers, ..Published::default() })
}

fn document(signers: &[&str]) -> Distribution {
    let trusted_signers = signers.iter().map(|account| (*account).to_owned()).collect();
    Distribution { id: "EGTXBD79H29TRA".into(), trusted_signers, ..Distribution::default() }
}

fn viewer(now_s: u64) -> Viewer {
    Viewer { address: "192.0.2.7".parse().unwrap(), now_ms: now_s * 1000 }
}

fn examined(name: &StreamName) -> Result<Pass, Denial> {
    examine(&catalogue(), &document(&[ACCOUNT]), name, &viewer(NOW), || true)
}

/// The keys that `name` may open.
fn asked(name: &str) -> Result<Vec<String>, Denial> {
    examined(&StreamName::parse("", name)).map(|pass| pass.keys)
}

fn policy(resource: &str, more: &str) -> String {
    format!(
        r#"{{"Statement":[{{"Resource":"{resource}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{LATER}}}{more}}}}}]}}"#
    )
}

#[test]
fn c33_a_canned_policy_may_name_the_key_with_or_without_its_extension() {
    for (played, resource, keys) in [
        ("mp4:videos/a.mp4", "videos/a.mp4", vec!["videos/a.mp4"]),
        ("mp4:videos/a.mp4", "videos/a", vec!["videos/a.mp4"]),
        ("mp4:videos/a", "videos/a.mp4", vec!["videos/a.mp4"]),
        ("mp3:song", "song", vec!["song", "song.mp3"]),
        ("mp3:song", "song.mp3", vec!["song.mp3"]),
        ("clip", "clip.flv", vec!["clip.flv"]),
        ("clip.flv", "clip", vec!["clip.flv"]),
        ("id3:song", "song.mp3", vec!["song.mp3"]),
        ("a b", "a b", vec!["a b"]),
    ] {
        let opened = asked(&canned(played, resource, LATER));
        let opened = opened.unwrap_or_else(|denial| panic!("{played} signed as {resource}: {denial}"));
        assert_eq!(opened[..keys.len()], keys, "{played} signed as {resource}");
    }
}

#[test]
fn who_signed_one_key_opened_no_other() {
    for (played, resource) in [
        ("mp4:videos/b.mp4", "videos/a.mp4"),
        ("mp4:videos/a", "videos/a.flv"),
        ("mp4:other/videos/a.mp4", "videos/a.mp4"),
        ("mp4:a.mp4", "videos/a.mp4"),
        ("mp4:a.mp4", "*"),
        ("mp4:a.mp4", "mp4:a.mp4"),
        ("mp4:a.mp4", "rtmp://s1.example.com/cfx/st/a.mp4"),
        ("mp4:a.mp4", "http://d1.example.com/a.mp4"),
        ("mp4:a.mp4", "cfx/st/a.mp4"),
    ] {
        assert_eq!(
            asked(&canned(played, resource, LATER)),
            Err(Denial::Signature),
            "{played} signed as {resource}"
        );
    }
    // The app's folders are part of the name: moving one there makes another of it.
    let name = canned("x.mp4", "x.mp4", LATER);
    assert_eq!(examined(&StreamName::parse("secret", &name)), Err(Denial::Signature));
    let name = canned("x.mp4", "a/x.mp4", LATER);
    assert_eq!(examined(&StreamName::parse("a", &name)).unwrap().keys[0], "a/x.mp4");
    // A film that exists under the bare name is not what was signed.
    assert_eq!(asked(&canned("mp4:a", "a.mp4", LATER)), Ok(vec!["a.mp4".to_owned()]));
}

#[test]
fn the_viewer_s_own_parameters_may_be_signed_or_not() {
    for resource in ["videos/m.flv", "videos/m", "videos/m.flv?color=red&size=medium"] {
        assert!(asked(&canned("videos/m.flv?color=red&size=medium", resource, LATER)).is_ok(), "{resource}");
    }
    let moved =
        canned("videos/m.flv?color=red", "videos/m.flv?color=red", LATER).replace("color=red", "color=blue");
    assert_eq!(asked(&moved), Err(Denial::Signature));
    let name = canned("videos/m.flv", "videos/m.flv?color=red", LATER);
    let mixed = name.replace("&Signature", "&color=red&Signature");
    assert!(asked(&mixed).is_ok(), "own parameters may stand between");
}

#[test]
fn c36_a_name_that_was_escaped_once_is_what_it_was() {
    let name = canned("mp4:videos/a.mp4", "videos/a.mp4", LATER);
    let escaped = name.replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
    assert!(asked(&escaped).is_ok());
    assert!(asked(&escaped.to_lowercase()).is_err(), "signatures have capitals");
    let all = percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string();
    assert!(asked(&all.replace("%3A", ":")).is_ok());
    let but_the_mark = name.replace('=', "%3D").replace('&', "%26");
    assert!(asked(&but_the_mark).is_ok());
    let twice = escaped.replace('%', "%25");
    assert_eq!(asked(&twice), Err(Denial::Unsigned));
}

#[test]
fn c34_a_signature_ends_at_its_second() {
    let name = StreamName::parse("", &canned("mp4:a.mp4", "a.mp4", LATER));
    let at = |now_ms| {
        let viewer = Viewer { now_ms, ..viewer(0) };
        examine(&catalogue(), &document(&[ACCOUNT]), &name, &viewer, || true).map(drop)
    };
    assert_eq!(at(LATER * 1000 - 1), Ok(()));
    assert_eq!(at(LATER * 1000), Err(Denial::Expired));
    let past = StreamName::parse("", &canned("mp4:a.mp4", "a.mp4", NOW - 1));
    assert_eq!(examined(&past), Err(Denial::Expired));
    // A later time is another policy.
    let stretched = canned("mp4:a.mp4", "a.mp4", NOW - 1).replace(&(NOW - 1).to_string(), &LATER.to_string());
    assert_eq!(asked(&stretched), Err(Denial::Signature));
}

#[test]
fn c35_custom_policies_hold_wildcards_addresses_and_a_beginning() {
    let with = |resource: &str, more: &str| asked(&custom("mp4:videos/a", &policy(resource, more)));
    for resource in ["videos/*", "*", "videos/a", "videos/?.mp4", "*/a.mp4", "videos/a.*"] {
        assert!(with(resource, "").is_ok(), "{resource}");
    }
    for resource in ["video/*", "videos/b*", "", "videos", "http://d1.example.com/videos/*", "mp4:videos/*"] {
        assert_eq!(with(resource, ""), Err(Denial::Resource), "{resource}");
    }
    assert_eq!(with("*.flv", ""), Err(Denial::Resource));
    assert_eq!(with("videos/a.mp4", ""), Ok(vec!["videos/a.mp4".to_owned()]));
    let ip = |net: &str| with("*", &format!(r#","IpAddress":{{"AWS:SourceIp":"{net}"}}"#)).map(drop);
    assert_eq!((ip("192.0.2.7"), ip("192.0.2.0/24"), ip("0.0.0.0/0")), (Ok(()), Ok(()), Ok(())));
    assert_eq!((ip("192.0.2.8"), ip("198.51.100.0/24")), (Err(Denial::Address), Err(Denial::Address)));
    let after = |from: u64| with("*", &format!(r#","DateGreaterThan":{{"AWS:EpochTime":{from}}}"#)).map(drop);
    assert_eq!(
        (after(NOW - 1), after(NOW), after(NOW + 1)),
        (Ok(()), Err(Denial::Early), Err(Denial::Early))
    );
    assert!(matches!(with("*", r#","Unknown":{}"#), Err(Denial::Policy(_))));
    // Spaces as people write them: the bytes are what is signed.
    let spaced = policy("*", "").replace("\":", "\" : ").replace(',', " ,\r\n\t");
    assert!(asked(&custom("mp4:videos/a", &spaced)).is_ok());
    let name = custom("mp4:videos/a", &policy("videos/*", ""));
    let (query, forged) = (encode(policy("videos/*", "").as_bytes()), encode(policy("*", "").as_bytes()));
    assert_eq!(
        asked(&name.replace(&query, &forged)),
        Err(Denial::Signature),
        "another policy under this signature"
    );
}

#[test]
fn only_keys_of_trusted_accounts_count_and_those_as_they_are_now() {
    let name = StreamName::parse("", &canned("mp4:a.mp4", "a.mp4", LATER));
    let by = |catalogue: &Catalogue, signers: &[&str]| {
        examine(catalogue, &document(signers), &name, &viewer(NOW), || true).map(drop)
    };
    assert_eq!(by(&catalogue(), &["999999999999", ACCOUNT]), Ok(()));
    assert_eq!(by(&catalogue(), &["999999999999"]), Err(Denial::UnknownKey));
    assert_eq!(by(&catalogue(), &["000000000000"]), Err(Denial::UnknownKey));
    // Signers that nobody told this edge of: nobody is let in.
    assert_eq!(by(&Catalogue::empty(), &[ACCOUNT]), Err(Denial::UnknownKey));
    let other = canned("mp4:a.mp4", "a.mp4", LATER).replace(KEY_PAIR_ID, "STRANGER");
    assert_eq!(asked(&other), Err(Denial::UnknownKey));
    let broken = SignerKey { key_pair_id: KEY_PAIR_ID.into(), public_key: vec![0x30, 0x00].into() };
    let signers = vec![Signer { account: ACCOUNT.into(), keys: vec![broken] }];
    let catalogue = Catalogue::empty().with_published(Published { signers, ..Published::default() });
    assert_eq!(by(&catalogue, &[ACCOUNT]), Err(Denial::Signature));
}

#[test]
fn what_was_proven_is_not_checked_again_while_the_key_is_trusted() {
    let name = StreamName::parse("", &canned("mp4:a.mp4", "a.mp4", LATER));
    let passed = name.clone().passed(examined(&name).unwrap());
    assert_eq!(
        passed.candidates(),
        ["a.mp4", "a.mp4.mp4", "a.mp4.f4v", "a.mp4.m4v", "a.mp4.mov", "a.mp4.m4a", "a.mp4.3gp", "a.mp4.aac"]
    );
    let mut checks = 0;
    let mut again = |catalogue: &Catalogue, now_s| {
        let count = || {
            checks += 1;
            true
        };
        examine(catalogue, &document(&[ACCOUNT]), &passed, &viewer(now_s), count).map(drop)
    };
    assert_eq!(again(&catalogue(), NOW + 1), Ok(()));
    assert_eq!(again(&catalogue(), LATER), Err(Denial::Expired));
    assert_eq!(again(&Catalogue::empty(), NOW), Err(Denial::UnknownKey), "the key was taken back");
    assert_eq!(checks, 0);
}

#[test]
fn checks_end_when_there_are_no_more_to_be_had() {
    let name = StreamName::parse("", &canned("mp4:a", "elsewhere", LATER));
    let mut left = 3;
    let may_check = || {
        left -= 1;
        left >= 0
    };
    let outcome = examine(&catalogue(), &document(&[ACCOUNT]), &name, &viewer(NOW), may_check);
    assert_eq!(outcome.map(drop), Err(Denial::Limited));
    let mut checks = 0;
    let count = || {
        checks += 1;
        true
    };
    let long = StreamName::parse("", &canned("a%20b?own=1", "elsewhere", LATER));
    assert_eq!(
        examine(&catalogue(), &document(&[ACCOUNT]), &long, &viewer(NOW), count).map(drop),
        Err(Denial::Signature)
    );
    assert!(checks <= 60, "{checks} checks for one name");
}

#[test]
fn broken_signatures_are_refused() {
    let good = canned("mp4:a.mp4", "a.mp4", LATER);
    let signature = encode(&sign(b"whatever"));
    let at = good.find("Signature=").unwrap() + "Signature=".len();
    let swap = |with: &str| format!("{}{with}&Key-Pair-Id={KEY_PAIR_ID}", &good[..at]);
    assert_eq!(asked(&swap(&signature)), Err(Denial::Signature));
    assert_eq!(asked(&swap(&encode(&sign(b"x")[..127]))), Err(Denial::Signature));
    assert_eq!(asked(&swap(&encode(&[0; 128]))), Err(Denial::Signature));
    assert_eq!(asked(&swap("AQ__")), Err(Denial::Signature));
    assert_eq!(asked(&swap("")), Err(Denial::Malformed("Signature")));
    assert_eq!(asked("mp4:a.mp4"), Err(Denial::Unsigned));
    let endless = StreamName::parse("", &format!("mp4:{}?{}", "a".repeat(4000), "Expires=1&".repeat(200)));
    assert_eq!(examined(&endless), Err(Denial::Unsigned));
    // What can be no key opens nothing, signed or not.
    let outside = asked(&canned("mp4:../a.mp4", "../a.mp4", LATER));
    assert_eq!(outside, Err(Denial::Signature));
}

#[test]
fn what_botocore_and_the_aws_command_line_sign_is_taken() {
    // Made with botocore 1.43 (CloudFrontSigner) and aws-cli 1.45 (cloudfront sign) by this key; valid until 2035.
    for name in [
        "mp4:videos/a.mp4?Expires=2051222400&Signature=nFRW5pskn6LRLlMKwiR~xAVoXzbeeRoFUkh9Me944-a8bg7hHDE7U5qcsL0PZydBT9iDORvyJADPw51DpDFpsopsQqIc4B7b-9C9MLdx9iNr699q0xz3cNntOVOtLccg6LqmB6gdrgWEqU0UO7hCtIU11Xe-XySgNxDGsv4xRP8_&Key-Pair-Id=APKAEXAMPLE1024",
        "videos/mediafile.flv?color=red&size=medium&Expires=2051222400&Signature=iAFtxIyd-FfP65ipRSHyRjvRUJQs0Py-soh0lZPfhR5cVDbJynI6QUCj6IoJ9vqVkRRMNfmu5kK0hzzm-aQ2FfRTrgi9qzPutIfn~syB~RexmUF4dT0w~d3PNscXraJb9spwrDnsNOcaxuTYyOTrlcVFDUFltp9-HdbXN~2dTj8_&Key-Pair-Id=APKAEXAMPLE1024",
        "mp4:videos/a?Policy=eyJTdGF0ZW1lbnQiOlt7IlJlc291cmNlIjoidmlkZW9zLyoiLCJDb25kaXRpb24iOnsiRGF0ZUxlc3NUaGFuIjp7IkFXUzpFcG9jaFRpbWUiOjIwNTEyMjI0MDB9LCJJcEFkZHJlc3MiOnsiQVdTOlNvdXJjZUlwIjoiMTkyLjAuMi4wLzI0In0sIkRhdGVHcmVhdGVyVGhhbiI6eyJBV1M6RXBvY2hUaW1lIjoxNTc3ODM2ODAwfX19XX0_&Signature=Q5F0c0KQH3731ztopRc~YdXfqB8c7yI9SZ8dM93sjk0ak1WPmuwZ-cYYN02-6fIqjMMi5iL~33D7bkowdy--vHQhbepCc6gHauAhHp2skWBmaftoPC2s1eN-N~QkOPyFsZi28Dq84S23m-MJBVX2WnXASqckWqlhjc83KkGhb~Y_&Key-Pair-Id=APKAEXAMPLE1024",
        "mp4:vidéos/a?Expires=2051222400&Signature=rZGtnemmFXe-eXDs5PdoZ~wDrpVcEqM-eQhDlZDAPDG6hLZfs7z5b~Hc2rDSI2Z3wdBMoPKbOMNQo-ZAt0l6X8c9gO1SSuZBvgl6znKN1oMo6J7olzegyCgkKEBgeFt8slWm4MXceN-SlYBcHtyKjgdzsCt0xc0LpBll1RC9ndo_&Key-Pair-Id=APKAEXAMPLE1024",
        "videos/a?Expires=2051222400&Signature=Nx-y3toN3qVk~AbkgPKa95dTeyk-trdbUV0zOeoqAMHV3Zf3o2L1jJyVZM-zqktsWvy5tfjDzL29D-w3DJrC8pajiMYV~yMrMaXa5IwbAeYWiGn2FWqagA5kaMz7fYWpqD7thNtj27ugLTvn~ZqQPYKecHfs7s3drRXvkW7sU4k_&Key-Pair-Id=APKAEXAMPLE1024",
    ] {
        assert!(asked(name).is_ok(), "{:?} {name}", asked(name));
    }
}
