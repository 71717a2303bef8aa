//! Commands: a name, a transaction number, an object and arguments.
//!
//! Reading tolerates what clients do: fewer values than the specification wants, transaction 0 on calls that expect an
//! answer, the AMF3 envelope with or without its leading zero. It fails only where the values themselves are not AMF or
//! exceed [`Limits`]; a message that doesn't begin with a name is no command.

use bytes::{Bytes, BytesMut};

use super::amf::{self, AmfError, Limits, Value};
use super::message::{Message, type_id};

#[cfg(test)]
mod tests;

/// A command a client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// `connect`, `play`, `_result` and so on.
    pub name: String,
    /// Number the answer repeats; 0 where the client wants none, or sent none.
    pub transaction: f64,
    /// The command object; Null for all but `connect`, and where the client sent none.
    pub object: Value,
    /// What follows.
    pub args: Vec<Value>,
    /// Whether it came in the AMF3 envelope.
    pub amf3: bool,
}

impl Command {
    /// Argument `index`, counted after the command object.
    pub fn arg(&self, index: usize) -> Option<&Value> {
        self.args.get(index)
    }
}

/// Reads a command message (types 20 and 17); `None` for messages of other types and those without a name.
pub fn parse(message: &Message, limits: &Limits) -> Result<Option<Command>, AmfError> {
    let amf3 = message.type_id == type_id::COMMAND_AMF3;
    if !amf3 && message.type_id != type_id::COMMAND {
        return Ok(None);
    }
    // Type 17 says with a zero byte that AMF0 follows. No command begins with the number that byte would otherwise mean.
    let body = &message.payload[..];
    let mut values = amf::decode_all(body.strip_prefix(&[0]).unwrap_or(body), limits)?.into_iter();
    let Some(Value::String(name)) = values.next() else { return Ok(None) };
    Ok(Some(Command {
        name,
        transaction: values.next().and_then(|value| value.as_number()).unwrap_or(0.0),
        object: values.next().unwrap_or(Value::Null),
        args: values.collect(),
        amf3,
    }))
}

/// The payload of a type-20 message: `values` begin with the command object. Sessions that speak AMF3 are sent the same.
pub fn encode(name: &str, transaction: f64, values: &[Value]) -> Bytes {
    let mut out = BytesMut::with_capacity(256);
    amf::encode(&Value::from(name), &mut out);
    amf::encode(&Value::Number(transaction), &mut out);
    for value in values {
        amf::encode(value, &mut out);
    }
    out.freeze()
}
