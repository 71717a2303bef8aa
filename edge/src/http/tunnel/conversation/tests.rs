//! Requests in every order, and what they get.

use super::*;

const LIMITS: Limits = Limits {
    window: 3,
    input_bytes: 100,
    response_bytes: 50,
    replays: 2,
    gap: Duration::from_secs(5),
    session: Duration::from_secs(30),
};

/// A conversation whose requests are named, and what they got.
struct Talk {
    inner: Conversation<&'static str>,
    now: Instant,
    account: Arc<Account>,
    got: Vec<(&'static str, String)>,
}

impl Talk {
    fn new() -> Self {
        let now = Instant::now();
        Self { inner: Conversation::new(LIMITS, now), now, account: Arc::default(), got: Vec::new() }
    }

    /// One whose first request was taken.
    fn begun() -> Self {
        let mut talk = Self::new();
        talk.idle(0, "first");
        talk
    }

    fn take(&mut self, answers: Answers<&'static str>) {
        self.got.extend(answers.into_iter().map(|(who, outcome)| {
            let what = match outcome {
                Outcome::Reply(Reply::Byte(byte), _) => format!("{byte:#04x}"),
                Outcome::Reply(Reply::Data(data), _) => {
                    let body = data.parts.concat();
                    format!("{:#04x} {}", body[0], String::from_utf8_lossy(&body[1..]))
                }
                Outcome::Refused(why) => format!("{why:?}"),
            };
            (who, what)
        }));
    }

    fn does(
        &mut self,
        act: impl FnOnce(&mut Conversation<&'static str>, Instant, &mut Answers<&'static str>),
    ) {
        let mut answers = Answers::new();
        act(&mut self.inner, self.now, &mut answers);
        self.take(answers);
    }

    fn send(&mut self, number: u64, body: &[u8], who: &'static str) {
        self.does(|inner, now, answers| inner.arrive(number, Kind::Send, body, who, now, answers));
    }

    fn idle(&mut self, number: u64, who: &'static str) {
        self.does(|inner, now, answers| inner.arrive(number, Kind::Idle, &[0], who, now, answers));
    }

    fn write(&mut self, text: &str) -> Option<usize> {
        let (mut batch, mut answers) = (Batch::new(), Answers::new());
        batch.push_raw(text.as_bytes());
        let taken = self.inner.write(&mut batch, false, &self.account, &mut answers);
        self.take(answers);
        taken.ok()
    }

    fn read(&mut self) -> String {
        let mut bytes = BytesMut::new();
        let _ = self.inner.read(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What was got since the last time.
    fn got(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.got)
    }
}

fn one(who: &'static str, what: &str) -> Vec<(&'static str, String)> {
    vec![(who, what.to_owned())]
}

#[tokio::test(start_paused = true)]
async fn an_idle_waits_for_data_and_a_send_for_the_session() {
    let mut talk = Talk::begun();
    assert_eq!((talk.got(), talk.inner.is_writable()), (vec![], true));
    assert_eq!(talk.write("data"), Some(4));
    assert_eq!(talk.got(), one("first", "0x01 data"));
    assert_eq!(talk.write("nobody waits"), None);
    talk.send(1, b"abc", "send");
    assert_eq!((talk.got(), talk.read()), (vec![], "abc".to_owned()));
    talk.does(|inner, _, answers| inner.settle(answers));
    assert_eq!(talk.got(), one("send", "0x01"));
    talk.send(2, b"abc", "answered");
    talk.read();
    talk.write("at once");
    assert_eq!(talk.got(), one("answered", "0x01 at once"));
    talk.idle(3, "held");
    talk.does(|inner, _, answers| inner.settle(answers));
    assert_eq!(talk.got(), vec![], "an idle is not answered because the session is idle");
    talk.does(|inner, _, answers| inner.give_up(3, answers));
    assert_eq!(talk.got(), one("held", "0x01"));
}

#[tokio::test(start_paused = true)]
async fn a_response_is_bounded_and_the_rest_waits_for_the_next_request() {
    let mut talk = Talk::begun();
    assert_eq!(talk.write(&"x".repeat(80)), Some(50));
}

#[tokio::test(start_paused = true)]
async fn s17_early_requests_are_held_and_the_bytes_are_in_order() {
    let mut talk = Talk::begun();
    talk.send(3, b"c", "3");
    talk.send(2, b"b", "2");
    assert_eq!((talk.got(), talk.read()), (vec![], String::new()));
    talk.send(1, b"a", "1");
    assert_eq!(talk.read(), "abc");
    let got = talk.got();
    assert_eq!(got, [("first", "0x01".into()), ("1", "0x01".into()), ("2", "0x01".into())]);
    talk.write("reply");
    assert_eq!(talk.got(), one("3", "0x01 reply"));
}

#[tokio::test(start_paused = true)]
async fn s17_a_repeat_gets_the_same_answer_and_an_older_number_the_polling_byte() {
    let mut talk = Talk::begun();
    talk.write("data");
    talk.got();
    talk.idle(0, "again");
    assert_eq!(talk.got(), one("again", "0x01 data"));
    talk.idle(1, "next");
    talk.idle(0, "older");
    assert_eq!(talk.got(), one("older", "0x01"));
    talk.idle(1, "takes over");
    assert_eq!(talk.got(), one("next", "0x01"));
    talk.write("more");
    assert_eq!(talk.got(), one("takes over", "0x01 more"));
    talk.send(1, b"not taken twice", "again");
    assert_eq!((talk.got(), talk.read()), (one("again", "0x01 more"), String::new()));
}

#[tokio::test(start_paused = true)]
async fn repeats_are_bounded() {
    let mut talk = Talk::begun();
    talk.write("data");
    for _ in 0..3 {
        talk.idle(0, "again");
    }
    assert_eq!(talk.got().last(), Some(&("again", "Replays".to_owned())));
    talk.idle(1, "next");
    talk.write("goes on");
    assert_eq!(talk.got(), one("next", "0x01 goes on"));
}

#[tokio::test(start_paused = true)]
async fn f22_jumps_and_floods_are_refused_and_harm_nothing() {
    let mut talk = Talk::begun();
    talk.idle(5, "far");
    talk.idle(u64::MAX / 2, "farther");
    talk.send(1, &[0; 101], "flood");
    let got = talk.got();
    assert_eq!(got, [("far", "Jump".into()), ("farther", "Jump".into()), ("flood", "Flood".into())]);
    talk.send(2, &[b'e'; 60], "early");
    talk.send(3, &[b'e'; 60], "too much");
    assert_eq!(talk.got(), one("too much", "Flood"));
    assert!(talk.inner.own_bytes() < 1000);
    talk.idle(1, "missing");
    assert_eq!(talk.read().len(), 60);
    talk.got();
    talk.write("goes on");
    assert_eq!(talk.got(), one("early", "0x01 goes on"));
}

#[tokio::test(start_paused = true)]
async fn f22_a_gap_that_is_not_filled_in_time_ends_the_session() {
    let mut talk = Talk::begun();
    talk.send(2, b"b", "early");
    talk.now += Duration::from_secs(4);
    talk.does(|inner, now, answers| inner.look(now, answers));
    assert_eq!(talk.got(), vec![]);
    talk.now += Duration::from_secs(1);
    talk.does(|inner, now, answers| inner.look(now, answers));
    assert_eq!(talk.got(), [("first", "Gap".into()), ("early", "Gap".into())]);
    assert!(talk.inner.read(&mut BytesMut::new()).is_err());
    assert_eq!(talk.write("too late"), None);
    talk.send(1, b"a", "late");
    assert_eq!(talk.got(), one("late", "Gap"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_broke_off_is_repeated_or_ends_the_session() {
    let issue = |number, copy| Issue { number, copy };
    for repeated in [true, false] {
        let mut talk = Talk::begun();
        talk.write("data");
        talk.does(|inner, now, answers| inner.lose(issue(0, 0), now, answers));
        talk.got();
        if repeated {
            talk.idle(0, "again");
            assert_eq!(talk.got(), one("again", "0x01 data"));
            // The first giving may be found to be lost later than the second arrives.
            talk.does(|inner, now, answers| inner.lose(issue(0, 0), now, answers));
        }
        talk.idle(1, "next");
        assert_eq!(talk.got(), if repeated { vec![] } else { one("next", "Lost") });
    }
    // The next request came before the answer broke off.
    let mut talk = Talk::begun();
    talk.write("data");
    talk.got();
    talk.idle(1, "next");
    talk.does(|inner, now, answers| inner.lose(issue(0, 0), now, answers));
    assert_eq!(talk.got(), one("next", "Lost"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_from_the_session_for_a_request_whose_connection_broke() {
    let mut talk = Talk::begun();
    talk.inner.drop_waiting(|who| *who == "first");
    assert_eq!((talk.write("data"), talk.inner.is_writable()), (None, false));
    talk.idle(0, "again");
    assert_eq!(talk.got(), one("again", "0x01"));
    talk.idle(1, "next");
    talk.write("data");
    assert_eq!(talk.got(), one("next", "0x01 data"));
}

#[tokio::test(start_paused = true)]
async fn the_first_number_is_0_or_1() {
    let mut talk = Talk::new();
    talk.send(1, b"\x03 a handshake", "1");
    assert_eq!(talk.read(), "\x03 a handshake");
    talk.idle(2, "2");
    assert_eq!(talk.got(), one("1", "0x01"));
    // An idle that overtakes the handshake is no beginning.
    let mut talk = Talk::new();
    talk.idle(1, "1");
    talk.send(0, b"\x03 a handshake", "0");
    assert_eq!((talk.read(), talk.got()), ("\x03 a handshake".into(), one("0", "0x01")));
    // Unless 0 never comes.
    let mut talk = Talk::new();
    talk.idle(1, "1");
    talk.now += LIMITS.gap;
    talk.does(|inner, now, answers| inner.look(now, answers));
    talk.write("data");
    assert_eq!(talk.got(), one("1", "0x01 data"));
}

#[tokio::test(start_paused = true)]
async fn s18_a_session_without_requests_expires_and_one_that_takes_its_answer_does_not() {
    let mut talk = Talk::begun();
    talk.write("a long answer");
    talk.now += Duration::from_secs(29);
    talk.inner.touch(talk.now);
    talk.now += Duration::from_secs(29);
    talk.does(|inner, now, answers| inner.look(now, answers));
    assert_eq!(talk.inner.ended(), None);
    talk.now += Duration::from_secs(1);
    talk.does(|inner, now, answers| inner.look(now, answers));
    assert!(matches!(talk.inner.ended(), Some((Ended::Expired, _))));
    assert_eq!(talk.inner.read(&mut BytesMut::new()).unwrap(), 0);
    talk.got();
    talk.idle(1, "late");
    assert_eq!((talk.got(), talk.inner.is_told()), (one("late", "Ended"), true));
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_once_by_a_polling_byte_of_zero() {
    for waits in [true, false] {
        let mut talk = Talk::begun();
        if !waits {
            talk.write("goodbye");
            talk.got();
        }
        talk.does(|inner, now, answers| inner.end(Ended::Over, now, answers));
        assert_eq!(talk.inner.is_told(), waits);
        if !waits {
            talk.idle(0, "last words again");
            assert_eq!(talk.got(), one("last words again", "0x01 goodbye"));
        }
        talk.idle(1, "next");
        talk.idle(2, "after");
        let got = talk.got();
        assert_eq!(got[0].1, "0x00");
        assert_eq!(got.last().unwrap().1, "Ended");
        assert!(talk.inner.is_told());
    }
}
