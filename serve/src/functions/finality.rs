//! `k2_final(venue, window_end)`: whether a bar can still change by what comes in time, and
//! `k2_clock(venue)`: the greatest event time at a venue, in nanoseconds.
//!
//! A bar is final once an event at least the allowed lateness after its end has come at its venue.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{BooleanArray, Int64Array};
use arrow_schema::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::schema::nanos;

const FINAL: &str = "k2_final";
const CLOCK: &str = "k2_clock";

/// Whether a function of this name needs to know the clocks.
pub(crate) fn needs_clocks(function: &str) -> bool {
    [FINAL, CLOCK].contains(&function)
}

/// Of each venue the greatest event time over its trades.
pub(crate) type VenueClocks = BTreeMap<String, i64>;

/// The clocks of one query: known before it runs, but not while it is planned, because only a
/// query that asks for `final` pays for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clocks(Arc<OnceLock<Arc<VenueClocks>>>);

/// Those of one query are the same, known or not.
impl PartialEq for Clocks {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Clocks {}

impl Hash for Clocks {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

impl Clocks {
    /// Sets them, unless they are known.
    pub(crate) fn set(&self, clocks: Arc<VenueClocks>) {
        let _ = self.0.set(clocks);
    }
}

/// Whether a window that ends at `end` is final by the clock of its venue.
pub(crate) fn is_past(end: i64, lateness_ns: i64, clock: Option<i64>) -> bool {
    clock.is_some_and(|clock| end.saturating_add(lateness_ns) <= clock)
}

pub(crate) fn is_final(clocks: Clocks, lateness_ns: i64) -> ScalarUDF {
    let types = vec![DataType::Utf8, nanos()];
    // Stable, not immutable: the planner must not evaluate it before the clocks are known.
    let signature = Signature::exact(types, Volatility::Stable);
    ScalarUDF::new_from_impl(IsFinal { signature, clocks, lateness_ns })
}

pub(crate) fn clock(clocks: Clocks) -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Utf8], Volatility::Stable);
    ScalarUDF::new_from_impl(Clock { signature, clocks })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Clock {
    signature: Signature,
    clocks: Clocks,
}

impl ScalarUDFImpl for Clock {
    fn name(&self) -> &str {
        CLOCK
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let (Some(clocks), [venues]) = (self.clocks.0.get(), &arrays[..]) else {
            return exec_err!("{CLOCK}: the clocks of the venues are not known");
        };
        let venues = venues.as_string::<i32>().iter();
        let clocks = venues.map(|venue| clocks.get(venue?).copied()).collect::<Int64Array>();
        Ok(ColumnarValue::Array(Arc::new(clocks)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IsFinal {
    signature: Signature,
    clocks: Clocks,
    lateness_ns: i64,
}

impl ScalarUDFImpl for IsFinal {
    fn name(&self) -> &str {
        FINAL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let [venues, ends] = &arrays[..] else {
            return exec_err!("{FINAL} takes a venue and the end of a window");
        };
        let Some(clocks) = self.clocks.0.get() else {
            return exec_err!("{FINAL}: the clocks of the venues are not known");
        };
        let (venues, ends) =
            (venues.as_string::<i32>(), ends.as_primitive::<TimestampNanosecondType>());
        let is_final = (0..ends.len()).map(|row| {
            let clock = clocks.get(venues.value(row));
            is_past(ends.value(row), self.lateness_ns, clock.copied())
        });
        Ok(ColumnarValue::Array(Arc::new(is_final.map(Some).collect::<BooleanArray>())))
    }
}
