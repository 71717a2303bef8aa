//! What standalone offers to whoever runs it: one key for the S3 endpoint, the control API and the console, and a token for `penstock-control`.

use std::process::Command;

use tests::api::{Keys, aws};
use tests::process::product;
use tests::standalone::Standalone;
use tests::{http, media, packets, players};

fn keys(server: &Standalone) -> Keys {
    let (id, secret) = server.keys();
    Keys { account: server.text("/account").into(), id: id.into(), secret: secret.into() }
}

#[test]
fn the_first_starts_key_makes_a_distribution_by_boto3_that_plays() {
    let server = Standalone::start();
    let endpoint = format!("http://{}", server.api());
    let keys = keys(&server);
    assert!(keys.account.len() == 12 && keys.account.bytes().all(|b| b.is_ascii_digit()), "{keys:?}");
    let made =
        aws::boto3_at(&endpoint, &keys, "streaming", "fresh", 1, &[&keys.account, "films.example.com"]);
    let folder = tempfile::tempdir().unwrap();
    for host in [made["domain"].as_str().unwrap(), "films.example.com"] {
        let to = folder.path().join(host);
        let tc_url = format!("rtmp://{host}/cfx/st");
        let done = players::rtmpdump(server.rtmp(), "mp4:first.mp4", &to, &["-q", "-t", &tc_url]);
        // 2: the last frame starts before 99.9 % of the duration.
        assert!(matches!(done.code, 0 | 2), "{host}: {done:?}");
        let [film, played] = [&media::file("first.mp4"), &to].map(|file| packets::of(file).unwrap());
        assert_eq!(packets::difference(&film, &played), None, "{host}");
    }
}

#[test]
fn the_printed_aws_command_works_as_it_is_printed_once_the_secret_is_in_it() {
    let server = Standalone::start();
    let keys = keys(&server);
    let made = aws::boto3_at(
        &format!("http://{}", server.api()),
        &keys,
        "streaming",
        "fresh",
        1,
        &[&keys.account, "films.example.com"],
    );
    // Both its lines; the dots stand for the secret, which is printed nowhere.
    let log = server.log();
    let from = log.find("AWS_ACCESS_KEY_ID=").unwrap_or_else(|| panic!("{log}"));
    let command: Vec<&str> = log[from..].lines().take(2).map(str::trim).collect();
    assert!(!log.contains(&keys.secret), "the secret is printed");
    let identity = std::fs::read_to_string(server.data.join("identity.json")).unwrap();
    assert!(identity.contains(&keys.secret), "it is where the announcement says");
    let command = command
        .join("\n")
        .replace("AWS_SECRET_ACCESS_KEY=...", &format!("AWS_SECRET_ACCESS_KEY={}", keys.secret));
    assert!(command.contains("aws --endpoint-url") && command.contains(&keys.secret), "{command}");
    let folder = tempfile::tempdir().unwrap();
    let path = format!(
        "{}:{}",
        aws::command_folder(folder.path()).display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let out = Command::new("timeout").args(["60", "sh", "-c", &command]).env("PATH", path).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command}\n{said}{errors}");
    assert!(said.contains(made["id"].as_str().unwrap()) && said.contains("films.example.com"), "{said}");
}

#[test]
fn the_console_answers_where_the_ready_file_says_and_takes_the_key() {
    let server = Standalone::start();
    let console = server.text("/console");
    let (addr, path) = console.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
    assert_eq!((addr, path), (server.api(), "console"));
    let page = http::get(addr, "/console/login").unwrap();
    assert!(page.status == 200 && page.text().contains("<form"), "{}", page.text());
    assert!(page.header("content-security-policy").is_some());
}

#[test]
fn penstock_control_steers_it_with_the_token_in_its_data_folder() {
    let server = Standalone::start();
    let call = |words: &[&str]| {
        let out = Command::new(product("penstock-control"))
            .args(["--control", server.text("/control"), "--token-file"])
            .arg(server.data.join("operator.token"))
            .args(words)
            .output()
            .unwrap();
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert!(call(&["status"]).contains(server.domain()));
    assert!(call(&["nodes"]).contains("edge"));
    assert!(call(&["ca"]).starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(call(&["keys", "list"]).contains(server.keys().0));
    // What was exported comes back: into this store, told to replace what it holds.
    let backup = call(&["export"]);
    assert!(!backup.contains(server.keys().1), "secrets are sealed");
    let file = server.data.join("backup");
    std::fs::write(&file, &backup).unwrap();
    assert!(call(&["import", "--replace", file.to_str().unwrap()]).contains("documents written"));
    assert!(call(&["status"]).contains(server.domain()));
}
