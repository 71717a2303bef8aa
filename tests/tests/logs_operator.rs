//! Access logs as operators and users of the API handle them: Logging by boto3 and by the operator's file, grants, figures, the console.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::api::{Api, Keys, aws, unique};
use tests::eventually;

/// How a distribution's logs stand, as `logs stats --json` tells; `Null` if it has none.
fn stats(api: &Api, id: &str) -> Value {
    let said = api.cluster.control_command(&["logs", "stats", id, "--json"]).expect(0);
    let all: Value = serde_json::from_str(&said.stdout).unwrap();
    let all = all.as_array().unwrap();
    assert!(all.len() <= 1, "{said:?}");
    all.first().cloned().unwrap_or_default()
}

/// Whether an edge knows `text`: what it saves of the config holds its strings as they are.
fn edge_knows(folder: &Path, edge: &str, text: &str) -> bool {
    let files = std::fs::read_dir(folder.join(edge)).unwrap().filter_map(|file| file.ok());
    let has = |file: std::fs::DirEntry| {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    files.filter(|file| file.path().is_file()).any(has)
}

fn edges_know(api: &Api, text: &str, expected: bool) {
    let folder = api.cluster.folder();
    for edge in ["edge-1", "edge-2"] {
        let what = format!("{edge} knows {text}: {expected}");
        eventually(&what, Duration::from_secs(60), || {
            (edge_knows(folder, edge, text) == expected).then_some(())
        });
    }
}

/// Sets Logging by boto3; gives the distribution's id. `words` are its id (or `new`), the bucket's host (or `off`), the prefix.
fn set_logging(api: &Api, keys: &Keys, words: [&str; 3]) -> String {
    let done = aws::boto3(api, keys, "streaming", "logging", 4, &words);
    done["id"].as_str().unwrap().to_owned()
}

#[test]
fn logging_is_switched_on_moved_and_off_by_boto3_and_edges_hear_of_it() {
    let api = Api::shared();
    let keys = api.account();
    let (first, second) =
        (format!("{}.s3.amazonaws.com", unique()), format!("{}.s3.amazonaws.com", unique()));
    let id = set_logging(api, &keys, ["new", &first, "films/"]);
    eventually("control logs to the first bucket", Duration::from_secs(30), || {
        (stats(api, &id)["target"]["bucket"] == first.as_str()).then_some(())
    });
    let target = stats(api, &id)["target"].clone();
    assert_eq!(
        (target["prefix"].as_str(), target["account"].as_str()),
        (Some("films/"), Some(&*keys.account))
    );
    edges_know(api, &first, true);

    set_logging(api, &keys, [&id, &second, ""]);
    edges_know(api, &second, true);
    edges_know(api, &first, false);
    assert_eq!(stats(api, &id)["target"]["bucket"], second.as_str());

    set_logging(api, &keys, [&id, "off", ""]);
    edges_know(api, &second, false);
    assert_eq!(stats(api, &id), Value::Null, "off, and nothing was ever logged");
}

#[test]
fn the_operators_file_says_where_logs_go_and_needs_no_grant() {
    let api = Api::start(Default::default());
    let declared = |logging: &str| {
        let entry = "  - {name: logged, origin: media.s3.amazonaws.com, id: E0000000LOGGED";
        api.cluster.declare(&format!("{entry}{logging}}}\n"));
    };
    declared(", logging: {bucket: declared.s3.amazonaws.com, prefix: all}");
    edges_know(&api, "declared.s3.amazonaws.com", true);
    let target = stats(&api, "E0000000LOGGED")["target"].clone();
    assert_eq!((target["prefix"].as_str(), target["account"].as_str()), (Some("all"), Some("")));
    // What is no bucket is refused, and what was before stays.
    declared(", logging: {bucket: s3.amazonaws.com}");
    eventually("the file is refused", Duration::from_secs(30), || {
        api.cluster.control.process.log().contains("logging.bucket").then_some(())
    });
    assert_eq!(stats(&api, "E0000000LOGGED")["target"], target);
    declared("");
    edges_know(&api, "declared.s3.amazonaws.com", false);
}

#[test]
fn grants_for_logs_are_given_listed_and_taken_back_apart_from_those_for_reading() {
    let api = Api::shared();
    let keys = api.account();
    let account = keys.account.as_str();
    let grants = |words: &[&str], code: i32| {
        let mut all = vec!["grants"];
        all.extend(words);
        api.cluster.control_command(&all).expect(code)
    };
    let listed = || -> Vec<String> {
        let said = grants(&["list"], 0);
        said.stdout.lines().filter(|line| line.starts_with(account)).map(str::to_owned).collect()
    };
    grants(&["add", account, "logs", "--logs"], 0);
    assert_eq!(listed(), [format!("{account}  logs  logs")]);
    grants(&["add", account, "logs"], 0);
    assert_eq!(listed(), [format!("{account}  logs  read"), format!("{account}  logs  logs")]);
    grants(&["remove", account, "logs"], 0);
    assert_eq!(listed(), [format!("{account}  logs  logs")]);
    let refused = grants(&["remove", account, "logs"], 1);
    assert!(refused.stderr.contains("has no grant for 'logs'"), "{refused:?}");
    // It stays when the config is taken out and put back.
    let backup = grants_in_a_backup(api);
    assert!(backup.contains(&format!("log-grants/{account}/logs")), "{backup}");
    grants(&["remove", account, "logs", "--logs"], 0);
    assert!(listed().is_empty());
}

fn grants_in_a_backup(api: &Api) -> String {
    api.cluster.control_command(&["export"]).expect(0).stdout
}

#[test]
fn without_a_staging_bucket_there_is_no_live_view_and_the_command_says_why() {
    let api = Api::shared();
    for words in [&["logs", "tail"][..], &["logs", "tail", "E0000000LOGGED", "--no-follow"]] {
        let refused = api.cluster.control_command(words).expect(1);
        assert!(refused.stderr.contains("logs.staging"), "{refused:?}");
    }
    let status = api.cluster.control_command(&["status"]).expect(0);
    assert!(!status.stdout.contains("access logs"), "nothing refuses: {status:?}");
    let table = api.cluster.control_command(&["logs", "stats"]).expect(0);
    assert!(table.stdout.starts_with("distribution"), "{table:?}");
}
