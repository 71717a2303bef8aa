//! Tests of `rtmp/reply`.

use super::*;
use crate::rtmp::amf::{Limits, decode_all};

fn values(payload: &Bytes) -> Vec<Value> {
    decode_all(payload, &Limits::default()).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.properties().unwrap().iter().map(|(key, _)| key.as_str()).collect()
}

#[test]
fn statement_20_connect_is_answered_as_fms_does() {
    let reply = values(&connect_success(1.0, 3.0));
    assert_eq!(reply[..2], ["_result".into(), 1.0.into()]);
    assert_eq!(
        reply[2],
        Value::object([
            ("fmsVer", Value::from("FMS/3,5,7,7009")),
            ("capabilities", 31.0.into()),
            ("mode", 1.0.into())
        ])
    );
    assert_eq!(
        reply[3],
        Value::object([
            ("level", Value::from("status")),
            ("code", "NetConnection.Connect.Success".into()),
            ("description", "Connection succeeded.".into()),
            ("objectEncoding", 3.0.into()),
            ("data", Value::ecma_array([("version", Value::from("3,5,7,7009"))])),
        ])
    );
}

#[test]
fn a_rejection_names_its_code_twice_and_no_ex() {
    let reply = values(&connect_rejected(1.0, "InvalidInstance", "no instance st/x"));
    assert_eq!(reply[..3], ["_error".into(), 1.0.into(), Value::Null]);
    assert_eq!(keys(&reply[3]), ["level", "code", "description", "application"]);
    assert_eq!(
        reply[3].get("description").and_then(Value::as_str),
        Some("[ Server.Reject ] : InvalidInstance: no instance st/x")
    );
    let message = reply[3].get("application").and_then(|application| application.get("message"));
    assert_eq!(message.and_then(Value::as_str), Some("InvalidInstance"));
    assert_eq!(values(&close()), ["close".into(), 0.0.into(), Value::Null]);
}

#[test]
fn a_bare_on_bw_done_is_21_bytes() {
    assert_eq!(on_bw_done().len(), 21);
    assert_eq!(values(&on_bw_done()), ["onBWDone".into(), 0.0.into(), Value::Null]);
    let measured = values(&on_bw_done_measured(0.0, 1.0, 2.0, 3.0));
    assert_eq!(measured[2..], [Value::Null, 1.0.into(), 1.0.into(), 2.0.into(), 3.0.into()]);
}

#[test]
fn statuses_keep_their_order() {
    let reply = values(&status(
        "status",
        "NetStream.Play.Stop",
        "Stopped playing film.",
        Some("film"),
        "oAABwRgA",
        &[("reason", "".into())],
    ));
    assert_eq!(reply[..3], ["onStatus".into(), 0.0.into(), Value::Null]);
    assert_eq!(keys(&reply[3]), ["level", "code", "description", "details", "clientid", "reason"]);
    let reply = values(&status("error", "NetStream.Failed", "no", None, "x", &[]));
    assert_eq!(keys(&reply[3]), ["level", "code", "description", "clientid"]);
}

#[test]
fn calls_are_answered_with_one_value() {
    assert_eq!(values(&result(2.0, 1.0.into())), ["_result".into(), 2.0.into(), Value::Null, 1.0.into()]);
    let refused = values(&error(5.0, "NetStream.Publish.Denied", "no publishing"));
    assert_eq!(refused[..3], ["_error".into(), 5.0.into(), Value::Null]);
    assert_eq!(keys(&refused[3]), ["level", "code", "description"]);
    assert_eq!(values(&on_fc_subscribe("film"))[3].get("description"), Some(&"film".into()));
}

#[test]
fn data_messages_have_a_name_and_values() {
    assert_eq!(
        values(&sample_access(false, false)),
        ["|RtmpSampleAccess".into(), false.into(), false.into()]
    );
    assert_eq!(values(&data_start())[1].get("code"), Some(&"NetStream.Data.Start".into()));
    let complete = values(&play_status_complete(59.5, 1000));
    assert_eq!(complete[0], "onPlayStatus".into());
    assert_eq!(keys(&complete[1]), ["code", "level", "duration", "bytes"]);
    assert_eq!(complete[1].get("code"), Some(&"NetStream.Play.Complete".into()));
    assert_eq!(keys(&values(&play_status_switch())[1]), ["code", "level"]);
    let described = metadata(&[("duration".into(), 59.5.into())]);
    assert_eq!(values(&described)[1], Value::ecma_array([("duration", Value::from(59.5))]));
}
