//! Functions that PostgreSQL has and DataFusion has not, or has for floats alone.
//!
//! * `numbers` computes with decimals as decimals: prices stay exact. `powers` are floats.
//! * `rounded` rounds floats, half to the even number.
//! * `texts` has `format`, and what a text is quoted or digested by.
//! * `series` has `generate_series` of whatever PostgreSQL takes.
//! * `most` has the aggregate `mode`, and `types` tells what a value is.
//! * `spread` keeps `stddev` and `variance` precise over windows.
//! * `literals` reads texts as PostgreSQL does, and `spans` those that are intervals.

pub(crate) mod literals;
mod most;
mod numbers;
mod powers;
mod rounded;
mod series;
pub(crate) mod spans;
mod spread;
mod texts;
mod types;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
pub(crate) use most::MODE;
pub(crate) use spread::spread;

/// All that stand beside the functions of DataFusion, or in the place of one of them.
pub(crate) fn scalars() -> Vec<Arc<ScalarUDF>> {
    let mut all = numbers::all();
    all.extend(texts::all());
    all.extend([powers::power(), rounded::round(), series::series(), types::type_of()]);
    all
}

pub(crate) fn aggregates() -> Vec<Arc<AggregateUDF>> {
    vec![most::mode()]
}
