//! The control API while its boxes die: nothing is made twice, nothing is made by half, and what a client repeats ends well.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::api::{Api, Keys, Made, ORIGIN, Request, assert_refused, config, first_config, text, unique};
use tests::cluster::Setup;
use tests::{eventually, http};

const LIST: &str = "/2020-05-31/streaming-distribution";
const OLD_LIST: &str = "/2009-12-01/streaming-distribution";

/// Ids of an account's distributions.
fn ids(addr: &str, keys: &Keys) -> Vec<String> {
    let list = Request::get(LIST).v4(keys).send(addr);
    assert_eq!(list.status, 200, "{}", list.text());
    list.text().split("<Id>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

#[test]
fn control_killed_between_a_create_and_its_answer_makes_one_distribution_when_the_client_repeats_it() {
    let mut api = Api::start(Setup::default());
    let keys = api.account();
    let mut random = StdRng::seed_from_u64(11);
    let mut committed = 0;
    for round in 0..8 {
        let reference = unique();
        let body = first_config(&reference, ORIGIN, "");
        let before = ids(api.addr(), &keys);
        let bytes = Request::post(OLD_LIST, &body).legacy(&keys).bytes(api.addr(), false);
        let mut stream = TcpStream::connect(api.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&bytes).unwrap();
        // Somewhere between the request's arrival and well after its answer.
        std::thread::sleep(Duration::from_micros(random.random_range(0..20_000)));
        api.cluster.control.process.kill();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        api.cluster.control.restart();
        api.cluster.control.wait_ready();
        eventually("the API answers", Duration::from_secs(30), || {
            let list = Request::get(LIST).v4(&keys).try_send(api.addr()).ok()?;
            (list.status == 200).then_some(())
        });
        let after = ids(api.addr(), &keys);
        let new: Vec<&String> = after.iter().filter(|id| !before.contains(id)).collect();
        assert!(new.len() <= 1, "round {round}: {new:?}");
        committed += new.len();
        let told = text(&said, "Id").to_owned();
        if !told.is_empty() {
            assert_eq!(new, [&told], "round {round}: what was answered is there");
        }
        // The client's library tries again.
        let again = api.send(Request::post(OLD_LIST, &body).legacy(&keys));
        assert_eq!(again.status, 201, "round {round}: {}", again.text());
        let again = Made::from(&again);
        if let Some(id) = new.first() {
            assert_eq!(&again.id, *id, "round {round}: one distribution");
        }
        assert_eq!(ids(api.addr(), &keys).len(), before.len() + 1, "round {round}");
        // It is whole: it can be read, it is deployed, a second reference of its own name is refused.
        let got = api.send(Request::get(&format!("{LIST}/{}", again.id)).v4(&keys));
        assert_eq!(
            (got.status, text(&got.text(), "CallerReference")),
            (200, reference.as_str()),
            "{}",
            got.text()
        );
        api.wait_deployed(&keys, &again.id);
    }
    let _ = writeln!(std::io::stderr(), "{committed} of 8 creates were committed before the kill");
}

#[test]
fn a_create_without_etcd_is_refused_for_now_and_leaves_nothing_behind() {
    let mut api = Api::start(Setup::default());
    let keys = api.account();
    let name = format!("{}.example.com", unique());
    let reference = unique();
    let body = config(&reference, ORIGIN, "", &[&name], "", true);
    api.cluster.etcd.process.kill();
    let begun = Instant::now();
    let refused = api.send(Request::post(LIST, &body).v4(&keys));
    assert_refused(&refused, 503, "ServiceUnavailable");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    // Alive all the same: a replica without its store is not restarted by whoever watches it.
    assert!(http::get(&api.cluster.control.metrics, "/healthz").is_ok_and(|a| a.status == 200));
    api.cluster.etcd.restart();
    eventually("the API answers again", Duration::from_secs(60), || {
        let list = Request::get(LIST).v4(&keys).try_send(api.addr()).ok()?;
        (list.status == 200).then_some(())
    });
    let there = ids(api.addr(), &keys);
    // A request that etcd took just before it died may have gone through; then it did whole, and the reference finds it.
    assert!(there.is_empty(), "{there:?}");
    let made = api.send(Request::post(LIST, &body).v4(&keys));
    assert_eq!(made.status, 201, "neither the reference nor the name was left behind: {}", made.text());
    api.wait_deployed(&keys, &Made::from(&made).id);

    // Stopped in mid-request: it hangs rather than refuses, and a client still gets its answer in time.
    api.cluster.etcd.process.signal("STOP");
    let begun = Instant::now();
    let other = config(&unique(), ORIGIN, "", &[], "", true);
    let refused = api.send(Request::post(LIST, &other).v4(&keys));
    assert_refused(&refused, 503, "ServiceUnavailable");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    api.cluster.etcd.process.signal("CONT");
    eventually("the API answers again", Duration::from_secs(60), || {
        let list = Request::get(LIST).v4(&keys).try_send(api.addr()).ok()?;
        (list.status == 200).then_some(())
    });
    // That one may have been taken in after all; the client that repeats it has one distribution either way.
    let again = api.send(Request::post("/2018-06-18/streaming-distribution", &other).v4(&keys));
    assert_eq!(again.status, 201, "{}", again.text());
    assert_eq!(ids(api.addr(), &keys).len(), 2);
}

#[test]
fn two_replicas_give_a_reference_and_a_name_to_one_of_two_creates() {
    let api = Api::start(Setup::default());
    let (_second, its_api) = api.cluster.another_control("control-2");
    let keys = api.account();
    let addrs = [api.addr().to_owned(), its_api];
    eventually("the second replica knows the key", Duration::from_secs(30), || {
        let list = Request::get(LIST).v4(&keys).try_send(&addrs[1]).ok()?;
        (list.status == 200).then_some(())
    });
    // Sends one request to each at the same moment.
    let race = |requests: [Request; 2]| -> [http::Answer; 2] {
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            let threads = [0, 1].map(|n| {
                let (start, request, addr) = (&start, &requests[n], &addrs[n]);
                scope.spawn(move || {
                    start.wait();
                    request.send(addr)
                })
            });
            threads.map(|t| t.join().unwrap())
        })
    };
    let mut expected = 0;
    for round in 0..10 {
        // The same reference and config, in an old version: both get the same one.
        let body = first_config(&unique(), ORIGIN, "");
        let both = race([0, 1].map(|_| Request::post(OLD_LIST, &body).legacy(&keys)));
        assert!(both.iter().all(|a| a.status == 201), "round {round}: {both:?}");
        assert_eq!(Made::from(&both[0]).id, Made::from(&both[1]).id, "round {round}");
        // The same reference, in a new version: one gets it.
        let body = config(&unique(), ORIGIN, "", &[], "", true);
        let both = race([0, 1].map(|_| Request::post(LIST, &body).v4(&keys)));
        one_of_two(&both, "StreamingDistributionAlreadyExists", round);
        // Two references, one name.
        let name = format!("{}.example.com", unique());
        let both = race(
            [0, 1].map(|_| Request::post(LIST, &config(&unique(), ORIGIN, "", &[&name], "", true)).v4(&keys)),
        );
        one_of_two(&both, "CNAMEAlreadyExists", round);
        // Two updates of the same ETag: one goes through.
        let reference = unique();
        let made = api.create_with(&keys, &reference, ORIGIN, "", &[]);
        let path = format!("{LIST}/{}/config", made.id);
        let both = race([0, 1].map(|n| {
            let body = config(&reference, ORIGIN, "", &[], &format!("by {n}"), true);
            Request::put(&path, &body).header("If-Match", &made.etag).v4(&keys)
        }));
        let statuses = both.each_ref().map(|a| a.status);
        assert!(statuses == [200, 412] || statuses == [412, 200], "round {round}: {both:?}");
        expected += 4;
    }
    for addr in &addrs {
        let mut all = ids(addr, &keys);
        assert_eq!(all.len(), expected, "at {addr}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), expected);
    }
}

fn one_of_two(both: &[http::Answer; 2], code: &str, round: usize) {
    let won = both.iter().filter(|a| a.status == 201).count();
    assert_eq!(won, 1, "round {round}: {both:?}");
    let lost = both.iter().find(|a| a.status != 201).unwrap();
    assert_refused(lost, 409, code);
}
