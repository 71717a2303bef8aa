//! jets3t, unchanged, against the control API: through its proxy setting and by a name override, in four versions of it.
//!
//! Its address can't be set (`https://cloudfront.amazonaws.com/`), so these tests show that CONNECT, the certificates of the local authority
//! and each version's schema and quirks are right, by what the library itself makes of the answers.

use std::path::Path;
use std::sync::OnceLock;

use tests::api::jets3t::{self, Line, Way};
use tests::api::{Api, Keys, Request, aws, text, unique};
use tests::cluster::Setup;
use tests::netns::Netns;

fn authority() -> &'static Path {
    static PATH: OnceLock<std::path::PathBuf> = OnceLock::new();
    PATH.get_or_init(|| Api::shared().authority())
}

fn by_proxy(version: &str, keys: &Keys, commands: &[&str]) -> Vec<Line> {
    jets3t::drive(version, &Way::Proxy(Api::shared().addr()), authority(), keys, commands)
}

fn assert_error(line: &Line, of: &str, status: &str, code: &str) {
    assert_eq!((line.name.as_str(), line.get("of")), ("error", of), "{line:?}");
    assert_eq!((line.get("status"), line.get("code")), (status, code), "{line:?}");
    assert!(!line.get("message").is_empty() && line.get("request") != "null", "{line:?}");
    assert_eq!(line.get("type"), "Sender", "{line:?}");
}

fn assert_well(line: &Line, name: &str) {
    assert_eq!(line.name, name, "{line:?}");
}

/// The whole life of a distribution and of an identity.
fn life(version: &str, way: &Way<'_>, ca: &Path, keys: &Keys) {
    let word = unique();
    let (one, two) = (format!("m1-{word}.example.com"), format!("m2-{word}.example.com"));
    let create = format!("media|{word}|{one},{two}|Test streaming distribution|true");
    let lines = jets3t::drive(
        version,
        way,
        ca,
        keys,
        &[
            &format!("create|{create}"),
            &format!("again|{create}"),
            &format!("again|media|{word}|{one},{two}|another comment|true"),
            "info|$",
            "config|$",
            "list",
            &format!("update|$|media|{word}|{one}|upd|true"),
            "wait|$",
            "delete|$",
            "disable|$",
            "config|$",
            "wait|$",
            "delete|$",
            "info|$",
            &format!("oai-create|oai-{word}|films"),
            "oai-info|@",
            "oai-list",
            "oai-update|@|more films",
            "oai-config|@",
            "oai-delete|@",
            "oai-info|@",
        ],
    );
    let mut lines = lines.iter();
    let mut next = || lines.next().unwrap();

    let made = next();
    assert_well(made, "create");
    let id = made.get("id");
    assert_eq!(made.get("status"), "InProgress", "{made:?}");
    let label = made.get("domain").strip_suffix(".penstock.localhost").unwrap_or_default();
    assert!(label.len() == 14 && label.starts_with('s'), "{made:?}");
    let values = ["origin", "reference", "cnames", "comment", "enabled"].map(|k| made.get(k).to_owned());
    let names = format!("{one},{two}");
    assert_eq!(
        values,
        ["media.s3.amazonaws.com", &word, &names, "Test streaming distribution", "true"],
        "{version}"
    );
    let again = next();
    assert_well(again, "again");
    assert_eq!(again.get("id"), id, "the same reference and config are the same distribution");
    assert_error(next(), "again", "409", "StreamingDistributionAlreadyExists");
    let info = next();
    assert_eq!((info.get("id"), info.get("comment")), (id, "Test streaming distribution"), "{info:?}");
    let config = next();
    assert_well(config, "config");
    assert!(config.get("etag").len() > 4 && config.get("enabled") == "true", "{config:?}");
    let listed = next().get("ids");
    assert!(listed.starts_with(id) && !listed.contains(','), "{listed}");
    let updated = next();
    assert_well(updated, "update");
    assert_eq!((updated.get("comment"), updated.get("cnames")), ("upd", one.as_str()), "{updated:?}");
    assert_ne!(updated.get("etag"), config.get("etag"), "{updated:?}");
    assert_eq!(next().get("status"), "Deployed");
    assert_error(next(), "delete", "409", "StreamingDistributionNotDisabled");
    assert_well(next(), "disable");
    let disabled = next();
    assert_eq!(
        (disabled.get("enabled"), disabled.get("comment"), disabled.get("reference")),
        ("false", "Disabled prior to deletion", word.as_str()),
        "{disabled:?}"
    );
    assert_eq!(disabled.get("origin"), "media.s3.amazonaws.com", "{disabled:?}");
    assert_eq!(next().get("status"), "Deployed");
    assert_well(next(), "delete");
    assert_error(next(), "info", "404", "NoSuchStreamingDistribution");

    let identity = next();
    assert_well(identity, "oai-create");
    assert_eq!(identity.get("comment"), "films");
    assert!(identity.get("user").len() >= 64, "{identity:?}");
    assert_eq!(next().get("id"), identity.get("id"));
    assert_eq!(next().get("ids"), identity.get("id"));
    assert_eq!(next().get("comment"), "more films");
    assert_eq!(next().get("comment"), "more films");
    assert_well(next(), "oai-delete");
    assert_error(next(), "oai-info", "404", "NoSuchCloudFrontOriginAccessIdentity");
}

fn life_by_proxy(version: &str) {
    let api = Api::shared();
    life(version, &Way::Proxy(api.addr()), authority(), &api.account());
}

#[test]
fn c02_c07_jets3t_0_7_2_runs_unchanged_through_its_proxy_setting() {
    life_by_proxy("0.7.2");
}

#[test]
fn c02_c07_jets3t_0_7_4_runs_unchanged_through_its_proxy_setting() {
    life_by_proxy("0.7.4");
}

#[test]
fn c02_c07_jets3t_0_8_1_runs_unchanged_through_its_proxy_setting() {
    life_by_proxy("0.8.1");
}

#[test]
fn c02_c20_jets3t_0_9_4_disables_and_deletes_although_it_sends_no_origin_and_another_reference() {
    life_by_proxy("0.9.4");
}

#[test]
fn c01_jets3t_runs_unchanged_by_a_name_override_on_port_443() {
    // Port 443 of the machine may be taken, and is not ours to take: the cluster and the clients stand in a network of their own.
    jets3t::build();
    let Some(own) = Netns::new("jets3t") else { return };
    own.within(|| {
        let api = Api::start(Setup { api: "127.0.0.1:443".into(), ..Default::default() });
        let hosts = api.cluster.folder().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 cloudfront.amazonaws.com localhost\n").unwrap();
        let ca = api.authority();
        for version in ["0.7.2", "0.9.4"] {
            life(version, &Way::Hosts(&hosts), &ca, &api.account());
        }
    });
}

#[test]
fn c01_the_two_calls_of_2010_run_as_they_were_written() {
    let api = Api::shared();
    let keys = api.account();
    let way = Way::Proxy(api.addr());
    let done = jets3t::run("0.7.2", "Seed", &way, authority(), &keys, &["media"]).expect(0);
    assert!(done.stdout.contains("New Streaming Distribution: "), "{done:?}");
    assert!(done.stdout.contains("Streaming Distribution Config: "), "{done:?}");
    let id = done.stdout.lines().find_map(|l| l.strip_prefix("id=")).unwrap();
    let got = api.send(Request::get(&format!("/2020-05-31/streaming-distribution/{id}")).v4(&keys));
    let body = got.text();
    assert_eq!(
        (text(&body, "Comment"), text(&body, "DomainName").starts_with('s')),
        ("Test streaming distribution", true)
    );
}

#[test]
fn c09_what_jets3t_0_7_2_made_is_read_in_the_schema_of_each_version() {
    let (api, word) = (Api::shared(), unique());
    let keys = api.account();
    let name = format!("v-{word}.example.com");
    let made = by_proxy("0.7.2", &keys, &[&format!("create|media|{word}|{name}|over time|true")]);
    let id = made[0].get("id");
    let read = |version: &str| {
        let got =
            api.send(Request::get(&format!("/{version}/streaming-distribution/{id}/config")).legacy(&keys));
        assert_eq!(got.status, 200, "{version}: {}", got.text());
        let body = got.text();
        assert!(
            body.contains(&format!("xmlns=\"http://cloudfront.amazonaws.com/doc/{version}/\"")),
            "{body}"
        );
        let values = ["CallerReference", "CNAME", "Comment"].map(|e| text(&body, e).to_owned());
        assert_eq!(values, [word.as_str(), &name, "over time"], "{version}: {body}");
        assert!(body.trim_end().contains("<Enabled>true</Enabled>"), "{version}: {body}");
        body
    };
    const ORIGIN: &str = "media.s3.amazonaws.com";
    for version in ["2009-12-01", "2010-03-01", "2010-06-01", "2010-08-01"] {
        let body = read(version);
        assert_eq!(text(&body, "Origin"), ORIGIN, "{version}");
        assert!(!body.contains("S3Origin") && !body.contains("Quantity"), "{version}: {body}");
    }
    let body = read("2010-11-01");
    assert!(text(&body, "S3Origin").contains(&format!("<DNSName>{ORIGIN}</DNSName>")), "{body}");
    assert!(!body.contains("Quantity"), "{body}");
    for version in ["2012-05-05", "2014-05-31", "2020-05-31"] {
        let body = read(version);
        assert!(text(&body, "S3Origin").contains(&format!("<DomainName>{ORIGIN}</DomainName>")), "{body}");
        assert!(text(&body, "Aliases").contains("<Quantity>1</Quantity>"), "{body}");
        assert_eq!(text(&body, "PriceClass"), if version < "2012-07-01" { "" } else { "PriceClass_All" });
    }
    // And as each of the others reads it.
    for version in ["0.7.4", "0.8.1", "0.9.4"] {
        let read = by_proxy(version, &keys, &[&format!("config|{id}")]);
        let values =
            ["origin", "reference", "cnames", "comment", "enabled"].map(|k| read[0].get(k).to_owned());
        assert_eq!(values, [ORIGIN, &word, &name, "over time", "true"], "{version}");
    }
}

#[test]
fn c18_jets3t_lists_all_and_pages_by_itself() {
    let api = Api::shared();
    let keys = api.account();
    let mut made: Vec<String> = (0..3).map(|_| api.create(&keys, &[]).id).collect();
    made.sort();
    for version in jets3t::VERSIONS {
        for lines in by_proxy(version, &keys, &["list", "list|2"]) {
            let mut ids: Vec<&str> =
                lines.get("ids").split(',').map(|one| one.split(':').next().unwrap()).collect();
            ids.sort_unstable();
            assert_eq!(ids, made, "{version}: {lines:?}");
        }
    }
}

#[test]
fn c21_signers_and_an_identity_that_jets3t_set_are_those_boto3_reads() {
    let api = Api::shared();
    let other = api.account().account;
    for version in ["0.7.4", "0.8.1", "0.9.4"] {
        let (keys, word) = (api.account(), unique());
        let create = format!(
            "create|media|{word}|s-{word}.example.com|private|true|@|self,{other}|mylogs.s3.amazonaws.com/log/"
        );
        let lines = by_proxy(version, &keys, &[&format!("oai-create|{word}|films"), &create]);
        let (identity, made) = (lines[0].get("id"), &lines[1]);
        assert_well(made, "create");
        assert_eq!((made.get("self"), made.get("signers")), ("true", other.as_str()), "{made:?}");
        assert!(made.get("identity").ends_with(identity), "{made:?}");
        let seen = aws::boto3(api, &keys, "streaming", "show", 1, &[made.get("id")]);
        let config = &seen["StreamingDistributionConfig"];
        let mut signers: Vec<&str> = config["TrustedSigners"]["Items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i.as_str().unwrap())
            .collect();
        signers.sort_unstable_by_key(|s| *s != "self");
        assert_eq!(signers, ["self", &other], "{version}: {config}");
        assert_eq!(config["TrustedSigners"]["Enabled"], true, "{version}: {config}");
        assert_eq!(config["TrustedSigners"]["Quantity"], 2, "{version}: {config}");
        let full = format!("origin-access-identity/cloudfront/{identity}");
        assert_eq!(config["S3Origin"]["OriginAccessIdentity"], full.as_str(), "{version}: {config}");
        assert_eq!(config["Logging"]["Bucket"], "mylogs.s3.amazonaws.com", "{version}: {config}");
        assert_eq!(config["Logging"]["Prefix"], "log/", "{version}: {config}");
    }
}
