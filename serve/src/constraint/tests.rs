use datafusion::logical_expr::{col, lit};
use proptest::prelude::*;

use super::*;

fn micros(value: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())))
}

#[test]
fn conjunctions_narrow_and_disjunctions_widen() {
    let is = |symbol: &str| col("symbol").eq(lit(symbol));
    let filters = [is("A").or(is("B")), col("symbol").in_list(vec![lit("B"), lit("C")], false)];
    let constraint = Constraint::of(&filters);
    assert_eq!(constraint.texts(Key::Symbol), Some(&["B".to_owned()].into()));
    assert!(Constraint::of(&[is("A"), is("B")]).is_never());
    let half = is("A").or(col("price").gt(lit(1)));
    assert_eq!(Constraint::of(&[half]), Constraint::default());
    let negated = col("symbol").in_list(vec![lit("A")], true);
    assert_eq!(Constraint::of(&[negated]), Constraint::default());
}

#[test]
fn a_time_constrains_the_nanoseconds_and_the_day() {
    let constraint = Constraint::of(&[col("ts").gt_eq(micros(5)), col("ts").lt(micros(7))]);
    assert_eq!(constraint.range(Key::Ts), Range { lower: 5, upper: 6 });
    assert_eq!(constraint.range(Key::TsEvent), Range { lower: 5_000, upper: 6_999 });
    let constraint = Constraint::of(&[lit(7_500i64).gt(col("ts_event"))]);
    assert_eq!(constraint.range(Key::Ts).upper, 7);
    let between_two = lit(ScalarValue::TimestampNanosecond(Some(5_500), Some("UTC".into())));
    assert_eq!(Constraint::of(&[col("ts").gt(between_two.clone())]).range(Key::Ts).lower, 6);
    assert!(Constraint::of(&[col("ts").eq(between_two)]).is_never());
    let zoneless = lit(ScalarValue::TimestampMicrosecond(Some(5), None));
    assert_eq!(Constraint::of(&[col("ts").gt(zoneless)]), Constraint::default());
}

#[test]
fn a_window_constrains_the_times_in_it() {
    let window = crate::functions::window::window().call(vec![col("ts_event"), lit(60i64)]);
    let nanos = |value| lit(ScalarValue::TimestampNanosecond(Some(value), Some("UTC".into())));
    let constraint = Constraint::of(&[window.clone().gt_eq(nanos(120)), window.lt_eq(nanos(180))]);
    assert_eq!(constraint.range(Key::TsEvent), Range { lower: 120, upper: 239 });
}

proptest! {
    /// The law: what passes the filter fulfils the constraint.
    #[test]
    fn no_row_that_passes_is_pruned(
        value in -50i64..50, first in -50i64..50, second in -50i64..50,
        ops in (0usize..5, 0usize..5), is_and: bool,
    ) {
        let compare = |at: usize, bound: i64| {
            let (column, literal) = (col("sequence"), lit(bound));
            match at {
                0 => (column.eq(literal), value == bound),
                1 => (column.lt(literal), value < bound),
                2 => (column.lt_eq(literal), value <= bound),
                3 => (column.gt(literal), value > bound),
                _ => (column.gt_eq(literal), value >= bound),
            }
        };
        let ((a, a_passes), (b, b_passes)) = (compare(ops.0, first), compare(ops.1, second));
        let (filter, passes) = if is_and {
            (a.and(b), a_passes && b_passes)
        } else {
            (a.or(b), a_passes || b_passes)
        };
        let constraint = Constraint::of(&[filter]);
        let number = |key| (key == Key::Sequence).then_some(value);
        prop_assert!(!passes || (!constraint.is_never() && constraint.admits_numbers(number)));
    }
}
