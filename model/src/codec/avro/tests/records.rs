//! Trades and quotes of all kinds, and what can happen to their bytes on the way.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::at;
use crate::decimal::{Decimal, MAX};
use crate::instrument::{AssetClass, Instrument, InstrumentParts, InstrumentTable};
use crate::record::{Quote, Side, Trade, VendorData, VendorFields};
use crate::time::Nanos;

fn instrument() -> impl Strategy<Value = Instrument> {
    let shipped: Vec<Instrument> = InstrumentTable::shipped().iter().take(20).collect();
    let names = ("X[A-Z0-9_]{0,10}", "[A-Za-z0-9:/.@#+_-]{1,64}", "[A-Z0-9]{1,8}", "[A-Z]{0,5}");
    let unknown = (names, select(&AssetClass::ALL[..])).prop_map(|(names, asset_class)| {
        let (venue, raw_symbol, base, quote) = names;
        let is_pair = !quote.is_empty();
        Instrument::new(InstrumentParts {
            venue: venue.into(),
            symbol: if is_pair { format!("{base}-{quote}") } else { base.clone() }.into(),
            raw_symbol: raw_symbol.into(),
            asset_class,
            base: if is_pair { base } else { String::new() }.into(),
            quote: quote.into(),
            tier: 3,
        })
    });
    prop_oneof![select(shipped), unknown]
}

fn decimal() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        4 => 0..1_000_000_000_000_000_000i128,
        2 => (0..=MAX, 0..127u32).prop_map(|(mantissa, shift)| mantissa >> shift),
        1 => select(vec![0, 127, 128, 255, 256, i128::from(i64::MAX), 1 << 64, MAX]),
    ]
    .prop_map(Decimal)
}

fn number() -> impl Strategy<Value = u64> {
    (0..=i64::MAX, 0..63u32).prop_map(|(number, shift)| (number >> shift).cast_unsigned())
}

fn time() -> impl Strategy<Value = Nanos> {
    prop_oneof![
        4 => 1_600_000_000_000_000_000..1_800_000_000_000_000_000i64,
        1 => 0..=i64::MAX,
    ]
    .prop_map(Nanos)
}

fn vendor_data() -> impl Strategy<Value = VendorData> {
    let fields = |conditions: Vec<String>, pairs: BTreeMap<String, String>| VendorFields {
        conditions: conditions.into_iter().map(Into::into).collect(),
        pairs: pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
    };
    prop_oneof![
        Just(VendorData::EMPTY),
        select(vec!["true", "false"]).prop_map(move |value| {
            VendorData::owned(fields(Vec::new(), [("M".into(), value.into())].into()))
        }),
        (vec("\\PC{0,4}", 0..4), btree_map("\\PC{0,6}", "\\PC{0,9}", 0..4))
            .prop_map(move |(conditions, pairs)| VendorData::owned(fields(conditions, pairs))),
    ]
}

pub(super) fn trade() -> impl Strategy<Value = Trade> {
    let numbers = (number(), number(), time(), time());
    (instrument(), numbers, decimal(), decimal(), select(&Side::ALL[..]), vendor_data()).prop_map(
        |(instrument, numbers, price, quantity, side, vendor_data)| {
            let (trade_id, sequence, ts_event, ts_recv) = numbers;
            Trade {
                instrument,
                trade_id,
                sequence,
                ts_event,
                ts_recv,
                price,
                quantity,
                side,
                vendor_data,
                at: at(0),
            }
        },
    )
}

pub(super) fn quote() -> impl Strategy<Value = Quote> {
    let decimals = (decimal(), decimal(), decimal(), decimal());
    (instrument(), number(), time(), time(), decimals, vendor_data()).prop_map(
        |(instrument, sequence, ts_event, ts_recv, decimals, vendor_data)| {
            let (bid_price, bid_quantity, ask_price, ask_quantity) = decimals;
            Quote {
                instrument,
                sequence,
                ts_event,
                ts_recv,
                bid_price,
                bid_quantity,
                ask_price,
                ask_quantity,
                vendor_data,
                at: at(0),
            }
        },
    )
}

/// `bodies` with up to three places where some bytes are replaced.
pub(super) fn mangled(bodies: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (bodies, vec(damage(), 0..4)).prop_map(|(mut body, damages)| {
        damages.iter().for_each(|damage| damage.apply(&mut body));
        body
    })
}

/// At some place so many bytes are replaced by others.
#[derive(Clone, Debug)]
struct Damage {
    place: Index,
    cut: usize,
    inserted: Vec<u8>,
}

fn damage() -> impl Strategy<Value = Damage> {
    // The ends of what one byte, a sign, or a length can say.
    let telling = || {
        prop_oneof![select(vec![0, 1, 2, 3, 4, 0x20, 0x7f, 0x80, 0x81, 0xfe, 0xff]), any::<u8>()]
    };
    let change = prop_oneof![
        4 => (Just(1), vec(telling(), 1..2)),
        2 => (0..6usize, vec(telling(), 0..6)),
        1 => (Just(usize::MAX), Just(Vec::new())),
    ];
    (any::<Index>(), change).prop_map(|(place, (cut, inserted))| Damage { place, cut, inserted })
}

impl Damage {
    fn apply(&self, body: &mut Vec<u8>) {
        let at = self.place.index(body.len() + 1);
        let end = body.len().min(at.saturating_add(self.cut));
        body.splice(at..end, self.inserted.iter().copied());
    }
}
