//! The session that all queries of an engine share, but for their catalogs and their memory.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::prelude::SessionConfig;

use crate::catalog::{CATALOG, SCHEMA};
use crate::columns;
use crate::composed;
use crate::config::EngineConfig;
use crate::functions::arithmetic::Operators;
use crate::functions::exact::exact;
use crate::functions::guarded::{GuardedLiterals, Guards, guarded};
use crate::functions::postgresql::literals::Literals;
use crate::functions::{bar, postgresql, times, twap, window};
use crate::memory::QueryMemory;
use crate::pg_catalog;
use crate::rounding::Rounding;
use crate::seconds::Seconds;
use crate::spelling::Spellings;
use crate::texts::Texts;
use crate::yielding::YieldingJoins;

/// Functions and rules of the planner, and the caches that outlive a query.
pub(crate) fn base(config: &EngineConfig) -> Result<SessionState> {
    let runtime = RuntimeEnvBuilder::new()
        .with_metadata_cache_limit(config.metadata_cache_bytes)
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        )
        .build_arc()?;
    let mut state = SessionStateBuilder::new()
        .with_config(session_config(config))
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rules(composed::rules())
        .with_analyzer_rule(Arc::new(Literals))
        .with_analyzer_rule(Arc::new(Seconds))
        .with_analyzer_rule(Arc::new(Spellings::new(&config.instruments)))
        .with_analyzer_rule(Arc::new(Rounding))
        .with_analyzer_rule(Arc::new(Texts))
        .with_analyzer_rule(Arc::new(Guards))
        .build();
    // Files are read through tables alone.
    state.table_factories_mut().clear();
    let mut scalar = state.scalar_functions().values().cloned().collect::<Vec<_>>();
    scalar.extend([Arc::new(window::window()), Arc::new(window::window_end())]);
    scalar.extend(pg_catalog::functions::all());
    scalar.extend(columns::functions());
    scalar.extend(postgresql::scalars());
    let scalar = times::with_times(scalar).into_iter().map(guarded).collect();
    let aggregate = state.aggregate_functions().values().cloned();
    let mut aggregate = aggregate.map(exact).map(postgresql::spread).collect::<Vec<_>>();
    aggregate.extend([Arc::new(bar::bar()), Arc::new(twap::twap())]);
    aggregate.extend(postgresql::aggregates());
    let mut planners: Vec<Arc<dyn ExprPlanner>> =
        vec![Arc::new(Operators), Arc::new(GuardedLiterals), Arc::new(times::Extracts)];
    planners.extend(state.expr_planners().iter().cloned());
    Ok(SessionStateBuilder::new_from_existing(state)
        .with_expr_planners(planners)
        .with_scalar_functions(scalar)
        .with_aggregate_functions(aggregate)
        .with_physical_optimizer_rule(Arc::new(YieldingJoins))
        .build())
}

fn session_config(config: &EngineConfig) -> SessionConfig {
    let mut session = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // Ours is that of PostgreSQL: `pg_catalog`.
        .with_information_schema(false)
        .with_target_partitions(config.parallelism.max(1));
    let options = session.options_mut();
    // Texts are plain in the tables, so that plain literals compare without a cast.
    options.sql_parser.map_string_types_to_utf8view = false;
    // `LIMIT` of an ordered query takes the first of that order, as in PostgreSQL.
    options.sql_parser.enable_subquery_sort_elimination = false;
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    options.execution.collect_statistics = false;
    // Prices are exact, so the literals that they are compared with are too.
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some("UTC".to_owned());
    session
}

/// Where one query runs: the caches of all, and memory of its own.
pub(crate) fn task(state: &SessionState, memory: Arc<QueryMemory>) -> Arc<TaskContext> {
    let runtime = RuntimeEnv { memory_pool: memory, ..RuntimeEnv::clone(state.runtime_env()) };
    // Functions are looked up by name only where plans travel between processes.
    Arc::new(TaskContext::new(
        None,
        state.session_id().to_owned(),
        state.config().clone(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        Arc::new(runtime),
    ))
}
