//! `LIKE 'pg/_%' ESCAPE '/'`: the planner knows patterns that escape with a backslash alone.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Value, ValueWithSpan, visit_expressions,
};

use super::rewrite::{text, text_of};

/// What escapes where nothing is said.
const ESCAPE: char = '\\';

/// Spells a pattern with backslashes, if all of it is known.
pub(super) fn rewrite_escape(pattern: &mut Expr, escape: &mut Option<ValueWithSpan>) {
    let Some(ValueWithSpan { value: Value::SingleQuotedString(by), .. }) = &*escape else { return };
    let mut letters = by.chars();
    let by = match (letters.next(), letters.next()) {
        (Some(ESCAPE), None) => return,
        (by, None) => by,
        _ => return,
    };
    if has_placeholder(pattern) {
        // It is only described, for which it does not matter what escapes.
        *escape = None;
        return;
    }
    let known = joined(pattern).and_then(|pattern| respelled(&pattern, by));
    if let Some(known) = known {
        *pattern = text(&known);
        *escape = None;
    }
}

/// `SIMILAR TO` as the regular expression that it means, if its pattern is known: the planner would
/// take the pattern itself for one.
pub(super) fn rewrite_similar(similar: &mut Expr) {
    let Expr::SimilarTo { negated, expr, pattern, escape_char: None } = similar else { return };
    let Some(known) = joined(pattern) else { return };
    let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let (left, right) = (expr.clone(), Box::new(text(&regular(&known))));
    *similar = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }));
}

/// `%` and `_` stand for letters, and `.`, `^` and `$` for themselves.
fn regular(pattern: &str) -> String {
    let mut regular = String::from("^(?s:");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => regular.push_str(".*"),
            '_' => regular.push('.'),
            '.' | '^' | '$' => regular.extend([ESCAPE, letter]),
            ESCAPE => {
                let escaped = letters.next().unwrap_or(ESCAPE);
                if !escaped.is_alphanumeric() {
                    regular.push(ESCAPE);
                }
                regular.push(escaped);
            }
            other => regular.push(other),
        }
    }
    regular.push_str(")$");
    regular
}

fn has_placeholder(pattern: &Expr) -> bool {
    visit_expressions(pattern, |part| match part {
        Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// The text that an expression of texts is.
fn joined(expr: &Expr) -> Option<String> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } => {
            Some(joined(left)? + &joined(right)?)
        }
        Expr::Nested(inner) => joined(inner),
        Expr::Cast { expr: inner, data_type: DataType::Text | DataType::Varchar(None), .. } => {
            joined(inner)
        }
        other => text_of(other).map(str::to_owned),
    }
}

/// A pattern in which `by` escapes, or nothing. `None` where it ends with what escapes nothing.
fn respelled(pattern: &str, by: Option<char>) -> Option<String> {
    let mut spelled = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let (letter, is_escaped) = match Some(letter) == by {
            true => (letters.next()?, true),
            false => (letter, false),
        };
        if letter == ESCAPE || (is_escaped && matches!(letter, '%' | '_')) {
            spelled.push(ESCAPE);
        }
        spelled.push(letter);
    }
    Some(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_patterns_are_regular_ones() {
        assert_eq!(regular("(BTC|ETH)-%"), "^(?s:(BTC|ETH)-.*)$");
        assert_eq!(regular("a.b\\%_"), "^(?s:a\\.b\\%.)$");
    }

    #[test]
    fn a_pattern_means_the_same_with_backslashes() {
        let cases = [
            ("pg/_%", Some('/'), Some("pg\\_%")),
            ("100!%!!!a", Some('!'), Some("100\\%!a")),
            ("a\\b/\\", Some('/'), Some("a\\\\b\\\\")),
            ("a\\_b", None, Some("a\\\\_b")),
            ("a/", Some('/'), None),
        ];
        for (pattern, by, expected) in cases {
            assert_eq!(respelled(pattern, by).as_deref(), expected, "{pattern}");
        }
    }
}
