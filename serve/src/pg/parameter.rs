//! Parameters of statements: from what a client binds to the literal that stands for it.

use k2_model::time::civil;

use super::encode::{EPOCH_DAYS, MICROS_PER_DAY, numeric_text};
use super::refusal::Refusal;
use super::types::{self, PgType};
use super::wire::{Body, Form};
use crate::access::hex;
use crate::literal::text as quoted;

/// The literal of a value of the type with `oid`; of a null, one of that type.
pub(super) fn literal(oid: u32, form: Form, value: Option<&[u8]>) -> Result<String, Refusal> {
    let Some(value) = value else { return Ok(null(oid)) };
    let literal = match (types::element_of(oid), form) {
        (Some(element), Form::Text) => text_array(element, value),
        (Some(_), Form::Binary) => binary_array(value),
        (None, Form::Text) => {
            std::str::from_utf8(value).ok().and_then(|text| of_text(kind_of(oid), text))
        }
        (None, Form::Binary) => of_binary(kind_of(oid), value),
    };
    literal.ok_or_else(|| {
        let name = types::by_oid(oid).map_or("of that type", |kind| kind.long_name);
        let state = if form == Form::Text { "22P02" } else { "22P03" };
        Refusal::error(state, format!("read a parameter: its value is no {name}"))
            .with_hint("parameters may be numbers, texts, times, bytes and arrays of these")
    })
}

/// The type with `oid`; one that clients do not have built in is a text to us.
fn kind_of(oid: u32) -> PgType {
    types::by_oid(oid).unwrap_or(types::UNKNOWN)
}

/// How a type is written in a cast, where a literal alone does not say it.
pub(super) fn sql_type(oid: u32) -> Option<&'static str> {
    Some(match types::by_oid(oid)? {
        types::BOOL => "BOOLEAN",
        types::INT2 => "SMALLINT",
        types::INT4 => "INTEGER",
        types::INT8 | types::OID => "BIGINT",
        types::FLOAT4 => "REAL",
        types::FLOAT8 => "DOUBLE",
        types::NUMERIC => "DECIMAL(38, 12)",
        types::TEXT | types::VARCHAR | types::BPCHAR | types::NAME => "VARCHAR",
        types::BYTEA => "BYTEA",
        types::DATE => "DATE",
        types::TIME => "TIME",
        types::TIMESTAMP => "TIMESTAMP(6)",
        types::TIMESTAMPTZ => "TIMESTAMP(6) WITH TIME ZONE",
        types::INTERVAL => "INTERVAL",
        _ => return None,
    })
}

/// The null of a type.
pub(super) fn null(oid: u32) -> String {
    sql_type(oid).map_or("NULL".to_owned(), |name| format!("CAST(NULL AS {name})"))
}

fn cast(text: &str, oid: u32) -> Option<String> {
    Some(format!("CAST({} AS {})", quoted(text), sql_type(oid)?))
}

/// In parentheses if negative: `1 -$1` would begin a comment.
fn number(text: &str) -> String {
    if text.starts_with('-') { format!("({text})") } else { text.to_owned() }
}

fn of_text(kind: PgType, text: &str) -> Option<String> {
    Some(match kind {
        types::BOOL => match text.to_ascii_lowercase().as_str() {
            "t" | "true" | "1" | "on" | "yes" => "TRUE".to_owned(),
            "f" | "false" | "0" | "off" | "no" => "FALSE".to_owned(),
            _ => return None,
        },
        types::INT2 | types::INT4 | types::INT8 | types::OID => {
            number(&text.trim().parse::<i64>().ok()?.to_string())
        }
        types::FLOAT4 | types::FLOAT8 => {
            text.trim().parse::<f64>().ok()?;
            cast(text.trim(), kind.oid)?
        }
        types::NUMERIC => {
            let text = text.trim();
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
            let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if digits.is_empty() || digits == "." || !are_digits(whole) || !are_digits(part) {
                return None;
            }
            number(text)
        }
        types::BYTEA => {
            let hex = hex_digits(text)?;
            format!("X'{hex}'")
        }
        types::DATE | types::TIME | types::TIMESTAMP | types::TIMESTAMPTZ => cast(text, kind.oid)?,
        types::INTERVAL => format!("INTERVAL {}", quoted(text)),
        _ => quoted(text),
    })
}

/// The digits of bytes as PostgreSQL writes them: `\x00ff`.
pub(crate) fn hex_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("\\x")?;
    let is_hex = digits.len().is_multiple_of(2) && digits.bytes().all(|it| it.is_ascii_hexdigit());
    is_hex.then_some(digits)
}

fn of_binary(kind: PgType, bytes: &[u8]) -> Option<String> {
    let i64_of = || bytes.try_into().ok().map(i64::from_be_bytes);
    let i32_of = || bytes.try_into().ok().map(i32::from_be_bytes);
    let i16_of = || bytes.try_into().ok().map(i16::from_be_bytes);
    Some(match kind {
        types::BOOL => if bytes == [0] { "FALSE" } else { "TRUE" }.to_owned(),
        types::INT2 => number(&i16_of()?.to_string()),
        types::INT4 => number(&i32_of()?.to_string()),
        types::INT8 => number(&i64_of()?.to_string()),
        types::OID => Body(bytes).u32()?.to_string(),
        types::FLOAT4 => cast(&f32::from_be_bytes(bytes.try_into().ok()?).to_string(), kind.oid)?,
        types::FLOAT8 => cast(&f64::from_be_bytes(bytes.try_into().ok()?).to_string(), kind.oid)?,
        types::NUMERIC => number(&numeric_text(bytes)?),
        types::BYTEA => format!("X'{}'", hex(bytes)),
        types::DATE => cast(&date_text(i64::from(i32_of()?)), kind.oid)?,
        types::TIME => cast(&time_text(i64_of()?), kind.oid)?,
        types::TIMESTAMP => cast(&moment_text(i64_of()?), kind.oid)?,
        types::TIMESTAMPTZ => cast(&format!("{}Z", moment_text(i64_of()?)), kind.oid)?,
        types::INTERVAL => {
            let (micros, rest) = bytes.split_first_chunk::<8>()?;
            let (days, months) = rest.split_first_chunk::<4>()?;
            let micros = i64::from_be_bytes(*micros);
            let (days, months) =
                (i32::from_be_bytes(*days), i32::from_be_bytes(months.try_into().ok()?));
            format!("INTERVAL '{months} months {days} days {micros} microseconds'")
        }
        types::UUID => {
            let id = uuid::Uuid::from_slice(bytes).ok()?;
            quoted(&id.to_string())
        }
        // Its first byte is a version.
        types::JSONB => quoted(std::str::from_utf8(bytes.get(1..)?).ok()?),
        _ => quoted(std::str::from_utf8(bytes).ok()?),
    })
}

/// `days` since 2000.
fn date_text(days: i64) -> String {
    let date = days.saturating_add(EPOCH_DAYS.into());
    let (year, month, day) = civil(date);
    format!("{year:04}-{month:02}-{day:02}")
}

fn time_text(micros: i64) -> String {
    let (seconds, part) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    format!("{:02}:{:02}:{:02}.{part:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// `micros` since 2000.
fn moment_text(micros: i64) -> String {
    let days = micros.div_euclid(MICROS_PER_DAY);
    format!("{}T{}", date_text(days), time_text(micros.rem_euclid(MICROS_PER_DAY)))
}

fn array(literals: Option<Vec<String>>) -> Option<String> {
    Some(format!("ARRAY[{}]", literals?.join(", ")))
}

/// `{a,"b c",NULL}`, of one dimension.
fn text_array(element: PgType, value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let elements = array_elements(text)?;
    let literal = |element_text: Option<String>| match element_text {
        Some(text) => of_text(element, &text),
        None => Some(null(element.oid)),
    };
    array(elements.into_iter().map(literal).collect())
}

/// The elements of an array's text; `None` where it is not one of one dimension.
pub(crate) fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut elements, mut letters) = (Vec::new(), inner.chars().peekable());
    if letters.peek().is_none() {
        return Some(elements);
    }
    loop {
        let mut element = String::new();
        let is_quoted = letters.next_if_eq(&'"').is_some();
        loop {
            match letters.next() {
                Some('\\') => element.push(letters.next()?),
                Some('"') if is_quoted => break,
                Some('{' | '}' | '"' | ',') if !is_quoted => return None,
                Some(letter) => element.push(letter),
                None => return None,
            }
            if !is_quoted && matches!(letters.peek(), Some(',') | None) {
                break;
            }
        }
        let is_null = !is_quoted && element.eq_ignore_ascii_case("null");
        elements.push((!is_null).then_some(element));
        match letters.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

fn binary_array(value: &[u8]) -> Option<String> {
    let mut body = Body(value);
    let (dimensions, _has_nulls, oid) = (body.u32()?, body.u32()?, body.u32()?);
    let count = match dimensions {
        0 => 0,
        1 => {
            let count = body.u32()?;
            let _first_index = body.u32()?;
            usize::try_from(count).ok()?
        }
        _ => return None,
    };
    // Each element has its length at least.
    if count > value.len() / 4 {
        return None;
    }
    let element = |_| match body.value()? {
        Some(bytes) => of_binary(kind_of(oid), &bytes),
        None => Some(null(oid)),
    };
    array((0..count).map(element).collect())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

    use super::*;

    #[test]
    fn a_text_becomes_the_literal_of_its_type() {
        let text = |oid, text: &str| literal(oid, Form::Text, Some(text.as_bytes())).unwrap();
        assert_eq!(text(25, "it's"), "'it''s'");
        assert_eq!(text(21, "-5"), "(-5)");
        assert_eq!(text(1700, "-0.10"), "(-0.10)");
        assert_eq!(text(16, "t"), "TRUE");
        assert_eq!(text(17, "\\x00ff"), "X'00ff'");
        assert_eq!(text(1009, r#"{a,"it's"}"#), "ARRAY['a', 'it''s']");
        assert_eq!(text(1016, "{}"), "ARRAY[]");
    }

    #[test]
    fn what_is_no_value_of_its_type_is_refused() {
        for (oid, wrong) in
            [(23, "1; DROP"), (1700, "1e5'"), (1700, "NaN"), (17, "\\xzz"), (16, "2")]
        {
            let refused = literal(oid, Form::Text, Some(wrong.as_bytes())).unwrap_err();
            assert_eq!(refused.state, "22P02", "{wrong}");
        }
        let refused = literal(20, Form::Binary, Some(&[1, 2])).unwrap_err();
        assert_eq!(refused.state, "22P03");
    }

    #[test]
    fn binary_values_are_read_as_their_types_say() {
        let binary = |oid, bytes: &[u8]| literal(oid, Form::Binary, Some(bytes)).unwrap();
        assert_eq!(binary(20, &(-7_i64).to_be_bytes()), "(-7)");
        assert_eq!(
            binary(1184, &776_476_800_000_001_i64.to_be_bytes()),
            "CAST('2024-08-09T00:00:00.000001Z' AS TIMESTAMP(6) WITH TIME ZONE)"
        );
        assert_eq!(binary(1082, &(-1_i32).to_be_bytes()), "CAST('1999-12-31' AS DATE)");
        let mut array = Vec::new();
        for word in [1_u32, 0, 25, 2, 1, 1] {
            array.extend(word.to_be_bytes());
        }
        array.extend(b"a");
        array.extend(u32::MAX.to_be_bytes());
        assert_eq!(binary(1009, &array), "ARRAY['a', CAST(NULL AS VARCHAR)]");
    }

    #[test]
    fn the_text_of_an_array_is_taken_apart() {
        let texts = |text: &str| array_elements(text);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts("{}"), Some(vec![]));
        assert_eq!(
            texts(r#"{a,"b, c","q\"",NULL,"NULL"}"#).unwrap(),
            [some("a"), some("b, c"), some("q\""), None, some("NULL")]
        );
        for wrong in ["a", "{a", "{{a}}", "{a,}", "{\"a}", "{\"a\"b}"] {
            assert_eq!(texts(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_text_cannot_leave_its_literal(text: String) {
            let sql = format!("SELECT {}", literal(25, Form::Text, Some(text.as_bytes())).unwrap());
            let tokens = Tokenizer::new(&GenericDialect {}, &sql).tokenize().unwrap();
            proptest::prop_assert_eq!(tokens.len(), 3);
            proptest::prop_assert_eq!(&tokens[2], &Token::SingleQuotedString(text));
        }

        #[test]
        fn no_bytes_make_the_reader_of_parameters_panic(oid in 0_u32..4_000, bytes: Vec<u8>) {
            let _text = literal(oid, Form::Text, Some(&bytes));
            let _binary = literal(oid, Form::Binary, Some(&bytes));
        }
    }
}
