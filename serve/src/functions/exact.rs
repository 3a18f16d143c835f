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

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner().schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner().human_display(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner().window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner().display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner().window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.inner().signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner().return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.inner().return_field(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.inner().is_nullable()
    }

    /// The order of what is added makes no difference.
    fn with_beneficial_ordering(
        self: Arc<Self>,
        _beneficial_ordering: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(None)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner().order_sensitivity()
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        self.inner().simplify()
    }

    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        argument: &Expr,
        operator: Operator,
        literal: &Expr,
        argument_is_left: bool,
    ) -> Result<Option<Expr>> {
        self.inner().simplify_expr_op_literal(
            function,
            argument,
            operator,
            literal,
            argument_is_left,
        )
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner().reverse_expr()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner().coerce_types(arguments)
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner().is_descending()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.inner().value_from_stats(args)
    }

    fn default_value(&self, of: &DataType) -> Result<ScalarValue> {
        self.inner().default_value(of)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner().supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner().supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner().documentation()
    }

    fn set_monotonicity(&self, of: &DataType) -> SetMonotonicity {
        self.inner().set_monotonicity(of)
    }
}
