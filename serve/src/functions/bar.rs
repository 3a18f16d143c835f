//! `k2_bar(ts_event, sequence, price, quantity)`: the bar of a group of trades, exactly as the
//! dataflow makes it.
//!
//! Its state between partial and final aggregation is the encoded [`Bar`]: one small text of
//! bytes a group, so that no sum is ever rounded.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, StructArray};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use k2_model::{Bar, Decimal, Nanos};

const NAME: &str = "k2_bar";
const DECIMAL: DataType = DataType::Decimal128(38, 12);

pub(crate) static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    let decimal = |name: &str, is_nullable| Field::new(name, DECIMAL, is_nullable);
    Fields::from(vec![
        decimal("open", false),
        decimal("high", false),
        decimal("low", false),
        decimal("close", false),
        decimal("volume", false),
        decimal("vwap", true),
        Field::new("trade_count", DataType::Int64, false),
        Field::new("revision", DataType::Int64, false),
    ])
});

pub(crate) fn bar() -> AggregateUDF {
    let types = vec![DataType::Int64, DataType::Int64, DECIMAL, DECIMAL];
    AggregateUDF::new_from_impl(Bars { signature: Signature::exact(types, Volatility::Immutable) })
}

/// `bars` as columns, in the order of [`FIELDS`]. No bar is a null of the struct.
pub(crate) fn columns_of<'a>(bars: impl Iterator<Item = &'a Bar> + Clone) -> Vec<ArrayRef> {
    let decimals = |of: fn(&Bar) -> Option<Decimal>| -> ArrayRef {
        let values: Decimal128Array = bars.clone().map(|bar| of(bar).map(|it| it.0)).collect();
        Arc::new(values.with_data_type(DECIMAL))
    };
    let counts = |of: fn(&Bar) -> u64| -> ArrayRef {
        Arc::new(bars.clone().map(|bar| of(bar) as i64).collect::<Int64Array>())
    };
    vec![
        decimals(|bar| Some(bar.open.price)),
        decimals(|bar| Some(bar.high)),
        decimals(|bar| Some(bar.low)),
        decimals(|bar| Some(bar.close.price)),
        decimals(|bar| Some(bar.volume)),
        decimals(Bar::vwap),
        counts(|bar| bar.trade_count),
        counts(Bar::revision),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bars {
    signature: Signature,
}

impl AggregateUDFImpl for Bars {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(FIELDS.clone()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "bar");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One::default()))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::default()))
    }
}

/// The bars of many groups.
#[derive(Debug, Default)]
struct Groups {
    bars: Vec<Option<Bar>>,
}

impl Groups {
    fn add(&mut self, group: usize, bar: &Bar) {
        match &mut self.bars[group] {
            Some(known) => known.merge(bar),
            none => *none = Some(*bar),
        }
    }
}

/// Calls `take` with the bar of each row's trade. A row with a null is no trade.
fn each_trade(
    values: &[ArrayRef],
    filter: Option<&BooleanArray>,
    mut take: impl FnMut(usize, Bar),
) -> Result<()> {
    let [times, sequences, prices, quantities] = values else {
        return exec_err!("{NAME} takes ts_event, sequence, price and quantity");
    };
    let (times, sequences) =
        (times.as_primitive::<Int64Type>(), sequences.as_primitive::<Int64Type>());
    let prices = prices.as_primitive::<Decimal128Type>();
    let quantities = quantities.as_primitive::<Decimal128Type>();
    let has_null = values.iter().any(|array| array.null_count() > 0);
    for row in 0..times.len() {
        if filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row))
            || (has_null && values.iter().any(|array| array.is_null(row)))
        {
            continue;
        }
        // Sequences are stored as `long`; their bits are those of the number.
        let (ts_event, sequence) = (Nanos(times.value(row)), sequences.value(row) as u64);
        let (price, quantity) = (Decimal(prices.value(row)), Decimal(quantities.value(row)));
        take(row, Bar::of_parts(ts_event, sequence, price, quantity));
    }
    Ok(())
}

/// Calls `take` with the bar of each row's state.
fn each_state(states: &ArrayRef, mut take: impl FnMut(usize, Bar)) -> Result<()> {
    let states = states.as_binary::<i32>();
    for row in (0..states.len()).filter(|row| states.is_valid(*row)) {
        let bar = postcard::from_bytes(states.value(row));
        take(row, bar.map_err(|error| DataFusionError::External(error.into()))?);
    }
    Ok(())
}

fn encoded(bar: &Bar) -> Result<Vec<u8>> {
    postcard::to_allocvec(bar).map_err(|error| DataFusionError::External(error.into()))
}

fn structs(bars: &[Option<Bar>]) -> Result<ArrayRef> {
    const NO_BAR: Bar = {
        let edge = k2_model::bar::Edge { ts_event: Nanos(0), sequence: 0, price: Decimal::ZERO };
        Bar {
            open: edge,
            close: edge,
            high: Decimal::ZERO,
            low: Decimal::ZERO,
            volume: Decimal::ZERO,
            notional: k2_model::Wide::ZERO,
            trade_count: 0,
        }
    };
    let columns = columns_of(bars.iter().map(|bar| bar.as_ref().unwrap_or(&NO_BAR)));
    let nulls = bars.iter().map(Option::is_some).collect::<Vec<_>>().into();
    Ok(Arc::new(StructArray::try_new(FIELDS.clone(), columns, Some(nulls))?))
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.bars.resize(total, None);
        each_trade(values, filter, |row, bar| self.add(groups[row], &bar))
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        structs(&emit.take_needed(&mut self.bars))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        for bar in emit.take_needed(&mut self.bars) {
            states.append_option(bar.as_ref().map(encoded).transpose()?);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        _filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.bars.resize(total, None);
        let states = values.first().ok_or_else(|| exec_datafusion_err!("{NAME}: no state"))?;
        each_state(states, |row, bar| self.add(groups[row], &bar))
    }

    fn size(&self) -> usize {
        self.bars.capacity() * size_of::<Option<Bar>>()
    }
}

/// The bar of all rows.
#[derive(Debug, Default)]
struct One {
    bar: Option<Bar>,
}

impl One {
    fn add(&mut self, bar: &Bar) {
        match &mut self.bar {
            Some(known) => known.merge(bar),
            none => *none = Some(*bar),
        }
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_trade(values, None, |_, bar| self.add(&bar))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&structs(&[self.bar])?, 0)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.bar.as_ref().map(encoded).transpose()?)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states.first().ok_or_else(|| exec_datafusion_err!("{NAME}: no state"))?;
        each_state(states, |_, bar| self.add(&bar))
    }
}
