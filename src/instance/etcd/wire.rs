//! The messages of etcd's JSON gateway, as far as they are needed: bytes are base64, numbers of 64 bits are text, and
//! fields with empty values are left out.

use data_encoding::BASE64;
use serde::de::{self, DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The code of a token that is not good (any more).
pub(super) const UNAUTHENTICATED: i64 = 16;
/// The codes of what was broken off, came too late, or could not be asked: it is no refusal.
pub(super) const NOT_ASKED: [i64; 3] = [1, 4, 14];
/// The code of a store without room.
pub(super) const EXHAUSTED: i64 = 8;

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub(super) revision: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Vec<u8>,
    #[serde(deserialize_with = "bytes")]
    pub(super) value: Vec<u8>,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(super) lease: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    pub(super) header: Header,
    pub(super) kvs: Vec<KeyValue>,
    pub(super) more: bool,
    #[serde(deserialize_with = "number")]
    pub(super) count: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Txn {
    pub(super) header: Header,
    pub(super) succeeded: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lease {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SignedIn {
    pub(super) token: String,
}

/// Where nothing of the answer matters.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// One message of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Streamed<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub(super) canceled: bool,
    pub(super) cancel_reason: String,
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: i64,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    kind: String,
    pub(super) kv: KeyValue,
}

impl Event {
    pub(super) fn put(kv: KeyValue) -> Self {
        Self { kind: String::new(), kv }
    }

    pub(super) fn delete(key: Vec<u8>, mod_revision: i64) -> Self {
        Self { kind: "DELETE".to_owned(), kv: KeyValue { key, mod_revision, ..KeyValue::default() } }
    }

    pub(super) fn is_delete(&self) -> bool {
        self.kind == "DELETE"
    }
}

/// What an answer says that is no success.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fault {
    pub(super) message: String,
    #[serde(deserialize_with = "number")]
    pub(super) code: i64,
}

/// A key or a value.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self.0))
    }
}

/// Reads a message.
pub(super) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("its answer is not that of etcd: {error}"))
}

/// The first key behind all that begin with a prefix.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// A page of the keys from `from` on, as they were at a revision; 0 is now.
pub(super) fn page(from: &[u8], end: &[u8], revision: i64, limit: i64) -> Value {
    json!({
        "key": Text(from), "range_end": Text(end), "revision": revision.to_string(), "limit": limit.to_string(),
        "sort_order": "ASCEND", "sort_target": "KEY",
    })
}

/// A change of a key that is made if the key still has this revision; 0 is none.
pub(super) fn swap(key: &[u8], revision: i64, change: &Value) -> Value {
    let compare = json!({
        "target": "MOD", "result": "EQUAL", "key": Text(key), "mod_revision": revision.to_string(),
    });
    json!({ "compare": [compare], "success": [change] })
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => text.parse().map_err(de::Error::custom),
        Value::Number(number) => number.as_i64().ok_or_else(|| de::Error::custom("a number is too large")),
        _ => Err(de::Error::custom("a number is none")),
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    BASE64.decode(String::deserialize(deserializer)?.as_bytes()).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_fields_left_out() {
        let range: Range = read(
            br#"{"header":{"cluster_id":"14841639068965178418","revision":"7"},"kvs":[{"key":"L3AvYQ==",
                "create_revision":"2","mod_revision":"2","version":"1","value":"aGVsbG8=","lease":"7587899065521299461"}],
                "count":"1"}"#,
        )
        .unwrap();
        let kv = KeyValue {
            key: b"/p/a".to_vec(),
            value: b"hello".to_vec(),
            mod_revision: 2,
            lease: 7_587_899_065_521_299_461,
        };
        assert_eq!((range.header.revision, range.kvs, range.more, range.count), (7, vec![kv], false, 1));
        let watched: Streamed<Watched> =
            read(br#"{"result":{"header":{},"events":[{"type":"DELETE","kv":{"key":"YQ==","mod_revision":3}}]}}"#)
                .unwrap();
        let event = &watched.result.unwrap().events[0];
        assert!(event.is_delete() && event.kv.mod_revision == 3 && event.kv.key == b"a");
        assert!(read::<Range>(b"<html>").unwrap_err().starts_with("its answer is not that of etcd"));
        assert!(read::<Range>(br#"{"kvs":[{"key":"?"}]}"#).is_err());
    }

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(end_of(b"/p/"), b"/p0");
        assert_eq!(end_of(b"a\xff\xff"), b"b");
        assert_eq!(end_of(b"\xff"), b"\0");
    }

    #[test]
    fn requests_are_written() {
        let put = json!({ "request_put": { "key": Text(b"k"), "value": Text(b"v") } });
        assert_eq!(
            swap(b"k", 0, &put),
            json!({
                "compare": [{ "target": "MOD", "result": "EQUAL", "key": "aw==", "mod_revision": "0" }],
                "success": [{ "request_put": { "key": "aw==", "value": "dg==" } }],
            })
        );
        assert_eq!(page(b"k", b"l", 5, 10)["revision"], "5");
    }
}
