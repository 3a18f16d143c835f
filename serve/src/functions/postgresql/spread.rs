//! `stddev` and `variance` of the rows that a window shows.
//!
//! Those of DataFusion take a row that leaves a window away from a running sum. What that sum lost to
//! larger rows it does not get back: of equal prices the variance came out as less than nothing, and its
//! root as no number. Here nothing is ever taken away. The rows of a window are a queue of two stacks: one
//! that rows come onto, with the moments of all of them, and one that they go from, where each has the
//! moments of itself and of those below, which are younger. An answer joins the two. When the stack that
//! rows go from is empty it is made of the other one, so that each row is joined twice, whatever the
//! window.
//!
//! What is not computed over a window that moves is left to DataFusion.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array};
use arrow_cast::cast;
use arrow_schema::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, WindowFunctionParams,
};
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use crate::functions::delegated::delegated;

/// `function`, which keeps its precision over a window if it is one that tells how far values are apart.
pub(crate) fn spread(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let of = match function.name() {
        "var" => Spread { is_root: false, is_sample: true },
        "var_pop" => Spread { is_root: false, is_sample: false },
        "stddev" => Spread { is_root: true, is_sample: true },
        "stddev_pop" => Spread { is_root: true, is_sample: false },
        _ => return function,
    };
    let mut aliases = function.aliases().to_vec();
    if function.name() == "var" && !aliases.iter().any(|it| it == VARIANCE) {
        aliases.push(VARIANCE.to_owned());
    }
    Arc::new(AggregateUDF::new_from_impl(Spreads { function, of, aliases }))
}

/// What PostgreSQL calls `var` as well.
const VARIANCE: &str = "variance";

/// What is told of how far values are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Spread {
    /// The root of the variance, and not the variance itself.
    is_root: bool,
    /// The values are a sample of all that there are.
    is_sample: bool,
}

/// How many values there are, their mean, and the sum of the squares of how far they are from it.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(value: f64) -> Self {
        Self { count: 1.0, mean: value, squares: 0.0 }
    }

    /// Of both (Chan, Golub and LeVeque 1979). Of equal values they are exact.
    fn joined(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        let share = other.count / count;
        Self {
            count,
            mean: self.mean + apart * share,
            squares: self.squares + other.squares + apart * apart * self.count * share,
        }
    }
}

/// The values that a window shows.
#[derive(Debug)]
struct Shown {
    of: Spread,
    /// Those that came last, the youngest last, and the moments of all of them.
    come: Vec<f64>,
    all_come: Moments,
    /// Of those that go first, the oldest last, each with those before it in here.
    going: Vec<Moments>,
}

impl Shown {
    fn new(of: Spread) -> Self {
        Self { of, come: Vec::new(), all_come: Moments::default(), going: Vec::new() }
    }

    fn push(&mut self, value: f64) {
        self.come.push(value);
        self.all_come = self.all_come.joined(Moments::of(value));
    }

    /// Takes the oldest one away.
    fn pop(&mut self) {
        if self.going.is_empty() {
            let mut younger = Moments::default();
            for value in self.come.drain(..).rev() {
                younger = Moments::of(value).joined(younger);
                self.going.push(younger);
            }
            self.all_come = Moments::default();
        }
        self.going.pop();
    }

    fn spread(&self) -> Option<f64> {
        let all = self.going.last().copied().unwrap_or_default().joined(self.all_come);
        let shared = if self.of.is_sample { all.count - 1.0 } else { all.count };
        if shared <= 0.0 {
            return None;
        }
        let variance = all.squares / shared;
        Some(if self.of.is_root { variance.sqrt() } else { variance })
    }
}

fn floats(values: &[ArrayRef]) -> Result<Float64Array> {
    let [values] = values else { return exec_err!("a spread is that of one column") };
    Ok(cast(values, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

impl Accumulator for Shown {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        floats(values)?.iter().flatten().for_each(|value| self.push(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("a spread is that of one column") };
        let left = values.len() - values.null_count();
        (0..left).for_each(|_| self.pop());
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.spread()))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
            + self.come.capacity() * size_of::<f64>()
            + self.going.capacity() * size_of::<Moments>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        exec_err!("a window is not computed in parts")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        exec_err!("a window is not computed in parts")
    }
}

/// A function of DataFusion: all but how it follows a window is as it is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Spreads {
    function: Arc<AggregateUDF>,
    of: Spread,
    aliases: Vec<String>,
}

impl Spreads {
    fn inner(&self) -> &dyn AggregateUDFImpl {
        self.function.inner().as_ref()
    }
}

#[warn(clippy::missing_trait_methods)]
impl AggregateUDFImpl for Spreads {
    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return self.inner().create_sliding_accumulator(args);
        }
        Ok(Box::new(Shown::new(self.of)))
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.inner().accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner().create_groups_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner().state_fields(args)
    }

    fn name(&self) -> &str {
        self.inner().name()
    }

    delegated!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: Vec<Option<f64>>) -> [ArrayRef; 1] {
        [Arc::new(Float64Array::from(values))]
    }

    fn shown(is_root: bool, is_sample: bool) -> Shown {
        Shown::new(Spread { is_root, is_sample })
    }

    fn told(shown: &mut Shown) -> Option<f64> {
        let ScalarValue::Float64(told) = shown.evaluate().unwrap() else { panic!("no float") };
        told
    }

    #[test]
    fn of_equal_values_that_are_left_it_is_exactly_nothing() {
        let mut root = shown(true, true);
        root.update_batch(&column(vec![Some(61_000.5), Some(61_999.1), Some(61_500.0)])).unwrap();
        assert!(told(&mut root).is_some_and(|it| (it - 499.3).abs() < 0.001));
        for left in [61_000.5, 61_999.1] {
            root.update_batch(&column(vec![Some(61_500.0)])).unwrap();
            root.retract_batch(&column(vec![Some(left)])).unwrap();
        }
        assert_eq!(told(&mut root), Some(0.0));
        // A third of 0.1 three times is not 0.1.
        let mut tenths = shown(false, false);
        tenths.update_batch(&column(vec![Some(0.1); 3])).unwrap();
        assert_eq!(told(&mut tenths), Some(0.0));
    }

    #[test]
    fn a_sample_has_one_value_less_than_all() {
        let values = column(vec![Some(2.0), None, Some(4.0), Some(9.0)]);
        for (is_root, is_sample, wanted) in
            [(false, true, 13.0), (false, false, 26.0 / 3.0), (true, true, 13.0_f64.sqrt())]
        {
            let mut all = shown(is_root, is_sample);
            all.update_batch(&values).unwrap();
            assert!(told(&mut all).is_some_and(|it| (it - wanted).abs() < 1e-12), "{wanted}");
        }
    }

    #[test]
    fn rows_without_a_value_neither_come_nor_go() {
        let (mut sample, mut all) = (shown(false, true), shown(false, false));
        assert_eq!((told(&mut sample), told(&mut all)), (None, None));
        for one in [&mut sample, &mut all] {
            one.update_batch(&column(vec![None, Some(1e9), None, Some(5.0)])).unwrap();
            one.retract_batch(&column(vec![None, Some(1e9), None])).unwrap();
        }
        assert_eq!((told(&mut sample), told(&mut all)), (None, Some(0.0)));
        assert!(all.size() > size_of::<Shown>());
    }

    #[test]
    fn a_window_that_moves_has_the_spread_of_its_values() {
        let value = |at: u32| f64::from(at * 7_919 % 1_009) + 61_000.25;
        let mut moving = shown(false, false);
        for at in 0..500 {
            moving.update_batch(&column(vec![Some(value(at))])).unwrap();
            if at >= 20 {
                moving.retract_batch(&column(vec![Some(value(at - 20))])).unwrap();
            }
            let values: Vec<f64> = (at.saturating_sub(19)..=at).map(value).collect();
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let wanted = values.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / count;
            let found = told(&mut moving).unwrap();
            assert!((found - wanted).abs() < 1e-6, "{at}: {found} and not {wanted}");
        }
    }

    #[test]
    fn infinite_values_leave_nothing_behind() {
        let mut root = shown(true, false);
        root.update_batch(&column(vec![Some(f64::INFINITY), Some(1.0), Some(3.0)])).unwrap();
        assert!(told(&mut root).is_some_and(f64::is_nan));
        root.retract_batch(&column(vec![Some(f64::INFINITY)])).unwrap();
        assert_eq!(told(&mut root), Some(1.0));
    }
}
