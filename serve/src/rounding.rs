//! What a cast leaves out is rounded, as in PostgreSQL.
//!
//! The kernels cut off: `2.9::int` would be 2. A decimal is rounded half away from zero, a float half to
//! the even number, and a time to the nearest one that has so few digits.
//!
//! That is done by a function in front of the cast. The optimiser takes `price::int = 60000` for `price =
//! 60000.0`, as it does with casts that lose nothing, and does not look behind a function.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_cast::cast as cast_array;
use arrow_schema::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, cast,
};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::times::per_second;
use crate::rewriting::with_typed_casts_rewritten;

#[derive(Debug)]
pub(crate) struct Rounding;

impl AnalyzerRule for Rounding {
    fn name(&self) -> &str {
        "k2_rounding"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_typed_casts_rewritten(plan, rounded_for)
    }
}

/// `expr` without what a cast to `wanted` leaves out.
fn rounded_for(expr: Expr, wanted: &DataType, schema: &DFSchema) -> Transformed<Expr> {
    let found = expr.get_type(schema);
    let Some(to) = found.ok().and_then(|found| rounded_type(&found, wanted)) else {
        return Transformed::no(expr);
    };
    // The function takes floats of 64 bits alone.
    let expr = if to == DataType::Float64 { cast(expr, to.clone()) } else { expr };
    let signature = Signature::any(1, Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(Rounded { to, signature }));
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr])))
}

/// The type of a value of type `found` when it has no more digits than one of type `wanted` may
/// have. None, if it has no more.
fn rounded_type(found: &DataType, wanted: &DataType) -> Option<DataType> {
    use DataType as D;
    let scale_wanted = match wanted {
        D::Decimal128(_, scale) | D::Decimal256(_, scale) => Some(*scale),
        whole if whole.is_integer() => Some(0),
        _ => None,
    };
    match (found, wanted) {
        (D::Decimal128(digits, scale), _) if scale_wanted? < *scale => {
            Some(D::Decimal128(*digits, scale_wanted?))
        }
        (D::Decimal256(digits, scale), _) if scale_wanted? < *scale => {
            Some(D::Decimal256(*digits, scale_wanted?))
        }
        (D::Float32 | D::Float64, whole) if whole.is_integer() => Some(D::Float64),
        (D::Timestamp(fine, zone), D::Timestamp(coarse, _))
            if per_second(*coarse) < per_second(*fine) =>
        {
            Some(D::Timestamp(*coarse, zone.clone()))
        }
        _ => None,
    }
}

/// The nearest value of a type with fewer digits; a float becomes a whole one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounded {
    to: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Rounded {
    fn name(&self) -> &str {
        "k2_rounded"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = &call.args[0];
        match (&self.to, value.data_type()) {
            (DataType::Float64, _) => {
                let floats = value.to_array(call.number_rows)?;
                let floats = floats.as_primitive::<Float64Type>();
                let whole = floats.unary::<_, Float64Type>(f64::round_ties_even);
                Ok(ColumnarValue::Array(Arc::new(whole)))
            }
            (DataType::Timestamp(coarse, _), DataType::Timestamp(fine, _)) => {
                let parts = per_second(fine) / per_second(*coarse);
                let counts = cast_array(&value.to_array(call.number_rows)?, &DataType::Int64)?;
                let nearest = |count: i64| count.saturating_add(parts / 2).div_euclid(parts);
                let counts = counts.as_primitive::<Int64Type>().unary::<_, Int64Type>(nearest);
                Ok(ColumnarValue::Array(cast_array(&counts, &self.to)?))
            }
            _ => value.cast_to(&self.to, None),
        }
    }
}
