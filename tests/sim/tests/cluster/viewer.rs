//! A scripted player: connects, plays, seeks, pauses, leaves; and checks every message against the film.
//!
//! What it demands: samples are those of one version of the film it asked for, whole, in file order and at their times; after a play, a
//! seek or an unpause they begin at the keyframe that belongs to the place; none comes while paused; a play ends with its last sample,
//! a failure with a status, and nothing with silence. It ends by a deadline of its own.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tests::wire::chunk::Message;
use tokio::time::{Instant, sleep_until};

use super::library::Library;
use super::nodes::{self, EDGES};
use super::plan::{Step, Watcher};

mod connection;
mod player;

use connection::Connection;
use player::Player;

/// Beyond what its film and its script take, faults included, nobody waits this long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Before a failed play is asked for again.
const RETRY: Duration = Duration::from_millis(1_500);

/// How a viewer's evening ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// It saw the film's end.
    Finished,
    /// It left, as its script says.
    Left,
    /// It was told why not; the code of the last status.
    Refused(String),
    /// Its connection broke.
    Lost(String),
}

/// What a viewer saw.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) watcher: Watcher,
    /// In ms of the run.
    pub(crate) ended_ms: u64,
    pub(crate) end: Result<End, String>,
    pub(crate) bytes: u64,
    pub(crate) samples: u64,
    /// The most that a sample came after its time, paced, in ms.
    pub(crate) late_ms: u64,
    /// Whether it took no bytes for a while, so that lateness is its own.
    pub(crate) dozed: bool,
    /// Statuses of level error, in order.
    pub(crate) errors: Vec<String>,
}

/// Watches as the script says.
pub(crate) async fn watch(watcher: Watcher, library: Library) -> Report {
    let mut player = Player::new(&watcher, &library);
    let end = perform(&watcher, &mut player).await;
    let end = end.map_err(|what| format!("{what} (at {})", player.place()));
    tracing::info!(target: "sim", viewer = watcher.name, ?end, bytes = player.bytes, samples = player.samples,
        late_ms = player.late_ms, "viewer done");
    Report {
        ended_ms: turmoil::sim_elapsed().unwrap_or_default().as_millis() as u64,
        end,
        bytes: player.bytes,
        samples: player.samples,
        late_ms: player.late_ms,
        errors: player.errors,
        dozed: watcher.steps.iter().any(|step| matches!(step, Step::Doze(_))),
        watcher,
    }
}

/// When the script goes on.
enum Next {
    /// At once: a step may be taken.
    Step,
    /// At this time.
    At(Instant),
    /// When media flows (again).
    Media,
}

async fn perform(watcher: &Watcher, player: &mut Player) -> Result<End, String> {
    let scripted: u64 = watcher
        .steps
        .iter()
        .map(|step| match step {
            Step::Watch(ms) | Step::Pause(ms) | Step::Doze(ms) => *ms + 30_000,
            Step::Seek(_) | Step::Leave => 0,
        })
        .sum();
    let length = Duration::from_millis(scripted + u64::from(player.duration_ms()));
    let deadline = Instant::now() + length + PATIENCE * (watcher.retries + 1);
    let lost = |what: &str, error: io::Error| Ok(End::Lost(format!("{what}: {error}")));
    let host = nodes::domain(player.bucket());
    let edge = EDGES[watcher.edge];
    let mut connection = match Connection::open(edge, &host, watcher.buffer_ms).await {
        Ok(connection) => connection,
        Err(error) => return lost("connecting", error),
    };
    tracing::info!(target: "sim", viewer = watcher.name, edge, film = player.key(), from_ms = watcher.from_ms, "plays");
    let play = |connection: &mut Connection, player: &mut Player, from_ms: u32| {
        player.plays(from_ms);
        connection.play(player.key(), from_ms, watcher.unpaced)
    };
    play(&mut connection, player, watcher.from_ms);
    let leaves = watcher.leaves_after_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
    let mut steps: VecDeque<Step> = watcher.steps.iter().copied().collect();
    let (mut next, mut retries) = (Next::Media, watcher.retries);
    let mut resumes = None;
    let mut plays_again = None;
    let mut wakes = None;
    loop {
        if let Next::Step = next {
            next = match steps.pop_front() {
                Some(Step::Watch(ms)) => Next::At(Instant::now() + Duration::from_millis(ms)),
                Some(Step::Seek(ms)) => {
                    connection.seek(player.seeks(ms));
                    Next::Media
                }
                Some(Step::Pause(ms)) => {
                    connection.pause(true, player.pauses());
                    resumes = Some(Instant::now() + Duration::from_millis(ms));
                    Next::Media
                }
                Some(Step::Doze(ms)) => {
                    let at = Instant::now() + Duration::from_millis(ms);
                    wakes = Some(at);
                    Next::At(at)
                }
                Some(Step::Leave) => return Ok(End::Left),
                None => Next::Media,
            };
            // Media that flows already doesn't count for what a later step waits for.
            player.flowing = false;
            continue;
        }
        if let Err(error) = connection.flush().await {
            return lost("writing", error);
        }
        let timer = async |at: Option<Instant>| match at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        };
        let step_at = match next {
            Next::At(at) => Some(at),
            _ => None,
        };
        tokio::select! {
            biased;
            () = sleep_until(deadline) => return Err("it hangs: no end by its deadline".into()),
            () = timer(leaves) => return Ok(End::Left),
            () = timer(resumes), if resumes.is_some() => {
                resumes = None;
                connection.pause(false, player.resumes());
            }
            () = timer(plays_again), if plays_again.is_some() => {
                plays_again = None;
                let at = player.position_ms();
                tracing::info!(target: "sim", viewer = watcher.name, at, "plays again");
                play(&mut connection, player, at);
            }
            () = timer(step_at), if step_at.is_some() => next = Next::Step,
            () = timer(wakes), if wakes.is_some() => wakes = None,
            received = connection.receive(), if wakes.is_none() => {
                let messages = match received {
                    Ok(messages) => messages,
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error.to_string()),
                    Err(error) => return lost(&player.last_words(), error),
                };
                for message in messages {
                    match player.hear(&message)? {
                        Heard::Nothing => {}
                        Heard::Media => {
                            if matches!(next, Next::Media) && resumes.is_none() && !steps.is_empty() && player.flowing {
                                next = Next::Step;
                            }
                        }
                        Heard::Finished => return Ok(End::Finished),
                        Heard::Refused(code) if retries > 0 => {
                            tracing::info!(target: "sim", viewer = watcher.name, code, "refused");
                            retries -= 1;
                            (next, resumes) = (Next::Media, None);
                            plays_again = Some(Instant::now() + RETRY);
                        }
                        Heard::Refused(code) => return Ok(End::Refused(code)),
                    }
                }
            }
        }
    }
}

/// What a message meant.
pub(crate) enum Heard {
    Nothing,
    Media,
    /// The film's end was announced.
    Finished,
    /// The play failed with this code.
    Refused(String),
}

/// The type of a message that isn't media, for diagnosis.
fn outline(message: &Message) -> String {
    message.status_code().unwrap_or_else(|| format!("type {}", message.type_id))
}
