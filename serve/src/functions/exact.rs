//! `sum` and `avg` of decimals and whole numbers, exact or refused.
//!
//! Those of DataFusion add without looking: a total that does not fit its type comes back as another
//! number, and a mean is refused when its total would not fit, although the mean does. Here all is
//! added in 128 bits, each addition is looked at, and only the result has to fit.
//!
//! Floats are left to DataFusion.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, WindowFunctionParams,
};
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use super::delegated::delegated;
use super::distinct::Distinct;
use super::totals::{Exact, One, Totals};

/// `function`, which is exact if it is one that adds.
pub(crate) fn exact(function: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    match function.name() {
        "sum" | "avg" => Arc::new(AggregateUDF::new_from_impl(Adds(function))),
        _ => function,
    }
}

/// A function of DataFusion: all but how it adds is as it is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Adds(Arc<AggregateUDF>);

impl Adds {
    fn inner(&self) -> &dyn AggregateUDFImpl {
        self.0.inner().as_ref()
    }

    fn exact(&self, inputs: &[FieldRef], output: &FieldRef) -> Option<Exact> {
        let [input] = inputs else { return None };
        Exact::of(self.inner().name(), input.data_type(), output.data_type())
    }

    fn exact_of(&self, args: &AccumulatorArgs<'_>) -> Option<Exact> {
        self.exact(args.expr_fields, &args.return_field)
    }

    /// Distinct values are added group by group.
    fn exact_of_groups(&self, args: &AccumulatorArgs<'_>) -> Option<Exact> {
        self.exact_of(args).filter(|_| !args.is_distinct)
    }

    fn one(&self, args: &AccumulatorArgs<'_>) -> Option<Box<dyn Accumulator>> {
        let exact = self.exact_of(args)?;
        Some(match args.is_distinct {
            true => Box::new(Distinct::new(exact)),
            false => Box::new(One::new(exact)),
        })
    }
}

#[warn(clippy::missing_trait_methods)]
impl AggregateUDFImpl for Adds {
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.one(&args).map_or_else(|| self.inner().accumulator(args), Ok)
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.one(&args).map_or_else(|| self.inner().create_sliding_accumulator(args), Ok)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.exact_of_groups(&args).is_some() || self.inner().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match self.exact_of_groups(&args) {
            Some(exact) => Ok(Box::new(Totals::new(exact))),
            None => self.inner().create_groups_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let Some(exact) = self.exact(args.input_fields, &args.return_field) else {
            return self.inner().state_fields(args);
        };
        let field = |part, of| Arc::new(Field::new(format_state_name(args.name, part), of, false));
        if args.is_distinct {
            let values = Field::new_list_field(exact.state_type(), true);
            return Ok(vec![field("distinct", DataType::List(Arc::new(values)))]);
        }
        Ok(vec![field("count", DataType::UInt64), field("sum", exact.state_type())])
    }

    fn name(&self) -> &str {
        self.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner().aliases()
    }

    delegated!();
}
