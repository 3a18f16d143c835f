//! What a query can name. One catalog for each query, over what the query has pinned; a table
//! costs nothing until it is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::datasource::ViewTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableType, col};
use k2_model::{DataType, Timeframe};
use k2_sinks::{Snapshot, Table};

use crate::answer::{MomentMeta, Sources};
use crate::config::EngineConfig;
use crate::error::Error;
use crate::functions::finality::{Clocks, clock, is_final};
use crate::pg::{Backend, backend_functions};
use crate::pg_catalog::{CatalogTables, INFORMATION_SCHEMA, PG_CATALOG};
use crate::pinned::{Pinned, Trace};
use crate::schema;
use crate::stop::Stop;
use crate::tables::counted::Side;
use crate::tables::memory::{MakeRows, MemoryTable};
use crate::tables::stored::StoredTable;
use crate::views::{bars, definitions, health, memory};

pub(crate) const CATALOG: &str = "k2";
pub(crate) const SCHEMA: &str = "market_data";
/// Where PostgreSQL has the tables that nobody has put elsewhere: another name of the same.
pub(crate) const PUBLIC: &str = "public";
/// Views in memory under the names of the views that they are a part of.
const LIVE: &str = "live";

const NAMES: [&str; 11] = [
    "trades",
    "quotes",
    "rejects",
    "gap_changes",
    "gaps",
    "gaps_open",
    "latest_trade",
    "latest_quote",
    "symbols",
    "feed_health",
    "snapshots",
];

/// The names of all tables and views.
pub(crate) fn table_names() -> Vec<String> {
    let bars = Timeframe::ALL.map(|timeframe| format!("ohlcv_{timeframe}"));
    NAMES.map(str::to_owned).into_iter().chain(bars).collect()
}

/// Whether `name` is a table; the others are views.
pub(crate) fn is_stored(name: &str) -> bool {
    NAMES[..4].contains(&name)
}

/// Everything that the tables of one query are made of.
pub(crate) struct Scope {
    /// The session that asks, where there are sessions.
    pub(crate) backend: Option<Backend>,
    pub(crate) pinned: Arc<Pinned>,
    /// By schema: those of the moments that the query names besides.
    pub(crate) moments: BTreeMap<String, Arc<Self>>,
    pub(crate) trace: Arc<Trace>,
    pub(crate) clocks: Clocks,
    pub(crate) config: Arc<EngineConfig>,
    pub(crate) snapshots: Arc<dyn Fn() -> Vec<Snapshot> + Send + Sync>,
    /// When the query has to end.
    pub(crate) stop: Stop,
    /// Without a catalog; each plan gets the one of this scope.
    pub(crate) base: Arc<SessionState>,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl Scope {
    /// A session that names the tables of `self`.
    pub(crate) fn session(self: &Arc<Self>) -> SessionState {
        let mut state = SessionState::clone(&self.base);
        state.register_catalog_list(Arc::new(Catalogs(self.clone())));
        state.config_mut().options_mut().extensions.insert(self.stop.clone());
        // What now() is.
        state.mark_start_execution();
        let clock = clock(self.clocks.clone());
        let _new = state.register_udf(Arc::new(clock));
        for function in self.backend.iter().flat_map(backend_functions) {
            // In place of the one that knows no session. This registry takes all that it is given.
            let _replaced = state.register_udf(function);
        }
        state
    }

    /// This, and those of all moments.
    pub(crate) fn all(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::once(self).chain(self.moments.values())
    }

    /// The one that the answer is of: the only moment that is named, where nothing else is read.
    pub(crate) fn told(self: &Arc<Self>) -> &Arc<Self> {
        let mut moments = self.moments.values();
        match (moments.next(), moments.next()) {
            (Some(only), None) if self.trace.touched().is_empty() => only,
            _ => self,
        }
    }

    /// The rows that each side contributed, at all moments.
    pub(crate) fn sources(self: &Arc<Self>) -> Sources {
        self.all().map(|scope| scope.trace.sources()).fold(Sources::default(), |sum, more| {
            Sources { iceberg: sum.iceberg + more.iceberg, live: sum.live + more.live }
        })
    }

    pub(crate) fn as_moment(&self, at: &str) -> MomentMeta {
        MomentMeta {
            at: at.to_owned(),
            snapshot_id: self.pinned.snapshot_id(Table::ANCHOR),
            snapshots: self.pinned.snapshots(),
            sources: self.trace.sources(),
        }
    }

    pub(crate) async fn provider(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let is_live = self.pinned.views().is_some();
        Ok(Some(match name {
            "trades" => self.stored(Table::Trades),
            "quotes" => self.stored(Table::Quotes),
            "rejects" => self.stored(Table::Rejects),
            "gap_changes" => self.stored(Table::Gaps),
            "gaps" => self.view(definitions::gaps(&self.config.severity)).await?,
            "gaps_open" if is_live => self.gaps_open(),
            "gaps_open" => self.view(definitions::GAPS_OPEN.to_owned()).await?,
            "latest_trade" if is_live => self.latest_trade(),
            "latest_trade" => self.view(definitions::latest("trades")).await?,
            "latest_quote" if is_live => self.latest_quote(),
            "latest_quote" => self.view(definitions::latest("quotes")).await?,
            "symbols" if is_live => self.symbols(),
            "symbols" => self.view(definitions::symbols()).await?,
            "feed_health" => self.feed_health(),
            "snapshots" => self.snapshots(),
            _ => match timeframe_of(name) {
                Some(timeframe) => self.bars(timeframe).await?,
                None => return Ok(None),
            },
        }))
    }

    fn stored(&self, table: Table) -> Arc<dyn TableProvider> {
        Arc::new(StoredTable::new(table, self.pinned.clone(), self.trace.clone()))
    }

    async fn plan(self: &Arc<Self>, sql: &str) -> Result<LogicalPlan> {
        // Views are defined over tables and over each other, which is a cycle of futures.
        Box::pin(self.session().create_logical_plan(sql)).await
    }

    async fn view(self: &Arc<Self>, sql: String) -> Result<Arc<dyn TableProvider>> {
        let plan = self.plan(&sql).await?;
        Ok(Arc::new(ViewTable::new(plan, Some(sql))))
    }

    async fn bars(self: &Arc<Self>, timeframe: Timeframe) -> Result<Arc<dyn TableProvider>> {
        let sql = if self.pinned.views().is_some() {
            definitions::bars_live(timeframe, bars::bars_from(&self.pinned))
        } else {
            definitions::bars(timeframe, None)
        };
        let plan = self.plan(&sql).await?;
        let is_final = is_final(self.clocks.clone(), self.config.lateness_ns);
        let is_final = is_final.call(vec![col("venue"), col("window_end")]).alias("final");
        let columns = schema::BARS.fields().iter().map(|field| col(field.name()));
        let columns: Vec<_> = columns.chain([is_final]).collect();
        let plan = LogicalPlanBuilder::from(plan).project(columns)?.build()?;
        Ok(Arc::new(ViewTable::new(plan, Some(sql))))
    }

    fn memory(
        &self,
        schema: arrow_schema::SchemaRef,
        side: Side,
        touches: &'static [Option<DataType>],
        rows: MakeRows,
    ) -> Arc<dyn TableProvider> {
        Arc::new(MemoryTable::new(schema, side, touches, self.trace.clone(), rows))
    }

    fn bars_in_memory(&self, timeframe: Timeframe) -> Arc<dyn TableProvider> {
        let pinned = self.pinned.clone();
        let rows = move |constraint: &_| bars::rows(&pinned, timeframe, constraint);
        let touches = &[Some(DataType::Trades)];
        self.memory(schema::BARS.clone(), Side::Live, touches, Box::new(rows))
    }

    fn latest_trade(&self) -> Arc<dyn TableProvider> {
        let (pinned, schema) = (self.pinned.clone(), schema::of_table(Table::Trades));
        let rows = move |constraint: &_| {
            memory::latest(&pinned, constraint, DataType::Trades, |views| &views.latest_trade)
        };
        self.memory(schema, Side::Live, &[Some(DataType::Trades)], Box::new(rows))
    }

    fn latest_quote(&self) -> Arc<dyn TableProvider> {
        let (pinned, schema) = (self.pinned.clone(), schema::of_table(Table::Quotes));
        let rows = move |constraint: &_| {
            memory::latest(&pinned, constraint, DataType::Quotes, |views| &views.latest_quote)
        };
        self.memory(schema, Side::Live, &[Some(DataType::Quotes)], Box::new(rows))
    }

    fn symbols(&self) -> Arc<dyn TableProvider> {
        let pinned = self.pinned.clone();
        let rows = move |constraint: &_| memory::symbols(&pinned, constraint);
        // As the view over the tables, so that both tell the same gaps.
        let touches = &[Some(DataType::Trades), Some(DataType::Quotes)];
        self.memory(schema::SYMBOLS.clone(), Side::Live, touches, Box::new(rows))
    }

    fn gaps_open(&self) -> Arc<dyn TableProvider> {
        let (pinned, severity) = (self.pinned.clone(), self.config.severity);
        let rows = move |constraint: &_| memory::gaps_open(&pinned, &severity, constraint);
        self.memory(schema::GAPS_OPEN.clone(), Side::Live, &[None], Box::new(rows))
    }

    fn feed_health(&self) -> Arc<dyn TableProvider> {
        let (pinned, config) = (self.pinned.clone(), self.config.clone());
        let side = if pinned.live.is_some() { Side::Live } else { Side::Iceberg };
        let rows = move |_: &_| {
            if pinned.is_past() {
                return Err(DataFusionError::External(Box::new(no_history())));
            }
            if pinned.live.is_some() {
                return health::rows(pinned.streams());
            }
            let Some(state) = &pinned.cold.position.state else { return Ok(Vec::new()) };
            let streams = health::saved_streams(state, &config.instruments)
                .map_err(|error| DataFusionError::External(error.into()))?;
            health::rows(streams.iter().map(|(stream, counts)| (stream, counts)))
        };
        self.memory(schema::FEED_HEALTH.clone(), side, &[None], Box::new(rows))
    }

    fn snapshots(&self) -> Arc<dyn TableProvider> {
        let (pinned, list) = (self.pinned.clone(), self.snapshots.clone());
        let rows = move |_: &_| {
            let mut snapshots = list();
            if pinned.is_past() {
                keep_until(&mut snapshots, pinned.token().snapshot_id);
            }
            memory::snapshots(&snapshots)
        };
        self.memory(schema::SNAPSHOTS.clone(), Side::Iceberg, &[], Box::new(rows))
    }
}

/// Keeps the snapshots that were there when `anchor` was the anchor's current one.
fn keep_until(snapshots: &mut Vec<Snapshot>, anchor: Option<i64>) {
    let of_anchor = |snapshot: &&Snapshot| Some(snapshot.snapshot_id) == anchor;
    let end = snapshots.iter().find(of_anchor).map_or(i64::MIN, |found| found.timestamp_ms);
    snapshots.retain(|snapshot| snapshot.timestamp_ms <= end);
    // Of each table they stand oldest first.
    for at in 0..snapshots.len() {
        let next = snapshots.get(at + 1).map(|next| next.table);
        snapshots[at].is_current = next != Some(snapshots[at].table);
    }
}

fn no_history() -> Error {
    Error::bad_request(
        "no_history",
        "answer feed_health as of an earlier moment: it has no history",
    )
    .with_hint("ask without as_of, or count over trades, quotes, rejects and gaps")
}

fn timeframe_of(name: &str) -> Option<Timeframe> {
    Timeframe::named(name.strip_prefix("ohlcv_")?)
}

#[derive(Debug)]
struct Catalogs(Arc<Scope>);

impl CatalogProviderList for Catalogs {
    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(Catalog(self.0.clone())) as _)
    }
}

#[derive(Debug)]
struct Catalog(Arc<Scope>);

impl Catalog {
    fn of_postgresql(&self, schema: &'static str) -> Arc<dyn SchemaProvider> {
        Arc::new(CatalogTables { schema, scope: self.0.clone() })
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            SCHEMA | PUBLIC => Some(Arc::new(Tables(self.0.clone()))),
            LIVE => Some(Arc::new(LiveViews(self.0.clone()))),
            PG_CATALOG => Some(self.of_postgresql(PG_CATALOG)),
            INFORMATION_SCHEMA => Some(self.of_postgresql(INFORMATION_SCHEMA)),
            moment => {
                let scope = self.0.moments.get(moment)?;
                Some(Arc::new(Tables(scope.clone())))
            }
        }
    }
}

#[derive(Debug)]
struct Tables(Arc<Scope>);

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.0.provider(name).await
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self
            .table_exist(name)
            .then(|| if is_stored(name) { TableType::Base } else { TableType::View }))
    }

    fn table_exist(&self, name: &str) -> bool {
        NAMES.contains(&name) || timeframe_of(name).is_some()
    }
}

/// What definitions of views name; not listed anywhere.
#[derive(Debug)]
struct LiveViews(Arc<Scope>);

#[async_trait]
impl SchemaProvider for LiveViews {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(timeframe_of(name).map(|timeframe| self.0.bars_in_memory(timeframe)))
    }

    fn table_exist(&self, name: &str) -> bool {
        timeframe_of(name).is_some()
    }
}
