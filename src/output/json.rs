//! Any CBOR message as JSON: for people and scripts that look at what is on the wire.

use std::fmt::Write as _;

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

/// As [`to_json`], written straight into a text of one line: for programs that read many messages a second.
///
/// A 32-bit float is written with as few digits as give the same 32 bits when read back, so a text is a third as long
/// as that of [`to_json`]. A number that JSON cannot hold (not finite) is null; none of our messages has one.
///
/// # Errors
///
/// As [`to_json`].
///
/// ```
/// let text = poised::output::json::to_text(&[0xA1, 0x61, b'a', 0xFA, 0x3D, 0xCC, 0xCC, 0xCD])?;
/// assert_eq!(text, r#"{"a":0.1}"#);
/// # Ok::<(), minicbor::decode::Error>(())
/// ```
pub fn to_text(bytes: &[u8]) -> Result<String, Error> {
    let mut cbor = Decoder::new(bytes);
    // Pose messages take about three times as many bytes as text.
    let mut text = String::with_capacity(3 * bytes.len());
    write_item(&mut cbor, &mut text, 0)?;
    if cbor.position() < bytes.len() {
        return Err(Error::message("bytes after the message"));
    }
    Ok(text)
}

fn write_item(cbor: &mut Decoder<'_>, text: &mut String, depth: u32) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::message("lists within lists, too deep"));
    }
    // Writing into a `String` cannot fail.
    let written = match cbor.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => write!(text, "{}", cbor.u64()?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => write!(text, "{}", cbor.i64()?),
        Type::F32 => match cbor.f32()? {
            number if number.is_finite() => write!(text, "{number:?}"),
            _ => text.write_str("null"),
        },
        Type::Array => {
            text.push('[');
            for at in 0..cbor.array()?.unwrap_or(0) {
                if at > 0 {
                    text.push(',');
                }
                write_item(cbor, text, depth + 1)?;
            }
            text.write_char(']')
        }
        Type::Map => {
            text.push('{');
            for at in 0..cbor.map()?.unwrap_or(0) {
                if at > 0 {
                    text.push(',');
                }
                let key = Value::from(cbor.str()?);
                let _ = write!(text, "{key}:");
                write_item(cbor, text, depth + 1)?;
            }
            text.write_char('}')
        }
        // What is short, or not in messages of many numbers.
        _ => write!(text, "{}", item(cbor, depth)?),
    };
    debug_assert!(written.is_ok(), "writing into a text cannot fail");
    Ok(())
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
            assert!(to_text(bytes).is_err(), "{bytes:02x?}");
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
    #[test]
    fn a_text_holds_the_same_values_in_one_line_whatever_a_label_says() {
        let label = "<img src=x onerror=alert(1)>\n\ndata: \"x\"\u{2028}";
        let mut bytes = Vec::new();
        let mut cbor = minicbor::Encoder::new(&mut bytes);
        cbor.map(4).unwrap().str(label).unwrap().str(label).unwrap();
        cbor.str("small").unwrap().f32(1e-9).unwrap();
        cbor.str("nan").unwrap().f32(f32::NAN).unwrap();
        cbor.str("list")
            .unwrap()
            .array(3)
            .unwrap()
            .f32(-0.1)
            .unwrap();
        cbor.bool(true).unwrap().u64(u64::MAX).unwrap();
        let text = to_text(&bytes).unwrap();
        assert!(!text.contains(['\n', '\r']), "{text}");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[label], label);
        assert_eq!(
            value["list"].to_string(),
            "[-0.1,true,18446744073709551615]"
        );
        assert_eq!(value["small"].to_string(), "1e-9");
        assert!(value["nan"].is_null());
    }
}
