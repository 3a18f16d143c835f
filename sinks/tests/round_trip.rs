//! What is written is what Iceberg's own reader reads.

mod support;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use k2_model::{Coordinates, Decimal, Nanos, Origin, Side, Trade, VendorData};
use k2_sinks::{Sealed, Table};
use support::{MIDNIGHT, batch_id, btc, claimed, instrument, offsets, pairs, scan, trade, write};

/// The rows of a table, each as one text with all its columns, sorted.
fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch
                .schema()
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| format!("{}={}", field.name(), cell(column, row)))
                .collect::<Vec<_>>();
            rows.push(cells.join(" "));
        }
    }
    rows.sort_unstable();
    rows
}

fn cell(column: &dyn Array, row: usize) -> String {
    use arrow_schema::DataType;
    if column.is_null(row) {
        return "null".into();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).into(),
        DataType::LargeBinary => format!("{:?}", column.as_binary::<i64>().value(row)),
        DataType::Binary => format!("{:?}", column.as_binary::<i32>().value(row)),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Timestamp(..) => {
            column.as_primitive::<TimestampMicrosecondType>().value(row).to_string()
        }
        DataType::Decimal128(..) => {
            Decimal(column.as_primitive::<Decimal128Type>().value(row)).to_string()
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>().value(row);
            let cells: Vec<_> = (0..list.len()).map(|at| cell(&list, at)).collect();
            format!("[{}]", cells.join(","))
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let pair =
                |at| format!("{}:{}", cell(entries.column(0), at), cell(entries.column(1), at));
            format!("{{{}}}", (0..entries.len()).map(pair).collect::<Vec<_>>().join(","))
        }
        other => panic!("no test for {other}"),
    }
}

fn expected(trade: &Trade) -> String {
    let it = trade.instrument;
    let currency = if it.quote.is_empty() { "null" } else { &*it.quote };
    let pairs = trade.vendor_data.pairs().iter().map(|(key, value)| format!("{key}:{value}"));
    format!(
        "venue={} symbol={} raw_symbol={} asset_class={} trade_id={} sequence={} ts={} \
         ts_event={} ts_recv={} price={} quantity={} currency={currency} side={} conditions=[] \
         vendor_data={{{}}} source={} partition={} offset={} message_id={}/{}/trades/{}",
        it.venue,
        it.symbol,
        it.raw_symbol,
        it.asset_class.as_str(),
        trade.trade_id,
        trade.sequence,
        trade.ts_event.micros(),
        trade.ts_event.0,
        trade.ts_recv.0,
        trade.price,
        trade.quantity,
        trade.side.as_str(),
        pairs.collect::<Vec<_>>().join(","),
        trade.at.origin.source(),
        trade.at.origin.partition(),
        trade.at.offset,
        it.venue,
        it.raw_symbol,
        trade.trade_id,
    )
}

fn round_trip(trades: &[Trade]) {
    let dir = tempfile::tempdir().unwrap();
    let lake = claimed(dir.path());
    let files = write(&lake, 0, 1, trades);
    let pin = lake
        .commit(Sealed {
            lower: 0,
            upper: 1,
            offsets: offsets(1),
            state: Vec::new(),
            files: [(Table::Trades, files)].into(),
        })
        .unwrap();
    let mut expected: Vec<String> = trades.iter().map(expected).collect();
    expected.sort_unstable();
    let found = texts(&scan(&pin, Table::Trades));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(pin.tables[&Table::Trades].rows, trades.len() as u64);
}

#[test]
fn one_trade_comes_back_as_it_was() {
    round_trip(&btc(0..1));
}

/// A small generator: the test needs variety, not randomness.
struct Steps(u64);

impl Steps {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % below
    }
}

#[test]
fn trades_of_every_kind_come_back_as_they_were() {
    let long = "X".repeat(65);
    let instruments = [
        instrument("BINANCE", "BTC", "USDT"),
        instrument("KRAKEN", "BTC", "USDT"),
        instrument("ASX", "BHP", ""),
        instrument("BINANCE", &long, "USDT"),
        instrument("BINANCE", "é漢", "USDT"),
    ];
    let vendor_data = [
        VendorData::EMPTY,
        VendorData::shared(vec![("is_best_match".into(), "true".into())]),
        pairs(&[("a", "1"), ("b", "2")]),
        pairs(&[("a", ""), ("b", "22"), ("c", &long)]),
    ];
    let mut steps = Steps(1);
    let mut trades = Vec::new();
    for number in 0..3_000 {
        let mut trade = trade(instruments[steps.next(5) as usize], number);
        trade.trade_id = [number, steps.next(1 << 40), 99, u64::MAX >> 1][steps.next(4) as usize];
        trade.ts_event = Nanos(MIDNIGHT - 200_000_000_000 + steps.next(400_000) as i64 * 1_000_001);
        trade.price = Decimal([0, 1, k2_model::decimal::MAX, 61_000][steps.next(4) as usize]);
        trade.quantity = Decimal(i128::from(steps.next(1 << 31)) * i128::from(steps.next(1 << 31)));
        trade.side = Side::ALL[steps.next(4) as usize];
        trade.vendor_data = vendor_data[steps.next(4) as usize].clone();
        let partition = steps.next(3) as i32;
        trade.at = Coordinates { origin: Origin::new("topic", partition), offset: number };
        trades.push(trade);
    }
    round_trip(&trades);
}

#[test]
fn files_of_several_pages_and_row_groups_come_back() {
    let many = btc(0..200_000);
    let dir = tempfile::tempdir().unwrap();
    let lake = claimed(dir.path());
    let files = lake.write_trades(&batch_id(0, 1), many.iter().rev().collect()).unwrap();
    let days = 3;
    assert_eq!(files.len(), days, "one file a day and bucket");
    let pin = lake
        .commit(Sealed {
            lower: 0,
            upper: 1,
            files: [(Table::Trades, files)].into(),
            ..Sealed::default()
        })
        .unwrap();
    let mut expected: Vec<String> = many.iter().map(expected).collect();
    expected.sort_unstable();
    assert!(texts(&scan(&pin, Table::Trades)) == expected, "all rows and all their columns");
}
