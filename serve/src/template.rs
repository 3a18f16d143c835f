//! Statements with parameters: where their placeholders stand, and what they are with values there.
//!
//! A parameter becomes part of the question's text where its placeholder was, so that a question
//! with parameters is planned, pruned and answered exactly as one without. The text is cut into
//! tokens by the parser that reads it afterwards, so that both agree what is a placeholder.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

/// One placeholder in a text: `$1`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placeholder {
    bytes: std::ops::Range<usize>,
    /// From 0.
    index: usize,
    /// In `ANY($1)`, which takes a list of what stands before it.
    is_list: bool,
    /// Behind LIMIT and the like, which take a number of rows.
    is_count: bool,
    /// The type that it is cast to right there: `numeric` of `$1::numeric`.
    cast: Option<String>,
}

/// A statement, and where its parameters stand.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    sql: String,
    placeholders: Vec<Placeholder>,
}

impl Template {
    /// With placeholders `$1`. A text that is not even made of tokens has no placeholders; the
    /// engine says what is wrong.
    pub(crate) fn new(sql: String) -> Self {
        Self::read(sql, false)
    }

    /// With placeholders `$1`, and `?`, which stand for the parameters in their order.
    pub(crate) fn with_marks(sql: String) -> Self {
        Self::read(sql, true)
    }

    fn read(sql: String, takes_marks: bool) -> Self {
        let mut marks = 0_usize..;
        let mut placeholders = Vec::new();
        let mut lines = Lines::new(&sql);
        let tokens = Tokenizer::new(&GenericDialect {}, &sql).tokenize_with_location();
        let tokens = tokens.unwrap_or_default();
        // The last but one, and the last.
        let mut before = (&Token::EOF, &Token::EOF);
        for (at, token) in tokens.iter().enumerate() {
            let Token::Placeholder(name) = &token.token else {
                if !matches!(token.token, Token::Whitespace(_)) {
                    before = (before.1, &token.token);
                }
                continue;
            };
            let index = match name.strip_prefix('$') {
                Some(digits) => digits.parse().ok().and_then(|it: usize| it.checked_sub(1)),
                None if takes_marks && name == "?" => marks.next(),
                None => None,
            };
            let start = lines.byte_at(token.span.start.line, token.span.start.column);
            if let (Some(index), Some(start)) = (index, start) {
                let bytes = start..start + name.len();
                let (is_list, is_count) = (opens_list(before), takes_count(before));
                let cast = cast_behind(&tokens[at + 1..]);
                placeholders.push(Placeholder { bytes, index, is_list, is_count, cast });
            }
        }
        Self { sql, placeholders }
    }

    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// How many parameters there are: the highest number that is named.
    pub(crate) fn parameters(&self) -> usize {
        self.placeholders.iter().map(|it| it.index + 1).max().unwrap_or(0)
    }

    /// Whether a parameter is a list of what it is compared with.
    pub(crate) fn is_list(&self, index: usize) -> bool {
        self.placeholders.iter().any(|it| it.index == index && it.is_list)
    }

    /// Whether a parameter is a number of rows.
    pub(crate) fn is_count(&self, index: usize) -> bool {
        self.placeholders.iter().any(|it| it.index == index && it.is_count)
    }

    /// The type that a parameter is cast to where it stands.
    pub(crate) fn cast_of(&self, index: usize) -> Option<&str> {
        let mut of_index = self.placeholders.iter().filter(|it| it.index == index);
        of_index.find_map(|it| it.cast.as_deref())
    }

    /// The text with something else for each placeholder.
    pub(crate) fn filled(&self, text_of: impl Fn(usize) -> String) -> String {
        let mut filled = String::with_capacity(self.sql.len());
        let mut from = 0;
        for placeholder in &self.placeholders {
            filled.push_str(&self.sql[from..placeholder.bytes.start]);
            filled.push_str(&text_of(placeholder.index));
            from = placeholder.bytes.end;
        }
        filled.push_str(&self.sql[from..]);
        filled
    }
}

/// Words of which the name of a type has several.
const TYPE_WORDS: [&str; 6] = ["precision", "varying", "with", "without", "time", "zone"];

/// The type behind `::`, without its precision: `timestamp with time zone`, `text[]`.
fn cast_behind(tokens: &[TokenWithSpan]) -> Option<String> {
    let is_blank = |token: &&Token| matches!(token, Token::Whitespace(_));
    let mut tokens = tokens.iter().map(|it| &it.token).filter(|it| !is_blank(it));
    if tokens.next() != Some(&Token::DoubleColon) {
        return None;
    }
    let Some(Token::Word(first)) = tokens.next() else { return None };
    let mut name = first.value.to_lowercase();
    loop {
        match tokens.next() {
            Some(Token::Period) => name.push('.'),
            Some(Token::Word(word)) => {
                let word = word.value.to_lowercase();
                match (name.ends_with('.'), TYPE_WORDS.contains(&&*word)) {
                    (true, _) => name.push_str(&word),
                    (false, true) => name.extend([" ", word.as_str()]),
                    (false, false) => return Some(name),
                }
            }
            Some(Token::LParen) => {
                let _closing = tokens.find(|it| **it == Token::RParen);
            }
            Some(Token::LBracket) => return Some(name + "[]"),
            _ => return Some(name),
        }
    }
}

fn opens_list((word, parenthesis): (&Token, &Token)) -> bool {
    let Token::Word(word) = word else { return false };
    let quantifiers = ["any", "all", "some"];
    *parenthesis == Token::LParen
        && quantifiers.iter().any(|it| word.value.eq_ignore_ascii_case(it))
}

fn takes_count((before, last): (&Token, &Token)) -> bool {
    let is = |token: &Token, names: &[&str]| match token {
        Token::Word(word) if word.quote_style.is_none() => {
            names.iter().any(|it| word.value.eq_ignore_ascii_case(it))
        }
        _ => false,
    };
    is(last, &["limit", "offset"]) || (is(before, &["fetch"]) && is(last, &["first", "next"]))
}

/// Finds bytes by line and column, both from 1 and in letters, in one pass.
pub(crate) struct Lines<'a> {
    letters: std::iter::Peekable<std::str::CharIndices<'a>>,
    line: u64,
    column: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { letters: text.char_indices().peekable(), line: 1, column: 1 }
    }

    pub(crate) fn byte_at(&mut self, line: u64, column: u64) -> Option<usize> {
        while (self.line, self.column) < (line, column) {
            let (_, letter) = self.letters.next()?;
            if letter == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        self.letters.peek().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(sql: &str) -> String {
        Template::new(sql.to_owned()).filled(|index| format!("<{index}>"))
    }

    #[test]
    fn what_any_takes_is_a_list() {
        let template =
            Template::new("SELECT $1 WHERE a = ANY ( $2) OR b <> all($3) OR c($4)".into());
        assert_eq!([0, 1, 2, 3].map(|at| template.is_list(at)), [false, true, true, false]);
    }

    #[test]
    fn a_cast_tells_the_type_of_a_parameter() {
        let sql = "SELECT $1::numeric(10, 2), $2 :: timestamp(3) with time zone AS a, \
                   $3::pg_catalog.text[], $4::double precision FROM t WHERE $5 = '::int'";
        let template = Template::new(sql.into());
        let types =
            ["numeric", "timestamp with time zone", "pg_catalog.text[]", "double precision"];
        for (at, name) in types.into_iter().enumerate() {
            assert_eq!(template.cast_of(at), Some(name));
        }
        assert_eq!(template.cast_of(4), None);
    }

    #[test]
    fn what_limit_takes_is_a_count() {
        let sql = "SELECT \"limit\" $1 LIMIT $2 OFFSET $3 FETCH NEXT $4 ROWS ONLY";
        let template = Template::new(sql.into());
        assert_eq!([0, 1, 2, 3].map(|at| template.is_count(at)), [false, true, true, true]);
    }

    #[test]
    fn placeholders_are_found_where_the_parser_finds_them() {
        assert_eq!(filled("SELECT $1, $2"), "SELECT <0>, <1>");
        assert_eq!(filled("SELECT '$1', \"$1\", $2::int"), "SELECT '$1', \"$1\", <1>::int");
        assert_eq!(filled("SELECT 'ü' -- $1\n, /* $2 */ $3"), "SELECT 'ü' -- $1\n, /* $2 */ <2>");
        assert_eq!(filled("SELECT 'it''s $1' = $1"), "SELECT 'it''s $1' = <0>");
        assert_eq!(Template::new("SELECT $2, $1".into()).parameters(), 2);
    }

    #[test]
    fn marks_are_placeholders_only_where_they_are_asked_for() {
        let sql = "SELECT ?, '?' -- ?\n, ?";
        let marked = Template::with_marks(sql.to_owned());
        assert_eq!(marked.filled(|index| format!("<{index}>")), "SELECT <0>, '?' -- ?\n, <1>");
        assert_eq!(marked.parameters(), 2);
        assert_eq!(filled(sql), sql);
    }
}
