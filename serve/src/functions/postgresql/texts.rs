//! Texts: `format`, `md5`, `quote_literal` and `quote_nullable`.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use md5::{Digest, Md5};

use crate::pg_catalog::functions::quoted;
use crate::texts::{has_own_text, texts_of};

/// Bytes that `format` may make of one batch of rows. A format may name an argument many times, so
/// that what it makes is not told by how long the two are.
const BYTES_MAX: usize = 64 << 20;
/// How wide a part of a format may be.
const WIDTH_MAX: usize = 10_000;

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let functions = [
        ("format", Does::Format),
        ("md5", Does::Digest),
        ("quote_literal", Does::Quote),
        ("quote_nullable", Does::QuoteOrNull),
    ];
    let all = functions.map(|(name, does)| {
        let signature = match does {
            Does::Format => Signature::variadic_any(Volatility::Immutable),
            Does::Digest => Signature::string(1, Volatility::Immutable),
            Does::Quote | Does::QuoteOrNull => Signature::any(1, Volatility::Immutable),
        };
        Arc::new(ScalarUDF::new_from_impl(Function { name, does, signature }))
    });
    all.into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Does {
    Format,
    /// The MD5 of a text, in hexadecimal digits.
    Digest,
    /// As a literal of SQL.
    Quote,
    /// The same, and `NULL` of a null.
    QuoteOrNull,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    name: &'static str,
    does: Does,
    signature: Signature,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = call.args.iter().map(|argument| texts(argument, call.number_rows));
        let texts = texts.collect::<Result<Vec<StringArray>>>()?;
        let [first, rest @ ..] = &texts[..] else {
            return exec_err!("{} takes a text", self.name);
        };
        let made: StringArray = match self.does {
            Does::Format => all_formatted(first, rest)?,
            Does::Digest => first.iter().map(|text| text.map(digested)).collect(),
            Does::Quote => first.iter().map(|text| text.map(literal)).collect(),
            Does::QuoteOrNull => {
                let null = || "NULL".to_owned();
                first.iter().map(|text| Some(text.map_or_else(null, literal))).collect()
            }
        };
        Ok(ColumnarValue::Array(Arc::new(made)))
    }
}

/// The texts of values; a truth is one letter, as PostgreSQL writes it.
fn texts(value: &ColumnarValue, rows: usize) -> Result<StringArray> {
    let array: ArrayRef = value.to_array(rows)?;
    if let Some(truths) = array.as_boolean_opt() {
        let letter = |truth| if truth { "t" } else { "f" };
        return Ok(truths.iter().map(|truth| truth.map(letter)).collect());
    }
    if has_own_text(array.data_type()) {
        return Ok(texts_of(&array)?);
    }
    Ok(cast(&array, &DataType::Utf8)?.as_string::<i32>().clone())
}

fn digested(text: &str) -> String {
    let mut digits = String::with_capacity(32);
    for byte in Md5::digest(text) {
        // Writing to a text cannot fail.
        let _written = write!(digits, "{byte:02x}");
    }
    digits
}

/// A text between quotes; where it has a backslash, as one in which those escape.
fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match doubled.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

fn all_formatted(formats: &StringArray, arguments: &[StringArray]) -> Result<StringArray> {
    let (mut made, mut bytes) = (Vec::<Option<String>>::with_capacity(formats.len()), 0);
    for (row, format) in formats.iter().enumerate() {
        let Some(format) = format else {
            made.push(None);
            continue;
        };
        let argument = |at: usize| {
            let texts = arguments.get(at)?;
            Some(texts.is_valid(row).then(|| texts.value(row)))
        };
        let text = formatted(format, argument, BYTES_MAX.saturating_sub(bytes))?;
        bytes += text.len();
        made.push(Some(text));
    }
    Ok(made.into_iter().collect())
}

/// `format` with its parts replaced: `%s` is an argument, `%I` one as a name, `%L` one as a literal,
/// and `%%` a percent sign. Between the two letters may stand which argument (`1$`), `-` for the
/// left side, and a width.
fn formatted<'a>(
    format: &str,
    argument: impl Fn(usize) -> Option<Option<&'a str>>,
    bytes_max: usize,
) -> Result<String> {
    let (mut made, mut rest, mut next) = (String::new(), format, 0);
    while let Some((before, part)) = rest.split_once('%') {
        made.push_str(before);
        if let Some(behind) = part.strip_prefix('%') {
            made.push('%');
            rest = behind;
            continue;
        }
        let (part, behind) = Part::read(part)?;
        let at = part.argument.unwrap_or(next);
        next = at + 1;
        let Some(value) = argument(at) else { return exec_err!("too few arguments for format()") };
        let text = match (part.letter, value) {
            ('I', None) => return exec_err!("null values cannot be formatted as a name of SQL"),
            ('I', Some(name)) => quoted(name),
            ('L', value) => value.map_or_else(|| "NULL".to_owned(), literal),
            (_, value) => value.unwrap_or_default().to_owned(),
        };
        if made.len() + text.len() + part.width > bytes_max {
            let bound = BYTES_MAX >> 20;
            let text = format!("format would make more than {bound} MiB at once");
            return Err(DataFusionError::ResourcesExhausted(text));
        }
        let width = part.width;
        // Writing to a text cannot fail.
        let _written = match part.is_left {
            true => write!(made, "{text:<width$}"),
            false => write!(made, "{text:>width$}"),
        };
        rest = behind;
    }
    made.push_str(rest);
    Ok(made)
}

/// What stands behind a percent sign.
struct Part {
    /// Counted from 0; without one it is that after the last one.
    argument: Option<usize>,
    is_left: bool,
    width: usize,
    letter: char,
}

impl Part {
    /// A part, and what is behind it.
    fn read(text: &str) -> Result<(Self, &str)> {
        let (mut argument, mut rest) = (None, text);
        if let Some((number, behind)) = text.split_once('$')
            && !number.is_empty()
            && number.bytes().all(|it| it.is_ascii_digit())
        {
            let number: usize =
                number.parse().map_err(|_| exec_datafusion_err!("number is out of range"))?;
            let Some(at) = number.checked_sub(1) else {
                return exec_err!("format specifies argument 0, but arguments are numbered from 1");
            };
            (argument, rest) = (Some(at), behind);
        }
        let right = rest.trim_start_matches('-');
        let is_left = right.len() < rest.len();
        let behind = right.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let width = match &right[..right.len() - behind.len()] {
            "" => 0,
            digits => digits.parse().unwrap_or(usize::MAX),
        };
        if width > WIDTH_MAX {
            return exec_err!("a part of a format is at most {WIDTH_MAX} letters wide");
        }
        let mut letters = behind.chars();
        match letters.next() {
            Some(letter @ ('s' | 'I' | 'L')) => {
                Ok((Self { argument, is_left, width, letter }, letters.as_str()))
            }
            Some(other) => exec_err!("unrecognized format() type specifier \"{other}\""),
            None => exec_err!("unterminated format() type specifier"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(format: &str, arguments: &[Option<&str>]) -> Result<String> {
        formatted(format, |at| arguments.get(at).copied(), BYTES_MAX)
    }

    /// Each answer is that of PostgreSQL 15.
    #[test]
    fn a_format_is_filled_as_postgresql_fills_it() {
        let cases: [(&str, &[Option<&str>], &str); 9] = [
            ("%s-%s %%", &[Some("a"), Some("1")], "a-1 %"),
            ("%I.%L", &[Some("My Col"), Some("it's")], "\"My Col\".'it''s'"),
            ("%2$s %1$s", &[Some("a"), Some("b")], "b a"),
            ("%2$s %s", &[Some("a"), Some("b"), Some("c")], "b c"),
            ("[%5s|%-5s]", &[Some("a"), Some("b")], "[    a|b    ]"),
            ("%L", &[None], "NULL"),
            ("[%s]", &[None], "[]"),
            ("nothing", &[Some("a")], "nothing"),
            ("%L", &[Some("a\\b")], "E'a\\\\b'"),
        ];
        for (format, arguments, wanted) in cases {
            assert_eq!(of(format, arguments).unwrap(), wanted, "{format}");
        }
        for wrong in ["%s", "%x", "%", "%0$s", "%1$", "%99999999s", "%I"] {
            assert!(of(wrong, &[]).is_err(), "{wrong}");
        }
        assert!(of("%I", &[None]).is_err());
    }

    #[test]
    fn a_format_makes_no_more_than_it_may() {
        let text = "x".repeat(1 << 10);
        let format = "%1$s".repeat(100);
        let refused = formatted(&format, |_| Some(Some(&*text)), 50 << 10).unwrap_err();
        assert!(matches!(refused, DataFusionError::ResourcesExhausted(_)), "{refused}");
    }

    #[test]
    fn a_text_has_the_digest_that_it_has_elsewhere() {
        assert_eq!(digested("abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(digested(""), "d41d8cd98f00b204e9800998ecf8427e");
    }
}
