//! `pg_typeof(x)`: which type of PostgreSQL a value is of.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::pg::wire_type;

pub(super) fn type_of() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(TypeOf { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TypeOf {
    signature: Signature,
}

impl ScalarUDFImpl for TypeOf {
    fn name(&self) -> &str {
        "pg_typeof"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = &call.args[..] else { return exec_err!("pg_typeof takes one value") };
        Ok(ColumnarValue::Scalar(ScalarValue::from(named(&value.data_type()))))
    }
}

/// As `format_type` writes a type, without its digits.
fn named(kind: &DataType) -> String {
    if kind.is_null() {
        return "unknown".to_owned();
    }
    let known = wire_type(kind);
    let name = known.kind.long_name;
    if known.is_array { format!("{name}[]") } else { name.to_owned() }
}
