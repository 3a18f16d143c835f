//! `round(x)` of floats: half to the even number, as in PostgreSQL.
//!
//! That of DataFusion rounds a half away from zero whatever it is of. PostgreSQL does so with decimals
//! alone, and they are left to DataFusion, as is all that has digits to round to.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrayRef, Float32Array, Float64Array};
use arrow_schema::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::math;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

pub(super) fn round() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Round(math::round())))
}

/// That of DataFusion, and what it does with floats.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Round(Arc<ScalarUDF>);

impl Round {
    fn inner(&self) -> &dyn ScalarUDFImpl {
        self.0.inner().as_ref()
    }
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn aliases(&self) -> &[String] {
        self.inner().aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner().signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner().return_type(arguments)
    }

    fn return_field_from_args(&self, call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner().return_field_from_args(call)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &call.args[..] {
            [ColumnarValue::Scalar(ScalarValue::Float64(value))] => {
                let rounded = value.map(f64::round_ties_even);
                Ok(ColumnarValue::Scalar(ScalarValue::Float64(rounded)))
            }
            [ColumnarValue::Scalar(ScalarValue::Float32(value))] => {
                let rounded = value.map(f32::round_ties_even);
                Ok(ColumnarValue::Scalar(ScalarValue::Float32(rounded)))
            }
            [ColumnarValue::Array(array)] => match rounded(array) {
                Some(rounded) => Ok(ColumnarValue::Array(rounded)),
                None => self.inner().invoke_with_args(call),
            },
            _ => self.inner().invoke_with_args(call),
        }
    }

    /// It keeps the order of what it rounds, in either way.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner().output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner().documentation()
    }
}

/// `None` if it is not of floats.
fn rounded(array: &ArrayRef) -> Option<ArrayRef> {
    if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
        let rounded: Float64Array = floats.unary(f64::round_ties_even);
        return Some(Arc::new(rounded));
    }
    let floats = array.as_primitive_opt::<Float32Type>()?;
    let rounded: Float32Array = floats.unary(f32::round_ties_even);
    Some(Arc::new(rounded))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Array, Int64Array};

    use super::*;

    #[test]
    fn a_half_becomes_the_even_number() {
        let values = vec![Some(0.5), Some(1.5), Some(2.5), Some(-1.5), Some(-2.5), None, Some(2.6)];
        let wanted = vec![Some(0.0), Some(2.0), Some(2.0), Some(-2.0), Some(-2.0), None, Some(3.0)];
        let array: ArrayRef = Arc::new(Float64Array::from(values));
        let found = rounded(&array).unwrap();
        assert_eq!(found.as_primitive::<Float64Type>(), &Float64Array::from(wanted));
        let small: ArrayRef = Arc::new(Float32Array::from(vec![0.5, 3.5]));
        let found = rounded(&small).unwrap();
        assert_eq!(found.as_primitive::<Float32Type>().values(), &[0.0, 4.0]);
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert_eq!(rounded(&whole).map(|it| it.len()), None, "is left");
    }
}
