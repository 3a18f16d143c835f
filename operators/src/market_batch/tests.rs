use k2_model::instrument::InstrumentParts;
use k2_model::record::VendorFields;
use k2_model::{AssetClass, Coordinates, Decimal, Nanos, Origin, Side, Trade, VendorData};
use proptest::prelude::*;

use super::*;

fn instrument(number: u8) -> Instrument {
    Instrument::new(InstrumentParts {
        venue: "BINANCE".into(),
        symbol: format!("C{number}-USDT").into(),
        raw_symbol: format!("C{number}USDT").into(),
        asset_class: AssetClass::Crypto,
        base: format!("C{number}").into(),
        quote: "USDT".into(),
        tier: 3,
    })
}

/// (Instrument, numbers, decimals' digits, vendor data, whether another file).
type Drawn = (u8, u64, u64, i64, u8, bool);

fn trade(offset: u64, (name, id, sequence, digits, vendor, other): Drawn) -> Trade {
    let decimal = Decimal(i128::from(digits) * if vendor == 0 { 1 << 60 } else { 1 });
    let vendor_data = VendorFields {
        conditions: (0..vendor).map(|code| code.to_string().into()).collect(),
        pairs: vec![("X".into(), vendor.to_string().into())],
    };
    Trade {
        instrument: instrument(name),
        trade_id: id,
        sequence,
        ts_event: Nanos(digits),
        ts_recv: Nanos(digits ^ 7),
        price: decimal,
        quantity: Decimal(i128::from(digits)),
        side: Side::ALL[usize::from(vendor) % Side::ALL.len()],
        vendor_data: VendorData::owned(vendor_data),
        at: Coordinates { origin: Origin::new(if other { "b" } else { "a" }, 0), offset },
    }
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    proptest::collection::vec(
        (0u8..5, 0u64..3, 0u64..3, 0i64..i64::MAX, 0u8..3, proptest::bool::weighted(0.1)),
        0..60,
    )
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were_by_instrument(drawn in drawn(), same_ids: bool) {
        let rows = drawn.into_iter().zip(0..).map(|(drawn, offset)| trade(offset, drawn));
        let rows: Vec<Trade> = rows
            .map(|row| if same_ids { Trade { trade_id: row.sequence, ..row } } else { row })
            .collect();
        let batch = MarketBatch::of(&rows);
        let mut expected = rows.clone();
        expected.sort_by_key(|row| row.instrument);
        prop_assert_eq!(batch.rows().collect::<Vec<_>>(), expected);
        for number in 0..6 {
            let instrument = instrument(number);
            let range = batch.columns().of(instrument);
            let found = range.map(|at| Trade::of(batch.columns().row(instrument, at)));
            let expected = rows.iter().filter(|row| row.instrument == instrument).cloned();
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn runs_of_vendor_data_and_places_cover_each_range(drawn in drawn(), a in 0usize..60, b in 0usize..60) {
        let rows: Vec<Trade> =
            drawn.into_iter().zip(0..).map(|(drawn, offset)| trade(offset, drawn)).collect();
        let batch = MarketBatch::of(&rows);
        let end = a.max(b).min(batch.len());
        let range = a.min(b).min(end)..end;
        let expected = || batch.rows().skip(range.start).take(range.len());
        let data = batch.columns().vendor_data(range.clone());
        let data = data.flat_map(|(value, count)| std::iter::repeat_n(value.clone(), count));
        prop_assert!(data.eq(expected().map(|row| row.vendor_data)));
        let places = batch.columns().places(range.clone()).flat_map(|(origin, base, offsets)| {
            let at = move |offset: &u32| Coordinates { origin, offset: base + u64::from(*offset) };
            offsets.iter().map(at)
        });
        prop_assert!(places.eq(expected().map(|row| row.at)));
    }
}

#[test]
fn a_trade_of_usual_size_takes_less_than_half_of_its_struct() {
    let row = |offset: u64| Trade {
        trade_id: offset,
        vendor_data: VendorData::EMPTY,
        ..trade(offset, (offset as u8 % 5, 0, offset, 1_000, 1, false))
    };
    let rows: Vec<Trade> = (0..4_000).map(row).collect();
    let batch = MarketBatch::of(&rows);
    assert!(batch.bytes() < rows.len() * size_of::<Trade>() / 2, "{} bytes", batch.bytes());
}
