//! What a plan would become if columns were what they stand for.
//!
//! A plan is small where each step doubles the one below it: `SELECT a + a AS a FROM (SELECT a + a AS
//! a FROM …)`. A condition on the last one is pushed down to the table, and is then twice as large at
//! each step. A type that has itself twice is as large wherever somebody walks through it.

use arrow_schema::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::too_complex;

/// Types within a type, itself included.
const TYPES_MAX: usize = 1_000;

/// Refuses a type that is too large to be walked through again and again.
pub(crate) fn check_type(data_type: &DataType) -> Result<()> {
    if types_within(data_type, TYPES_MAX) > TYPES_MAX {
        let error = too_complex(&format!("makes a type of more than {TYPES_MAX} types"));
        return Err(DataFusionError::External(Box::new(error)));
    }
    Ok(())
}

/// The same, counted no further than a little beyond `most`.
fn types_within(data_type: &DataType, most: usize) -> usize {
    use DataType as D;
    let mut found = 1;
    let mut add = |inner: &DataType| {
        if found <= most {
            found += types_within(inner, most - found);
        }
    };
    match data_type {
        D::List(of) | D::LargeList(of) | D::ListView(of) | D::LargeListView(of) => {
            add(of.data_type());
        }
        D::FixedSizeList(of, _) | D::Map(of, _) => add(of.data_type()),
        D::Struct(fields) => fields.iter().for_each(|field| add(field.data_type())),
        D::Union(fields, _) => fields.iter().for_each(|(_, field)| add(field.data_type())),
        D::Dictionary(key, value) => {
            add(key);
            add(value);
        }
        _ => {}
    }
    found
}

/// Steps of all conditions in `plan`, as they are when they are pushed down to the tables.
pub(super) fn conditions_of(plan: &LogicalPlan) -> Result<usize> {
    let mut all = 0;
    columns_of(plan, &mut all)?;
    Ok(all)
}

/// The size of each column that `plan` makes. Adds those of its conditions to `conditions`.
fn columns_of(plan: &LogicalPlan, conditions: &mut usize) -> Result<Vec<usize>> {
    let inputs = plan.inputs();
    let mut below: Vec<(&DFSchema, Vec<usize>)> = Vec::with_capacity(inputs.len());
    for input in inputs {
        let columns = columns_of(input, conditions)?;
        below.push((input.schema(), columns));
    }
    // What rows are ordered by becomes a condition where only the first of them are wanted.
    if matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Join(_) | LogicalPlan::Sort(_)) {
        plan.apply_expressions(|condition| {
            *conditions = conditions.saturating_add(size_of(condition, &below)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(match plan {
        LogicalPlan::Projection(made) => sizes_of(&made.expr, &below)?,
        LogicalPlan::Aggregate(made) => {
            let mut columns = sizes_of(&made.group_expr, &below)?;
            columns.resize(plan.schema().fields().len(), 1);
            columns
        }
        _ => passed_on(plan.schema().fields().len(), &below),
    })
}

/// What steps pass on that make no columns. Those that add some add them behind.
fn passed_on(columns: usize, below: &[(&DFSchema, Vec<usize>)]) -> Vec<usize> {
    let mut all: Vec<usize> = match below {
        // Of several that have the same columns the largest.
        [(_, first), rest @ ..] if first.len() == columns => {
            let mut most = first.clone();
            for (_, sizes) in rest.iter().filter(|(_, sizes)| sizes.len() == columns) {
                most.iter_mut().zip(sizes).for_each(|(most, size)| *most = (*most).max(*size));
            }
            most
        }
        _ => below.iter().flat_map(|(_, sizes)| sizes).copied().collect(),
    };
    all.resize(columns, 1);
    all
}

fn sizes_of(made: &[Expr], below: &[(&DFSchema, Vec<usize>)]) -> Result<Vec<usize>> {
    made.iter().map(|expr| size_of(expr, below)).collect()
}

/// Steps of `expr`, a column counted as what it stands for.
fn size_of(expr: &Expr, below: &[(&DFSchema, Vec<usize>)]) -> Result<usize> {
    let mut size = 0_usize;
    expr.apply(|part| {
        let of_column = |column| {
            let found = below.iter().find_map(|(schema, sizes)| {
                schema.maybe_index_of_column(column).and_then(|at| sizes.get(at))
            });
            found.copied().unwrap_or(1)
        };
        size = size.saturating_add(match part {
            Expr::Column(column) => of_column(column),
            _ => 1,
        });
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Field, Fields, Schema};
    use datafusion::datasource::empty::EmptyTable;
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn conditions(sql: &str) -> usize {
        let context = SessionContext::new();
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        context.register_table("t", Arc::new(EmptyTable::new(Arc::new(schema)))).unwrap();
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        conditions_of(&plan).unwrap()
    }

    fn doubling(levels: usize, select: &str) -> String {
        let names: Vec<String> = (1..=levels)
            .map(|it| format!("c{it} AS ({})", select.replace("{}", &format!("c{}", it - 1))))
            .collect();
        format!(
            "WITH c0 AS (SELECT a FROM t), {} SELECT count(*) FROM c{levels} WHERE a = 1",
            names.join(", ")
        )
    }

    #[tokio::test]
    async fn a_condition_is_as_large_as_it_becomes_further_down() {
        assert_eq!(conditions("SELECT a FROM t").await, 0);
        assert_eq!(conditions("SELECT a FROM t WHERE a = 1").await, 3);
        for select in ["SELECT a + a AS a FROM {}", "SELECT a + a AS a FROM {} GROUP BY 1"] {
            let once = conditions(&doubling(1, select)).await;
            assert!((5..9).contains(&once), "{select}: {once}");
            let often = conditions(&doubling(10, select)).await;
            assert!((1_024..8_192).contains(&often), "{select}: {often}");
            assert!(conditions(&doubling(70, select)).await > 1 << 60, "{select}");
        }
        let all = "SELECT * FROM t UNION ALL SELECT a + a FROM t";
        assert_eq!(conditions(&format!("SELECT * FROM ({all}) AS u WHERE a = 1")).await, 5);
        assert_eq!(
            conditions("SELECT 1 FROM t JOIN (SELECT a + a AS b FROM t) u ON a < b").await,
            6
        );
    }

    #[test]
    fn a_type_that_doubles_is_refused_where_it_begins_to_matter() {
        let mut data_type = DataType::Int64;
        check_type(&data_type).unwrap();
        for level in 1..64 {
            let field = |name: &str| Field::new(name, data_type.clone(), true);
            data_type = DataType::Struct(Fields::from(vec![field("l"), field("r")]));
            assert_eq!(check_type(&data_type).is_ok(), level < 9, "{level}");
        }
    }
}
