//! `time_bucket(width, ts)`, as TimescaleDB has it: `date_bin` that begins where buckets do there.
//!
//! Weeks begin on Mondays, so buckets are counted from Monday, 3 January 2000; months are counted
//! from the first of that one. A third argument says from when instead.

use std::sync::Arc;

use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::functions::datetime;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::NANOS_PER_SECOND;
use crate::schema::ZONE;

/// The first of January 2000, and the first Monday of it.
const FIRST_DAY: i64 = 946_684_800 * NANOS_PER_SECOND;
const FIRST_MONDAY: i64 = 946_857_600 * NANOS_PER_SECOND;

pub(super) fn time_bucket() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    let builtin = datetime::date_bin();
    Arc::new(ScalarUDF::new_from_impl(TimeBucket { builtin, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBucket {
    builtin: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (width, time, origin) = match arguments {
            [width, time] => (width, time, None),
            [width, time, origin] => (width, time, Some(origin)),
            _ => return plan_err!("time_bucket takes a width, a time and, if need be, an origin"),
        };
        if !matches!(width, DataType::Interval(_)) && !width.is_string() {
            return plan_err!("{width} is no width of a bucket, which is an interval");
        }
        let zoned = |unit| DataType::Timestamp(unit, Some(ZONE.into()));
        let time = match time {
            DataType::Timestamp(_, _) => time.clone(),
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
            time if time.is_string() || time.is_null() => zoned(TimeUnit::Nanosecond),
            other => return plan_err!("time_bucket takes a time, and {other} is none"),
        };
        // What `date_bin` takes for an origin.
        let from = match &time {
            DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Nanosecond, None),
            _ => zoned(TimeUnit::Nanosecond),
        };
        let mut kinds = vec![DataType::Interval(IntervalUnit::MonthDayNano), time];
        kinds.extend(origin.map(|_| from));
        Ok(kinds)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, time, ..] => Ok(time.clone()),
            _ => plan_err!("time_bucket takes a width and a time"),
        }
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [width, time] = &call.args[..] {
            let ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(width)) = width else {
                return exec_err!("time_bucket takes a constant width");
            };
            let counts_months = width.is_some_and(|width| width.months != 0);
            let origin = if counts_months { FIRST_DAY } else { FIRST_MONDAY };
            let zone = match time.data_type() {
                DataType::Timestamp(_, zone) => zone,
                _ => None,
            };
            let origin = ScalarValue::TimestampNanosecond(Some(origin), zone);
            call.args.push(ColumnarValue::Scalar(origin));
        }
        self.builtin.inner().invoke_with_args(call)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.builtin.inner().output_ordering(inputs)
    }
}
