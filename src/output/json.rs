//! Any CBOR message as JSON: for people and scripts that look at what is on the wire.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;
use serde_json::{Map, Value};

/// Lists and maps within each other at most this deep; our own messages are five deep.
const DEPTH_MAX: u32 = 16;

/// Turns one CBOR item into JSON.
///
/// # Errors
///
/// What is no CBOR, has bytes left over, keys that are no text, or is deeper than any message of `poised`.
///
/// ```
/// let value = poised::output::json::to_json(&[0xA1, 0x63, b'f', b'p', b's', 0x00])?;
/// assert_eq!(value.to_string(), r#"{"fps":0}"#);
/// # Ok::<(), minicbor::decode::Error>(())
/// ```
pub fn to_json(bytes: &[u8]) -> Result<Value, Error> {
    let mut cbor = Decoder::new(bytes);
    let value = item(&mut cbor, 0)?;
    if cbor.position() < bytes.len() {
        return Err(Error::message("bytes after the message"));
    }
    Ok(value)
}

fn item(cbor: &mut Decoder<'_>, depth: u32) -> Result<Value, Error> {
    if depth > DEPTH_MAX {
        return Err(Error::message("lists within lists, too deep"));
    }
    Ok(match cbor.datatype()? {
        Type::Bool => cbor.bool()?.into(),
        Type::Null | Type::Undefined => {
            cbor.skip()?;
            Value::Null
        }
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => cbor.u64()?.into(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => cbor.i64()?.into(),
        Type::F32 => f64::from(cbor.f32()?).into(),
        Type::F64 => cbor.f64()?.into(),
        Type::String => cbor.str()?.into(),
        Type::Array => {
            let count = cbor.array()?.unwrap_or(0);
            let items = (0..count).map(|_| item(cbor, depth + 1));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Type::Map => {
            let mut map = Map::new();
            for _ in 0..cbor.map()?.unwrap_or(0) {
                let key = cbor.str()?.to_owned();
                map.insert(key, item(cbor, depth + 1)?);
            }
            Value::Object(map)
        }
        other => return Err(Error::type_mismatch(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_message_is_refused() {
        for bytes in [
            &[][..],
            &[0x00, 0x00],
            &[0x82, 0x00],
            &[0xA1, 0x00, 0x00],
            &[0x81; 40],
            &[0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert!(to_json(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn numbers_lists_and_nothing_are_kept() {
        let bytes = [
            0xA1, 0x61, b'a', 0x83, 0x20, 0xFA, 0x3F, 0x00, 0x00, 0x00, 0xF6,
        ];
        assert_eq!(
            to_json(&bytes).unwrap().to_string(),
            r#"{"a":[-1,0.5,null]}"#
        );
    }
}
