//! Names of symbols in questions: which are unknown, and which are at several venues.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;

use super::ask::Ask;
use crate::answer::Meta;
use crate::error::{Error, ErrorKind, Result};
use crate::hint::nearest;

/// Names shown where one is unknown.
const NEAREST_MAX: usize = 3;

/// Answers with an error if none of `symbols` is known: neither among the records nor to the
/// instrument data.
pub(super) async fn check_known(ask: &Ask, symbols: &[String]) -> Result<()> {
    if symbols.is_empty() {
        return Ok(());
    }
    let instruments = &ask.state.engine.config().instruments;
    let mut known: BTreeSet<String> = instruments
        .iter()
        .flat_map(|known| [known.symbol.to_string(), known.raw_symbol.to_string()])
        .collect();
    if symbols.iter().any(|symbol| known.contains(symbol)) {
        return Ok(());
    }
    let sql = "SELECT DISTINCT symbol, raw_symbol FROM symbols".to_owned();
    for batch in ask.query(sql, None).await?.batches {
        for column in batch.columns() {
            let names = column.as_string::<i32>().iter().flatten();
            known.extend(names.map(str::to_owned));
        }
    }
    if symbols.iter().any(|symbol| known.contains(symbol)) {
        return Ok(());
    }
    let wrong = symbols.join(", ");
    let known = known.iter().map(String::as_str);
    let nearest: Vec<&str> = nearest(&symbols[0], known).into_iter().take(NEAREST_MAX).collect();
    let nearest = nearest.join(", ");
    Err(Error::new(
        ErrorKind::BadRequest,
        "unknown_symbol",
        format!("find {wrong}: there is no such symbol"),
    )
    .with_hint(format!("the nearest are {nearest}; GET /v1/symbols lists all with records")))
}

/// Notes in `meta` that a symbol was asked for without its venue, and there are several `venues`.
pub(super) fn warn_of_venues<'a>(
    ask: &Ask,
    venues: impl Iterator<Item = &'a str>,
    meta: &mut Meta,
) {
    let names = ["venue", "venues"].map(|name| ask.values.texts(name)).concat();
    if !names.is_empty() || ask.values.text("symbol").is_none() {
        return;
    }
    let venues: BTreeSet<&str> = venues.collect();
    if venues.len() > 1 {
        let venues = venues.into_iter().collect::<Vec<_>>().join(", ");
        meta.warnings.push(format!(
            "the symbol is at several venues: {venues}; name one with venue for it alone"
        ));
    }
}

/// The venues of rows, one of neighbours that are of the same.
pub(super) fn venues_of(batches: &[RecordBatch]) -> impl Iterator<Item = &str> {
    batches.iter().filter_map(|batch| batch.column_by_name("venue")).flat_map(|column| {
        let mut last = None;
        let venues = column.as_string::<i32>().iter().flatten();
        venues.filter(move |venue| last.replace(*venue) != Some(*venue))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_are_found_in_any_case() {
        let known = ["BTC-USDT", "BTC-USDC", "ETH-USDT", "BTCUSDT"];
        assert_eq!(nearest("btc-usdx", known.into_iter())[..2], ["BTC-USDC", "BTC-USDT"]);
    }
}
