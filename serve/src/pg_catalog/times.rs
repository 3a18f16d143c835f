//! `ts AT TIME ZONE zone` is `timezone(zone, ts)`, as it is in PostgreSQL: the planner takes it for a
//! cast, which moves no clock. And `age(ts)` is that of the midnight that today began with.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArguments};

use super::rewrite::last_of;
use super::written::{argument, call};

pub(super) fn rewrite_zone(expr: &mut Expr) {
    let Expr::AtTimeZone { timestamp, time_zone } = expr else { return };
    let arguments = vec![(**time_zone).clone(), (**timestamp).clone()];
    *expr = call("timezone", arguments);
}

/// Gives `age` of one time the other one.
pub(super) fn rewrite_age(function: &mut Function) {
    if let FunctionArguments::List(list) = &mut function.args
        && list.args.len() == 1
        && last_of(&function.name) == "age"
    {
        list.args.insert(0, argument(call("current_date", Vec::new())));
    }
}
