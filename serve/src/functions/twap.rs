//! `k2_twap(ts_event, sequence, price, step, end)`: the mean price of a group of trades of one
//! window, each price weighing as long as it stood.
//!
//! A price stands from its trade to the next one; the last of a window stands until the window
//! ends, or until `end` if that is sooner, such as the newest event. What stood before the window's first trade is of the
//! window before, so that a window is a function of its own trades, whatever range is asked for.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use k2_model::{Decimal, Nanos, Wide};

const NAME: &str = "k2_twap";
const DECIMAL: DataType = DataType::Decimal128(38, 12);

pub(crate) fn twap() -> AggregateUDF {
    let long = DataType::Int64;
    let types = vec![long.clone(), long.clone(), DECIMAL, long.clone(), long];
    AggregateUDF::new_from_impl(Twap { signature: Signature::exact(types, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Twap {
    signature: Signature,
}

impl AggregateUDFImpl for Twap {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DECIMAL)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "prices");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Prices::default()))
    }
}

/// Time, the venue's number, price.
type Priced = (Nanos, u64, Decimal);

/// The prices of one window, in any order.
#[derive(Debug, Default)]
struct Prices {
    prices: Vec<Priced>,
    /// When the last of them stands no more.
    end: i64,
}

/// The mean of `prices` until `end`, after which none of them may be; the last of them, if none has
/// stood for any time. `None` if there are none.
fn mean(prices: &mut [Priced], end: Nanos) -> Option<Decimal> {
    prices.sort_unstable();
    let (first, _, _) = *prices.first()?;
    let (_, _, last) = *prices.last()?;
    if first >= end {
        return Some(last);
    }
    let ends = prices[1..].iter().map(|(time, _, _)| *time).chain([end]);
    let length = |from: Nanos, to: Nanos| Decimal(i128::from(to.0) - i128::from(from.0));
    let sum = prices
        .iter()
        .zip(ends)
        .fold(Wide::ZERO, |sum, ((from, _, price), to)| sum.plus(price.times(length(*from, to))));
    sum.mean_over(length(first, end))
}

impl Accumulator for Prices {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [times, sequences, prices, steps, ends] = values else {
            return exec_err!("{NAME} takes ts_event, sequence, price, step and end");
        };
        let (times, sequences) =
            (times.as_primitive::<Int64Type>(), sequences.as_primitive::<Int64Type>());
        let prices = prices.as_primitive::<Decimal128Type>();
        let (steps, ends) = (steps.as_primitive::<Int64Type>(), ends.as_primitive::<Int64Type>());
        for row in (0..times.len()).filter(|row| values.iter().all(|it| it.is_valid(*row))) {
            let (time, step) = (Nanos(times.value(row)), steps.value(row));
            if step <= 0 {
                return exec_err!("{NAME}: the length of a window must be above 0");
            }
            self.end = time.floor(step).0.saturating_add(step).min(ends.value(row));
            let sequence = sequences.value(row).cast_unsigned();
            self.prices.push((time, sequence, Decimal(prices.value(row))));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mean = mean(&mut self.prices, Nanos(self.end));
        Ok(ScalarValue::Decimal128(mean.map(|mean| mean.0), 38, 12))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.prices.capacity() * size_of::<Priced>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = postcard::to_allocvec(&(&self.prices, self.end));
        let state = state.map_err(|error| DataFusionError::External(error.into()))?;
        Ok(vec![ScalarValue::Binary(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first() else { return exec_err!("{NAME}: no state") };
        for state in states.as_binary::<i32>().iter().flatten() {
            let read: Result<(Vec<Priced>, i64), _> = postcard::from_bytes(state);
            let (prices, end) = read.map_err(|error| DataFusionError::External(error.into()))?;
            if !prices.is_empty() {
                self.end = end;
                self.prices.extend(prices);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_weighs_as_long_as_it_stood() {
        let price = |time, sequence, price| (Nanos(time), sequence, Decimal(price));
        let mut prices = [price(60, 3, 30), price(20, 1, 10), price(60, 2, 1_000)];
        // 10 stands for 40, 1,000 for nothing, 30 for 20: (400 + 600) / 60 = 16.67.
        assert_eq!(mean(&mut prices, Nanos(80)), Some(Decimal(17)));
        assert_eq!(mean(&mut prices[..1], Nanos(80)), Some(Decimal(10)));
        assert_eq!(mean(&mut [], Nanos(80)), None);
    }

    #[test]
    fn states_merge_into_what_one_would_have_been() {
        let column = |times: &[i64]| -> Vec<ArrayRef> {
            let longs = |long: &dyn Fn(i64) -> i64| -> ArrayRef {
                Arc::new(arrow_array::Int64Array::from_iter_values(
                    times.iter().map(|it| long(*it)),
                ))
            };
            let prices = times.iter().map(|it| i128::from(*it) * 7);
            let prices = arrow_array::Decimal128Array::from_iter_values(prices);
            let prices: ArrayRef = Arc::new(prices.with_data_type(DECIMAL));
            vec![longs(&|it| it), longs(&|it| it), prices, longs(&|_| 100), longs(&|_| 90)]
        };
        let (mut one, mut halves) = (Prices::default(), Prices::default());
        one.update_batch(&column(&[10, 40, 70])).unwrap();
        for part in [&[70][..], &[], &[10, 40]] {
            let mut half = Prices::default();
            half.update_batch(&column(part)).unwrap();
            let state = half.state().unwrap()[0].to_array().unwrap();
            halves.merge_batch(&[state]).unwrap();
        }
        let whole = one.evaluate().unwrap();
        assert_eq!(halves.evaluate().unwrap(), whole);
        // (10 × 30 + 40 × 30 + 70 × 20) × 7 / 80 = 253.75.
        assert_eq!(whole, ScalarValue::Decimal128(Some(254), 38, 12));
    }
}
