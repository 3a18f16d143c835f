//! Joins that can be stopped.
//!
//! A query is stopped where it gives its thread back. By itself it does so now and then as it
//! reads, but a join makes millions of rows of a few thousand, and would hold its thread until it
//! is through with them, whatever the time limit says.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::unnest::UnnestExec;

/// Lets what makes more rows than it reads give its thread back while it does.
#[derive(Debug)]
pub(crate) struct YieldingJoins;

impl PhysicalOptimizerRule for YieldingJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let yielding = plan.transform_up(|node| {
            let multiplies = node.children().len() > 1 || node.is::<UnnestExec>();
            let yields = node.properties().scheduling_type == SchedulingType::Cooperative;
            Ok(match multiplies && !yields {
                true => Transformed::yes(Arc::new(CooperativeExec::new(node)) as _),
                false => Transformed::no(node),
            })
        });
        yielding.data()
    }

    fn name(&self) -> &str {
        "yielding_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
