//! The control API as boto3 sees it: every operation, paginator, waiter and modelled error, over a real cluster with etcd.
//!
//! The checks are in tests/api/aws/*.py, next to the calls; here each statement of the contract has its test, which says how many checks it
//! expects at least.

use tests::api::{Api, aws};

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
    boto3("streaming", "update", 35);
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
    boto3("streaming", "refusals", 75);
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
    boto3("neighbours", "invalidations", 25);
}

#[test]
fn an_origin_access_identity_cannot_be_deleted_while_it_is_used() {
    boto3("neighbours", "identities", 45);
}

#[test]
fn public_keys_and_key_groups_run_through_their_whole_lives() {
    boto3("neighbours", "keys", 60);
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
