//! The control API as boto3 sees it: every operation, paginator, waiter and modelled error, over a real cluster with etcd.
//!
//! The checks are in tests/api/aws/*.py, next to the calls; here each statement of the contract has its test, which says how many checks it
//! expects at least.

use tests::api::{Api, Keys, aws};

fn boto3(script: &str, case: &str, checks: u64) -> serde_json::Value {
    let api = Api::shared();
    let keys = api.account();
    aws::boto3(api, &keys, script, case, checks, &[&keys.account])
}

#[test]
fn c05_a_create_answers_with_everything_boto3_reads() {
    boto3("streaming", "create", 19);
}

#[test]
fn c08_a_caller_reference_used_again_is_an_error_since_2018_11_and_the_same_distribution_before() {
    boto3("streaming", "again", 30);
}

#[test]
fn c10_c11_updates_need_the_current_etag_and_keep_the_caller_reference() {
    boto3("streaming", "update", 63);
}

#[test]
fn c12_quantities_must_be_those_of_the_items() {
    boto3("streaming", "quantities", 20);
}

#[test]
fn c13_a_name_belongs_to_one_distribution() {
    boto3("streaming", "cnames", 15);
}

#[test]
fn c14_what_a_create_may_not_say_has_its_own_error() {
    boto3("streaming", "refusals", 87);
}

#[test]
fn c15_c16_a_distribution_lives_until_it_is_disabled_deployed_and_deleted() {
    boto3("streaming", "life", 30);
}

#[test]
fn c18_lists_come_in_pages_and_the_paginator_yields_them_all() {
    boto3("streaming", "paging", 13);
}

#[test]
fn c19_tags_come_back_and_go_away() {
    boto3("streaming", "tags", 30);
}

#[test]
fn c09_every_version_boto3_still_speaks_makes_reads_and_changes_the_same_distributions() {
    boto3("streaming", "versions", 100);
}

#[test]
fn an_account_has_at_most_a_hundred_streaming_distributions() {
    boto3("streaming", "limit", 5);
}

#[test]
fn a_web_distribution_runs_through_its_whole_life() {
    boto3("neighbours", "web_life", 70);
}

#[test]
fn an_invalidation_runs_to_completed() {
    boto3("neighbours", "invalidations", 30);
}

#[test]
fn an_origin_access_identity_cannot_be_deleted_while_it_is_used() {
    boto3("neighbours", "identities", 45);
}

#[test]
fn public_keys_and_key_groups_run_through_their_whole_lives() {
    boto3("neighbours", "keys", 64);
}

#[test]
fn a_key_that_may_only_read_reads_and_changes_nothing() {
    let api = Api::shared();
    let keys = api.account();
    let made = api.create(&keys, &[]);
    let reader = api.key(&keys.account, &["--read-only"]);
    aws::boto3(api, &reader, "streaming", "denied", 35, &[&keys.account, &made.id, &made.etag]);
    assert_eq!(api.count(&keys), 1);
}

#[test]
fn wrong_keys_and_a_wrong_clock_are_told_to_the_client_by_their_codes() {
    let api = Api::shared();
    let keys = api.account();
    let made = api.create(&keys, &[]);
    let told = |keys: &Keys, env: &[(&str, &str)], code: &str| {
        aws::boto3_with(&api.endpoint(), keys, env, "streaming", "strangers", 24, &[code]);
    };
    told(&Keys { secret: "another secret".into(), ..keys.clone() }, &[], "SignatureDoesNotMatch");
    told(&Keys { id: "AKIAUNKNOWNUNKNOWN00".into(), ..keys.clone() }, &[], "InvalidClientTokenId");
    for clock in ["-2h", "+2h"] {
        told(&keys, &[("PENSTOCK_CLOCK", clock)], "RequestExpired");
    }
    // Within the window a clock may be off.
    let off = [("PENSTOCK_CLOCK", "-10m")];
    aws::boto3_with(&api.endpoint(), &keys, &off, "streaming", "show", 1, &[&made.id]);
    assert_eq!(api.count(&keys), 1);
}

#[test]
fn over_tls_by_the_local_authority_boto3_works_as_without_and_trusts_nobody_else() {
    let api = Api::shared();
    let keys = api.account();
    let ca = api.authority().display().to_string();
    let trusting = [("PENSTOCK_CA_BUNDLE", ca.as_str())];
    for host in ["localhost", "127.0.0.1"] {
        let endpoint = format!("https://{host}:{}", api.addr().rsplit_once(':').unwrap().1);
        let words = [keys.account.as_str()];
        let made = aws::boto3_with(&endpoint, &keys, &trusting, "streaming", "fresh", 1, &words);
        aws::boto3_with(&endpoint, &keys, &trusting, "streaming", "show", 1, &[made["id"].as_str().unwrap()]);
        let refused = aws::cli_at(&endpoint, &keys, &[], &["list-streaming-distributions"]);
        assert!(refused.code != 0 && refused.stderr.contains("SSL"), "{refused:?}");
        let listed = aws::json(aws::cli_at(&endpoint, &keys, &trusting, &["list-streaming-distributions"]));
        assert_eq!(
            listed["StreamingDistributionList"]["Items"].as_array().unwrap().len(),
            api.count(&keys),
            "{listed}"
        );
    }
    let keys = api.account();
    let endpoint = format!("https://{}", api.addr());
    aws::boto3_with(&endpoint, &keys, &trusting, "streaming", "paging", 13, &[]);
}
