//! `mode() WITHIN GROUP (ORDER BY x)`: the value that most rows have.
//!
//! Of values that equally many rows have it is the least one. A question is rewritten to `mode(x)`,
//! where DataFusion has no aggregate of this name. Rows without a value do not count.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

pub(crate) const MODE: &str = "mode";

pub(super) fn mode() -> Arc<AggregateUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Mode { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mode {
    signature: Signature,
}

impl AggregateUDFImpl for Mode {
    fn name(&self) -> &str {
        MODE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [kind] = arguments else { return exec_err!("{MODE} takes one value") };
        Ok(kind.clone())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let list = |part, kind| {
            let list = DataType::List(Arc::new(Field::new_list_field(kind, true)));
            Arc::new(Field::new(format_state_name(args.name, part), list, true))
        };
        let kind = args.return_field.data_type().clone();
        Ok(vec![list("values", kind), list("rows", DataType::UInt64)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let kind = args.return_field.data_type().clone();
        Ok(Box::new(Counted { kind, rows: HashMap::new(), bytes: 0 }))
    }
}

/// How many rows have each value.
#[derive(Debug)]
struct Counted {
    kind: DataType,
    rows: HashMap<ScalarValue, u64>,
    /// What the values take beside their place in the map.
    bytes: usize,
}

impl Counted {
    fn add(&mut self, value: ScalarValue, rows: u64) {
        match self.rows.get_mut(&value) {
            Some(known) => *known += rows,
            None => {
                self.bytes += value.size().saturating_sub(size_of::<ScalarValue>());
                self.rows.insert(value, rows);
            }
        }
    }
}

impl Accumulator for Counted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("{MODE} takes one value") };
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            let mut value = ScalarValue::try_from_array(values, row)?;
            // A list would keep the whole batch that it is a part of.
            value.compact();
            self.add(value, 1);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut most: Option<(&ScalarValue, u64)> = None;
        for (value, rows) in &self.rows {
            let is_more = most.is_none_or(|(other, most)| {
                *rows > most
                    || (*rows == most && value.partial_cmp(other).is_some_and(|it| it.is_lt()))
            });
            if is_more {
                most = Some((value, *rows));
            }
        }
        match most {
            Some((value, _)) => Ok(value.clone()),
            None => ScalarValue::try_from(&self.kind),
        }
    }

    fn size(&self) -> usize {
        // Beside each entry of a map is a byte.
        size_of::<Self>()
            + self.rows.capacity() * (size_of::<(ScalarValue, u64)>() + 1)
            + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.rows.keys().cloned().collect();
        let rows: Vec<ScalarValue> = self.rows.values().map(|rows| (*rows).into()).collect();
        let values = ScalarValue::new_list_nullable(&values, &self.kind);
        let rows = ScalarValue::new_list_nullable(&rows, &DataType::UInt64);
        Ok(vec![ScalarValue::List(values), ScalarValue::List(rows)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, rows] = states else { return exec_err!("{MODE} has two states") };
        let lists = values.as_list::<i32>().iter().zip(rows.as_list::<i32>().iter());
        for (values, rows) in lists {
            let (Some(values), Some(rows)) = (values, rows) else { continue };
            let rows = rows.as_primitive::<UInt64Type>();
            for (at, rows) in rows.values().iter().enumerate() {
                self.add(ScalarValue::try_from_array(&values, at)?, *rows);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, StringArray};

    use super::*;

    fn counted(kind: DataType) -> Counted {
        Counted { kind, rows: HashMap::new(), bytes: 0 }
    }

    #[test]
    fn the_least_of_those_that_most_rows_have_is_the_mode() {
        let mut one = counted(DataType::Int64);
        let numbers =
            Int64Array::from(vec![Some(3), Some(2), None, Some(3), Some(2), Some(9), None]);
        one.update_batch(&[Arc::new(numbers)]).unwrap();
        assert_eq!(one.evaluate().unwrap(), ScalarValue::Int64(Some(2)));
        let mut other = counted(DataType::Int64);
        other.update_batch(&[Arc::new(Int64Array::from(vec![3]))]).unwrap();
        let states: Vec<ArrayRef> =
            other.state().unwrap().iter().map(|state| state.to_array().unwrap()).collect();
        one.merge_batch(&states).unwrap();
        assert_eq!(one.evaluate().unwrap(), ScalarValue::Int64(Some(3)));
    }

    #[test]
    fn of_no_rows_it_is_null() {
        let mut none = counted(DataType::Utf8);
        none.update_batch(&[Arc::new(StringArray::from(vec![None::<&str>]))]).unwrap();
        assert_eq!(none.evaluate().unwrap(), ScalarValue::Utf8(None));
    }
}
