//! First frames with nothing cached: a shield whose bucket is a round trip and a thin line away.
//!
//! Each measurement starts edge and shield afresh before the same bucket and relay. The time runs from the viewer's TCP connect to
//! its first video frame, as a player in real time asks for it; bytes are those that came through the relay until a moment after the
//! viewer left. nginx-rtmp gets the same MP4 through the same relay by `play http://`.

use std::time::Duration;

use anyhow::Result;

use super::drive::{Drive, Run};
use super::media::{self, Wanted};
use super::options::Options;
use super::place::Place;
use super::relay::Relay;
use super::servers::{self, Server};
use super::table::{Section, Spread};

/// 196 MB at 5 Mb/s.
const FILM: Wanted = Wanted { kbps: 5000, seconds: 314, seed: 300 };
/// 4 GB, three hours.
const LONG: Wanted = Wanted { kbps: 2963, seconds: 10_800, seed: 301 };

/// What a viewer does in one case.
struct Case {
    name: &'static str,
    film: String,
    seek: bool,
    most_ms: f64,
    /// Bytes read at most, if that is asked for.
    most_bytes: Option<u64>,
}

/// All cases.
pub fn cold(place: &Place, options: &Options) -> Result<Section> {
    let mut cases = Vec::new();
    let wanted = options.pick(FILM, Wanted { seconds: 60, ..FILM });
    let (flv, film) = (media::flv(place, wanted)?, media::mp4(place, wanted)?);
    let case =
        |name, film: &str, seek, most_ms| Case { name, film: film.into(), seek, most_ms, most_bytes: None };
    cases.push(case("MP4, moov last: first frame", &film, false, 500.0));
    cases.push(case("FLV: first frame", &flv, false, 300.0));
    cases.push(case("MP4: seek to the middle", &film, true, 300.0));
    cases.push(case("FLV: seek to the middle", &flv, true, 300.0));
    if !options.quick {
        let long = media::mp4(place, LONG)?;
        let most_bytes = Some(media::moov_bytes(&place.film(&long))? + (3 << 20));
        cases.push(Case { most_bytes, ..case("4 GB, 3 h MP4: first frame", &long, false, 1000.0) });
    }
    let (_bucket, s3) = servers::bucket(place)?;
    let mut section = Section::new(format!(
        "cold: the bucket {} ms (round trip) away at {:.0} MB/s; nothing cached",
        options.latency_ms,
        options.rate_bytes_per_s as f64 / 1e6
    ));
    for case in &cases {
        let (mut times, mut bytes, mut connections) =
            (Spread::default(), Spread::default(), Spread::default());
        for _ in 0..options.rounds() {
            let relay = Relay::start(s3, options.latency_ms, options.rate_bytes_per_s)?;
            let server = servers::cluster(place, relay.addr, "", "")?;
            let run = watch(place, &server, case)?;
            std::thread::sleep(Duration::from_millis(500));
            times.0.push(time(&run, case));
            bytes.0.push(relay.bytes() as f64 / 1e6);
            connections.0.push(relay.connections() as f64);
            if let Some(wrong) = run.wrong() {
                section.wrong(format!("{}: {wrong} {}", case.name, server.complaints()));
            }
        }
        eprintln!("   {}: {}", case.name, times.text(0));
        verdict(&mut section, case, &times, &bytes);
        section.line(format!("{}, connections", case.name), &connections, 0, "");
    }
    peer(place, options, s3, &cases[0], &mut section)?;
    Ok(section)
}

fn verdict(section: &mut Section, case: &Case, times: &Spread, bytes: &Spread) {
    section.ratio(format!("{}, ms", case.name), times, case.most_ms);
    match case.most_bytes {
        Some(most) => {
            section.ratio(format!("{}, MB read", case.name), bytes, (most as f64 / 1e4).round() / 100.0)
        }
        None => section.line(format!("{}, read", case.name), bytes, 1, "MB"),
    }
}

fn watch(place: &Place, server: &Server, case: &Case) -> Result<Run> {
    let mut drive = Drive::at(server);
    let name = if case.film.ends_with(".mp4") { format!("mp4:{}", case.film) } else { case.film.clone() };
    drive.with("--name", name).with("--seconds", 60).with("--patience-s", 60).add(&["--once", "--paced"]);
    if case.seek {
        let seconds: u64 =
            case.film.split('-').find_map(|part| part.strip_suffix('s')?.parse().ok()).unwrap_or(60);
        drive.with("--seek-to-ms", seconds * 500);
    } else {
        drive.add(&["--first-frame-only"]);
    }
    drive.run(place)
}

fn time(run: &Run, case: &Case) -> f64 {
    run.number(if case.seek { "/seek_ms/max" } else { "/first_frame_ms/max" })
}

/// The same first frame from nginx-rtmp, which fetches the whole file first.
fn peer(
    place: &Place,
    options: &Options,
    s3: std::net::SocketAddr,
    case: &Case,
    section: &mut Section,
) -> Result<()> {
    let mut times = Spread::default();
    for _ in 0..options.rounds().min(2) {
        let relay = Relay::start(s3, options.latency_ms, options.rate_bytes_per_s)?;
        let (mut server, _) = servers::nginx(place, 4096, None, Some(relay.addr))?;
        server.app = "far";
        let run = watch(place, &server, case)?;
        if let Some(wrong) = run.wrong() {
            section.wrong(format!("nginx-rtmp: {wrong}"));
        }
        times.0.push(time(&run, case));
    }
    section.line(format!("nginx-rtmp: {}", case.name), &times, 0, "ms");
    Ok(())
}
