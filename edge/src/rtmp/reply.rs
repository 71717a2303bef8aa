//! What the edge says: payloads of its commands and data messages, property by property.
//!
//! The order and the wording are Flash Media Server 3.5's, which players compare against, log, or depend on: FLVPlayback
//! reads `data.version`, JW Player throws on an unexpected `ex`, rtmpdump looks for codes. Nothing here fails.
//!
//! Commands go out as type 20, data messages as type 18, in sessions of either object encoding.

use bytes::{Bytes, BytesMut};

use super::amf::{self, Value};
use super::command;

#[cfg(test)]
mod tests;

/// The last public 3.5 build. From version 3,5 on players switch bitrates with `play2`.
const SERVER_VERSION: &str = "3,5,7,7009";

/// `_result` of `connect`. `object_encoding` is the client's own: 0 or 3.
pub fn connect_success(transaction: f64, object_encoding: f64) -> Bytes {
    let properties = Value::object([
        ("fmsVer", format!("FMS/{SERVER_VERSION}").into()),
        ("capabilities", 31.0.into()),
        ("mode", 1.0.into()),
    ]);
    let information = Value::object([
        ("level", "status".into()),
        ("code", "NetConnection.Connect.Success".into()),
        ("description", "Connection succeeded.".into()),
        ("objectEncoding", object_encoding.into()),
        ("data", Value::ecma_array([("version", SERVER_VERSION.into())])),
    ]);
    command::encode("_result", transaction, &[properties, information])
}

/// `_error` of `connect`, to be followed by [`close`]. `code` is CloudFront's (`InvalidInstance` and the like), `text` says
/// more. There is no `ex` property: JW Player shows the error only because reading it throws.
pub fn connect_rejected(transaction: f64, code: &str, text: &str) -> Bytes {
    let separator = if text.is_empty() { "" } else { ": " };
    let information = Value::object([
        ("level", "error".into()),
        ("code", "NetConnection.Connect.Rejected".into()),
        ("description", format!("[ Server.Reject ] : {code}{separator}{text}").into()),
        ("application", Value::object([("message", code.into())])),
    ]);
    command::encode("_error", transaction, &[Value::Null, information])
}

/// `close`: the last word before the server closes the connection.
pub fn close() -> Bytes {
    command::encode("close", 0.0, &[Value::Null])
}

/// `onBWDone` without a figure, which FLVPlayback waits for after `connect`.
pub fn on_bw_done() -> Bytes {
    command::encode("onBWDone", 0.0, &[Value::Null])
}

/// `onBWDone` with a measurement: what `checkBandwidth` ends in. The bandwidth is never sent as 0, because FLVPlayback
/// divides by it.
pub fn on_bw_done_measured(
    kilobits_a_second: f64,
    delta_down_kilobits: f64,
    delta_seconds: f64,
    latency_ms: f64,
) -> Bytes {
    let figures = [kilobits_a_second.max(1.0), delta_down_kilobits, delta_seconds, latency_ms];
    let values: Vec<Value> = [Value::Null].into_iter().chain(figures.map(Value::Number)).collect();
    command::encode("onBWDone", 0.0, &values)
}

/// `_result` with one value: a stream id, a duration in seconds, or Null.
pub fn result(transaction: f64, value: Value) -> Bytes {
    command::encode("_result", transaction, &[Value::Null, value])
}

/// `_error` of a call other than `connect`.
pub fn error(transaction: f64, code: &str, description: &str) -> Bytes {
    let information = Value::object([
        ("level", "error".into()),
        ("code", code.into()),
        ("description", description.into()),
    ]);
    command::encode("_error", transaction, &[Value::Null, information])
}

/// `onFCSubscribe`: always granted, so that clients made for live networks go on to `play`.
pub fn on_fc_subscribe(name: &str) -> Bytes {
    let information = Value::object([
        ("code", "NetStream.Play.Start".into()),
        ("level", "status".into()),
        ("description", name.into()),
    ]);
    command::encode("onFCSubscribe", 0.0, &[Value::Null, information])
}

/// `onStatus` for a stream. `level` is status, warning or error; `details` is the stream's name as the client asked for
/// it, without prefix; `extra` properties come last.
pub fn status(
    level: &str,
    code: &str,
    description: &str,
    details: Option<&str>,
    client_id: &str,
    extra: &[(&str, Value)],
) -> Bytes {
    let mut information: Vec<(String, Value)> = vec![
        ("level".into(), level.into()),
        ("code".into(), code.into()),
        ("description".into(), description.into()),
    ];
    information.extend(details.map(|details| ("details".into(), details.into())));
    information.push(("clientid".into(), client_id.into()));
    information.extend(extra.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    command::encode("onStatus", 0.0, &[Value::Null, Value::Object(information)])
}

/// A data message: a handler's name and its arguments.
pub fn data(name: &str, values: &[Value]) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    amf::encode(&Value::from(name), &mut out);
    for value in values {
        amf::encode(value, &mut out);
    }
    out.freeze()
}

/// `|RtmpSampleAccess`: whether players may read sound and pixels.
pub fn sample_access(audio: bool, video: bool) -> Bytes {
    data("|RtmpSampleAccess", &[audio.into(), video.into()])
}

/// `onStatus` as a data message: media follow.
pub fn data_start() -> Bytes {
    data("onStatus", &[Value::object([("code", Value::from("NetStream.Data.Start"))])])
}

/// `onMetaData`. Always an ECMA array, in the order given: ffmpeg ignores objects, and rtmpdump's resume compares bytes.
pub fn metadata(properties: &[(String, Value)]) -> Bytes {
    data("onMetaData", &[Value::EcmaArray(properties.to_vec())])
}

/// `onId3`: the tags of an MP3 file, for who plays its `id3:` name.
pub fn id3(properties: &[(String, Value)]) -> Bytes {
    data("onId3", &[Value::Object(properties.to_vec())])
}

/// `onTextData`: a text of a film's text track, empty where one ends.
pub fn text_data(text: &str, language: &str, track_id: u32) -> Bytes {
    let properties = [
        ("text", text.into()),
        ("language", language.into()),
        ("trackid", Value::Number(f64::from(track_id))),
    ];
    data("onTextData", &[Value::object(properties)])
}

/// `onPlayStatus`: `code` and level status, then `extra`.
pub fn play_status(code: &str, extra: &[(&str, Value)]) -> Bytes {
    let head = [("code", Value::from(code)), ("level", "status".into())];
    let information = Value::object(head.into_iter().chain(extra.iter().cloned()));
    data("onPlayStatus", &[information])
}

/// `onPlayStatus` at the end of the last playlist item: its length in seconds and its bytes.
pub fn play_status_complete(duration_s: f64, bytes: u64) -> Bytes {
    play_status(
        "NetStream.Play.Complete",
        &[("duration", duration_s.into()), ("bytes", Value::Number(bytes as f64))],
    )
}

/// `onPlayStatus` when another file has taken over: its name and length in seconds, and the bytes of media sent so far.
pub fn play_status_transition(details: &str, duration_s: f64, bytes: u64) -> Bytes {
    play_status(
        "NetStream.Play.TransitionComplete",
        &[
            ("details", details.into()),
            ("duration", duration_s.into()),
            ("bytes", Value::Number(bytes as f64)),
        ],
    )
}

/// `onPlayStatus` between two playlist items.
pub fn play_status_switch() -> Bytes {
    play_status("NetStream.Play.Switch", &[])
}
