//! The pairs of the simulated market, most traded first: names, ticks and lots of Binance spot.
//!
//! The table belongs to what a seed means and is therefore frozen: new pairs go to the end.

use super::random::splitmix64;
use super::text::{DECIMALS, UNIT};

/// Median size of a trade in quote currency.
const NOTIONAL_TYPICAL: u64 = 80;

/// Name, first price in ticks, decimals of the tick, decimals of the lot.
type Row = (&'static str, u64, u32, u32);

#[rustfmt::skip]
const PAIRS: [Row; 100] = [
    ("BTCUSDT", 4_228_358, 2, 5), ("ETHUSDT", 228_187, 2, 4), ("SOLUSDT", 10_172, 2, 2),
    ("BNBUSDT", 3_119, 1, 3), ("XRPUSDT", 6_153, 4, 0), ("ADAUSDT", 5_945, 4, 1),
    ("AVAXUSDT", 3_851, 2, 2), ("DOGEUSDT", 8_954, 5, 0), ("LINKUSDT", 14_941, 3, 2),
    ("DOTUSDT", 8_195, 3, 2), ("POLUSDT", 9_704, 4, 1), ("LTCUSDT", 7_283, 2, 3),
    ("SHIBUSDT", 1_033, 8, 0), ("TRXUSDT", 10_798, 5, 1), ("BCHUSDT", 2_583, 1, 3),
    ("UNIUSDT", 7_371, 3, 2), ("ATOMUSDT", 10_587, 3, 2), ("ETCUSDT", 2_194, 2, 2),
    ("FILUSDT", 6_913, 3, 2), ("XLMUSDT", 1_293, 4, 0), ("ICPUSDT", 12_921, 3, 2),
    ("NEARUSDT", 3_647, 3, 1), ("APTUSDT", 9_338, 3, 2), ("OPUSDT", 3_707, 3, 2),
    ("ARBUSDT", 16_007, 4, 1), ("INJUSDT", 3_758, 2, 2), ("SUIUSDT", 7_905, 4, 1),
    ("SEIUSDT", 5_627, 4, 1), ("TIAUSDT", 12_038, 3, 2), ("ORDIUSDT", 7_832, 2, 2),
    ("RUNEUSDT", 5_221, 3, 1), ("WLDUSDT", 3_658, 3, 1), ("GRTUSDT", 1_758, 4, 0),
    ("AAVEUSDT", 1_092, 1, 3), ("MKRUSDT", 1_684, 0, 4), ("ALGOUSDT", 2_238, 4, 0),
    ("SANDUSDT", 5_942, 4, 0), ("MANAUSDT", 5_349, 4, 0), ("AXSUSDT", 889, 2, 2),
    ("EGLDUSDT", 6_936, 2, 2), ("THETAUSDT", 1_247, 3, 1), ("FLOWUSDT", 930, 3, 2),
    ("XTZUSDT", 1_005, 3, 1), ("QTUMUSDT", 3_402, 3, 1), ("KAVAUSDT", 9_012, 4, 1),
    ("SNXUSDT", 3_898, 3, 1), ("CRVUSDT", 608, 3, 1), ("LDOUSDT", 2_782, 3, 2),
    ("IMXUSDT", 21_570, 4, 1), ("STXUSDT", 14_813, 4, 1), ("HBARUSDT", 8_780, 5, 0),
    ("VETUSDT", 3_460, 5, 1), ("QNTUSDT", 1_436, 1, 3), ("GALAUSDT", 3_115, 5, 0),
    ("CHZUSDT", 8_750, 5, 0), ("ENJUSDT", 3_478, 4, 1), ("ZILUSDT", 2_466, 5, 1),
    ("DASHUSDT", 3_120, 2, 3), ("ZECUSDT", 2_950, 2, 3), ("NEOUSDT", 1_440, 2, 2),
    ("IOTAUSDT", 2_793, 4, 0), ("PENDLEUSDT", 1_184, 3, 2), ("COMPUSDT", 5_790, 2, 3),
    ("YFIUSDT", 8_259, 0, 5), ("SUSHIUSDT", 1_260, 3, 1), ("1INCHUSDT", 4_460, 4, 1),
    ("BATUSDT", 2_557, 4, 1), ("ZRXUSDT", 3_741, 4, 0), ("ENSUSDT", 980, 2, 2),
    ("DYDXUSDT", 2_954, 3, 2), ("GMXUSDT", 5_508, 2, 3), ("MASKUSDT", 3_632, 3, 1),
    ("APEUSDT", 1_624, 3, 2), ("WOOUSDT", 4_124, 4, 1), ("ROSEUSDT", 13_770, 5, 1),
    ("CELOUSDT", 699, 3, 1), ("KSMUSDT", 4_560, 2, 3), ("ONEUSDT", 1_868, 5, 1),
    ("HOTUSDT", 2_206, 6, 0), ("ANKRUSDT", 2_723, 5, 1), ("SKLUSDT", 7_012, 5, 0),
    ("CKBUSDT", 4_031, 6, 0), ("JASMYUSDT", 6_374, 6, 1), ("PEPEUSDT", 130, 8, 0),
    ("BONKUSDT", 1_353, 8, 0), ("FLOKIUSDT", 3_529, 8, 0), ("LUNCUSDT", 12_733, 8, 2),
    ("FETUSDT", 6_863, 4, 0), ("LRCUSDT", 2_639, 4, 0), ("STORJUSDT", 7_180, 4, 0),
    ("RENDERUSDT", 4_573, 3, 2), ("ARUSDT", 9_640, 3, 2), ("BLURUSDT", 4_987, 4, 1),
    ("CFXUSDT", 1_836, 4, 0), ("JTOUSDT", 19_260, 4, 0), ("MEMEUSDT", 28_900, 6, 0),
    ("TWTUSDT", 13_012, 4, 0), ("CAKEUSDT", 3_412, 3, 2), ("KAIAUSDT", 2_083, 4, 1),
    ("MINAUSDT", 13_530, 4, 1),
];

/// What the market knows of a pair when it opens.
pub(super) struct Pair {
    pub(super) name: String,
    /// First price, in ticks. At least 1.
    pub(super) price_ticks: u64,
    /// The price step, in 10^-8.
    pub(super) tick_units: u64,
    /// The quantity step, in 10^-8.
    pub(super) lot_units: u64,
    /// Median quantity, in lots. At least 1.
    pub(super) lots_typical: u64,
}

/// The pair of a rank: of the table, or made up beyond its end.
pub(super) fn pair(rank: u32) -> Pair {
    match PAIRS.get(rank as usize) {
        Some(&(name, price_ticks, tick, lot)) => known(name.into(), price_ticks, tick, lot),
        None => {
            let mut state = u64::from(rank);
            // Between 0.1000 and 10.0999.
            let price_ticks = 1_000 + splitmix64(&mut state) % 100_000;
            known(format!("SYM{:05}USDT", rank + 1), price_ticks, 4, 1)
        }
    }
}

fn known(name: String, price_ticks: u64, tick_decimals: u32, lot_decimals: u32) -> Pair {
    let tick_units = 10u64.pow(DECIMALS - tick_decimals);
    let lot_units = 10u64.pow(DECIMALS - lot_decimals);
    let price_units = u128::from(price_ticks * tick_units);
    // In 10^-16, so that a cheap pair's lots are not lost to rounding.
    let notional = u128::from(NOTIONAL_TYPICAL) * u128::from(UNIT) * u128::from(UNIT);
    let lots = notional / (price_units * u128::from(lot_units));
    // The cheapest pair of all, 10^-8 a unit in lots of 1, has 8 * 10^9 lots.
    Pair { name, price_ticks, tick_units, lot_units, lots_typical: (lots as u64).max(1) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k2_model::InstrumentTable;

    use super::*;

    #[test]
    fn real_pairs_are_in_the_instrument_data() {
        let shipped = InstrumentTable::shipped();
        let known = |name: &str| shipped.get("BINANCE", name).is_some();
        let unknown: Vec<&str> =
            PAIRS.iter().map(|row| row.0).filter(|name| !known(name)).collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }

    #[test]
    fn every_pair_has_its_own_name_and_a_tradable_size() {
        let pairs: Vec<Pair> = (0..1_000).map(pair).collect();
        let names: BTreeSet<&str> = pairs.iter().map(|pair| pair.name.as_str()).collect();
        assert_eq!(names.len(), pairs.len());
        for pair in &pairs {
            assert!(pair.price_ticks >= 100, "{} could not move by a tick", pair.name);
            assert!(pair.lots_typical >= 1 && pair.tick_units >= 1 && pair.lot_units >= 1);
        }
    }
}
