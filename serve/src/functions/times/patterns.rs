//! The patterns that PostgreSQL's `to_char` writes times by: `YYYY-MM-DD HH24:MI:SS.MS`.
//!
//! What is no key, and what is in double quotes, is written as it is. `FM` before a key leaves out
//! zeros and blanks that fill it up, `TH` and `th` after one make it an ordinal, and `TM` names
//! months and days in the words of the language, which here is English.

use chrono::{Datelike, NaiveDate};
use k2_model::time::{NANOS_PER_MICRO, NANOS_PER_MILLI};

use super::readings::Reading;
use crate::error::{Error, Result};

/// A month's or a day's name is filled up to the longest.
const NAME_LETTERS: usize = 9;
/// The number of a day of astronomers, less that of the days since the year 1.
const JULIAN_DAYS_BEFORE: i64 = 1_721_425;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] =
    ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// What a pattern may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Era { has_points: bool },
    Noon { has_points: bool },
    Century,
    DayName,
    DayShort,
    DayOfYear,
    Day,
    DayOfWeek,
    Fraction(u32),
    Exact,
    Hour24,
    Hour12,
    IsoDayOfYear,
    IsoDayOfWeek,
    IsoWeek,
    IsoYear(usize),
    Julian,
    Minute,
    Month,
    MonthName,
    MonthShort,
    Millis,
    Micros,
    Offset,
    OffsetHours,
    OffsetMinutes,
    Quarter,
    MonthRoman,
    Second,
    SecondOfDay,
    Zone,
    Week,
    WeekOfMonth,
    YearWithComma,
    Year(usize),
}

/// All keys by their names in capitals.
const KEYS: [(&str, Key); 54] = [
    ("A.D.", Key::Era { has_points: true }),
    ("B.C.", Key::Era { has_points: true }),
    ("AD", Key::Era { has_points: false }),
    ("BC", Key::Era { has_points: false }),
    ("A.M.", Key::Noon { has_points: true }),
    ("P.M.", Key::Noon { has_points: true }),
    ("AM", Key::Noon { has_points: false }),
    ("PM", Key::Noon { has_points: false }),
    ("CC", Key::Century),
    ("DAY", Key::DayName),
    ("DY", Key::DayShort),
    ("DDD", Key::DayOfYear),
    ("DD", Key::Day),
    ("D", Key::DayOfWeek),
    ("FF1", Key::Fraction(1)),
    ("FF2", Key::Fraction(2)),
    ("FF3", Key::Fraction(3)),
    ("FF4", Key::Fraction(4)),
    ("FF5", Key::Fraction(5)),
    ("FF6", Key::Fraction(6)),
    ("FX", Key::Exact),
    ("HH24", Key::Hour24),
    ("HH12", Key::Hour12),
    ("HH", Key::Hour12),
    ("IDDD", Key::IsoDayOfYear),
    ("ID", Key::IsoDayOfWeek),
    ("IW", Key::IsoWeek),
    ("IYYY", Key::IsoYear(4)),
    ("IYY", Key::IsoYear(3)),
    ("IY", Key::IsoYear(2)),
    ("I", Key::IsoYear(1)),
    ("J", Key::Julian),
    ("MI", Key::Minute),
    ("MM", Key::Month),
    ("MONTH", Key::MonthName),
    ("MON", Key::MonthShort),
    ("MS", Key::Millis),
    ("OF", Key::Offset),
    ("Q", Key::Quarter),
    ("RM", Key::MonthRoman),
    ("SSSSS", Key::SecondOfDay),
    ("SSSS", Key::SecondOfDay),
    ("SS", Key::Second),
    ("TZH", Key::OffsetHours),
    ("TZM", Key::OffsetMinutes),
    ("TZ", Key::Zone),
    ("US", Key::Micros),
    ("WW", Key::Week),
    ("W", Key::WeekOfMonth),
    ("Y,YYY", Key::YearWithComma),
    ("YYYY", Key::Year(4)),
    ("YYY", Key::Year(3)),
    ("YY", Key::Year(2)),
    ("Y", Key::Year(1)),
];

impl Key {
    fn is_name(self) -> bool {
        matches!(self, Self::DayName | Self::DayShort | Self::MonthName | Self::MonthShort)
    }

    /// Whether an interval has it as well as a time.
    fn is_of_intervals(self) -> bool {
        matches!(
            self,
            Self::Noon { .. }
                | Self::Day
                | Self::Fraction(_)
                | Self::Exact
                | Self::Hour24
                | Self::Hour12
                | Self::Minute
                | Self::Month
                | Self::Millis
                | Self::Micros
                | Self::Second
                | Self::SecondOfDay
                | Self::YearWithComma
                | Self::Year(_)
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Title,
    Lower,
}

impl Case {
    fn of(self, name: &str) -> String {
        match self {
            Self::Upper => name.to_uppercase(),
            Self::Title => name.to_owned(),
            Self::Lower => name.to_lowercase(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field { key: Key, case: Case, is_filled: bool, is_translated: bool, ordinal: Option<Case> },
}

/// A pattern, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// `has_date` tells a pattern for times from one for intervals.
    pub(super) fn new(pattern: &str, has_date: bool) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (is_filled, is_translated, after) = prefix(rest);
            rest = after;
            if let Some((key, case, length)) = key_at(rest) {
                if !has_date && !key.is_of_intervals() {
                    return Err(no_date(&rest[..length]));
                }
                let (ordinal, after) = suffix(&rest[length..]);
                rest = after;
                pieces.push(Piece::Field { key, case, is_filled, is_translated, ordinal });
            } else {
                let (text, after) = literal(rest);
                rest = after;
                match pieces.last_mut() {
                    Some(Piece::Text(before)) => before.push_str(&text),
                    _ => pieces.push(Piece::Text(text)),
                }
            }
        }
        Ok(Self(pieces))
    }

    pub(super) fn write(&self, reading: &Reading, out: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field { key, case, is_filled, is_translated, ordinal } => {
                    let style = Style { case: *case, is_filled: *is_filled && !*is_translated };
                    let text = field(*key, style, reading).unwrap_or_default();
                    out.push_str(&text);
                    if let Some(case) = ordinal.filter(|_| !key.is_name()) {
                        out.push_str(&case.of(ordinal_of(&text)));
                    }
                }
            }
        }
    }
}

fn no_date(key: &str) -> Error {
    let message = format!("answer a query: {key} in a pattern of to_char is of dates alone");
    Error::bad_request("cannot_compute", message).with_hint(
        "an interval has YYYY, MM, DD, HH24, HH12, MI, SS, MS and US; put other text in double \
             quotes",
    )
}

/// Whether what follows is filled up, whether it is translated, and what follows.
fn prefix(pattern: &str) -> (bool, bool, &str) {
    match pattern.get(..2) {
        Some("FM" | "fm") => (false, false, &pattern[2..]),
        Some("TM" | "tm") => (true, true, &pattern[2..]),
        _ => (true, false, pattern),
    }
}

fn suffix(pattern: &str) -> (Option<Case>, &str) {
    match pattern.get(..2) {
        Some("TH") => (Some(Case::Upper), &pattern[2..]),
        Some("th") => (Some(Case::Lower), &pattern[2..]),
        _ => (None, pattern),
    }
}

/// The longest key that `pattern` begins with.
fn key_at(pattern: &str) -> Option<(Key, Case, usize)> {
    let found = KEYS.iter().filter_map(|(name, key)| {
        let head = pattern.get(..name.len())?;
        let title = || format!("{}{}", &name[..1], name[1..].to_lowercase());
        let case = if head == *name {
            Case::Upper
        } else if head == name.to_lowercase() {
            Case::Lower
        } else if key.is_name() && head == title() {
            Case::Title
        } else {
            return None;
        };
        Some((*key, case, name.len()))
    });
    found.max_by_key(|(_, _, length)| *length)
}

/// Text that stands for itself, and what follows. In quotes a backslash makes the next letter a
/// plain one, outside of them only a quote.
fn literal(pattern: &str) -> (String, &str) {
    let mut letters = pattern.chars();
    match letters.next() {
        Some('"') => {
            let mut text = String::new();
            while let Some(letter) = letters.next() {
                match letter {
                    '"' => break,
                    '\\' => text.extend(letters.next()),
                    plain => text.push(plain),
                }
            }
            (text, letters.as_str())
        }
        Some('\\') if letters.as_str().starts_with('"') => {
            letters.next();
            ("\"".to_owned(), letters.as_str())
        }
        Some(plain) => (plain.to_string(), letters.as_str()),
        None => (String::new(), ""),
    }
}

/// How a field is written.
#[derive(Clone, Copy)]
struct Style {
    case: Case,
    is_filled: bool,
}

impl Style {
    /// With zeros up to `digits`, one more below zero.
    fn number(self, number: i64, digits: usize) -> String {
        let digits = if number < 0 { digits + 1 } else { digits };
        self.plain(number, digits)
    }

    fn plain(self, number: i64, digits: usize) -> String {
        if self.is_filled { format!("{number:0digits$}") } else { number.to_string() }
    }

    fn name(self, name: &str, letters: usize) -> String {
        let name = self.case.of(name);
        if self.is_filled { format!("{name:letters$}") } else { name }
    }
}

/// `None` where there is nothing to write.
fn field(key: Key, style: Style, of: &Reading) -> Option<String> {
    let hour12 = if of.hour % 12 == 0 { 12 } else { of.hour % 12 };
    let seconds = of.hour * 3_600 + of.minute * 60 + of.second;
    Some(match key {
        Key::Exact => return None,
        Key::Noon { has_points } => {
            let is_late = of.hour % 24 >= 12;
            style.case.of(match (is_late, has_points) {
                (true, true) => "P.M.",
                (true, false) => "PM",
                (false, true) => "A.M.",
                (false, false) => "AM",
            })
        }
        Key::Day => style.plain(of.day, 2),
        // As many digits as it has, whatever the style.
        Key::Fraction(digits) => {
            let fraction = of.nanos / 10_i64.pow(9 - digits);
            let digits = digits as usize;
            format!("{fraction:0digits$}")
        }
        Key::Millis => format!("{:03}", of.nanos / NANOS_PER_MILLI),
        Key::Micros => format!("{:06}", of.nanos / NANOS_PER_MICRO),
        Key::Hour24 => style.number(of.hour, 2),
        Key::Hour12 => style.number(hour12, 2),
        Key::Minute => style.number(of.minute, 2),
        Key::Second => style.number(of.second, 2),
        Key::SecondOfDay => seconds.to_string(),
        Key::Month => style.number(of.month, 2),
        Key::Year(digits) => year(shown(of), digits, style),
        Key::YearWithComma => {
            let year = shown(of);
            format!("{},{:03}", year / 1_000, year % 1_000)
        }
        Key::Offset => format!("+{}", style.plain(0, 2)),
        Key::OffsetHours => "+00".to_owned(),
        Key::OffsetMinutes => "00".to_owned(),
        Key::Zone if of.is_moment => style.case.of("UTC"),
        Key::Zone => return None,
        key => of_date(key, style, of.date?),
    })
}

/// There is no year 0: the one before 1 is the first before Christ.
fn shown(of: &Reading) -> i64 {
    if of.date.is_some() && of.year <= 0 { 1 - of.year } else { of.year }
}

/// The last `digits` of a year, or all of it.
fn year(year: i64, digits: usize, style: Style) -> String {
    match digits {
        4 => style.number(year, 4),
        3 => style.number(year % 1_000, 3),
        2 => style.number(year % 100, 2),
        _ => (year % 10).to_string(),
    }
}

fn of_date(key: Key, style: Style, date: NaiveDate) -> String {
    let number = |it: u32, digits: usize| style.plain(i64::from(it), digits);
    let month = MONTHS[date.month0() as usize];
    let day = DAYS[date.weekday().num_days_from_sunday() as usize];
    let iso = date.iso_week();
    match key {
        Key::Era { has_points } => {
            let is_after = date.year() > 0;
            style.case.of(match (is_after, has_points) {
                (true, true) => "A.D.",
                (true, false) => "AD",
                (false, true) => "B.C.",
                (false, false) => "BC",
            })
        }
        Key::Century => {
            let year = i64::from(date.year());
            let century = if year > 0 { (year - 1) / 100 + 1 } else { year / 100 - 1 };
            style.number(century, 2)
        }
        Key::DayName => style.name(day, NAME_LETTERS),
        Key::DayShort => style.case.of(&day[..3]),
        Key::MonthName => style.name(month, NAME_LETTERS),
        Key::MonthShort => style.case.of(&month[..3]),
        Key::MonthRoman => {
            let roman = style.case.of(ROMAN[date.month0() as usize]);
            if style.is_filled { format!("{roman:4}") } else { roman }
        }
        Key::DayOfYear => number(date.ordinal(), 3),
        Key::DayOfWeek => (date.weekday().num_days_from_sunday() + 1).to_string(),
        Key::IsoDayOfWeek => date.weekday().number_from_monday().to_string(),
        Key::IsoDayOfYear => number(iso.week0() * 7 + date.weekday().number_from_monday(), 3),
        Key::IsoWeek => number(iso.week(), 2),
        Key::IsoYear(digits) => year(i64::from(iso.year()), digits, style),
        Key::Julian => (i64::from(date.num_days_from_ce()) + JULIAN_DAYS_BEFORE).to_string(),
        Key::Quarter => (date.month0() / 3 + 1).to_string(),
        Key::Week => number(date.ordinal0() / 7 + 1, 2),
        Key::WeekOfMonth => (date.day0() / 7 + 1).to_string(),
        _ => String::new(),
    }
}

/// What makes a number an ordinal.
fn ordinal_of(number: &str) -> &'static str {
    let mut digits = number.bytes().rev();
    let (last, before) = (digits.next(), digits.next());
    match last {
        Some(b'1') if before != Some(b'1') => "st",
        Some(b'2') if before != Some(b'1') => "nd",
        Some(b'3') if before != Some(b'1') => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use arrow_buffer::IntervalMonthDayNano;

    use super::*;

    fn written(pattern: &str, reading: &Reading) -> String {
        let mut out = String::new();
        Template::new(pattern, reading.date.is_some()).unwrap().write(reading, &mut out);
        out
    }

    #[test]
    fn times_are_written_as_postgresql_writes_them() {
        let clock = "2024-08-09T13:45:30.123456".parse().unwrap();
        let reading = Reading::of_clock(clock, false);
        let cases = [
            ("YYYY-MM-DD HH24:MI:SS.MS US FF3 FF1", "2024-08-09 13:45:30.123 123456 123 1"),
            ("HH12 HH AM am A.M. p.m.", "01 01 PM pm P.M. p.m."),
            ("TZ|tz|OF TZH:TZM", "||+00 +00:00"),
            ("Month|FMMonth|MONTH|month|Mon", "August   |August|AUGUST   |august   |Aug"),
            ("Day|FMDay|DAY|dy", "Friday   |Friday|FRIDAY   |fri"),
            ("DDD|D|ID|WW|IW|IYYY|Q|J|CC", "222|6|5|32|32|2024|3|2460532|21"),
            ("Y,YYY|YYY|Y|RM|rm|FMRM", "2,024|024|4|VIII|viii|VIII"),
            ("\"quoted Y\"|DDth|DDTH|FMDDth|FMMM", "quoted Y|09th|09TH|9th|8"),
            ("W|SSSS|TMMonth|x YYYYMMDD \\\"Z\\\"", "2|49530|August|x 20240809 \"Z\""),
            ("IDDD AD b.c.", "222 AD a.d."),
            ("", ""),
        ];
        for (pattern, expected) in cases {
            assert_eq!(written(pattern, &reading), expected, "{pattern}");
        }
        let moment = Reading::of_clock(clock, true);
        assert_eq!(written("TZ tz FMOF FMHH24 FMMS HHth", &moment), "UTC utc +0 13 123 01st");
    }

    #[test]
    fn intervals_have_numbers_below_zero_and_no_dates() {
        let nanos = -(4 * 3_600 + 5 * 60 + 6) * 1_000_000_000 - 789_000_000;
        let reading = Reading::of_span(IntervalMonthDayNano::new(0, -3, nanos));
        let pattern = "YYYY|MM|DD|HH24|HH12|MI|SS|MS|US|SSSS|AM";
        let expected = "0000|00|-3|-04|-04|-05|-06|-789|-789000|-14706|AM";
        assert_eq!(written(pattern, &reading), expected);
        for pattern in ["Month", "HH24 TZ", "Q"] {
            assert_eq!(Template::new(pattern, false).unwrap_err().code(), "cannot_compute");
        }
    }
}
