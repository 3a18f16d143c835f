//! A condition that fails once its query has to end, and lets others run meanwhile.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::aside;
use crate::stop::Stop;

/// `condition` of a query, which is asked again and again in one of its steps.
#[derive(Debug)]
pub(super) struct Alive {
    condition: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl Alive {
    pub(super) fn new(condition: Arc<dyn PhysicalExpr>, stop: Stop) -> Self {
        Self { condition, stop }
    }
}

impl PhysicalExpr for Alive {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        aside::work(|| {
            self.stop.check()?;
            self.condition.evaluate(batch)
        })
    }

    fn return_field(&self, input: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let condition = children.pop().unwrap_or_else(|| self.condition.clone());
        Ok(Arc::new(Self { condition, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}

/// It is the condition to everyone who reads the plan.
impl fmt::Display for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PartialEq for Alive {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for Alive {}

impl Hash for Alive {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}
