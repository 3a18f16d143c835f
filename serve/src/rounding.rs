//! What is cast to a whole number is rounded, as in PostgreSQL.
//!
//! The kernels cut off: `2.9::int` would be 2. A decimal is rounded half away from zero, a float half to
//! the even number.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_schema::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast,
};
use datafusion::optimizer::AnalyzerRule;

use crate::rewriting::with_typed_parts_rewritten;

#[derive(Debug)]
pub(crate) struct Rounding {
    to_even: Arc<ScalarUDF>,
}

impl Default for Rounding {
    fn default() -> Self {
        let signature = Signature::exact(vec![DataType::Float64], Volatility::Immutable);
        Self { to_even: Arc::new(ScalarUDF::new_from_impl(ToEven(signature))) }
    }
}

impl AnalyzerRule for Rounding {
    fn name(&self) -> &str {
        "k2_rounding"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_typed_parts_rewritten(plan, |expr, schema| Ok(self.rewrite(expr, schema)))
    }
}

impl Rounding {
    fn rewrite(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        match expr {
            Expr::Cast(Cast { expr: inner, field }) if field.data_type().is_integer() => {
                let rounded = self.rounded(*inner, schema);
                rounded.update_data(|it| Expr::Cast(Cast { expr: Box::new(it), field }))
            }
            Expr::TryCast(TryCast { expr: inner, field }) if field.data_type().is_integer() => {
                let rounded = self.rounded(*inner, schema);
                rounded.update_data(|it| Expr::TryCast(TryCast { expr: Box::new(it), field }))
            }
            other => Transformed::no(other),
        }
    }

    /// `expr` without its decimals, if it has any.
    fn rounded(&self, expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
        match expr.get_type(schema) {
            Ok(DataType::Decimal128(digits, scale)) if scale > 0 => {
                Transformed::yes(cast(expr, DataType::Decimal128(digits, 0)))
            }
            Ok(DataType::Decimal256(digits, scale)) if scale > 0 => {
                Transformed::yes(cast(expr, DataType::Decimal256(digits, 0)))
            }
            Ok(DataType::Float32 | DataType::Float64) => {
                let args = vec![cast(expr, DataType::Float64)];
                let call = ScalarFunction::new_udf(self.to_even.clone(), args);
                Transformed::yes(Expr::ScalarFunction(call))
            }
            _ => Transformed::no(expr),
        }
    }
}

/// The whole number that is nearest, and of two the even one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToEven(Signature);

impl ScalarUDFImpl for ToEven {
    fn name(&self) -> &str {
        "k2_round_to_even"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = call.args[0].to_array(call.number_rows)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let whole = numbers.unary::<_, Float64Type>(f64::round_ties_even);
        Ok(ColumnarValue::Array(Arc::new(whole)))
    }
}
