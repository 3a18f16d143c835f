//! Texts that are numbers, truths, times or intervals, as PostgreSQL reads them.
//!
//! It takes `' 12 '` for a number and `'1 day 02:30'` for an interval. The kernels that read texts do
//! not: they want nothing around a number, and numbers with units in an interval. So a literal is said
//! as they want it. Done before plans are optimised, so that it is a constant as others are.

use arrow_schema::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;

use super::spans::respelled;
use crate::rewriting::with_casts_rewritten;

#[derive(Debug)]
pub(crate) struct Literals;

impl AnalyzerRule for Literals {
    fn name(&self) -> &str {
        "k2_literals"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_casts_rewritten(plan, |text, kind| match said(&text, kind) {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(text),
        })
    }
}

/// A text as what it becomes is written, if it is written in another way.
fn said(text: &Expr, kind: &DataType) -> Option<Expr> {
    let Expr::Literal(text, _) = text else { return None };
    let text = text_of(text)?;
    if matches!(kind, DataType::Interval(_)) {
        return respelled(text).map(lit);
    }
    let is_trimmed = kind.is_numeric() || kind.is_temporal() || *kind == DataType::Boolean;
    let trimmed = text.trim_matches(is_space);
    (is_trimmed && trimmed.len() < text.len()).then(|| lit(trimmed))
}

fn text_of(scalar: &ScalarValue) -> Option<&str> {
    match scalar {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_deref()
        }
        _ => None,
    }
}

/// What PostgreSQL takes for a space.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use arrow_schema::IntervalUnit;

    use super::*;

    #[test]
    fn spaces_are_taken_off_what_becomes_a_number_and_off_nothing_else() {
        let span = DataType::Interval(IntervalUnit::MonthDayNano);
        let cases = [
            (" 12 ", DataType::Int64, Some("12")),
            ("\t1.5\n", DataType::Decimal128(38, 12), Some("1.5")),
            (" t", DataType::Boolean, Some("t")),
            (" 2024-08-09", DataType::Date32, Some("2024-08-09")),
            ("12", DataType::Int64, None),
            (" a ", DataType::Utf8, None),
            ("02:30", span.clone(), Some("0 months 0 days 9000 seconds 0 nanoseconds")),
            ("1 day", span, None),
        ];
        for (text, kind, wanted) in cases {
            assert_eq!(said(&lit(text), &kind), wanted.map(lit), "{text:?}");
        }
        assert_eq!(said(&lit(5), &DataType::Float64), None);
    }
}
