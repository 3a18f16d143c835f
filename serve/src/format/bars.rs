//! Bars as JSON objects, straight from memory.
//!
//! Text for text what [`Objects`](super::objects::Objects) writes of them in a table: one bar is
//! asked for so often that its columns would be most of the work.

use k2_model::digits::push_integer;
use k2_model::{Decimal, Nanos};

use super::ObjectRow;
use super::moments::put_nanos;
use super::text::write_json_string;
use crate::views::bars::BarRow;

impl ObjectRow for BarRow {
    /// Nothing is kept of the bar before: there is little that two have in common.
    type Objects = ();

    fn put(&self, (): &mut (), out: &mut Vec<u8>) {
        let bar = &self.bar;
        out.extend_from_slice(b"{\"venue\":");
        write_json_string(&self.instrument.venue, out);
        out.extend_from_slice(b",\"symbol\":");
        write_json_string(&self.instrument.symbol, out);
        put_moment(b",\"window_start\":\"", self.start, out);
        put_moment(b"Z\",\"window_end\":\"", self.end(), out);
        put_decimal(b"Z\",\"open\":\"", bar.open.price, out);
        put_decimal(b"\",\"high\":\"", bar.high, out);
        put_decimal(b"\",\"low\":\"", bar.low, out);
        put_decimal(b"\",\"close\":\"", bar.close.price, out);
        put_decimal(b"\",\"volume\":\"", bar.volume, out);
        match bar.vwap() {
            Some(vwap) => {
                put_decimal(b"\",\"vwap\":\"", vwap, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"\",\"vwap\":null"),
        }
        out.extend_from_slice(b",\"trade_count\":");
        push_integer(bar.trade_count.cast_signed(), out);
        out.extend_from_slice(b",\"revision\":");
        push_integer(bar.revision().cast_signed(), out);
        let is_final = if self.is_final { "true}" } else { "false}" };
        out.extend_from_slice(b",\"final\":");
        out.extend_from_slice(is_final.as_bytes());
    }
}

fn put_moment(before: &[u8], moment: Nanos, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    put_nanos(moment, out);
}

fn put_decimal(before: &[u8], value: Decimal, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    value.push_to(out);
}

#[cfg(test)]
mod tests {
    use k2_model::{Bar, InstrumentTable, Timeframe};
    use proptest::prelude::*;

    use super::super::{objects, row_objects};
    use super::*;
    use crate::views::bars::batch_of_rows;

    type Drawn = (usize, usize, i64, u64, (i128, i128, i128), bool);

    fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
        let decimal = || -(10_i128.pow(25))..10_i128.pow(25);
        // Of quantity nothing, sometimes: such a bar has no vwap.
        let quantity = prop_oneof![Just(0), 1..10_i128.pow(20)];
        let numbers = (decimal(), decimal(), quantity);
        let row = (0..4_usize, 0..6_usize, any::<i64>(), any::<u64>(), numbers, any::<bool>());
        prop::collection::vec(row, 0..40)
    }

    fn row((name, timeframe, ts, sequence, (one, other, quantity), is_final): Drawn) -> BarRow {
        let names = [("BINANCE", "BTCUSDT"), ("BINANCE", "?\"q\\é"), ("KRAKEN", "X\tY"), ("", "")];
        let instrument = InstrumentTable::default().resolve(names[name].0, names[name].1);
        let timeframe = Timeframe::ALL[timeframe];
        // Decades, not centuries: a window must have an end.
        let ts = Nanos(ts / 2);
        let of = |price| Bar::of_parts(ts, sequence, Decimal(price), Decimal(quantity));
        let mut bar = of(one);
        bar.merge(&of(other));
        BarRow { timeframe, instrument, start: timeframe.window_start(ts), bar, is_final }
    }

    proptest! {
        #[test]
        fn bars_have_the_text_of_their_columns(drawn in drawn()) {
            let rows: Vec<BarRow> = drawn.into_iter().map(row).collect();
            let directly = row_objects(&rows, rows.iter().map(|_| 1)).join(",");
            let batch = batch_of_rows(&rows).unwrap();
            prop_assert_eq!(directly, objects(&batch, rows.iter().map(|_| 1)).join(","));
        }
    }
}
