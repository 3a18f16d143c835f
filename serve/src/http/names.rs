//! What a question probably did not mean: names that nothing has, a symbol of several venues, times
//! of 1970.

use std::collections::BTreeSet;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use k2_model::Nanos;

use super::ask::Ask;
use super::parameters::Values;
use crate::answer::Meta;
use crate::error::{Error, Result};
use crate::hint::nearest;

/// Names shown where one is unknown.
const NEAREST_MAX: usize = 3;
/// Unknown names that are told one by one.
const UNKNOWN_MAX: usize = 10;

/// Units that are taken for nanoseconds, and how many of each are a second.
const UNITS: [(&str, i64); 3] =
    [("seconds", 1), ("milliseconds", 1_000), ("microseconds", 1_000_000)];
/// From 2001 to 2100, in seconds.
const YEARS: std::ops::Range<i64> = 978_307_200..4_102_444_800;

/// What a name is of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Symbol,
    Venue,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Symbol => "symbol",
            Self::Venue => "venue",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Symbol => "unknown_symbol",
            Self::Venue => "unknown_venue",
        }
    }
}

/// Looks for the names that `ask` has: an error if none of its symbols, or of its venues, is known,
/// neither among the records nor to the instrument data; a warning in the `meta` of the answer of
/// `rows` if some are not. And at its times.
pub(super) async fn check(ask: &Ask, rows: usize, meta: &mut Meta) -> Result<()> {
    warn_of_times(ask, meta);
    let symbols = names_of(ask, ["symbol", "symbols"]);
    let venues = names_of(ask, ["venue", "venues"]);
    // Rows tell that the one name that was asked for is known.
    let may_be_unknown = |names: &[String]| names.len() > usize::from(rows > 0);
    if !may_be_unknown(&symbols) && !may_be_unknown(&venues) {
        return Ok(());
    }
    let Some(known) = ask.state.engine.names_unless_known(&symbols, &venues).await? else {
        return Ok(());
    };
    let may_refuse = rows == 0 && ask.values.text("cursor").is_none();
    let kinds = [(Kind::Symbol, symbols, known.symbols), (Kind::Venue, venues, known.venues)];
    for (kind, names, known) in &kinds {
        let unknown: Vec<&str> =
            names.iter().filter(|name| !known.contains(*name)).map(String::as_str).collect();
        if unknown.is_empty() {
            continue;
        }
        if may_refuse && unknown.len() == names.len() {
            return Err(refused(*kind, &unknown, known));
        }
        meta.warnings.push(warning(*kind, &unknown, known));
    }
    Ok(())
}

/// The names that a question, or one of those that it is made of, has under `parameters`.
fn names_of(ask: &Ask, parameters: [&str; 2]) -> Vec<String> {
    let questions = std::iter::once(&ask.values).chain(ask.values.objects("queries"));
    let names = |values: &Values| parameters.map(|name| values.texts(name).to_vec()).concat();
    questions.flat_map(names).collect::<BTreeSet<String>>().into_iter().collect()
}

fn refused(kind: Kind, unknown: &[&str], known: &BTreeSet<String>) -> Error {
    let shown = unknown.iter().take(UNKNOWN_MAX).copied().collect::<Vec<_>>().join(", ");
    let message = format!("find {shown}: there is no such {}", kind.as_str());
    let nearest = unknown.first().map(|name| nearest_to(name, known)).unwrap_or_default();
    Error::bad_request(kind.code(), message)
        .with_hint(format!("the nearest are {nearest}; GET /v1/symbols lists all with records"))
}

fn warning(kind: Kind, unknown: &[&str], known: &BTreeSet<String>) -> String {
    let shown = unknown.iter().take(UNKNOWN_MAX);
    let shown = shown.map(|name| format!("{name} (the nearest are {})", nearest_to(name, known)));
    let more = match unknown.len().saturating_sub(UNKNOWN_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("there is no {} {}{more}", kind.as_str(), shown.collect::<Vec<_>>().join(", "))
}

fn nearest_to(name: &str, known: &BTreeSet<String>) -> String {
    let nearest = nearest(name, known.iter().map(String::as_str)).into_iter();
    nearest.take(NEAREST_MAX).collect::<Vec<_>>().join(", ")
}

/// Notes in `meta` that a time of `ask` is one of 1970, and what was probably meant.
fn warn_of_times(ask: &Ask, meta: &mut Meta) {
    let questions = std::iter::once(&ask.values).chain(ask.values.objects("queries"));
    let times = questions.flat_map(|values| {
        ["start_time", "end_time"].into_iter().filter_map(|name| Some((name, values.time(name)?)))
    });
    for (name, time) in times {
        if let Some(unit) = mistaken_unit(time) {
            meta.warnings.push(format!(
                "{name} is in nanoseconds, and so is a time of 1970; it looks like one in {unit}"
            ));
        }
    }
}

/// The unit in which `time` would be near today.
fn mistaken_unit(time: Nanos) -> Option<&'static str> {
    let unit = UNITS.iter().find(|(_, in_second)| YEARS.contains(&(time.0 / in_second)));
    unit.map(|(unit, _)| *unit)
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
    fn a_time_in_another_unit_is_noticed() {
        for (time, unit) in [
            (1_723_161_600, Some("seconds")),
            (1_723_161_600_000, Some("milliseconds")),
            (1_723_161_600_000_000, Some("microseconds")),
            (1_723_161_600_000_000_000, None),
            (0, None),
        ] {
            assert_eq!(mistaken_unit(Nanos(time)), unit, "{time}");
        }
    }

    #[test]
    fn the_nearest_names_are_found_in_any_case() {
        let known = ["BTC-USDT", "BTC-USDC", "ETH-USDT", "BTCUSDT"].map(str::to_owned).into();
        assert!(nearest_to("btc-usdx", &known).starts_with("BTC-USDC, BTC-USDT, "));
    }

    #[test]
    fn a_warning_tells_each_unknown_name_up_to_a_few() {
        let known = ["BTC-USDT".to_owned()].into();
        assert_eq!(
            warning(Kind::Symbol, &["A", "B"], &known),
            "there is no symbol A (the nearest are BTC-USDT), B (the nearest are BTC-USDT)"
        );
        let many = warning(Kind::Venue, &["X"; UNKNOWN_MAX + 2], &known);
        assert!(many.ends_with(", and 2 more"), "{many}");
        let error = refused(Kind::Venue, &["X"], &known);
        assert_eq!(error.code(), "unknown_venue");
        assert!(error.hint().unwrap().contains("BTC-USDT"), "{error}");
    }
}
