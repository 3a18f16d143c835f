//! Parameters: what a path takes, read by one layer that finds everything that is wrong at once.
//!
//! The same table is what is validated and what the OpenAPI document says, so they cannot differ.

use std::collections::BTreeMap;

use k2_model::time::{NANOS_PER_DAY, NANOS_PER_SECOND};
use k2_model::{Decimal, Nanos, Timeframe};
use serde_json::Value as Json;

use crate::error::{Error, FieldError, Result};
use crate::format::Format;
use crate::hint::did_you_mean;
use crate::request::AsOf;
use crate::seconds::with_seconds;

/// Characters of a name: a symbol, a venue.
pub(super) const NAME_CHARS_MAX: usize = 64;

/// One parameter of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) alias: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
    pub(super) help: &'static str,
}

/// What the values of a parameter are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Symbol,
    Symbols {
        max: usize,
    },
    Venue,
    Venues {
        max: usize,
    },
    Time,
    Date,
    Timeframe,
    Interval,
    Integer {
        default: Option<i64>,
        min: i64,
        max: i64,
    },
    Decimal,
    OneOf(&'static [&'static str]),
    SomeOf(&'static [&'static str]),
    AsOf,
    /// Of the tables, which the handler of its route reads by itself.
    Moment,
    Text,
    /// A text of this form, which the handler of its route reads by itself.
    Shaped(&'static str),
    /// A number, which the handler of its route reads by itself.
    Number {
        min: f64,
        max: f64,
    },
    Cursor,
    Format,
    Objects {
        of: &'static [Parameter],
        max: usize,
    },
}

/// One value, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Datum {
    Text(String),
    Texts(Vec<String>),
    /// Times and lengths of time are nanoseconds.
    Integer(i64),
    Decimal(Decimal),
    AsOf(Box<AsOf>),
    Objects(Vec<Values>),
}

impl Parameter {
    pub(super) const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, alias: None, kind, is_required: false, help }
    }

    pub(super) const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    pub(super) const fn or(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    fn is_named(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }
}

/// A value as it came.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// In a path or its query, where everything is a text.
    Text(String),
    /// In a body, where it has a type.
    Json(Json),
}

/// The parameters of one question, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Values(BTreeMap<&'static str, Datum>);

impl Values {
    /// Reads `given`, or says of every field what is wrong with it.
    pub(super) fn read(parameters: &[Parameter], given: Vec<(String, Given)>) -> Result<Self> {
        let mut wrong = Vec::new();
        let values = Self::collect(parameters, given, "", &mut wrong);
        if wrong.is_empty() { Ok(values) } else { Err(invalid(wrong)) }
    }

    fn collect(
        parameters: &[Parameter],
        given: Vec<(String, Given)>,
        place: &str,
        wrong: &mut Vec<FieldError>,
    ) -> Self {
        let mut values = Self::default();
        let mut tell = |field: &str, message: String| {
            wrong.push(FieldError { field: format!("{place}{field}"), message });
        };
        let mut nested = Vec::new();
        for (name, value) in given {
            let Some(parameter) = parameters.iter().find(|known| known.is_named(&name)) else {
                tell(&name, format!("is no parameter here; {}", nearest(&name, parameters)));
                continue;
            };
            if values.0.contains_key(parameter.name) {
                tell(&name, "is given more than once".to_owned());
                continue;
            }
            if let (Kind::Objects { of, max }, Given::Json(json)) = (parameter.kind, &value) {
                nested.push((parameter.name, of, max, json.clone()));
                continue;
            }
            let read = match &value {
                Given::Text(text) => parameter.kind.read_text(text).map(Some),
                Given::Json(json) => parameter.kind.read(json),
            };
            match read {
                // As if it were not there: clients send null for what they leave open.
                Ok(None) => {}
                Ok(Some(datum)) => {
                    values.0.insert(parameter.name, datum);
                }
                Err(message) => tell(&name, message),
            }
        }
        for (name, of, max, json) in nested {
            values.read_objects((name, of, max), json, wrong);
        }
        values.check(parameters, place, wrong);
        values
    }

    fn read_objects(
        &mut self,
        (name, of, max): (&'static str, &[Parameter], usize),
        json: Json,
        wrong: &mut Vec<FieldError>,
    ) {
        let mut tell = |field: String, message: String| wrong.push(FieldError { field, message });
        let Json::Array(items) = json else {
            return tell(name.to_owned(), "must be a list of objects".to_owned());
        };
        if items.is_empty() || items.len() > max {
            return tell(name.to_owned(), format!("must have from 1 to {max} entries"));
        }
        let mut objects = Vec::new();
        for (at, item) in items.into_iter().enumerate() {
            match item {
                Json::Object(fields) => {
                    let place = format!("{name}[{at}].");
                    let fields = fields.into_iter();
                    let fields = fields.map(|(name, json)| (name, Given::Json(json))).collect();
                    objects.push(Self::collect(of, fields, &place, wrong));
                }
                _ => wrong.push(FieldError {
                    field: format!("{name}[{at}]"),
                    message: "must be an object".to_owned(),
                }),
            }
        }
        self.0.insert(name, Datum::Objects(objects));
    }

    /// What no single field tells.
    fn check(&mut self, parameters: &[Parameter], place: &str, wrong: &mut Vec<FieldError>) {
        let mut tell = |field: &str, message: String| {
            let field = format!("{place}{field}");
            // A field that could not be read has been told of.
            if !wrong.iter().any(|known| known.field == field) {
                wrong.push(FieldError { field, message });
            }
        };
        for parameter in parameters {
            if parameter.is_required && !self.0.contains_key(parameter.name) {
                tell(parameter.name, "is required".to_owned());
            }
            if let Kind::Integer { default: Some(default), .. } = parameter.kind {
                self.0.entry(parameter.name).or_insert(Datum::Integer(default));
            }
        }
        if let (Some(start), Some(end)) = (self.integer("start_time"), self.integer("end_time"))
            && end <= start
        {
            tell("end_time", "must be after start_time".to_owned());
        }
        for (least, most) in [("min_price", "max_price"), ("min_quantity", "max_quantity")] {
            if let (Some(low), Some(high)) = (self.decimal(least), self.decimal(most))
                && high < low
            {
                tell(most, format!("must not be below {least}"));
            }
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Datum::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn texts(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(Datum::Texts(texts)) => texts,
            Some(Datum::Text(text)) => std::slice::from_ref(text),
            _ => &[],
        }
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Datum::Integer(integer)) => Some(*integer),
            _ => None,
        }
    }

    pub(super) fn time(&self, name: &str) -> Option<Nanos> {
        self.integer(name).map(Nanos)
    }

    /// The rows of a page.
    pub(super) fn limit(&self) -> usize {
        self.integer("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(1)
    }

    pub(super) fn decimal(&self, name: &str) -> Option<Decimal> {
        match self.0.get(name) {
            Some(Datum::Decimal(decimal)) => Some(*decimal),
            _ => None,
        }
    }

    pub(super) fn as_of(&self) -> Option<&AsOf> {
        match self.0.get("as_of") {
            Some(Datum::AsOf(as_of)) => Some(as_of),
            _ => None,
        }
    }

    pub(super) fn objects(&self, name: &str) -> &[Self] {
        match self.0.get(name) {
            Some(Datum::Objects(objects)) => objects,
            _ => &[],
        }
    }

    /// A text that is the same for the same question, but for what `besides` names.
    pub(super) fn canonical(&self, besides: &[&str]) -> String {
        let named = self.0.iter().filter(|(name, _)| !besides.contains(name));
        format!("{:?}", named.collect::<Vec<_>>())
    }
}

fn nearest(name: &str, parameters: &[Parameter]) -> String {
    if parameters.is_empty() {
        return "there are none".to_owned();
    }
    let names: Vec<String> = parameters.iter().map(|known| known.name.to_owned()).collect();
    did_you_mean(name, &names, "parameters")
}

pub(super) fn invalid(fields: Vec<FieldError>) -> Error {
    let told = fields.iter().map(|wrong| format!("{} {}", wrong.field, wrong.message));
    let told = told.collect::<Vec<_>>().join("; ");
    Error::bad_request("invalid_parameters", format!("read the parameters: {told}"))
        .with_hint("each wrong field is in fields; GET /openapi.json says what a path takes")
        .with_fields(fields)
}

impl Kind {
    /// The value of a text in a path or its query.
    fn read_text(self, text: &str) -> Result<Datum, String> {
        let json = || Json::from(text);
        Ok(match self {
            Self::Symbols { .. } | Self::Venues { .. } | Self::SomeOf(_) => {
                let items: Vec<&str> = text.split(',').collect();
                return self
                    .read(&Json::from(items))
                    .map(|read| read.unwrap_or(Datum::Texts(vec![])));
            }
            Self::Integer { min, max, .. } => {
                let fits = text.parse().ok().filter(|number| (min..=max).contains(number));
                Datum::Integer(fits.ok_or_else(|| not_within(min, max))?)
            }
            Self::AsOf => Datum::AsOf(Box::new(as_of(serde_json::from_str(text))?)),
            _ => return self.read(&json())?.ok_or_else(|| "must be a text".to_owned()),
        })
    }

    /// The value in `json`; `None` for null.
    fn read(self, json: &Json) -> Result<Option<Datum>, String> {
        if json.is_null() {
            return Ok(None);
        }
        Ok(Some(match self {
            Self::Symbol => Datum::Text(name(json)?),
            Self::Venue => Datum::Text(name(json)?.to_uppercase()),
            Self::Symbols { max } => Datum::Texts(list(json, max, name)?),
            Self::Venues { max } => {
                Datum::Texts(list(json, max, |item| Ok(name(item)?.to_uppercase()))?)
            }
            Self::Time => Datum::Integer(time(json)?),
            Self::Date => Datum::Integer(date(json)?),
            Self::Timeframe => Datum::Text(one_of(json, &Timeframe::ALL.map(Timeframe::as_str))?),
            Self::Interval => Datum::Integer(interval(json)?),
            Self::Integer { min, max, .. } => Datum::Integer(integer(json, min, max)?),
            Self::Decimal => Datum::Decimal(decimal(json)?),
            Self::OneOf(choices) => Datum::Text(one_of(json, choices)?),
            Self::SomeOf(choices) => {
                Datum::Texts(list(json, choices.len(), |item| one_of(item, choices))?)
            }
            Self::AsOf => Datum::AsOf(Box::new(as_of(serde_json::from_value(json.clone()))?)),
            // The id of a snapshot, as it is listed.
            Self::Moment if json.is_number() => Datum::Text(json.to_string()),
            Self::Moment | Self::Text | Self::Shaped(_) | Self::Number { .. } | Self::Cursor => {
                Datum::Text(text(json)?.to_owned())
            }
            Self::Format => Datum::Text(one_of(json, &Format::ALL.map(Format::as_str))?),
            Self::Objects { .. } => return Err("must be a list of objects".to_owned()),
        }))
    }
}

fn text(json: &Json) -> Result<&str, String> {
    json.as_str().ok_or_else(|| "must be a text".to_owned())
}

fn name(json: &Json) -> Result<String, String> {
    let text = text(json)?;
    let is_sound =
        (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if is_sound {
        Ok(text.to_owned())
    } else {
        Err(format!("must have from 1 to {NAME_CHARS_MAX} characters"))
    }
}

fn list(
    json: &Json,
    max: usize,
    read: impl Fn(&Json) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let Json::Array(items) = json else { return Err("must be a list of texts".to_owned()) };
    if items.is_empty() || items.len() > max {
        return Err(format!("must have from 1 to {max} entries"));
    }
    let mut texts = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let text = read(item)?;
        if items[..at].contains(item) {
            return Err(format!("names {text} more than once"));
        }
        // Two spellings of one name are one name.
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
}

fn one_of(json: &Json, choices: &[&str]) -> Result<String, String> {
    let given = text(json)?;
    match choices.iter().find(|choice| **choice == given) {
        Some(choice) => Ok((*choice).to_owned()),
        None => Err(format!("must be one of {}, and not {given:?}", choices.join(", "))),
    }
}

fn integer(json: &Json, min: i64, max: i64) -> Result<i64, String> {
    let number = whole(json).filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| not_within(min, max))
}

/// The whole number in `json`. `5.0` is one too, as long as each digit counts.
fn whole(json: &Json) -> Option<i64> {
    const EXACT_MAX: f64 = (1_u64 << f64::MANTISSA_DIGITS) as f64;
    let whole = |float: &f64| float.fract() == 0.0 && float.abs() <= EXACT_MAX;
    json.as_i64().or_else(|| json.as_f64().filter(whole).map(|float| float as i64))
}

fn not_within(min: i64, max: i64) -> String {
    format!("must be a whole number from {min} to {max}")
}

fn decimal(json: &Json) -> Result<Decimal, String> {
    let text = match json {
        Json::String(text) => text.clone(),
        // A fraction would have gone through a float, and lost digits there.
        other => {
            let whole = whole(other).map(|number| number.to_string());
            whole.ok_or("must be a decimal number, as a text such as \"0.5\"")?
        }
    };
    Decimal::parse(text.as_bytes()).map_err(|error| format!("must be a decimal number: {error}"))
}

/// Epoch nanoseconds, ISO 8601 with its zone, or a day, which is its midnight in UTC.
fn time(json: &Json) -> Result<i64, String> {
    const WANTED: &str = "must be ISO 8601 with a zone, as in 2024-08-09T00:00:00Z, a day, as in \
                          2024-08-09, or nanoseconds since 1970";
    let text = match json {
        Json::Number(_) => return whole(json).ok_or_else(|| WANTED.to_owned()),
        other => text(other).map_err(|_| WANTED)?,
    };
    if let Ok(nanos) = text.parse::<i64>() {
        return Ok(nanos);
    }
    if let Ok(midnight) = date(json) {
        return Ok(midnight);
    }
    // In a query an unescaped `+` before the zone arrives as a space.
    let zoned = match text.rsplit_once(' ') {
        Some((time, zone)) if time.contains('T') => format!("{time}+{zone}"),
        _ => text.to_owned(),
    };
    let with_all = with_seconds(&zoned).unwrap_or(zoned);
    let parsed = chrono::DateTime::parse_from_rfc3339(&with_all);
    let parsed = parsed.map_err(|_| WANTED)?;
    parsed.timestamp_nanos_opt().ok_or_else(|| "must be between 1677 and 2262".to_owned())
}

/// A day as the nanoseconds of its start in UTC.
fn date(json: &Json) -> Result<i64, String> {
    const WANTED: &str = "must be a day, as in 2024-08-09";
    let day: chrono::NaiveDate = text(json)?.parse().map_err(|_| WANTED)?;
    let start = day.and_time(chrono::NaiveTime::MIN).and_utc();
    start.timestamp_nanos_opt().ok_or_else(|| "must be between 1677 and 2262".to_owned())
}

/// Seconds, minutes, hours or days, as nanoseconds.
fn interval(json: &Json) -> Result<i64, String> {
    const WANTED: &str = "must be a length from 1s to 366d, as in 30s, 5m, 4h or 1d";
    let text = text(json)?;
    let unit_at = text.len().saturating_sub(1);
    let (count, unit) = text.split_at_checked(unit_at).ok_or(WANTED)?;
    let unit = match unit {
        "s" => NANOS_PER_SECOND,
        "m" => 60 * NANOS_PER_SECOND,
        "h" => 3_600 * NANOS_PER_SECOND,
        "d" => NANOS_PER_DAY,
        _ => return Err(WANTED.to_owned()),
    };
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = count.parse::<i64>().ok().filter(|_| is_number);
    let nanos = nanos.and_then(|count| count.checked_mul(unit));
    nanos.filter(|nanos| (1..=366 * NANOS_PER_DAY).contains(nanos)).ok_or_else(|| WANTED.to_owned())
}

/// The `as_of` of an earlier answer's `meta`; in a query it is JSON text.
fn as_of(read: serde_json::Result<AsOf>) -> Result<AsOf, String> {
    read.map_err(|_| "must be the as_of of an answer's meta, as it is there".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SOME: &[Parameter] = &[
        Parameter::new("symbol", Kind::Symbol, "").required(),
        Parameter::new("venue", Kind::Venue, "").or("exchange"),
        Parameter::new("start_time", Kind::Time, ""),
        Parameter::new("end_time", Kind::Time, ""),
        Parameter::new("limit", Kind::Integer { default: Some(100), min: 1, max: 10 }, ""),
    ];

    fn read(fields: Json) -> Result<Values> {
        let Json::Object(fields) = fields else { panic!("{fields}") };
        let given = fields.into_iter().map(|(name, json)| match json {
            Json::String(text) => (name, Given::Text(text)),
            json => (name, Given::Json(json)),
        });
        Values::read(SOME, given.collect())
    }

    #[test]
    fn every_wrong_field_is_told_at_once_and_unknown_ones_with_the_nearest_right_one() {
        let given = json!({
            "venu": "X", "start_time": "yesterday", "end_time": "2024-08-09 00:00", "limit": "0",
        });
        let error = read(given).unwrap_err();
        assert_eq!(error.code(), "invalid_parameters");
        let told: BTreeMap<&str, &str> =
            error.fields().iter().map(|it| (&*it.field, &*it.message)).collect();
        assert_eq!(told.len(), 5, "{told:?}");
        assert_eq!(told["venu"], "is no parameter here; did you mean venue?");
        assert_eq!(told["symbol"], "is required");
        assert_eq!(told["limit"], "must be a whole number from 1 to 10");
        assert!(told["start_time"].starts_with("must be ISO 8601 with a zone"));
        assert!(told["end_time"].starts_with("must be ISO 8601 with a zone"));
    }

    #[test]
    fn aliases_defaults_and_both_spellings_of_a_time_are_read() {
        let values = read(json!({
            "symbol": "BTC-USDT", "exchange": "binance",
            "start_time": "2024-08-09T02:00:00 02:00", "end_time": "1723161600000000001",
        }))
        .unwrap();
        assert_eq!(values.text("venue"), Some("BINANCE"));
        assert_eq!(values.time("start_time"), Some(Nanos(1_723_161_600_000_000_000)));
        assert_eq!(values.time("end_time"), Some(Nanos(1_723_161_600_000_000_001)));
        assert_eq!(values.limit(), 100);
        let twice = read(json!({"symbol": "A", "venue": "X", "exchange": "Y"})).unwrap_err();
        assert_eq!(twice.fields().len(), 1);
        let empty = read(json!({"symbol": "A", "start_time": 5, "end_time": 5})).unwrap_err();
        assert_eq!(empty.fields()[0].field, "end_time");
    }

    #[test]
    fn a_time_may_be_a_day_or_leave_its_seconds_out() {
        let day = 1_723_161_600_000_000_000;
        let half_past_nine = day + 34_200_000_000_000;
        for (text, nanos) in [
            ("2024-08-09", Some(day)),
            ("2024-08-09T09:30Z", Some(half_past_nine)),
            ("2024-08-09T11:30+02:00", Some(half_past_nine)),
            ("2024-08-09T11:30 02:00", Some(half_past_nine)),
            ("2024-08-09T09:30:00.000000001Z", Some(half_past_nine + 1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("2024-08-09T09:30", None),
            ("2024-08-09T09Z", None),
            ("2024-02-30", None),
            ("1600-01-01", None),
        ] {
            assert_eq!(time(&json!(text)).ok(), nanos, "{text}");
        }
    }

    #[test]
    fn lengths_of_time_have_a_unit_and_bounds() {
        for (text, nanos) in [("1s", Some(1_000_000_000)), ("4h", Some(14_400_000_000_000))] {
            assert_eq!(interval(&json!(text)).ok(), nanos, "{text}");
        }
        for wrong in ["", "s", "0s", "1", "1ms", "-1s", "+1s", "367d", "9999999999999d", "1µ"] {
            assert!(interval(&json!(wrong)).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused_and_never_a_panic(
            name in ".{0,12}", text in ".{0,40}",
        ) {
            let kinds = [
                Kind::Symbol, Kind::Venue, Kind::Time, Kind::Date, Kind::Interval, Kind::Decimal,
                Kind::AsOf, Kind::Symbols { max: 3 }, Kind::Format,
            ];
            for kind in kinds {
                let _ = kind.read(&Json::from(text.as_str()));
                let _ = kind.read_text(&text);
            }
            let _ = Values::read(SOME, vec![(name, Given::Text(text))]);
        }
    }
}
