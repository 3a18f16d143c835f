//! The present under its other names: `localtimestamp`, `clock_timestamp()` and their like.
//!
//! A query is one transaction of one statement, and reads one clock: so all of them are `now()`.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions::datetime;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::schema::ZONE;

pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let names = [
        ("localtimestamp", None),
        ("clock_timestamp", Some(ZONE)),
        ("statement_timestamp", Some(ZONE)),
        ("transaction_timestamp", Some(ZONE)),
    ];
    names.into_iter().map(|(name, zone)| {
        let now = datetime::now(&ConfigOptions::default());
        Arc::new(ScalarUDF::new_from_impl(Present { name, zone, now }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Present {
    name: &'static str,
    zone: Option<&'static str>,
    now: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Present {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        self.now.signature()
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Nanosecond, self.zone.map(Into::into)))
    }

    fn return_field_from_args(&self, _call: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name, self.return_type(&[])?, false)))
    }

    fn invoke_with_args(&self, _call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{} is not known while a query runs", self.name)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let simple = self.now.inner().simplify(args, info)?;
        Ok(match simple {
            ExprSimplifyResult::Simplified(Expr::Literal(
                ScalarValue::TimestampNanosecond(now, _),
                metadata,
            )) => {
                let now = ScalarValue::TimestampNanosecond(now, self.zone.map(Into::into));
                ExprSimplifyResult::Simplified(Expr::Literal(now, metadata))
            }
            other => other,
        })
    }
}
