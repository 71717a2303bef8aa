//! boto3 and the AWS command line, as tests/api/aws/run starts them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Api, Keys};
use crate::players::Outcome;

/// Installs both once a test binary; later runs find them there.
fn runner() -> &'static PathBuf {
    static RUNNER: OnceLock<PathBuf> = OnceLock::new();
    RUNNER.get_or_init(|| {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("api/aws/run");
        let done = Command::new(&run).arg("--install").output().unwrap();
        assert!(done.status.success(), "{}: {}", run.display(), String::from_utf8_lossy(&done.stderr));
        run
    })
}

fn run(keys: &Keys, env: &[(&str, &str)], words: &[&str]) -> Outcome {
    let begun = Instant::now();
    let out = Command::new("timeout")
        .args(["-k", "1", "240"])
        .arg(runner())
        .args(words)
        .env("AWS_ACCESS_KEY_ID", &keys.id)
        .env("AWS_SECRET_ACCESS_KEY", &keys.secret)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

/// Runs what asks no server: a script, or `aws WORDS`.
pub fn offline(words: &[&str]) -> Outcome {
    run(
        &Keys { id: "AKIDEXAMPLE".into(), secret: "unused-secret".into(), account: String::new() },
        &[],
        words,
    )
}

/// Runs one case of a script with boto3 and panics unless it made at least `checks` checks and all held; gives its facts.
pub fn boto3(api: &Api, keys: &Keys, script: &str, case: &str, checks: u64, words: &[&str]) -> Value {
    boto3_at(&api.endpoint(), keys, script, case, checks, words)
}

/// As [`boto3`], at any endpoint.
pub fn boto3_at(endpoint: &str, keys: &Keys, script: &str, case: &str, checks: u64, words: &[&str]) -> Value {
    boto3_with(endpoint, keys, &[], script, case, checks, words)
}

/// As [`boto3_at`], with more environment; what of it tests/api/aws/run reads, that file says.
pub fn boto3_with(
    endpoint: &str,
    keys: &Keys,
    env: &[(&str, &str)],
    script: &str,
    case: &str,
    checks: u64,
    words: &[&str],
) -> Value {
    let file = format!("{script}.py");
    let mut all = vec![file.as_str(), case, endpoint, &keys.id, &keys.secret];
    all.extend(words);
    let done = run(keys, env, &all).expect(0);
    let said: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{script} {case}: {e}: {done:?}"));
    let failed: Vec<&str> =
        said["failed"].as_array().unwrap().iter().map(|f| f.as_str().unwrap_or("?")).collect();
    assert!(failed.is_empty(), "{script} {case}: {} failed\n{}", failed.len(), failed.join("\n"));
    let made = said["checks"].as_u64().unwrap();
    assert!(made >= checks, "{script} {case}: only {made} checks of {checks}");
    said["facts"].clone()
}

/// `aws cloudfront WORDS` at the API's endpoint.
pub fn cli(api: &Api, keys: &Keys, words: &[&str]) -> Outcome {
    cli_with(api, keys, &[], words)
}

/// As [`cli`], with more environment.
pub fn cli_with(api: &Api, keys: &Keys, env: &[(&str, &str)], words: &[&str]) -> Outcome {
    cli_at(&api.endpoint(), keys, env, words)
}

/// As [`cli_with`], at any endpoint.
pub fn cli_at(endpoint: &str, keys: &Keys, env: &[(&str, &str)], words: &[&str]) -> Outcome {
    let mut all = vec!["aws", "--endpoint-url", endpoint, "--output", "json", "cloudfront"];
    all.extend(words);
    run(keys, env, &all)
}

/// Its JSON; panics unless it succeeded.
pub fn json(done: Outcome) -> Value {
    let done = done.expect(0);
    if done.stdout.trim().is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"))
}

/// awscli's own waiters, their models as they are but for the seconds between two questions: what `AWS_DATA_PATH` is to name.
pub fn quick_waiters(folder: &Path) -> String {
    let to = folder.join("cloudfront/2020-05-31");
    std::fs::create_dir_all(&to).unwrap();
    let waiter = |operation: &str, argument: &str, expected: &str, tries: u32| {
        json!({
            "delay": 2, "maxAttempts": tries, "operation": operation,
            "acceptors": [{"matcher": "path", "argument": argument, "state": "success", "expected": expected}],
        })
    };
    let waiters = json!({"version": 2, "waiters": {
        "StreamingDistributionDeployed": waiter("GetStreamingDistribution", "StreamingDistribution.Status", "Deployed", 25),
        "DistributionDeployed": waiter("GetDistribution", "Distribution.Status", "Deployed", 35),
        "InvalidationCompleted": waiter("GetInvalidation", "Invalidation.Status", "Completed", 30),
    }});
    std::fs::write(to.join("waiters-2.json"), waiters.to_string()).unwrap();
    folder.display().to_string()
}

/// A folder with an `aws` in it, for a `PATH`: the command line as people call it. A bundle in `AWS_CA_BUNDLE` counts.
pub fn command_folder(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let script =
        format!("#!/bin/sh\nPENSTOCK_CA_BUNDLE=$AWS_CA_BUNDLE exec '{}' aws \"$@\"\n", runner().display());
    let file = folder.join("aws");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.to_owned()
}
