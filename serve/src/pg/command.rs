//! What a statement is to a session: a question for the engine, or one of those that drivers send
//! to set up a session or to frame a transaction, which K2 has no need of but answers.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::copy::{self, Copied};
use super::cursor::{self, Declared, Fetched};
use super::named::{self, Executed, Named};
use super::transaction::{DEFAULT_ISOLATION, ISOLATION, Unknown, isolation_of};
use crate::template::Lines;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Question,
    /// A cursor over a question.
    Declare(Declared),
    Fetch(Fetched),
    /// `None`: all of them.
    Close(Option<String>),
    /// A question whose rows go out as a file's do.
    Copy(Copied),
    /// A question under a name, to be asked later.
    Prepare(Named),
    /// The question that it comes to is asked in its place.
    Execute(Executed),
    /// Part of the language, and not of K2: its state, what it wants, and what to do instead.
    Refused(&'static str, &'static str, &'static str),
    /// With the isolation that it names, if it names one.
    Begin(Option<&'static str>),
    Commit,
    Rollback,
    /// Back to a savepoint, which brings a failed transaction to life again.
    RollbackTo,
    Set {
        name: String,
        value: String,
        /// Until the transaction ends.
        is_local: bool,
    },
    /// `None`: all of them.
    Reset(Option<String>),
    /// `None`: all of them.
    Show(Option<String>),
    /// `None`: all of them.
    Deallocate(Option<String>),
    Discard,
    /// Nothing is done, and the client is told that it was, by this tag.
    Nothing(&'static str),
}

impl Command {
    /// The question in a statement that has one and more besides.
    pub(super) fn question(&self) -> Option<&str> {
        match self {
            Self::Declare(declared) => Some(&declared.question),
            Self::Copy(copied) => Some(&copied.question),
            // Its parameters are those of who executes it.
            Self::Prepare(_) => Some(""),
            _ => None,
        }
    }
}

/// The statements of a text; a text that cannot be cut is one statement, which the engine refuses.
pub(super) fn split(sql: &str) -> Vec<String> {
    let Some(tokens) = tokens_of(sql) else { return vec![sql.to_owned()] };
    let (mut lines, mut pieces, mut from, mut has_words) = (Lines::new(sql), Vec::new(), 0, false);
    for TokenWithSpan { token, span } in tokens {
        match token {
            Token::SemiColon => {
                let Some(at) = lines.byte_at(span.start.line, span.start.column) else { break };
                if std::mem::take(&mut has_words) {
                    pieces.push(sql[from..at].to_owned());
                }
                from = at + 1;
            }
            Token::Whitespace(_) | Token::EOF => {}
            _ => has_words = true,
        }
    }
    if has_words {
        pieces.push(sql[from..].to_owned());
    }
    pieces
}

fn tokens_of(sql: &str) -> Option<Vec<TokenWithSpan>> {
    Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()
}

/// A word of a statement.
pub(super) struct Word {
    /// A name, a keyword or a text, without its quotes.
    pub(super) text: String,
    /// As keywords are compared; with its quotes if it has any, which no keyword has.
    pub(super) upper: String,
    /// The byte that it begins with.
    pub(super) begin: usize,
    is_quoted: bool,
}

impl Word {
    /// As a name: one without quotes is meant in lower case.
    pub(super) fn name(&self) -> String {
        if self.is_quoted { self.text.clone() } else { self.text.to_lowercase() }
    }
}

fn words_of(sql: &str) -> Vec<Word> {
    let mut lines = Lines::new(sql);
    let tokens = tokens_of(sql).unwrap_or_default().into_iter();
    let words = tokens.filter_map(|TokenWithSpan { token, span }| {
        let (text, is_quoted) = match token {
            Token::Whitespace(_) | Token::EOF | Token::SemiColon => return None,
            Token::Word(word) => (word.value, word.quote_style.is_some()),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => (text, true),
            other => (other.to_string(), false),
        };
        let upper = if is_quoted { format!("'{text}'") } else { text.to_ascii_uppercase() };
        let begin = lines.byte_at(span.start.line, span.start.column)?;
        Some(Word { text, upper, begin, is_quoted })
    });
    words.collect()
}

pub(super) fn classify(sql: &str) -> Command {
    // Nothing else begins like these, and a question may be long.
    let first = sql.trim_start().split(|it: char| !it.is_ascii_alphabetic()).next();
    let first = first.unwrap_or_default().to_ascii_uppercase();
    let is_comment = first.is_empty();
    if !is_comment && !FIRST_WORDS.contains(&&*first) {
        return Command::Question;
    }
    let read = words_of(sql);
    let upper: Vec<&str> = read.iter().map(|word| &*word.upper).collect();
    let words: Vec<&str> = read.iter().map(|word| &*word.text).collect();
    match &upper[..] {
        ["DECLARE", ..] => cursor::declare(sql, &read),
        ["FETCH" | "MOVE", ..] => cursor::fetch(&read),
        ["COPY", ..] => copy::copy(sql, &read),
        ["PREPARE", ..] => named::prepare(sql, &read),
        ["EXECUTE", ..] => named::execute(sql, &read),
        ["BEGIN" | "START", ..] => {
            isolated(&upper, Command::Begin(None), |it| Command::Begin(Some(it)))
        }
        ["COMMIT" | "END", ..] => Command::Commit,
        ["ROLLBACK", "TO", ..] | ["ROLLBACK", _, "TO", ..] => Command::RollbackTo,
        ["ROLLBACK" | "ABORT", ..] => Command::Rollback,
        ["SAVEPOINT", ..] => Command::Nothing("SAVEPOINT"),
        ["RELEASE", ..] => Command::Nothing("RELEASE"),
        ["DISCARD", ..] => Command::Discard,
        ["CLOSE", "ALL"] => Command::Close(None),
        ["CLOSE", _] => Command::Close(Some(read[1].name())),
        ["LISTEN", ..] => Command::Nothing("LISTEN"),
        ["UNLISTEN", ..] => Command::Nothing("UNLISTEN"),
        ["DEALLOCATE", rest @ ..] => Command::Deallocate(
            rest.last().filter(|it| **it != "ALL").map(|_| read[rest.len()].name()),
        ),
        ["SET", rest @ ..] => set(rest, &words[1..]),
        ["RESET", "ALL"] => Command::Reset(None),
        ["RESET", ..] => Command::Reset(Some(name_of(&words[1..]))),
        ["SHOW", "TABLES" | "COLUMNS" | "FULL" | "FUNCTIONS" | "CREATE" | "DATABASES", ..] => {
            Command::Question
        }
        ["SHOW", "ALL"] => Command::Show(None),
        ["SHOW", "TIME", "ZONE"] => Command::Show(Some("timezone".to_owned())),
        ["SHOW", "TRANSACTION", ..] => Command::Show(Some("transaction_isolation".to_owned())),
        ["SHOW", _, ..] => Command::Show(Some(name_of(&words[1..]))),
        _ => Command::Question,
    }
}

const FIRST_WORDS: [&str; 22] = [
    "PREPARE",
    "EXECUTE",
    "DECLARE",
    "FETCH",
    "MOVE",
    "COPY",
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "DISCARD",
    "CLOSE",
    "LISTEN",
    "UNLISTEN",
    "DEALLOCATE",
    "SET",
    "RESET",
    "SHOW",
];

/// A name that may have points in it, as `k2.notices`.
fn name_of(words: &[&str]) -> String {
    words.concat().to_lowercase()
}

/// What a statement is that may name an isolation: `plain` if it does not.
fn isolated(upper: &[&str], plain: Command, with: impl Fn(&'static str) -> Command) -> Command {
    match isolation_of(upper) {
        None => plain,
        Some(Ok(isolation)) => with(isolation),
        Some(Err(Unknown)) => Command::Refused(
            "42601",
            "isolate a transaction: there is no such level",
            "levels are READ COMMITTED, where each question is of its own moment, and REPEATABLE \
             READ, where all are of that of the first",
        ),
    }
}

fn set_to(name: &str, value: &str) -> Command {
    Command::Set { name: name.to_owned(), value: value.to_owned(), is_local: false }
}

/// What follows `SET`.
fn set(upper: &[&str], words: &[&str]) -> Command {
    match upper {
        ["SESSION", "CHARACTERISTICS", ..] => {
            isolated(upper, Command::Nothing("SET"), |it| set_to(DEFAULT_ISOLATION, it))
        }
        ["TRANSACTION", ..] => isolated(upper, Command::Nothing("SET"), |it| set_to(ISOLATION, it)),
        ["SESSION", "AUTHORIZATION", ..] => Command::Nothing("SET"),
        ["SESSION", rest @ ..] if !matches!(rest, ["=" | "TO", ..]) => set(rest, &words[1..]),
        ["LOCAL", rest @ ..] if !matches!(rest, ["=" | "TO", ..]) => match set(rest, &words[1..]) {
            Command::Set { name, value, .. } => Command::Set { name, value, is_local: true },
            other => other,
        },
        ["TIME", "ZONE", ..] => set_to("timezone", &words[2..].concat()),
        ["NAMES", ..] => set_to("client_encoding", &words[1..].concat()),
        _ => match upper.iter().position(|word| matches!(*word, "=" | "TO")) {
            Some(at) => {
                set_to(&name_of(&words[..at]), &words[at + 1..].join(" ").replace(" ,", ","))
            }
            None => Command::Question,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_the_parser_would_cut_it() {
        assert_eq!(split("SELECT ';'; SELECT 2 ;; -- ;\n"), ["SELECT ';'", " SELECT 2 "]);
        assert_eq!(split(" ; \n"), Vec::<String>::new());
        assert_eq!(split("SELECT 'ü;'; /* ; */ SELECT 1"), ["SELECT 'ü;'", " /* ; */ SELECT 1"]);
        assert_eq!(split("SELECT 'open; 1"), ["SELECT 'open; 1"]);
    }

    #[test]
    fn what_drivers_send_is_known_and_all_else_is_a_question() {
        let known = [
            ("begin", Command::Begin(None)),
            (
                "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                Command::Begin(Some("repeatable read")),
            ),
            ("BEGIN READ ONLY", Command::Begin(None)),
            (
                "set transaction isolation level read committed read only",
                set_to("transaction_isolation", "read committed"),
            ),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                set_to("default_transaction_isolation", "serializable"),
            ),
            ("ROLLBACK TO SAVEPOINT \"_pg3_1\"", Command::RollbackTo),
            ("/* x */ rollback", Command::Rollback),
            ("SET extra_float_digits = 3", set_to("extra_float_digits", "3")),
            ("set session statement_timeout to '5s'", set_to("statement_timeout", "5s")),
            (
                "SET LOCAL statement_timeout = '5s'",
                Command::Set {
                    name: "statement_timeout".into(),
                    value: "5s".into(),
                    is_local: true,
                },
            ),
            ("SET search_path TO a, b", set_to("search_path", "a, b")),
            ("SET TIME ZONE 'Europe/Berlin'", set_to("timezone", "Europe/Berlin")),
            ("SET k2.notices = all", set_to("k2.notices", "all")),
            (
                "SET datafusion.execution.batch_size = 1",
                set_to("datafusion.execution.batch_size", "1"),
            ),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Command::Nothing("SET")),
            ("SHOW server_version", Command::Show(Some("server_version".into()))),
            (
                "SHOW TRANSACTION ISOLATION LEVEL",
                Command::Show(Some("transaction_isolation".into())),
            ),
            ("SHOW TABLES", Command::Question),
            ("DEALLOCATE ALL", Command::Deallocate(None)),
            ("DEALLOCATE PREPARE s1", Command::Deallocate(Some("s1".into()))),
            ("DISCARD ALL", Command::Discard),
            ("SELECT 1", Command::Question),
            ("SET", Command::Question),
        ];
        for (sql, command) in known {
            assert_eq!(classify(sql), command, "{sql}");
        }
    }
}
