//! Totals of distinct values: `sum(DISTINCT x)` and `avg(DISTINCT x)` where other aggregates stand
//! beside them. Alone, DataFusion makes them a total of groups.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Decimal128Array};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::totals::{Exact, Total, each};

/// The total of the values that all rows have, or those that a window shows; each counts once.
#[derive(Debug)]
pub(super) struct Distinct {
    exact: Exact,
    /// How many rows have each value.
    rows: HashMap<i128, u64>,
    total: Total,
}

impl Distinct {
    pub(super) fn new(exact: Exact) -> Self {
        Self { exact, rows: HashMap::new(), total: Total::default() }
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Self { exact, rows, total } = self;
        let added = each(values, None, |_, value| {
            let rows = rows.entry(value).or_default();
            *rows += 1;
            if *rows == 1 { total.add(value, 1) } else { Some(()) }
        })?;
        added.ok_or_else(|| exact.too_large())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Self { exact, rows, total } = self;
        let taken = each(values, None, |_, value| {
            let left = rows.get_mut(&value)?;
            *left -= 1;
            if *left > 0 {
                return Some(());
            }
            rows.remove(&value);
            total.take_away(value)
        })?;
        taken.ok_or_else(|| exact.too_large())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.exact.scalar(self.total)
    }

    fn size(&self) -> usize {
        // Beside each entry of a map is a byte.
        size_of::<Self>() + self.rows.capacity() * (size_of::<(i128, u64)>() + 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Decimal128Array::from_iter_values(self.rows.keys().copied());
        let values = values.with_data_type(self.exact.state_type());
        let list = SingleRowListArrayBuilder::new(Arc::new(values)).build_list_array();
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [lists] = states else { return exec_err!("distinct values are one list") };
        lists.as_list::<i32>().iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }
}
