//! `k2_covered(source, partition, offset)`: whether a record was in at the moment of an answer.

use std::sync::Arc;

use arrow_array::BooleanArray;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_schema::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, col,
};
use k2_model::{Coordinates, Offsets, Origin};

const NAME: &str = "k2_covered";

/// The filter that lets pass exactly the records below `offsets`.
pub(crate) fn covered(offsets: Arc<Offsets>) -> Expr {
    let types = vec![DataType::Utf8, DataType::Int32, DataType::Int64];
    let signature = Signature::exact(types, Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(Covered { signature, offsets });
    function.call(vec![col("source"), col("partition"), col("offset")])
}

#[derive(Debug)]
struct Covered {
    signature: Signature,
    offsets: Arc<Offsets>,
}

impl PartialEq for Covered {
    fn eq(&self, other: &Self) -> bool {
        self.offsets == other.offsets
    }
}

impl Eq for Covered {}

impl std::hash::Hash for Covered {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.offsets.iter().for_each(|pair| pair.hash(state));
    }
}

impl ScalarUDFImpl for Covered {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let [sources, partitions, offsets] = &arrays[..] else {
            return exec_err!("{NAME} takes source, partition and offset");
        };
        let (sources, partitions) =
            (sources.as_string::<i32>(), partitions.as_primitive::<Int32Type>());
        let offsets = offsets.as_primitive::<Int64Type>();
        // Neighbours mostly come from the same origin.
        let mut last: Option<(&str, i32, Origin)> = None;
        let covered = (0..offsets.len()).map(|row| {
            let (source, partition) = (sources.value(row), partitions.value(row));
            let origin = match last {
                Some((known, number, origin)) if known == source && number == partition => origin,
                _ => Origin::new(source, partition),
            };
            last = Some((source, partition, origin));
            // Offsets are stored as `long`; their bits are those of the number.
            self.offsets.covers(Coordinates { origin, offset: offsets.value(row) as u64 })
        });
        Ok(ColumnarValue::Array(Arc::new(covered.map(Some).collect::<BooleanArray>())))
    }
}
