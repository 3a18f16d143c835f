//! `power(a, b)` of decimals, in floats.
//!
//! That of DataFusion gives a decimal with the digits that the base has behind its point, and cuts off
//! the rest: `power(0.5, 2)` is `0.2`, and `power(price, 3)` has too many digits on its way. A power has
//! more digits than any type, so it is a float here whatever it is of.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::functions::math;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

pub(super) fn power() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(Power { inner: math::power(), signature }))
}

/// That of DataFusion, which only ever gets floats.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Power {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Power {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |kind: &DataType| kind.is_numeric() || kind.is_null() || kind.is_string();
        if given.len() != 2 || !given.iter().all(is_number) {
            return plan_err!("power takes two numbers");
        }
        Ok(vec![DataType::Float64; 2])
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.inner().invoke_with_args(call)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.inner().documentation()
    }
}
