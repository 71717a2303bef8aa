//! The control API as the AWS command line sees it.

use std::path::Path;

use serde_json::{Value, json};
use tests::api::{Api, Keys, aws, unique};
use tests::players::Outcome;

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

/// awscli's own waiter, its model as it is but for the seconds between two questions.
fn quick_models(folder: &Path) -> String {
    let to = folder.join("cloudfront/2020-05-31");
    std::fs::create_dir_all(&to).unwrap();
    let acceptors = json!([{"matcher": "path", "argument": "StreamingDistribution.Status", "state": "success", "expected": "Deployed"}]);
    let waiters = json!({"version": 2, "waiters": {"StreamingDistributionDeployed": {
        "delay": 2, "maxAttempts": 25, "operation": "GetStreamingDistribution", "acceptors": acceptors,
    }}});
    std::fs::write(to.join("waiters-2.json"), waiters.to_string()).unwrap();
    folder.display().to_string()
}

#[test]
fn c17_the_command_line_waits_for_a_fresh_distribution_and_takes_it_through_its_life() {
    let (api, folder) = (Api::shared(), tempfile::tempdir().unwrap());
    let keys = api.account();
    let reference = unique();
    let models = quick_models(folder.path());
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
