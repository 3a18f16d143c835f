//! `k2_window(ts_event, step)`: the start of the window that an event time lies in, and
//! `k2_window_end(window_start, step)`.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampNanosecondType};
use arrow_schema::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use k2_model::Nanos;

use crate::schema::{ZONE, nanos};

pub(crate) const WINDOW: &str = "k2_window";
const WINDOW_END: &str = "k2_window_end";

pub(crate) fn window() -> ScalarUDF {
    let types = vec![DataType::Int64, DataType::Int64];
    ScalarUDF::new_from_impl(Window { signature: Signature::exact(types, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Window {
    signature: Signature,
}

impl ScalarUDFImpl for Window {
    fn name(&self) -> &str {
        WINDOW
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(nanos())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (times, step) = times_and_step(WINDOW, &call)?;
        let starts = times
            .as_primitive::<Int64Type>()
            .unary::<_, TimestampNanosecondType>(|ts_event| Nanos(ts_event).floor(step).0);
        Ok(ColumnarValue::Array(Arc::new(starts.with_timezone(ZONE))))
    }
}

pub(crate) fn window_end() -> ScalarUDF {
    let types = vec![nanos(), DataType::Int64];
    let signature = Signature::exact(types, Volatility::Immutable);
    ScalarUDF::new_from_impl(WindowEnd { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowEnd {
    signature: Signature,
}

impl ScalarUDFImpl for WindowEnd {
    fn name(&self) -> &str {
        WINDOW_END
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(nanos())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (starts, step) = times_and_step(WINDOW_END, &call)?;
        let ends = starts
            .as_primitive::<TimestampNanosecondType>()
            .unary::<_, TimestampNanosecondType>(|start| start.saturating_add(step));
        Ok(ColumnarValue::Array(Arc::new(ends.with_timezone(ZONE))))
    }
}

fn times_and_step(name: &str, call: &ScalarFunctionArgs) -> Result<(Arc<dyn Array>, i64)> {
    match &call.args[..] {
        [times, ColumnarValue::Scalar(ScalarValue::Int64(Some(step)))] if *step > 0 => {
            Ok((times.to_array(call.number_rows)?, *step))
        }
        _ => exec_err!("{name} takes times and the length of a window, which is above 0"),
    }
}
