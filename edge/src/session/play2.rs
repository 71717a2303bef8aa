//! `play2`: what its options mean.
//!
//! Flash sends one object, in AMF0 or (object encoding 3) AMF3: `streamName`, `oldStreamName`, `start`, `len`, `offset`, `transition`. Other
//! clients give the same values one after the other; there a text that names a transition is one, whatever its place, and
//! another text after the first is the old name. Times are seconds, -1 and -2 as in ActionScript; milliseconds are accepted where only they
//! fit the film ([`fit`]).
//!
//! | transition | does |
//! |---|---|
//! | `reset` | a play that flushes |
//! | `append` | a play that joins the playlist |
//! | `appendAndWait` | joins the playlist, and starts nothing |
//! | `resume` | a play without Play.Reset, at `start` (or `offset`) of the file, whose times go on from there |
//! | `stop` | ends the play and its playlist |
//! | `switch` | the same film in another file: see [`switch`](super::switch) |
//! | `swap` | another film instead of `oldStreamName`: see [`switch`](super::switch) |
//!
//! What can't be understood is answered with NetStream.Play.Failed and disturbs nothing.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::info;

use super::Session;
use super::names::StreamName;
use super::opening::fit;
use super::playback::Extent;
use super::stream::{PlayRequest, Start};
use super::transition::Aim;
use crate::rtmp::amf::Value;
use crate::rtmp::command::Command;

/// Where a stream goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reset,
    Append,
    AppendAndWait,
    Resume,
    Stop,
    Switch,
    Swap,
}

impl Kind {
    fn named(text: &str) -> Option<Self> {
        const NAMES: [(&str, Kind); 7] = [
            ("reset", Kind::Reset),
            ("append", Kind::Append),
            ("appendAndWait", Kind::AppendAndWait),
            ("resume", Kind::Resume),
            ("stop", Kind::Stop),
            ("switch", Kind::Switch),
            ("swap", Kind::Swap),
        ];
        NAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, kind)| *kind)
    }
}

/// The options as given.
#[derive(Clone, Debug, Default, PartialEq)]
struct Options {
    name: Option<String>,
    old_name: Option<String>,
    start: Option<f64>,
    len: Option<f64>,
    offset: Option<f64>,
    transition: Option<String>,
}

impl Options {
    fn read(args: &[Value]) -> Self {
        let Some(options) = args.first() else { return Self::default() };
        let number = |value: &Value| value.as_number().filter(|number| !number.is_nan());
        if options.properties().is_some() {
            let text =
                |key| options.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
            let number = |key| options.get(key).and_then(number);
            return Self {
                name: text("streamName"),
                old_name: text("oldStreamName"),
                start: number("start"),
                len: number("len"),
                offset: number("offset"),
                transition: text("transition"),
            };
        }
        let mut texts = args.iter().filter_map(Value::as_str);
        let mut numbers = args.iter().filter_map(number);
        let mut read =
            Self { name: texts.next().filter(|t| !t.is_empty()).map(str::to_owned), ..Self::default() };
        for text in texts.filter(|text| !text.is_empty()) {
            let of = if Kind::named(text).is_some() { &mut read.transition } else { &mut read.old_name };
            of.get_or_insert_with(|| text.to_owned());
        }
        (read.start, read.len, read.offset) = (numbers.next(), numbers.next(), numbers.next());
        read
    }

    /// What is asked for; without a word on it, an old name means a switch, and none a play. `None`: a word that is unknown.
    fn kind(&self) -> Option<Kind> {
        match &self.transition {
            Some(transition) => Kind::named(transition),
            None if self.old_name.is_some() => Some(Kind::Switch),
            None => Some(Kind::Reset),
        }
    }
}

/// Seconds in ms; what doesn't fit is as far away as can be said.
fn ms(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

impl Session {
    pub(super) fn on_play2(&mut self, stream_id: u32, command: &Command) {
        let options = Options::read(&command.args);
        let Some(connection) = self.connection() else { return };
        if self.stream(stream_id).is_none() {
            return;
        }
        let kind = options.kind();
        // Signatures are no matter for the log.
        let bare = |name: &Option<String>| name.as_deref().map(|name| StreamName::parse("", name).display);
        info!(session = self.id, stream = stream_id, name = bare(&options.name), old = bare(&options.old_name), kind = ?kind,
            offset = options.offset, start = options.start, "play2");
        if kind == Some(Kind::Stop) {
            self.on_stop(stream_id);
            return;
        }
        let (Some(kind), Some(name)) = (kind, &options.name) else {
            let name = bare(&options.name).unwrap_or_default();
            self.refuse_transition(stream_id, &name, "it is not known what to do");
            return;
        };
        let parse = |name: &str| StreamName::parse(&connection.folders, name);
        let request = request(&options, Arc::new(parse(name)), kind);
        let old = options.old_name.as_deref().map(parse);
        match kind {
            Kind::Reset | Kind::Resume => self.play(stream_id, request),
            Kind::Append => self.enqueue(stream_id, request, true),
            Kind::AppendAndWait => self.enqueue(stream_id, request, false),
            Kind::Switch => {
                let duration_ms =
                    self.stream(stream_id).and_then(|s| s.playing()).map(|p| p.playback.media.duration_ms);
                let offset = options.offset.filter(|offset| *offset >= 0.0);
                let offset_ms = offset.map(|offset| duration_ms.map_or(ms(offset), |d| fit(ms(offset), d)));
                // A switch of something that waits replaces that; of anything else it means what plays.
                let queued = old.filter(|old| !self.plays(stream_id, old) && self.is_queued(stream_id, old));
                let aim = queued.map_or(Aim::Switch { offset_ms }, |old| Aim::ReplaceQueued { old });
                self.start_transition(stream_id, request, aim);
            }
            Kind::Swap => match old {
                Some(old) if self.plays(stream_id, &old) => {
                    self.start_transition(stream_id, request, Aim::Replace)
                }
                None => self.start_transition(stream_id, request, Aim::Replace),
                Some(old) => self.start_transition(stream_id, request, Aim::ReplaceQueued { old }),
            },
            Kind::Stop => {}
        }
    }
}

/// The play that the options describe.
fn request(options: &Options, name: Arc<StreamName>, kind: Kind) -> PlayRequest {
    let start = options.start.unwrap_or(-2.0);
    let start = match kind {
        Kind::Resume if start < 0.0 => options.offset.filter(|offset| *offset >= 0.0).unwrap_or(0.0),
        _ => start,
    };
    let start = match start {
        n if n == -1.0 || n == -1000.0 => Start::LiveOnly,
        n if n < 0.0 => Start::Any,
        n => Start::Recorded(ms(n)),
    };
    let extent = match options.len.unwrap_or(-1.0) {
        n if n < 0.0 => Extent::All,
        0.0 => Extent::OneFrame,
        n => Extent::Ms(ms(n)),
    };
    PlayRequest {
        name,
        start,
        extent,
        reset: kind == Kind::Reset,
        unpaced: false,
        seconds: true,
        resumes: kind == Kind::Resume,
        base_ms: 0,
        asked: Instant::now(),
        moment: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &[(&str, Value)]) -> Value {
        Value::Object(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn jw() -> Vec<(&'static str, Value)> {
        vec![("streamName", "mp4:b".into()), ("transition", "switch".into())]
    }

    #[test]
    fn the_object_may_be_of_any_kind_and_lack_anything() {
        let fields: Vec<(String, Value)> = jw().into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let expected =
            Options { name: Some("mp4:b".into()), transition: Some("switch".into()), ..Options::default() };
        for options in [
            Value::Object(fields.clone()),
            Value::EcmaArray(fields.clone()),
            Value::TypedObject { class: "flash.net.NetStreamPlayOptions".into(), fields },
        ] {
            assert_eq!(Options::read(&[options]), expected);
        }
        let full = object(&[
            ("len", (-1.0).into()),
            ("offset", 12.195.into()),
            ("oldStreamName", "a".into()),
            ("start", f64::NAN.into()),
            ("streamName", "b".into()),
            ("transition", Value::Undefined),
        ]);
        let read = Options::read(&[full]);
        assert_eq!(
            (read.old_name.as_deref(), read.offset, read.start, read.len),
            (Some("a"), Some(12.195), None, Some(-1.0))
        );
        assert_eq!(read.kind(), Some(Kind::Switch), "an old name and no word");
    }

    #[test]
    fn values_may_come_one_after_the_other() {
        for args in [
            vec![Value::from("b"), "a".into(), 1.0.into(), 2.0.into(), 3.0.into(), "swap".into()],
            vec![Value::from("b"), 1.0.into(), 2.0.into(), "swap".into(), "a".into(), 3.0.into()],
        ] {
            let read = Options::read(&args);
            assert_eq!(read.kind(), Some(Kind::Swap));
            assert_eq!((read.name.as_deref(), read.old_name.as_deref()), (Some("b"), Some("a")));
            assert_eq!((read.start, read.len, read.offset), (Some(1.0), Some(2.0), Some(3.0)));
        }
        assert_eq!(
            Options::read(&[Value::from("switch")]).kind(),
            Some(Kind::Reset),
            "a film may be called so"
        );
        assert_eq!(Options::read(&[]), Options::default());
        assert_eq!(Options::read(&[Value::Null, Value::Null]).name, None);
    }

    #[test]
    fn only_known_transitions_are_taken() {
        for (word, kind) in
            [("switch", Some(Kind::Switch)), ("APPENDANDWAIT", Some(Kind::AppendAndWait)), ("jump", None)]
        {
            let options = Options { transition: Some(word.into()), ..Options::default() };
            assert_eq!(options.kind(), kind, "{word}");
        }
    }

    #[test]
    fn times_are_seconds() {
        let name = Arc::new(StreamName::parse("", "x"));
        let read = |start, len, offset, kind| {
            let options = Options { start, len, offset, ..Options::default() };
            let request = request(&options, name.clone(), kind);
            (request.start, request.extent, request.reset)
        };
        assert_eq!(
            read(Some(12.5), Some(3.0), None, Kind::Reset),
            (Start::Recorded(12_500), Extent::Ms(3000), true)
        );
        assert_eq!(read(None, None, None, Kind::Append), (Start::Any, Extent::All, false));
        assert_eq!(
            read(Some(-1.0), Some(0.0), None, Kind::Append),
            (Start::LiveOnly, Extent::OneFrame, false)
        );
        assert_eq!(read(Some(-2.0), None, Some(7.0), Kind::Resume).0, Start::Recorded(7000));
        assert_eq!(read(Some(f64::INFINITY), None, None, Kind::Reset).0, Start::Recorded(u64::MAX));
    }
}
