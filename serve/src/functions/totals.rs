//! Totals in 128 bits, each addition looked at: what [`super::exact`] answers with.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, Int64Array, PrimitiveArray,
    UInt64Array,
};
use arrow_schema::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// Digits of a 128-bit decimal.
const DIGITS: u8 = 38;

/// What is made of a total.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Sum,
    /// The mean, with its digits moved by this factor to the scale of the result.
    Mean(i128),
}

/// One `sum` or `avg`: its result and how it is stored meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    kind: Kind,
    input_scale: i8,
    output: DataType,
}

impl Exact {
    /// `None` where DataFusion's own is as good.
    pub(super) fn of(name: &str, input: &DataType, output: &DataType) -> Option<Self> {
        use DataType::{Decimal128, Int64, UInt64};
        let (kind, input_scale) = match (name, input, output) {
            ("sum", Decimal128(_, scale), Decimal128(_, _)) => (Kind::Sum, *scale),
            ("sum", Int64, Int64) | ("sum", UInt64, UInt64) => (Kind::Sum, 0),
            ("avg", Decimal128(_, from), Decimal128(_, to)) => {
                let digits = u32::try_from(to.checked_sub(*from)?).ok()?;
                (Kind::Mean(10_i128.checked_pow(digits)?), *from)
            }
            _ => return None,
        };
        Some(Self { kind, input_scale, output: output.clone() })
    }

    /// What a total is stored as.
    pub(super) fn state_type(&self) -> DataType {
        DataType::Decimal128(DIGITS, self.input_scale)
    }

    fn result(&self, total: Total) -> Result<Option<i128>> {
        let Some(count) = (total.count > 0).then(|| i128::from(total.count)) else {
            return Ok(None);
        };
        let result = match self.kind {
            Kind::Sum => Some(total.sum),
            Kind::Mean(factor) => {
                let rest = total.sum % count * factor / count;
                (total.sum / count).checked_mul(factor).and_then(|whole| whole.checked_add(rest))
            }
        };
        let result = result.filter(|result| self.fits(*result));
        result.map(Some).ok_or_else(|| self.too_large())
    }

    fn fits(&self, result: i128) -> bool {
        match self.output {
            DataType::Decimal128(digits, _) => {
                result.unsigned_abs() < 10_u128.pow(u32::from(digits.min(DIGITS)))
            }
            DataType::UInt64 => u64::try_from(result).is_ok(),
            _ => i64::try_from(result).is_ok(),
        }
    }

    pub(super) fn too_large(&self) -> DataFusionError {
        let name = match self.kind {
            Kind::Sum => "sum",
            Kind::Mean(_) => "avg",
        };
        match self.output {
            DataType::Decimal128(digits, scale) => exec_datafusion_err!(
                "{name} does not fit DECIMAL({digits}, {scale}); have fewer decimals added, \
                 as by {name}(CAST(x AS DECIMAL(38, 6)))"
            ),
            _ => exec_datafusion_err!(
                "{name} does not fit 64 bits; write {name}(CAST(x AS DECIMAL(38, 0)))"
            ),
        }
    }

    fn array(&self, totals: &[Total]) -> Result<ArrayRef> {
        let results = totals.iter().map(|total| self.result(*total));
        const FITS: &str = "what does not fit was refused";
        Ok(match self.output {
            DataType::Decimal128(_, _) => {
                let results: Decimal128Array = results.collect::<Result<_>>()?;
                Arc::new(results.with_data_type(self.output.clone()))
            }
            DataType::UInt64 => {
                let narrow = |it: Option<i128>| it.map(|it| u64::try_from(it).expect(FITS));
                Arc::new(results.map(|it| it.map(narrow)).collect::<Result<UInt64Array>>()?)
            }
            _ => {
                let narrow = |it: Option<i128>| it.map(|it| i64::try_from(it).expect(FITS));
                Arc::new(results.map(|it| it.map(narrow)).collect::<Result<Int64Array>>()?)
            }
        })
    }

    pub(super) fn scalar(&self, total: Total) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&self.array(&[total])?, 0)
    }

    fn states(&self, totals: &[Total]) -> Vec<ArrayRef> {
        let counts = UInt64Array::from_iter_values(totals.iter().map(|it| it.count));
        let sums = Decimal128Array::from_iter_values(totals.iter().map(|it| it.sum));
        vec![Arc::new(counts), Arc::new(sums.with_data_type(self.state_type()))]
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Total {
    sum: i128,
    /// Values that are not null.
    count: u64,
}

impl Total {
    /// `None` if it would have more than 128 bits.
    pub(super) fn add(&mut self, sum: i128, count: u64) -> Option<()> {
        self.sum = self.sum.checked_add(sum)?;
        self.count += count;
        Some(())
    }

    pub(super) fn take_away(&mut self, value: i128) -> Option<()> {
        self.sum = self.sum.checked_sub(value)?;
        self.count -= 1;
        Some(())
    }
}

/// Each value that is not null and passes `filter`, with its row.
pub(super) fn each(
    values: &[ArrayRef],
    filter: Option<&BooleanArray>,
    take: impl FnMut(usize, i128) -> Option<()>,
) -> Result<Option<()>> {
    let Some(values) = values.first() else { return exec_err!("nothing to add") };
    Ok(match values.data_type() {
        DataType::Decimal128(_, _) => rows(values.as_primitive::<Decimal128Type>(), filter, take),
        DataType::Int64 => rows(values.as_primitive::<Int64Type>(), filter, take),
        DataType::UInt64 => rows(values.as_primitive::<UInt64Type>(), filter, take),
        other => return exec_err!("{other} is not added exactly"),
    })
}

fn rows<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    filter: Option<&BooleanArray>,
    mut take: impl FnMut(usize, i128) -> Option<()>,
) -> Option<()>
where
    T::Native: Into<i128>,
{
    let mut all = values.values().iter().enumerate();
    if values.null_count() == 0 && filter.is_none() {
        return all.try_for_each(|(row, value)| take(row, (*value).into()));
    }
    let passes = |row| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
    all.filter(|(row, _)| values.is_valid(*row) && passes(*row))
        .try_for_each(|(row, value)| take(row, (*value).into()))
}

/// The sums and counts of states.
fn each_state(
    states: &[ArrayRef],
    mut take: impl FnMut(usize, i128, u64) -> Option<()>,
) -> Result<Option<()>> {
    let [counts, sums] = states else { return exec_err!("a total is a count and a sum") };
    let counts = counts.as_primitive::<UInt64Type>().values();
    let sums = sums.as_primitive::<Decimal128Type>().values();
    let mut both = counts.iter().zip(sums).enumerate();
    Ok(both.try_for_each(|(row, (count, sum))| take(row, *sum, *count)))
}

/// The totals of groups.
pub(super) struct Totals {
    exact: Exact,
    totals: Vec<Total>,
}

impl Totals {
    pub(super) fn new(exact: Exact) -> Self {
        Self { exact, totals: Vec::new() }
    }
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.totals.resize(total, Total::default());
        let totals = &mut self.totals;
        let added = each(values, filter, |row, value| totals[groups[row]].add(value, 1))?;
        added.ok_or_else(|| self.exact.too_large())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        self.exact.array(&emit.take_needed(&mut self.totals))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(self.exact.states(&emit.take_needed(&mut self.totals)))
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        _filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.totals.resize(total, Total::default());
        let totals = &mut self.totals;
        let added = each_state(values, |row, sum, count| totals[groups[row]].add(sum, count))?;
        added.ok_or_else(|| self.exact.too_large())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut totals = vec![Total::default(); values.first().map_or(0, |it| it.len())];
        each(values, filter, |row, sum| {
            totals[row] = Total { sum, count: 1 };
            Some(())
        })?;
        Ok(self.exact.states(&totals))
    }

    fn supports_convert_to_state(&self) -> bool {
        true
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<Total>()
    }
}

/// The total of all rows, or of those that a window shows.
#[derive(Debug)]
pub(super) struct One {
    exact: Exact,
    total: Total,
}

impl One {
    pub(super) fn new(exact: Exact) -> Self {
        Self { exact, total: Total::default() }
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let added = each(values, None, |_, value| self.total.add(value, 1))?;
        added.ok_or_else(|| self.exact.too_large())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let taken = each(values, None, |_, value| self.total.take_away(value))?;
        taken.ok_or_else(|| self.exact.too_large())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.exact.scalar(self.total)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let states = self.exact.states(&[self.total]);
        states.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let added = each_state(states, |_, sum, count| self.total.add(sum, count))?;
        added.ok_or_else(|| self.exact.too_large())
    }
}
