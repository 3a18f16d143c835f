//! Times may leave their seconds out: `'2024-08-09 09:30'` is a moment to PostgreSQL and ISO 8601.
//!
//! The kernels that read times want seconds, so a text that becomes a timestamp gets them. Done
//! before plans are optimised, so that it is a constant as others are, and everything is pruned by
//! it.

use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

use crate::rewriting::with_casts_rewritten;

/// How a time is written down to its minutes; `0` stands for any digit.
const MINUTES: &[u8; 16] = b"0000-00-00 00:00";

/// `text` with its seconds, if it is a time that has left them out. A zone stays as it is.
pub(crate) fn with_seconds(text: &str) -> Option<String> {
    let (minutes, rest) = text.as_bytes().split_at_checked(MINUTES.len())?;
    let is_like = |(found, expected): (&u8, &u8)| match expected {
        b'0' => found.is_ascii_digit(),
        b' ' => matches!(found, b' ' | b'T' | b't'),
        expected => found == expected,
    };
    let goes_on = rest.first().is_some_and(|next| next.is_ascii_digit() || b":.,".contains(next));
    if goes_on || !minutes.iter().zip(MINUTES).all(is_like) {
        return None;
    }
    let (minutes, rest) = text.split_at_checked(MINUTES.len())?;
    Some(format!("{minutes}:00{rest}"))
}

#[derive(Debug)]
pub(crate) struct Seconds;

impl AnalyzerRule for Seconds {
    fn name(&self) -> &str {
        "k2_seconds"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_casts_rewritten(plan, |text, kind| match told(&text, kind) {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(text),
        })
    }
}

/// A text that becomes a timestamp, with its seconds, if it has left them out.
fn told(text: &Expr, kind: &DataType) -> Option<Expr> {
    let (Expr::Literal(text, _), DataType::Timestamp(..)) = (text, kind) else { return None };
    let ScalarValue::Utf8(Some(text)) = text else { return None };
    with_seconds(text).map(lit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_added_where_they_were_left_out() {
        let cases = [
            ("2024-08-09 09:30", Some("2024-08-09 09:30:00")),
            ("2024-08-09T09:30Z", Some("2024-08-09T09:30:00Z")),
            ("2024-08-09t09:30+02", Some("2024-08-09t09:30:00+02")),
            ("2024-08-09 09:30 Europe/Berlin", Some("2024-08-09 09:30:00 Europe/Berlin")),
            ("2024-08-09 09:30:00", None),
            ("2024-08-09 09:300", None),
            ("2024-08-09", None),
            ("2024-08-09 9:30", None),
            ("2024-08-09 09:3ü", None),
            ("BTC-USDT", None),
        ];
        for (text, expected) in cases {
            assert_eq!(with_seconds(text).as_deref(), expected, "{text}");
        }
    }
}
