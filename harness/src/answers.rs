//! What the product answers, asked in SQL, in the words of the oracle.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use k2_dataflows::Job;
use k2_serve::{Answer, Engine, EngineConfig, Error, Format, Limits, Request, write_rows};
use k2_sinks::{Lake, LakeConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::job::SINK_ID;
use crate::oracle::{CanonicalBar, CanonicalGap, CanonicalQuote, CanonicalTrade, ResultHash};

/// Names of the views of bars, and what the oracle calls their timeframe.
const TIMEFRAMES: [&str; 6] = ["1m", "5m", "15m", "30m", "1h", "1d"];

/// Asks an engine, and waits for what it says.
pub struct Asker {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Asker {
    /// Asks a running job.
    pub fn live(job: &Job) -> Self {
        let engine = Engine::live(job.live(), job.lake(), config());
        Self::of(engine.expect("an engine over a running job"))
    }

    /// Asks the tables in `dir`, as another process would.
    pub fn offline(dir: &Path) -> Self {
        let lake = Lake::open_read_only(LakeConfig::new(dir, SINK_ID));
        let lake = lake.expect("a lake that was committed to opens for reading");
        let engine = Engine::offline(Arc::new(lake), config());
        Self::of(engine.expect("an engine over the tables"))
    }

    fn of(engine: Engine) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        Self { engine, runtime: runtime.expect("threads for queries") }
    }

    pub fn ask(&self, request: Request) -> Result<Answer, Error> {
        self.runtime.block_on(self.engine.query(request))
    }

    /// The answer to `sql`.
    ///
    /// # Panics
    /// If there is none.
    pub fn answer(&self, sql: &str) -> Answer {
        self.ask(Request::new(sql)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The rows that answer `sql`.
    pub fn rows<T: DeserializeOwned>(&self, sql: &str) -> Vec<T> {
        rows_of(&self.answer(sql))
    }

    /// The rows that answer `sql` as lines of JSON, sorted.
    pub fn lines(&self, sql: &str) -> Vec<String> {
        lines_of(&self.answer(sql))
    }

    /// The whole result as the oracle writes it, sorted: trades, quotes, bars, open gaps.
    pub fn canonical_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = texts(self.rows::<CanonicalTrade>(
            "SELECT venue, symbol, trade_id, sequence, ts_event, ts_recv, price, quantity, side,
                    vendor_data FROM trades",
        ))
        .collect();
        lines.extend(texts(self.rows::<CanonicalQuote>(
            "SELECT venue, symbol, sequence, ts_event, ts_recv, bid_price, bid_quantity,
                    ask_price, ask_quantity, vendor_data FROM quotes",
        )));
        for timeframe in TIMEFRAMES {
            lines.extend(texts(self.rows::<CanonicalBar>(&format!(
                "SELECT venue, symbol, '{timeframe}' AS timeframe,
                        arrow_cast(window_start, 'Int64') AS start, open, high, low, close,
                        volume, vwap, trade_count FROM ohlcv_{timeframe}"
            ))));
        }
        lines.extend(texts(self.rows::<CanonicalGap>(
            "SELECT venue, symbol, data_type, first_missing, last_missing FROM gaps_open",
        )));
        lines.sort_unstable();
        lines
    }

    /// One number for the whole result.
    pub fn result_hash(&self) -> ResultHash {
        let mut hash = ResultHash::default();
        self.canonical_lines().iter().for_each(|line| hash.add_line(line));
        hash
    }

    /// Rejects by reason.
    pub fn rejects(&self) -> BTreeMap<String, u64> {
        #[derive(Deserialize)]
        struct Reason {
            reason: String,
            count: u64,
        }
        let sql = "SELECT reason, count(*) AS count FROM rejects GROUP BY reason";
        let reasons = self.rows::<Reason>(sql).into_iter();
        reasons.map(|row| (row.reason, row.count)).collect()
    }

    /// Places in the source that stand more than once in `table`.
    pub fn doubled(&self, table: &str) -> Vec<String> {
        self.lines(&format!(
            "SELECT source, \"partition\", \"offset\", count(*) AS count FROM {table}
             GROUP BY source, \"partition\", \"offset\" HAVING count(*) > 1"
        ))
    }
}

/// The rows of `answer` as lines of JSON, sorted.
pub fn lines_of(answer: &Answer) -> Vec<String> {
    let text = json_of(answer);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn rows_of<T: DeserializeOwned>(answer: &Answer) -> Vec<T> {
    let text = json_of(answer);
    let row = |line| {
        let row = serde_json::from_str(line);
        row.unwrap_or_else(|error| panic!("{line}: {error}"))
    };
    text.lines().map(row).collect()
}

fn json_of(answer: &Answer) -> String {
    let mut out = Vec::new();
    write_rows(answer, Format::Ndjson, &mut out).expect("memory takes all that is written");
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn texts<T: fmt::Display>(rows: Vec<T>) -> impl Iterator<Item = String> {
    rows.into_iter().map(|row| row.to_string())
}

fn config() -> EngineConfig {
    let limits = Limits { rows_max: 10_000_000, ..Limits::default() };
    EngineConfig { parallelism: 2, limits, ..EngineConfig::default() }
}
