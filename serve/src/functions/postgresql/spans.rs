//! Intervals as PostgreSQL reads them: `1 day 02:30:00`, `1-2`, `P1DT2H`, `3 days ago`.
//!
//! The kernels that read intervals know numbers with units alone. So what is written in another way is
//! read here, and spelled as they want it.

use arrow_cast::parse::parse_interval_month_day_nano;

const MONTHS_OF_YEAR: i128 = 12;
const DAYS_OF_WEEK: i128 = 7;
/// As PostgreSQL counts the days of a part of a month.
const DAYS_OF_MONTH: i128 = 30;
const NANOS_IN_SECOND: i64 = 1_000_000_000;
const NANOS_OF_SECOND: i128 = NANOS_IN_SECOND as i128;
const NANOS_OF_MINUTE: i128 = 60 * NANOS_OF_SECOND;
const NANOS_OF_HOUR: i128 = 60 * NANOS_OF_MINUTE;
const NANOS_OF_DAY: i128 = 24 * NANOS_OF_HOUR;
/// Amounts are counted in billionths, for their decimals.
const ONE: i128 = 1_000_000_000;
const DECIMALS: usize = 9;
/// No amount is greater, so that it can be multiplied by whatever a unit is.
const AMOUNT_MAX: i128 = 1 << 52;

/// The interval that `text` is, in numbers with units, if the kernels cannot read it as it is. `None` as
/// well if it is no interval at all.
pub(crate) fn respelled(text: &str) -> Option<String> {
    let is_known = parse_interval_month_day_nano(text).is_ok()
        && text.split_whitespace().last().is_some_and(|it| it.ends_with(char::is_alphabetic));
    if is_known { None } else { spelled(text) }
}

/// The interval that `text` is, in numbers with units.
pub(crate) fn spelled(text: &str) -> Option<String> {
    let Span { months, days, nanos } = Span::read(text)?;
    let (months, days) = (i32::try_from(months).ok()?, i32::try_from(days).ok()?);
    let nanos = i64::try_from(nanos).ok()?;
    let (seconds, nanos) = (nanos / NANOS_IN_SECOND, nanos % NANOS_IN_SECOND);
    Some(format!("{months} months {days} days {seconds} seconds {nanos} nanoseconds"))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    months: i128,
    days: i128,
    nanos: i128,
}

impl Span {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix(['P', 'p']) {
            return Self::read_iso(rest);
        }
        let text = text.strip_prefix('@').unwrap_or(text).to_lowercase();
        let (text, is_ago) = match text.trim_end().strip_suffix("ago") {
            Some(rest) => (rest, true),
            None => (&*text, false),
        };
        let mut span = Self::default();
        let words = words(text);
        let mut words = words.iter().copied().peekable();
        words.peek()?;
        while let Some(word) = words.next() {
            if word.contains(':') {
                span.nanos += clock(word)?;
            } else if let Some((years, months)) = year_month(word) {
                span.months += years * MONTHS_OF_YEAR + months;
            } else {
                let amount = amount(word)?;
                // Days before a time of day, and seconds without anything behind them.
                let unit = match words.peek() {
                    None => "s",
                    Some(next) if next.contains(':') => "d",
                    Some(_) => words.next()?,
                };
                span.add(amount, unit)?;
            }
        }
        Some(if is_ago { span.negated() } else { span })
    }

    /// `1Y2M3DT4H5M6S`, what stands behind the `P` of ISO 8601.
    fn read_iso(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        let (days, times) = text.split_once('t').unwrap_or((&*text, ""));
        let mut span = Self::default();
        if text.is_empty() {
            return None;
        }
        for (part, units) in [(days, "ymwd"), (times, "hms")] {
            let words = words(part);
            for pair in words.chunks(2) {
                let [number, unit] = pair else { return None };
                if unit.len() != 1 || !units.contains(*unit) {
                    return None;
                }
                let unit = if *unit == "m" && units == "ymwd" { "mon" } else { *unit };
                span.add(amount(number)?, unit)?;
            }
        }
        Some(span)
    }

    /// Adds so many billionths of a unit. What is less than a month is days, and less than a day is
    /// time; what is less than a year is months.
    fn add(&mut self, amount: i128, unit: &str) -> Option<()> {
        let months_of = |years: i128| rounded(amount * years * MONTHS_OF_YEAR);
        match unit {
            "millennium" | "millennia" | "mil" | "mils" => self.months += months_of(1_000),
            "century" | "centuries" | "cent" | "c" => self.months += months_of(100),
            "decade" | "decades" | "dec" | "decs" => self.months += months_of(10),
            "year" | "years" | "yr" | "yrs" | "y" => self.months += months_of(1),
            "month" | "months" | "mon" | "mons" => {
                self.months += amount / ONE;
                self.add_days(amount % ONE * DAYS_OF_MONTH);
            }
            "week" | "weeks" | "w" => self.add_days(amount * DAYS_OF_WEEK),
            "day" | "days" | "d" => self.add_days(amount),
            "hour" | "hours" | "hr" | "hrs" | "h" => self.add_time(amount, NANOS_OF_HOUR),
            "minute" | "minutes" | "min" | "mins" | "m" => self.add_time(amount, NANOS_OF_MINUTE),
            "second" | "seconds" | "sec" | "secs" | "s" => self.add_time(amount, NANOS_OF_SECOND),
            "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => {
                self.add_time(amount, NANOS_OF_SECOND / 1_000);
            }
            "microsecond" | "microseconds" | "usec" | "usecs" | "us" => {
                self.add_time(amount, NANOS_OF_SECOND / 1_000_000);
            }
            "nanosecond" | "nanoseconds" => self.add_time(amount, 1),
            _ => return None,
        }
        Some(())
    }

    fn add_days(&mut self, billionths: i128) {
        self.days += billionths / ONE;
        self.add_time(billionths % ONE, NANOS_OF_DAY);
    }

    fn add_time(&mut self, billionths: i128, nanos: i128) {
        self.nanos += rounded(billionths * nanos);
    }

    fn negated(self) -> Self {
        Self { months: -self.months, days: -self.days, nanos: -self.nanos }
    }
}

/// Billionths as whole ones, rounded half away from zero.
fn rounded(billionths: i128) -> i128 {
    (billionths + billionths.signum() * ONE / 2) / ONE
}

/// The numbers, times and units of a text, of which those that follow each other may be apart.
fn words(text: &str) -> Vec<&str> {
    let is_unit = |letter: char| letter.is_alphabetic();
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let end =
                rest.find(|letter: char| is_unit(letter) != is_unit(first)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            words.push(word);
            rest = behind;
        }
    }
    words
}

/// A number in billionths: `1`, `-1.5`, `+.5`.
fn amount(text: &str) -> Option<i128> {
    let (is_negative, digits) = signed(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: i128 = format!("{fraction:0<DECIMALS$}")[..DECIMALS].parse().ok()?;
    let amount = whole.checked_mul(ONE)?.checked_add(fraction)?;
    let amount = Some(amount).filter(|it| *it / ONE < AMOUNT_MAX)?;
    Some(if is_negative { -amount } else { amount })
}

fn signed(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `1-2`, a year and two months.
fn year_month(word: &str) -> Option<(i128, i128)> {
    let (is_negative, digits) = signed(word);
    let (years, months) = digits.split_once('-')?;
    let (years, months) = (years.parse::<u32>().ok()?, months.parse::<u32>().ok()?);
    let is_month = i128::from(months) < MONTHS_OF_YEAR;
    let sign = if is_negative { -1 } else { 1 };
    is_month.then(|| (sign * i128::from(years), sign * i128::from(months)))
}

/// `02:30`, `-02:30:15.5`, in nanoseconds.
fn clock(word: &str) -> Option<i128> {
    let (is_negative, digits) = signed(word);
    let mut parts = digits.split(':');
    let hours: u32 = parts.next()?.parse().ok()?;
    let minutes: u32 = parts.next()?.parse().ok()?;
    let seconds = parts.next().map_or(Some(0), amount)?;
    if parts.next().is_some() || minutes >= 60 || !(0..=60 * ONE).contains(&seconds) {
        return None;
    }
    // A billionth of a second is a nanosecond.
    let nanos = i128::from(hours) * NANOS_OF_HOUR + i128::from(minutes) * NANOS_OF_MINUTE + seconds;
    Some(if is_negative { -nanos } else { nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i128 = NANOS_OF_HOUR;
    const MINUTE: i128 = NANOS_OF_MINUTE;
    const SECOND: i128 = NANOS_OF_SECOND;

    /// Each answer is that of PostgreSQL 15, as months, days and time.
    #[test]
    fn intervals_are_read_as_postgresql_reads_them() {
        let cases = [
            ("1 day 02:30:00", (0, 1, 2 * HOUR + 30 * MINUTE)),
            ("02:30", (0, 0, 2 * HOUR + 30 * MINUTE)),
            ("-02:30", (0, 0, -2 * HOUR - 30 * MINUTE)),
            ("-1 day 02:30", (0, -1, 2 * HOUR + 30 * MINUTE)),
            ("1 mon -3 days", (1, -3, 0)),
            ("P1DT2H", (0, 1, 2 * HOUR)),
            ("P1Y2M3W4DT5H6M7.5S", (14, 25, 5 * HOUR + 6 * MINUTE + 7 * SECOND + SECOND / 2)),
            ("1-2", (14, 0, 0)),
            ("-1-2", (-14, 0, 0)),
            ("1 2:03", (0, 1, 2 * HOUR + 3 * MINUTE)),
            ("3 days ago", (0, -3, 0)),
            ("@ 1 day", (0, 1, 0)),
            ("+1 day", (0, 1, 0)),
            ("1.5 days", (0, 1, 12 * HOUR)),
            ("1.5 months", (1, 15, 0)),
            ("1.5 years", (18, 0, 0)),
            ("1.25 weeks", (0, 8, 18 * HOUR)),
            ("1h30m", (0, 0, HOUR + 30 * MINUTE)),
            ("5", (0, 0, 5 * SECOND)),
            (
                "1 year 2 mons 3 days 04:05:06.789",
                (14, 3, 4 * HOUR + 5 * MINUTE + 6 * SECOND + 789_000_000),
            ),
        ];
        for (text, (months, days, nanos)) in cases {
            assert_eq!(Span::read(text), Some(Span { months, days, nanos }), "{text}");
        }
        for wrong in
            ["", "day", "1 dag", "1:2:3:4", "02:99", "P", "P1H", "PT1D", "1..5 days", "ago"]
        {
            assert_eq!(Span::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_spelled_is_read_again() {
        let spelled_once = spelled("1 mon -3 days 04:05:06.789").unwrap();
        assert_eq!(spelled_once, "1 months -3 days 14706 seconds 789000000 nanoseconds");
        assert_eq!(spelled(&spelled_once), Some(spelled_once.clone()));
        let negated = spelled(&format!("{spelled_once} ago")).unwrap();
        assert_eq!(negated, "-1 months 3 days -14706 seconds -789000000 nanoseconds");
    }

    #[test]
    fn what_the_kernels_can_read_stays_as_it_is() {
        assert_eq!(respelled("1 day"), None);
        assert_eq!(respelled("1 day 2 hours 3.5 minutes"), None);
        assert_eq!(respelled("nonsense"), None);
        let spelled = respelled("1 day 02:30").unwrap();
        assert_eq!(spelled, "0 months 1 days 9000 seconds 0 nanoseconds");
        let read = parse_interval_month_day_nano(&spelled).unwrap();
        assert_eq!((read.months, read.days, read.nanoseconds), (0, 1, 9_000_000_000_000));
    }
}
