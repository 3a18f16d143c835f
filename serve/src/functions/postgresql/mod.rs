//! Functions that PostgreSQL has and DataFusion has not, or has for floats alone.
//!
//! * `numbers` computes with decimals as decimals: prices stay exact.

mod numbers;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// All that stand beside the functions of DataFusion, or in the place of one of them.
pub(crate) fn scalars() -> Vec<Arc<ScalarUDF>> {
    numbers::all()
}
