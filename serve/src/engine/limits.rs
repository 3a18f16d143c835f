//! What becomes of a query that reaches its limits.

use crate::config::Limits;
use crate::error::{Error, ErrorKind};

fn limit_reached(code: &'static str, message: String) -> Error {
    Error::new(ErrorKind::LimitReached, code, message)
}

pub(super) fn too_many_rows(limits: Limits) -> Error {
    let message = format!("answer a query: it has more than {} rows", limits.rows_max);
    limit_reached("limit_rows", message)
        .with_hint("add LIMIT, or narrow the time range and the symbols in WHERE")
}

pub(super) fn too_large(limits: Limits) -> Error {
    let message = format!(
        "answer a query: its rows take more than the {} MiB that a query may hold",
        limits.memory_bytes_max >> 20
    );
    limit_reached("limit_memory", message).with_hint("add LIMIT, or select fewer columns")
}
