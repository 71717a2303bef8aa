//! Files that come, go and change while viewers are there, and the embedded S3 endpoint they are served from.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::s3::Bucket;
use tests::standalone::{Standalone, shared};
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{http, media, packets, players};

/// Puts a file of the set under a name, whole or not at all.
fn place(key: &str, folder: &Path, name: &str) {
    let temporary = folder.join(".placing");
    fs::copy(media::file(key), &temporary).unwrap();
    fs::rename(temporary, folder.join(name)).unwrap();
}

fn carries(addr: &str, play: &str, key: &str, folder: &Path) {
    let to = folder.join("download.flv");
    players::download(addr, play, &to);
    let difference =
        packets::difference(&packets::of(&media::file(key)).unwrap(), &packets::of(&to).unwrap());
    assert_eq!(difference, None, "{play} is not {key}");
}

#[test]
fn s26_a_file_uploaded_later_starts_to_play_for_those_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let server = Standalone::over(folder.path());
    let mut clients: Vec<Client> = ["mp4:later.mp4", "mp4:later", "later.mp4"]
        .into_iter()
        .map(|name| {
            let mut client = Client::streaming(server.rtmp());
            client.skip_all();
            client.play(1, name, &[-2000.0]);
            client
        })
        .collect();
    assert!(clients[0].try_wait(Duration::from_millis(1500), |m| m.status().is_some()).is_none());
    place("first.mp4", folder.path(), "later.mp4");
    let placed = Instant::now();
    for client in &mut clients {
        // The negative TTL of standalone is 1 s; the contract allows one more. Half a second is for the machine.
        let start = client
            .wait("Play.Start", PATIENCE, |m| m.status_code().as_deref() == Some("NetStream.Play.Start"));
        assert!(
            start.at.duration_since(placed) < Duration::from_millis(2500),
            "{:?}",
            start.at.duration_since(placed)
        );
        client.wait("pictures", PATIENCE, Message::is_picture);
    }
}

#[test]
fn s26_a_miss_is_forgotten_for_those_who_ask_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Standalone::over(folder.path());
    let mut client = Client::streaming(server.rtmp());
    client.play(1, "clip", &[0.0]);
    client.wait_status("NetStream.Play.StreamNotFound");
    place("clip.flv", folder.path(), "clip.flv");
    tests::eventually("the file", Duration::from_millis(2500), || {
        client.play(1, "clip", &[0.0]);
        let told = client.wait("a status", PATIENCE, |m| {
            matches!(
                m.status_code().as_deref(),
                Some("NetStream.Play.StreamNotFound" | "NetStream.Play.Start")
            )
        });
        (told.status_code().as_deref() == Some("NetStream.Play.Start")).then_some(())
    });
}

#[test]
fn an_object_replaced_in_mid_play_never_mixes_with_the_old_one() {
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    place("film.mp4", folder.path(), "x.mp4");
    let server = Standalone::over(folder.path());
    let mut old = Client::streaming(server.rtmp());
    old.set_buffer(1, 2000);
    old.play(1, "mp4:x.mp4", &[0.0]);
    old.wait("pictures", PATIENCE, Message::is_picture);
    place("minute.mp4", folder.path(), "x.mp4");
    // The old session reaches for ranges that aren't cached: it goes on with its own version's bytes, or ends clearly.
    old.seek(1, 150_000.0);
    let told = old.try_wait(PATIENCE, |m| {
        m.is_keyframe() && m.timestamp > 140_000 || m.status().is_some_and(|s| s.field("level") == "error")
    });
    let told = told.unwrap_or_else(|| panic!("neither media nor an error:\n{}", old.outline()));
    if let Some(status) = told.status() {
        assert_eq!(status.field("code"), "NetStream.Failed", "{status:?}");
    }
    // From the first 412 on, a play opened within a second gets the new bytes, whole.
    carries(server.rtmp(), "mp4:x.mp4", "minute.mp4", out.path());
    fs::remove_file(folder.path().join("x.mp4")).unwrap();
    let mut gone = Client::streaming(server.rtmp());
    gone.play(1, "mp4:x.mp4", &[0.0]);
    gone.wait_status("NetStream.Play.StreamNotFound");
}

#[test]
fn a_replaced_file_is_seen_by_the_next_play() {
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Standalone::over(folder.path());
    for key in ["clip.flv", "no-index.flv", "sorenson.flv", "minute.flv", "video-only.flv"] {
        place(key, folder.path(), "x.flv");
        carries(server.rtmp(), "x", key, out.path());
    }
}

#[test]
fn media_put_into_a_bucket_by_s3_is_there() {
    let server = shared();
    let bucket = server.bucket("uploads");
    bucket.create();
    let film = fs::read(media::file("minute.mp4")).unwrap();
    bucket.put("dir/film one.mp4", &film, &[]);
    let whole = bucket.get("dir/film one.mp4", &[]);
    assert!(whole.status == 200 && whole.body == film);
    let etag = whole.header("etag").unwrap().to_owned();
    let part = bucket.get("dir/film one.mp4", &[("range", "bytes=1000-1999")]);
    assert_eq!((part.status, &part.body[..]), (206, &film[1000..2000]));
    assert_eq!(part.header("content-range"), Some(format!("bytes 1000-1999/{}", film.len()).as_str()));
    assert_eq!(bucket.get("dir/film one.mp4", &[("range", "bytes=-10")]).body, film[film.len() - 10..]);
    assert_eq!(bucket.get("dir/film one.mp4", &[("range", "bytes=999999999-")]).status, 416);
    assert_eq!(bucket.get("dir/film one.mp4", &[("if-match", &etag)]).status, 200);
    assert_eq!(bucket.get("dir/film one.mp4", &[("if-match", "\"other\"")]).status, 412);
    assert_eq!(bucket.get("dir/film one.mp4", &[("if-none-match", &etag)]).status, 304);
    let head = bucket.send("HEAD", "dir/film one.mp4", &[], &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some(film.len().to_string().as_str())));
    bucket.put("dir/film one.mp4", b"other", &[]);
    assert_ne!(bucket.send("HEAD", "dir/film one.mp4", &[], &[]).header("etag"), Some(etag.as_str()));
    bucket.delete("dir/film one.mp4");
    assert_eq!(bucket.get("dir/film one.mp4", &[]).status, 404);
    assert!(bucket.get("nosuch", &[]).text().contains("NoSuchKey"));
    assert!(server.bucket("nosuchbucket").get("x", &[]).text().contains("NoSuchBucket"));
}

#[test]
fn listings_come_in_pages() {
    let bucket = shared().bucket("listed");
    bucket.create();
    for i in 0..7 {
        bucket.put(&format!("a/{i}.txt"), b"x", &[]);
    }
    bucket.put("b.txt", b"x", &[]);
    let first = bucket.get("?list-type=2&max-keys=3&prefix=a%2F", &[]).text();
    assert_eq!(first.matches("<Key>").count(), 3, "{first}");
    assert!(first.contains("<IsTruncated>true</IsTruncated>"), "{first}");
    let after = |page: &str, tag: &str| {
        page.split(&format!("<{tag}>")).nth(1).and_then(|r| r.split("</").next()).unwrap_or("").to_owned()
    };
    let (mut page, mut seen) = (first, 3);
    while page.contains("<IsTruncated>true</IsTruncated>") {
        let token: String = after(&page, "NextContinuationToken")
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_.~".contains(c) {
                    c.to_string()
                } else {
                    format!("%{:02X}", c as u32)
                }
            })
            .collect();
        page = bucket
            .get(&format!("?list-type=2&max-keys=3&prefix=a%2F&continuation-token={token}"), &[])
            .text();
        seen += page.matches("<Key>").count();
    }
    assert_eq!(seen, 7);
    let folders = bucket.get("?list-type=2&delimiter=%2F", &[]).text();
    assert!(folders.contains("<Prefix>a/</Prefix>") && folders.matches("<Key>").count() == 1, "{folders}");
}

#[test]
fn an_upload_in_parts_is_one_object() {
    let bucket = shared().bucket("parts");
    bucket.create();
    let begun = bucket.send("POST", "big.bin?uploads", &[], &[]);
    assert_eq!(begun.status, 200, "{}", begun.text());
    let id = begun.text().split("<UploadId>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let parts: [Vec<u8>; 2] = [vec![1; 5 << 20], vec![2; 1000]];
    let mut list = String::from("<CompleteMultipartUpload>");
    for (n, part) in parts.iter().enumerate() {
        let done = bucket.send("PUT", &format!("big.bin?partNumber={}&uploadId={id}", n + 1), &[], part);
        assert_eq!(done.status, 200, "{}", done.text());
        let etag = done.header("etag").unwrap();
        list += &format!(
            "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>",
            n + 1,
            etag.replace('"', "&quot;")
        );
    }
    list += "</CompleteMultipartUpload>";
    assert_eq!(bucket.get("big.bin", &[]).status, 404, "not there before it is complete");
    let done = bucket.send("POST", &format!("big.bin?uploadId={id}"), &[], list.as_bytes());
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(bucket.get("big.bin", &[]).body == parts.concat());
}

#[test]
fn buckets_are_private_unless_made_public_and_media_is_read_only() {
    let server = shared();
    let private = server.bucket("private");
    private.create();
    private.put("x", b"secret", &[]);
    let anonymous = |bucket: &str| Bucket::new(server.s3(), bucket, "", "");
    assert_eq!(anonymous("private").get("x", &[]).status, 403);
    let public = server.bucket("public");
    public.create();
    public.put("x", b"open", &[]);
    fs::write(server.data.join("buckets/public.public"), "").unwrap();
    assert_eq!(anonymous("public").get("x", &[]).body, b"open");
    assert_eq!(anonymous("public").send("PUT", "y", &[], b"x").status, 403);
    assert_eq!(anonymous("media").get("clip.flv", &[("range", "bytes=0-2")]).body, b"FLV");
    assert_eq!(anonymous("media").send("PUT", "new.flv", &[], b"x").status, 403);
    let (id, _) = server.keys();
    assert_eq!(Bucket::new(server.s3(), "private", id, "wrong").get("x", &[]).status, 403);
    let refused = server.bucket("media").send("PUT", "new.flv", &[], b"x");
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    assert!(!media::folder().join("new.flv").exists());
}

#[test]
fn no_key_leaves_its_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("media"), folder.path().join("outside"));
    fs::create_dir_all(&inside).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret.flv"), b"FLV secret").unwrap();
    std::os::unix::fs::symlink(outside.join("secret.flv"), inside.join("link.flv")).unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("dir")).unwrap();
    let server = Standalone::over(&inside);
    for path in [
        "/media/link.flv",
        "/media/dir/secret.flv",
        "/media/../outside/secret.flv",
        "/media/%2e%2e/outside/secret.flv",
        "/media/..%2foutside/secret.flv",
    ] {
        let answer = http::get(server.s3(), path).unwrap();
        assert!(
            (400..500).contains(&answer.status) && !answer.text().contains("FLV secret"),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let mut client = Client::streaming(server.rtmp());
    client.play(1, "link", &[0.0]);
    let told =
        client.wait("a refusal", PATIENCE, |m| m.status().is_some_and(|s| s.field("level") == "error"));
    assert!(
        matches!(told.status_code().as_deref(), Some("NetStream.Play.StreamNotFound" | "NetStream.Failed")),
        "{told}"
    );
}
