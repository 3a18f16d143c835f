//! What is pruned has no row that passes: filters against the same filters as a column.

use std::sync::LazyLock;

use k2_model::time::NANOS_PER_DAY;
use k2_model::{
    Coordinates, Decimal, InstrumentTable, Nanos, Origin, Reject, RejectReason, Side, Trade,
    VendorData,
};
use k2_operators::MarketBatch;
use k2_serve::Engine;
use k2_sinks::{BatchId, Lake, LakeConfig, Sealed, Table};
use proptest::prelude::*;

use super::{answer, config, lines};

/// Rows of each table in each file's batch.
const BATCH_ROWS: u64 = 40;
const BATCHES: u64 = 6;

/// Longer than what other engines keep of a bound, and alike up to the end.
fn long(end: &str) -> String {
    format!("{}{end}", "X".repeat(80))
}

struct Tables {
    engine: Engine,
    _folder: tempfile::TempDir,
}

/// One lake for all cases: batches of few and of many days, symbols, signs and digits.
static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let lake = std::sync::Arc::new(Lake::open(LakeConfig::new(folder.path(), "test")).unwrap());
    lake.claim().unwrap();
    for batch in 0..BATCHES {
        let id = BatchId { lower: batch, upper: batch + 1, worker: 0, part: 0 };
        let trades: Vec<Trade> = (0..BATCH_ROWS).map(|row| trade(batch, row)).collect();
        let rejects: Vec<Reject> = (0..BATCH_ROWS).map(|row| reject(batch, row)).collect();
        let trades = lake.write_trades(&id, &[MarketBatch::of(&trades)]).unwrap();
        let rejects = lake.write_rejects(&id, rejects.iter().collect()).unwrap();
        let files = [(Table::Trades, trades), (Table::Rejects, rejects)].into();
        let sealed = Sealed { lower: batch, upper: batch + 1, files, ..Sealed::default() };
        lake.commit(sealed).unwrap();
    }
    Tables { engine: Engine::offline(lake, config()).unwrap(), _folder: folder }
});

/// Something that looks random, and is the same for the same numbers.
fn mixed(batch: u64, row: u64, salt: u64) -> u64 {
    let mut mixed = (batch << 40) ^ (row << 20) ^ salt;
    for _ in 0..3 {
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    mixed
}

fn trade(batch: u64, row: u64) -> Trade {
    let names = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned(), long("a"), long("b"), "É".to_owned()];
    let draw = |salt| mixed(batch, row, salt);
    let name = &names[(draw(1) % names.len() as u64) as usize];
    let venue = ["BINANCE", "BINANCE_USDM"][(batch % 2) as usize];
    // Around 1970, a nanosecond from the next microsecond or day, and in 2024.
    let ts = match draw(2) % 4 {
        0 => -1 - (draw(3) % 5_000) as i64,
        1 => (draw(3) % 5_000) as i64,
        2 => NANOS_PER_DAY - 2 + (draw(3) % 4) as i64,
        _ => 1_723_161_600_000_000_000 + (draw(3) % 3) as i64 * NANOS_PER_DAY,
    };
    let number = [7, batch * 1_000 + row, u64::MAX - row][(draw(4) % 3) as usize];
    let price = (draw(5) as i128 - (1 << 63)) * [1, 1_000_003][(batch % 2) as usize];
    Trade {
        instrument: InstrumentTable::shipped().resolve(venue, name),
        trade_id: number,
        sequence: number,
        ts_event: Nanos(ts),
        ts_recv: Nanos(ts.saturating_add((draw(6) % 3) as i64)),
        price: Decimal(price),
        quantity: Decimal((draw(7) % 3) as i128),
        side: Side::Buy,
        vendor_data: VendorData::EMPTY,
        at: Coordinates {
            origin: Origin::new("feed", (row % 2) as i32),
            offset: batch * 100 + row,
        },
    }
}

fn reject(batch: u64, row: u64) -> Reject {
    let draw = |salt| mixed(batch, row, salt);
    // Batches of nothing but nulls, of none, and of some.
    let is_null = |salt| match batch % 3 {
        0 => true,
        1 => draw(salt).is_multiple_of(2),
        _ => false,
    };
    Reject {
        venue: "BINANCE".into(),
        raw: draw(1).to_le_bytes().to_vec(),
        reason: RejectReason::NotJson,
        detail: long(["a", "b", ""][(draw(2) % 3) as usize]),
        ts_recv: (!is_null(3)).then(|| Nanos(draw(4) as i64 % NANOS_PER_DAY)),
        schema_id: (!is_null(5)).then(|| (draw(6) % 4) as u32),
        at: Coordinates { origin: Origin::new("feed", 0), offset: batch * 100 + row },
    }
}

/// What can be said of one column: operators are put in for `?`.
fn claims(table: &str) -> Vec<String> {
    let mut claims: Vec<String> = Vec::new();
    let mut add = |column: &str, values: &[String]| {
        claims.extend(values.iter().map(|value| format!("{column} ? {value}")));
        claims.push(format!("{column} IN ({})", values.join(", ")));
        claims.push(format!("{column} NOT IN ({}, {})", values[0], values[1]));
        claims.push(format!("{column} BETWEEN {} AND {}", values[0], values[1]));
        claims.push(format!("{column} IS NULL"));
        claims.push(format!("{column} IS NOT NULL"));
    };
    let owned = |values: &[&str]| values.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let texts = [long("a"), long(""), long("c"), "BTC-USDT".into(), "BTCUSDT".into(), "É".into()];
    let texts = texts.map(|text| format!("'{text}'"));
    let longs = owned(&["-1", "0", "7", "2010", "-20", "86399999999999"]);
    match table {
        "trades" => {
            add("symbol", &texts);
            add("venue", &owned(&["'BINANCE'", "'BINANCE_USDM'", "'A'"]));
            add("currency", &owned(&["'USDT'", "'A'", "''"]));
            for column in ["trade_id", "sequence", "ts_event", "ts_recv", "\"offset\""] {
                add(column, &longs);
            }
            let moments = [
                "1969-12-31T23:59:59.999999Z",
                "1970-01-01T00:00:00Z",
                "1970-01-01T23:59:59.999999998Z",
                "2024-08-09T00:00:00Z",
            ];
            add("ts", &moments.map(|moment| format!("TIMESTAMP '{moment}'")));
            let prices = ["0", "-0.000000000001", "-4000000.5", "4000000", "-9223372.036854775808"];
            add("price", &owned(&prices));
            add("quantity", &owned(&["0", "0.000000000001", "-1"]));
        }
        _ => {
            add("detail", &texts);
            add("ts", &owned(&["TIMESTAMP '1970-01-01T00:00:01Z'", "TIMESTAMP '1969-12-31'"]));
            add("ts_recv", &longs);
            add("schema_id", &owned(&["0", "3", "-1"]));
            add("\"offset\"", &longs);
        }
    }
    claims
}

fn claim(table: &'static str) -> impl Strategy<Value = String> {
    let operators = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let claim = (prop::sample::select(claims(table)), operators);
    claim.prop_map(|(claim, operator)| claim.replacen('?', operator, 1))
}

fn filter() -> impl Strategy<Value = (&'static str, String)> {
    prop::sample::select(vec!["trades", "trades", "rejects"]).prop_flat_map(|table| {
        let claims = (claim(table), claim(table), claim(table), 0..5usize);
        claims.prop_map(move |(a, b, c, form)| {
            let filter = match form {
                0 => a,
                1 => format!("{a} AND {b}"),
                2 => format!("{a} OR {b}"),
                3 => format!("NOT ({a} AND {b})"),
                _ => format!("({a} OR {b}) AND {c}"),
            };
            (table, filter)
        })
    })
}

#[test]
fn a_time_without_seconds_prunes_as_one_with_them() {
    let engine = &TABLES.engine;
    let plan = |time: &str| {
        lines(&answer(engine, &format!("EXPLAIN SELECT price FROM trades WHERE ts > {time}")))
    };
    let whole = plan("'2024-01-02T00:00:00Z'");
    for time in ["'2024-01-02 00:00'", "'2024-01-02T01:00+01'"] {
        assert_eq!(plan(time), whole, "{time}");
    }
    let filter = "ts BETWEEN '1970-01-01 00:00' AND '2100-01-01 00:00' OR ts IN ('2024-01-02 00:00') OR ts \
                  = '2024-01-02 00:00'::timestamptz OR ts > TIMESTAMP '2024-01-02 00:00'";
    answer(engine, &format!("SELECT count(*) FROM trades WHERE {filter}"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_pruned_scan_has_the_rows_of_a_whole_one((table, filter) in filter()) {
        let engine = &TABLES.engine;
        let pruned = format!("SELECT \"offset\", \"partition\" FROM {table} WHERE {filter}");
        let pruned = answer(engine, &pruned);
        // A column of the answer prunes nothing.
        let whole = answer(
            engine,
            &format!("SELECT \"offset\", \"partition\", ({filter}) AS passes FROM {table}"),
        );
        prop_assert_eq!(whole.rows() as u64, BATCHES * BATCH_ROWS);
        let whole = lines(&whole).into_iter();
        let passing = whole.filter_map(|line| {
            line.strip_suffix(",\"passes\":true}").map(|row| format!("{row}}}"))
        });
        prop_assert_eq!(lines(&pruned), passing.collect::<Vec<_>>(), "{}", filter);
    }
}
