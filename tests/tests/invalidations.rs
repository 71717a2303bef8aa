//! Invalidations and purges by path: one key, a folder, all that begins alike, on every tier. Real processes, and boto3.
//!
//! What is forgotten here is that a film was not there: shields remember that for an hour in this cluster, so a film put there later is found only by
//! who was made to forget.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tests::api::{Api, Keys, aws};
use tests::cluster::{READER, Setup};
use tests::eventually;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};

const LONG: Duration = Duration::from_secs(90);
const ABSENT: &str = "NetStream.Play.StreamNotFound";

/// The cluster, and the folder that its bucket `media` is.
fn shared() -> &'static (Api, tempfile::TempDir) {
    static SHARED: OnceLock<(Api, tempfile::TempDir)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let media = Some(folder.path().to_owned());
        let shield = "negative_ttl_s: 3600".into();
        (Api::start(Setup { media, shield, ..Default::default() }), folder)
    })
}

/// What `play` of a film brings first.
fn play(addr: &str, host: &str, key: &str) -> String {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    client.create_stream();
    client.play(1, &format!("mp4:{key}"), &[0.0]);
    let told = client.wait("media or an error", LONG, |m: &Message| {
        m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
    });
    told.status_code().unwrap_or_else(|| "media".into())
}

fn put(folder: &Path, keys: &[&str]) {
    for key in keys {
        let path = folder.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(tests::media::file("first.mp4"), path).unwrap();
    }
}

/// What each of the keys brings at both edges, which must agree.
fn at_both(api: &Api, host: &str, keys: &[&str]) -> Vec<String> {
    let at = |edge: usize| -> Vec<String> {
        keys.iter().map(|key| play(api.cluster.rtmp(edge), host, key)).collect()
    };
    let (one, other) = (at(0), at(1));
    assert_eq!(one, other);
    one
}

/// Has boto3 invalidate paths and wait until that is Completed.
fn invalidate(api: &Api, keys: &Keys, paths: &[&str]) {
    aws::boto3(api, keys, "neighbours", "invalidate", 2, paths);
}

#[test]
fn an_invalidation_forgets_what_its_path_names_on_every_tier_and_nothing_beside_it() {
    let (api, folder) = shared();
    let keys = api.account();
    let made = api.create(&keys, &[]);
    api.wait_deployed(&keys, &made.id);
    let films = ["later/one.mp4", "later/deep/two.mp4", "later.mp4", "later.mp4.mp4", "la*r.mp4", "laxr.mp4"];
    let told = || at_both(api, &made.domain, &films);
    assert_eq!(told(), [ABSENT; 6]);
    put(folder.path(), &films);
    assert_eq!(told(), [ABSENT; 6], "that is remembered");

    // Completed means that every shield and every edge has done it: nobody is given time here.
    invalidate(api, &keys, &["/later/*"]);
    assert_eq!(told(), ["media", "media", ABSENT, ABSENT, ABSENT, ABSENT]);
    // One key is that key, not what begins with it; a star inside is a star.
    invalidate(api, &keys, &["/later.mp4", "/la*r.mp4"]);
    assert_eq!(told(), ["media", "media", "media", ABSENT, "media", ABSENT]);
    invalidate(api, &keys, &["/*"]);
    assert_eq!(told(), ["media"; 6]);
}

#[test]
fn a_purge_takes_a_key_a_folder_or_what_begins_alike() {
    let (api, _) = shared();
    let vault = api.cluster.s3.bucket("vault");
    let films = ["purged/one.mp4", "purged/two.mp4", "purged.mp4", "purged.mp4.mp4", "purgedtoo.mp4"];
    let told = || at_both(api, READER, &films);
    assert_eq!(told(), [ABSENT; 5]);
    let film = std::fs::read(tests::media::file("first.mp4")).unwrap();
    films.iter().for_each(|key| vault.put(key, &film, &[]));
    assert_eq!(told(), [ABSENT; 5], "that is remembered");
    let purge = |path: &str| {
        let said = api.cluster.control_command(&["purge", "E000000000004", path]).expect(0).stdout;
        assert!(!said.contains("not reached"), "{said}");
    };
    // Shields have done it when the command returns.
    purge("purged.mp4");
    assert_eq!(told(), [ABSENT, ABSENT, "media", ABSENT, ABSENT]);
    purge("/purged/");
    assert_eq!(told(), ["media", "media", "media", ABSENT, ABSENT]);
    purge("/purged*");
    assert_eq!(told(), ["media"; 5]);
}

/// While an edge stands still, no invalidation is Completed: it may still hold what is to be forgotten.
#[test]
fn an_invalidation_is_in_progress_until_the_last_edge_has_forgotten() {
    use tests::api::{Request, text};
    let api = Api::start(Setup::default());
    let keys = api.account();
    let web = r#"<DistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><CallerReference>r</CallerReference><Origins><Quantity>1</Quantity><Items><Origin><Id>o</Id><DomainName>media.s3.amazonaws.com</DomainName><S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig></Origin></Items></Origins><DefaultCacheBehavior><TargetOriginId>o</TargetOriginId><ForwardedValues><QueryString>false</QueryString><Cookies><Forward>none</Forward></Cookies></ForwardedValues><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy><MinTTL>0</MinTTL></DefaultCacheBehavior><Comment></Comment><Enabled>true</Enabled></DistributionConfig>"#;
    let made = api.send(Request::post("/2020-05-31/distribution", web).v4(&keys));
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/2020-05-31/distribution/{}/invalidation", text(&made.text(), "Id"));
    api.cluster.edges[1].process.signal("STOP");
    let batch = "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>1</Quantity><Items><Path>/films/*</Path></Items></Paths><CallerReference>r</CallerReference></InvalidationBatch>";
    let answer = api.send(Request::post(&path, batch).v4(&keys));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let one = format!("{path}/{}", text(&answer.text(), "Id"));
    let status = || text(&api.send(Request::get(&one).v4(&keys)).text(), "Status").to_owned();
    // The others have it.
    eventually("the other edge to have done it", LONG, || {
        api.cluster.edges[0].process.log().contains("orders=1").then_some(())
    });
    for _ in 0..20 {
        assert_eq!(status(), "InProgress");
        std::thread::sleep(Duration::from_millis(100));
    }
    api.cluster.edges[1].process.signal("CONT");
    eventually("Completed", LONG, || (status() == "Completed").then_some(()));
    assert!(api.cluster.edges[1].process.log().contains("orders=1"));
}
