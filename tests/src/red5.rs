//! The Red5 client as a viewer that seeks, pauses, resumes and switches, over any variant it has: what it must see, said once.
//!
//! Its driver (tests/players/red5) prints what comes; here that is judged. A judgement names the first thing that was wrong.

use std::path::Path;

use crate::players::{Outcome, red5};

/// The numbers of the driver's `media` lines: pictures, sounds, keyframes, first and last time.
fn counts(said: &str) -> Vec<Vec<i64>> {
    let numbers = |l: &str| l.split(' ').filter_map(|w| w.split_once('=')?.1.parse().ok()).collect();
    said.lines().filter_map(|l| l.strip_prefix("media ")).map(numbers).collect()
}

fn ended_well(done: &Outcome) -> Result<(), String> {
    if done.code == 0 { Ok(()) } else { Err(format!("{done:?}")) }
}

/// Plays a film of 200 s from its start, seeks to 100 s, pauses and resumes there.
pub fn seek_pause_and_resume(url: &str, play: &str) -> Result<(), String> {
    let steps = [
        "buffer=1000",
        "play=0",
        "until=NetStream.Play.Start",
        "wait=700",
        "count",
        "seek=100000",
        "until=NetStream.Seek.Notify",
        "count",
        "wait=700",
        "count",
        "pause=100500",
        "until=NetStream.Pause.Notify",
        "wait=200",
        "count",
        "wait=700",
        "count",
        "resume=100500",
        "until=NetStream.Unpause.Notify",
        "wait=700",
        "count",
    ];
    let done = red5(url, play, &steps);
    ended_well(&done)?;
    let [start, _, sought, _, paused, resumed] = &counts(&done.stdout)[..] else {
        return Err(format!("{done:?}"));
    };
    let moved = |c: &[i64]| c[0] + c[1];
    let wrong = if moved(start) <= 20 || start[3] != 0 {
        "the film didn't start"
    } else if moved(sought) <= 20 || !(97_000..=103_000).contains(&sought[3]) {
        "the seek led nowhere"
    } else if moved(paused) != 0 {
        "media while paused"
    } else if moved(resumed) <= 20 || !(97_000..=100_600).contains(&resumed[3]) {
        "it didn't resume where it was paused"
    } else {
        return Ok(());
    };
    Err(format!("{wrong}\n{}", done.stdout))
}

/// Plays the first of these, switches to each of the others in mid-play, then to one that isn't there, and records what comes.
/// Answers the status codes in order.
pub fn switch(url: &str, plays: &[&str], record: &Path) -> Result<Vec<String>, String> {
    let mut steps: Vec<String> = vec!["buffer=1000".into(), format!("record={}", record.display())];
    steps.extend(["play=0", "until=NetStream.Play.Start", "wait=1500"].map(String::from));
    for play in &plays[1..] {
        steps.push(format!("play2={play},switch"));
        steps.extend(
            ["until=NetStream.Play.Transition", "until=NetStream.Play.TransitionComplete", "wait=2500"]
                .map(String::from),
        );
    }
    steps.push("play2=mp4:nosuch.mp4,switch".into());
    steps
        .extend(["until=NetStream.Play.Failed", "wait=500", "count", "wait=3000", "count"].map(String::from));
    let done = red5(url, plays[0], &steps.iter().map(String::as_str).collect::<Vec<_>>());
    ended_well(&done)?;
    match counts(&done.stdout).last() {
        Some(after) if after[0] + after[1] > 20 => {}
        _ => return Err(format!("the stream ended with the switch that failed\n{}", done.stdout)),
    }
    Ok(done.stdout.lines().filter_map(|l| l.strip_prefix("status ")).map(String::from).collect())
}
