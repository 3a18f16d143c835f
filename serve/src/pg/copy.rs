//! `COPY … TO STDOUT`: rows as a file's lines, for `\copy` of psql and for drivers that read in bulk.
//!
//! Text, CSV and binary are PostgreSQL's own (the manual's page on COPY): values have the text that
//! they have in an answer, and each row is a message.

use super::command::{Command, Word};
use super::encode::Encoder;
use super::rows::{Column, Rows, put_row};
use super::session::{Result, Session, Stop};
use super::wire::{Form, Writer};

/// What a binary file begins with: a signature, no flags, no more header.
const BINARY_HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with, where a row would have the count of its values.
const BINARY_END: [u8; 2] = (-1_i16).to_be_bytes();

/// What is to be copied, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) question: String,
    layout: Layout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    kind: Kind,
    has_header: bool,
    delimiter: u8,
    /// What stands for a value that is null.
    null: String,
    quote: u8,
    escape: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Csv,
    Binary,
}

/// `COPY (question) | table [(columns)] TO STDOUT [options]`; no other copy is of any use here.
pub(super) fn copy(sql: &str, words: &[Word]) -> Command {
    let upper: Vec<&str> = words.iter().map(|word| &*word.upper).collect();
    let depths = upper.iter().scan(0_i32, |depth, word| {
        *depth += i32::from(*word == "(") - i32::from(*word == ")");
        Some(*depth)
    });
    let depths: Vec<i32> = depths.collect();
    let to = (1..upper.len()).find(|at| depths[*at] == 0 && upper[*at] == "TO");
    let Some(to) = to.filter(|at| *at > 1 && upper.get(at + 1) == Some(&"STDOUT")) else {
        let hint = "COPY … TO STDOUT sends rows, and \\copy of psql stores them";
        return Command::Refused("25006", "copy anything but rows to the client", hint);
    };
    let text = |from: usize, to: usize| sql[words[from].begin..words[to].begin].trim();
    let question = match upper.iter().position(|word| *word == "(").filter(|at| *at < to) {
        Some(1) => text(2, to - 1).to_owned(),
        Some(open) => format!("SELECT {} FROM {}", text(open + 1, to - 1), text(1, open)),
        None => format!("SELECT * FROM {}", text(1, to)),
    };
    match layout_of(&words[to + 2..]) {
        Ok(layout) => Command::Copy(Copied { question, layout }),
        Err(()) => Command::Refused(
            "0A000",
            "copy rows with these options",
            "there are FORMAT text, csv and binary, HEADER, DELIMITER, NULL, QUOTE and ESCAPE",
        ),
    }
}

/// Options as they are written now, in parentheses, and as they were before.
fn layout_of(words: &[Word]) -> Result<Layout, ()> {
    const PUNCTUATION: [&str; 5] = ["WITH", "(", ")", ",", "AS"];
    let mut words = words.iter().filter(|word| !PUNCTUATION.contains(&&*word.upper)).peekable();
    let (mut kind, mut has_header) = (Kind::Text, false);
    let (mut delimiter, mut null, mut quote, mut escape) = (None, None, b'"', None);
    let one_byte = |word: Option<&Word>| match word.map(|word| word.text.as_bytes()) {
        Some([byte]) if byte.is_ascii() && !b"\r\n".contains(byte) => Ok(*byte),
        _ => Err(()),
    };
    while let Some(word) = words.next() {
        match &*word.upper {
            "FORMAT" => kind = kind_of(words.next().ok_or(())?)?,
            "CSV" | "BINARY" => kind = kind_of(word)?,
            "HEADER" => {
                let is_switch = |word: &&Word| switch_of(word).is_some();
                has_header = words.next_if(is_switch).and_then(switch_of).unwrap_or(true);
            }
            "DELIMITER" => delimiter = Some(one_byte(words.next())?),
            "NULL" => null = Some(words.next().ok_or(())?.text.clone()),
            "QUOTE" => quote = one_byte(words.next())?,
            "ESCAPE" => escape = Some(one_byte(words.next())?),
            "ENCODING" if words.next().is_some_and(|it| it.text.eq_ignore_ascii_case("utf8")) => {}
            _ => return Err(()),
        }
    }
    let (delimiter_of_kind, null_of_kind) =
        if kind == Kind::Csv { (b',', "") } else { (b'\t', "\\N") };
    Ok(Layout {
        kind,
        has_header,
        delimiter: delimiter.unwrap_or(delimiter_of_kind),
        null: null.unwrap_or_else(|| null_of_kind.to_owned()),
        quote,
        escape: escape.unwrap_or(quote),
    })
}

fn kind_of(word: &Word) -> Result<Kind, ()> {
    match &*word.text.to_ascii_lowercase() {
        "text" => Ok(Kind::Text),
        "csv" => Ok(Kind::Csv),
        "binary" => Ok(Kind::Binary),
        _ => Err(()),
    }
}

fn switch_of(word: &Word) -> Option<bool> {
    match &*word.text.to_ascii_lowercase() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

impl Session {
    /// `sql` is the question with its parameters.
    pub(super) async fn copy(&mut self, copied: &Copied, sql: String) -> Result {
        let mut timer = self.settings.timer();
        let mut rows = self.begin(sql, None, &mut timer).await?;
        let sending = send(&mut rows, &copied.layout, &mut self.out);
        let sent = self.inbound.watch(&mut timer, sending).await?;
        self.out.message(b'c', |_| {});
        self.complete(&format!("COPY {sent}"));
        self.notice(&rows.meta());
        Ok(())
    }
}

/// Sends all rows, and answers how many there were.
async fn send(rows: &mut Rows, layout: &Layout, out: &mut Writer) -> Result<u64, Stop> {
    let is_binary = layout.kind == Kind::Binary;
    let columns = u16::try_from(rows.columns().len()).unwrap_or(u16::MAX);
    out.message(b'H', |body| {
        body.push(u8::from(is_binary));
        body.extend(columns.to_be_bytes());
        (0..columns).for_each(|_| body.extend(u16::from(is_binary).to_be_bytes()));
    });
    if layout.has_header && !is_binary {
        out.message(b'd', |body| put_header(rows.columns(), layout, body));
    }
    let forms = if is_binary { &[Form::Binary][..] } else { &[] };
    // The header of a binary file goes along with its first row.
    let mut before = if is_binary { &BINARY_HEADER[..] } else { &[] };
    let (mut sent, mut value) = (0, Vec::new());
    while let Some((encoders, row)) = rows.next_row(forms).await? {
        out.message(b'd', |body| {
            body.extend(std::mem::take(&mut before));
            match is_binary {
                true => put_row(encoders, row, body),
                false => put_line(encoders, row, layout, &mut value, body),
            }
        });
        sent += 1;
        out.send_full().await?;
    }
    if is_binary {
        out.message(b'd', |body| {
            body.extend(before);
            body.extend(BINARY_END);
        });
    }
    Ok(sent)
}

fn put_header(columns: &[Column], layout: &Layout, line: &mut Vec<u8>) {
    for (at, column) in columns.iter().enumerate() {
        put_delimiter(at, layout, line);
        put_value(Some(column.name().as_bytes()), layout, line);
    }
    line.push(b'\n');
}

/// One row; `value` is room for a value.
fn put_line(
    encoders: &[Encoder],
    row: usize,
    layout: &Layout,
    value: &mut Vec<u8>,
    line: &mut Vec<u8>,
) {
    for (at, encoder) in encoders.iter().enumerate() {
        put_delimiter(at, layout, line);
        value.clear();
        encoder.put(row, value);
        let (length, text) = value.split_at(4);
        put_value((length != [0xff; 4]).then_some(text), layout, line);
    }
    line.push(b'\n');
}

fn put_delimiter(at: usize, layout: &Layout, line: &mut Vec<u8>) {
    if at > 0 {
        line.push(layout.delimiter);
    }
}

fn put_value(value: Option<&[u8]>, layout: &Layout, line: &mut Vec<u8>) {
    let Some(value) = value else { return line.extend(layout.null.as_bytes()) };
    if layout.kind == Kind::Csv {
        put_csv(value, layout, line)
    } else {
        put_text(value, layout, line)
    }
}

fn put_text(value: &[u8], layout: &Layout, line: &mut Vec<u8>) {
    for byte in value {
        let letter = match byte {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            byte if *byte == b'\\' || *byte == layout.delimiter => *byte,
            _ => {
                line.push(*byte);
                continue;
            }
        };
        line.extend([b'\\', letter]);
    }
}

fn put_csv(value: &[u8], layout: &Layout, line: &mut Vec<u8>) {
    let needs_quotes = |byte: &u8| [layout.delimiter, layout.quote, b'\n', b'\r'].contains(byte);
    // A null and a text of its spelling are told apart; so is the end of all from such a text.
    if !value.iter().any(needs_quotes) && value != layout.null.as_bytes() && value != b"\\." {
        return line.extend(value);
    }
    line.push(layout.quote);
    for byte in value {
        if [layout.quote, layout.escape].contains(byte) {
            line.push(layout.escape);
        }
        line.push(*byte);
    }
    line.push(layout.quote);
}

#[cfg(test)]
mod tests {
    use super::super::command::classify;
    use super::*;

    fn copied(sql: &str) -> Copied {
        match classify(sql) {
            Command::Copy(copied) => copied,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn a_copy_names_a_question_or_a_table() {
        let cases = [
            ("COPY (SELECT ')' , (1) FROM trades) TO STDOUT", "SELECT ')' , (1) FROM trades"),
            ("copy  ( select 1 ) to stdout csv header", "select 1"),
            ("COPY market_data.trades TO STDOUT", "SELECT * FROM market_data.trades"),
            ("COPY trades (price, \"offset\") TO STDOUT", "SELECT price, \"offset\" FROM trades"),
        ];
        for (sql, question) in cases {
            assert_eq!(copied(sql).question, question, "{sql}");
        }
        for other in ["COPY trades FROM STDIN", "COPY trades TO '/tmp/x'", "COPY TO STDOUT", "COPY"]
        {
            assert!(matches!(classify(other), Command::Refused("25006", ..)), "{other}");
        }
        let refused = "COPY trades TO STDOUT (FORMAT csv, FORCE_QUOTE *)";
        assert!(matches!(classify(refused), Command::Refused("0A000", ..)));
    }

    #[test]
    fn options_are_those_of_both_syntaxes() {
        let layout = |options: &str| copied(&format!("COPY trades TO STDOUT {options}")).layout;
        assert_eq!(layout("CSV HEADER"), layout("WITH (FORMAT csv, HEADER)"));
        assert_eq!(layout("(FORMAT csv, HEADER false)"), layout("WITH CSV"));
        assert_eq!(layout("BINARY"), layout("(FORMAT 'binary')"));
        assert_eq!(layout("DELIMITER AS ';' NULL AS ''"), layout("(DELIMITER ';', NULL '')"));
        assert_eq!(layout("(DELIMITER E'\\t')"), layout(""));
        assert_eq!(layout("").null, "\\N");
    }

    #[test]
    fn values_are_spelled_so_that_they_are_read_back() {
        let mut line = Vec::new();
        let csv = copied("COPY trades TO STDOUT CSV").layout;
        let values = [Some("plain"), None, Some(""), Some("a,b"), Some("say \"x\""), Some("\\.")];
        for (at, value) in values.into_iter().enumerate() {
            put_delimiter(at, &csv, &mut line);
            put_value(value.map(str::as_bytes), &csv, &mut line);
        }
        assert_eq!(line, br#"plain,,"","a,b","say ""x""","\.""#);
        line.clear();
        let text = copied("COPY trades TO STDOUT").layout;
        for (at, value) in [Some("a\tb\\\n"), None, Some("ü")].into_iter().enumerate() {
            put_delimiter(at, &text, &mut line);
            put_value(value.map(str::as_bytes), &text, &mut line);
        }
        assert_eq!(line, "a\\tb\\\\\\n\t\\N\tü".as_bytes());
    }
}
