//! The control API as the AWS command line sees it.

use serde_json::{Value, json};
use tests::api::{Api, Keys, aws, unique};
use tests::players::{self, Outcome};

fn config(reference: &str, enabled: bool) -> Value {
    json!({
        "CallerReference": reference,
        "S3Origin": {"DomainName": "media.s3.amazonaws.com", "OriginAccessIdentity": ""},
        "Comment": "",
        "TrustedSigners": {"Enabled": false, "Quantity": 0},
        "Enabled": enabled,
    })
}

fn create(api: &Api, keys: &Keys, reference: &str) -> Value {
    let text = config(reference, true).to_string();
    aws::json(aws::cli(
        api,
        keys,
        &["create-streaming-distribution", "--streaming-distribution-config", &text],
    ))
}

fn refused(done: &Outcome, code: &str) {
    assert!(matches!(done.code, 254 | 255), "{done:?}");
    assert!(done.stderr.contains(&format!("An error occurred ({code})")), "{done:?}");
}

#[test]
fn c17_the_command_line_waits_for_a_fresh_distribution_and_takes_it_through_its_life() {
    let (api, folder) = (Api::shared(), tempfile::tempdir().unwrap());
    let keys = api.account();
    let reference = unique();
    let models = aws::quick_waiters(folder.path());
    let env = [("AWS_DATA_PATH", models.as_str())];
    let wait = |id: &str| {
        aws::cli_with(api, &keys, &env, &["wait", "streaming-distribution-deployed", "--id", id]).expect(0)
    };
    let made = create(api, &keys, &reference);
    let id = made["StreamingDistribution"]["Id"].as_str().unwrap();
    assert_eq!(made["StreamingDistribution"]["Status"], "InProgress");
    wait(id);
    // As it is installed, it asks at once, and needs no second try.
    aws::cli(api, &keys, &["wait", "streaming-distribution-deployed", "--id", id]).expect(0);

    let got = aws::json(aws::cli(api, &keys, &["get-streaming-distribution", "--id", id]));
    assert_eq!(got["StreamingDistribution"]["Status"], "Deployed");
    let bare = aws::json(aws::cli(api, &keys, &["get-streaming-distribution-config", "--id", id]));
    assert_eq!(bare["StreamingDistributionConfig"]["CallerReference"], reference.as_str());
    assert_eq!(bare["ETag"], made["ETag"]);

    // The config from a file, as people do it.
    let file = folder.path().join("config.json");
    std::fs::write(&file, config(&reference, false).to_string()).unwrap();
    let file = format!("file://{}", file.display());
    let etag = made["ETag"].as_str().unwrap();
    let update = |tag: &str| {
        let words = [
            "update-streaming-distribution",
            "--id",
            id,
            "--if-match",
            tag,
            "--streaming-distribution-config",
            &file,
        ];
        aws::cli(api, &keys, &words)
    };
    refused(&update("E0000000000000"), "PreconditionFailed");
    let off = aws::json(update(etag));
    refused(&update(etag), "PreconditionFailed");
    wait(id);
    let delete =
        |tag: &str| aws::cli(api, &keys, &["delete-streaming-distribution", "--id", id, "--if-match", tag]);
    refused(&delete(etag), "PreconditionFailed");
    delete(off["ETag"].as_str().unwrap()).expect(0);
    refused(
        &aws::cli(api, &keys, &["get-streaming-distribution", "--id", id]),
        "NoSuchStreamingDistribution",
    );
}

#[test]
fn c18_the_command_line_lists_all_pages() {
    let api = Api::shared();
    let keys = api.account();
    let mut made: Vec<String> = (0..3)
        .map(|_| create(api, &keys, &unique())["StreamingDistribution"]["Id"].as_str().unwrap().to_owned())
        .collect();
    made.sort();
    for page in [&[][..], &["--page-size", "1"], &["--page-size", "2"]] {
        let mut words = vec!["list-streaming-distributions"];
        words.extend(page);
        let list = aws::json(aws::cli(api, &keys, &words));
        let items = list["StreamingDistributionList"]["Items"].as_array().unwrap();
        let mut ids: Vec<&str> = items.iter().map(|i| i["Id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, made, "{page:?}");
    }
    let some = aws::json(aws::cli(api, &keys, &["list-streaming-distributions", "--max-items", "2"]));
    assert_eq!(some["StreamingDistributionList"]["Items"].as_array().unwrap().len(), 2);
    assert!(some["NextToken"].is_string(), "{some}");
}

#[test]
fn the_command_line_makes_one_with_tags_and_the_neighbours() {
    let api = Api::shared();
    let keys = api.account();
    let run = |words: &[&str]| aws::json(aws::cli(api, &keys, words));
    let with_tags = json!({
        "StreamingDistributionConfig": config(&unique(), true),
        "Tags": {"Items": [{"Key": "team", "Value": "films"}]},
    });
    let made = run(&[
        "create-streaming-distribution-with-tags",
        "--streaming-distribution-config-with-tags",
        &with_tags.to_string(),
    ]);
    let arn = made["StreamingDistribution"]["ARN"].as_str().unwrap();
    assert_eq!(
        run(&["list-tags-for-resource", "--resource", arn])["Tags"]["Items"],
        json!([{"Key": "team", "Value": "films"}])
    );
    run(&["tag-resource", "--resource", arn, "--tags", "Items=[{Key=a,Value=b}]"]);
    run(&["untag-resource", "--resource", arn, "--tag-keys", "Items=team"]);
    assert_eq!(
        run(&["list-tags-for-resource", "--resource", arn])["Tags"]["Items"],
        json!([{"Key": "a", "Value": "b"}])
    );

    // The short form: the client fills in the whole config by itself.
    let web = run(&["create-distribution", "--origin-domain-name", "media.s3.amazonaws.com"]);
    let id = web["Distribution"]["Id"].as_str().unwrap();
    let invalidation = run(&["create-invalidation", "--distribution-id", id, "--paths", "/a.flv", "/b/*"]);
    let number = invalidation["Invalidation"]["Id"].as_str().unwrap();
    let seen = run(&["get-invalidation", "--distribution-id", id, "--id", number]);
    assert_eq!(seen["Invalidation"]["InvalidationBatch"]["Paths"]["Items"], json!(["/a.flv", "/b/*"]));
    let listed = run(&["list-invalidations", "--distribution-id", id]);
    assert_eq!(listed["InvalidationList"]["Items"][0]["Id"], number);
    let changed = run(&["update-distribution", "--id", id, "--default-root-object", "index.html"]);
    assert_eq!(changed["Distribution"]["DistributionConfig"]["DefaultRootObject"], "index.html");

    let identity = run(&[
        "create-cloud-front-origin-access-identity",
        "--cloud-front-origin-access-identity-config",
        &format!("CallerReference={},Comment=films", unique()),
    ]);
    let identity = identity["CloudFrontOriginAccessIdentity"]["Id"].as_str().unwrap();
    let got = run(&["get-cloud-front-origin-access-identity", "--id", identity]);
    let etag = got["ETag"].as_str().unwrap();
    assert!(
        run(&["list-cloud-front-origin-access-identities"])["CloudFrontOriginAccessIdentityList"]["Items"][0]
            ["Id"]
            == identity
    );
    run(&["delete-cloud-front-origin-access-identity", "--id", identity, "--if-match", etag]);
}

/// A web distribution's config as a file has it.
fn web_config(enabled: bool) -> Value {
    json!({
        "CallerReference": unique(),
        "Origins": {"Quantity": 1, "Items": [{
            "Id": "o1", "DomainName": "media.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""},
        }]},
        "DefaultCacheBehavior": {
            "TargetOriginId": "o1", "ViewerProtocolPolicy": "allow-all", "MinTTL": 0,
            "ForwardedValues": {"QueryString": false, "Cookies": {"Forward": "none"}},
        },
        "Comment": "",
        "Enabled": enabled,
    })
}

#[test]
fn the_command_line_waits_for_web_distributions_and_invalidations() {
    let (api, folder) = (Api::shared(), tempfile::tempdir().unwrap());
    let keys = api.account();
    let models = aws::quick_waiters(folder.path());
    let wait = |words: &[&str]| {
        let all: Vec<&str> = ["wait"].iter().chain(words).copied().collect();
        aws::cli_with(api, &keys, &[("AWS_DATA_PATH", models.as_str())], &all).expect(0)
    };
    // Nothing is asked of edges for one that is disabled: it gets there.
    let text = web_config(false).to_string();
    let made = aws::json(aws::cli(api, &keys, &["create-distribution", "--distribution-config", &text]));
    let id = made["Distribution"]["Id"].as_str().unwrap();
    wait(&["distribution-deployed", "--id", id]);
    let got = aws::json(aws::cli(api, &keys, &["get-distribution", "--id", id]));
    assert_eq!(got["Distribution"]["Status"], "Deployed");
    let paths = ["create-invalidation", "--distribution-id", id, "--paths", "/a.flv", "/b/*"];
    let made = aws::json(aws::cli(api, &keys, &paths));
    let number = made["Invalidation"]["Id"].as_str().unwrap();
    wait(&["invalidation-completed", "--distribution-id", id, "--id", number]);
    let words = ["get-invalidation", "--distribution-id", id, "--id", number];
    let got = aws::json(aws::cli(api, &keys, &words));
    assert_eq!(got["Invalidation"]["Status"], "Completed");
    let etag = aws::json(aws::cli(api, &keys, &["get-distribution", "--id", id]))["ETag"].clone();
    let delete = ["delete-distribution", "--id", id, "--if-match", etag.as_str().unwrap()];
    aws::cli(api, &keys, &delete).expect(0);
    refused(&aws::cli(api, &keys, &["get-distribution", "--id", id]), "NoSuchDistribution");
}

#[test]
fn the_command_line_changes_identities_public_keys_and_key_groups() {
    let (api, folder) = (Api::shared(), tempfile::tempdir().unwrap());
    let keys = api.account();
    let run = |words: &[&str]| aws::json(aws::cli(api, &keys, words));
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();

    let reference = unique();
    let config = |comment: &str| format!("CallerReference={reference},Comment={comment}");
    let create = "create-cloud-front-origin-access-identity";
    let flag = "--cloud-front-origin-access-identity-config";
    let made = run(&[create, flag, &config("films")]);
    let id = text(&made["CloudFrontOriginAccessIdentity"]["Id"]);
    let update = |etag: &str| {
        let words = [
            "update-cloud-front-origin-access-identity",
            "--id",
            &id,
            "--if-match",
            etag,
            flag,
            &config("more"),
        ];
        aws::cli(api, &keys, &words)
    };
    refused(&update("E0000000000000"), "PreconditionFailed");
    let updated = aws::json(update(&text(&made["ETag"])));
    let got = run(&["get-cloud-front-origin-access-identity-config", "--id", &id]);
    assert_eq!(got["CloudFrontOriginAccessIdentityConfig"]["Comment"], "more");
    assert_eq!(got["ETag"], updated["ETag"]);
    let delete = ["delete-cloud-front-origin-access-identity", "--id", &id, "--if-match"];
    let stale = text(&made["ETag"]);
    refused(&aws::cli(api, &keys, &[&delete[..], &[&stale]].concat()), "PreconditionFailed");
    run(&[&delete[..], &[&text(&updated["ETag"])]].concat());

    let file = |name: &str| folder.path().join(name).display().to_string();
    players::run(30, "openssl", &["genrsa", "-out", &file("key.pem"), "2048"]).expect(0);
    players::run(30, "openssl", &["rsa", "-in", &file("key.pem"), "-pubout", "-out", &file("pub.pem")])
        .expect(0);
    let mut config = json!({
        "CallerReference": unique(), "Name": format!("key-{}", unique()),
        "EncodedKey": std::fs::read_to_string(file("pub.pem")).unwrap(), "Comment": "films",
    });
    let made = run(&["create-public-key", "--public-key-config", &config.to_string()]);
    let key = text(&made["PublicKey"]["Id"]);
    assert_eq!(run(&["get-public-key", "--id", &key])["PublicKey"]["PublicKeyConfig"], config);
    config["Comment"] = "more films".into();
    let (etag, changed) = (text(&made["ETag"]), config.to_string());
    let words = ["update-public-key", "--id", &key, "--if-match", &etag, "--public-key-config", &changed];
    let key_etag = text(&run(&words)["ETag"]);
    assert_eq!(run(&["get-public-key-config", "--id", &key])["PublicKeyConfig"]["Comment"], "more films");
    assert_eq!(run(&["list-public-keys"])["PublicKeyList"]["Items"][0]["Id"], key.as_str());

    let name = format!("group-{}", unique());
    let config = |comment: &str| format!("Name={name},Items={key},Comment={comment}");
    let made = run(&["create-key-group", "--key-group-config", &config("signers")]);
    let (group, etag) = (text(&made["KeyGroup"]["Id"]), text(&made["ETag"]));
    let delete_key = ["delete-public-key", "--id", &key, "--if-match", &key_etag];
    refused(&aws::cli(api, &keys, &delete_key), "PublicKeyInUse");
    let changed = config("all");
    let words = ["update-key-group", "--id", &group, "--if-match", &etag, "--key-group-config", &changed];
    let updated = run(&words);
    assert_eq!(run(&["get-key-group", "--id", &group])["KeyGroup"], updated["KeyGroup"]);
    assert_eq!(run(&["get-key-group-config", "--id", &group])["KeyGroupConfig"]["Comment"], "all");
    assert_eq!(run(&["list-key-groups"])["KeyGroupList"]["Items"][0]["KeyGroup"]["Id"], group.as_str());
    run(&["delete-key-group", "--id", &group, "--if-match", &text(&updated["ETag"])]);
    run(&delete_key);
    refused(&aws::cli(api, &keys, &["get-public-key", "--id", &key]), "NoSuchPublicKey");
    refused(&aws::cli(api, &keys, &["get-key-group", "--id", &group]), "NoSuchResource");
}
