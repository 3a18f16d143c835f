//! Values as SQL: the one place where what a user sent becomes a part of a query.

use k2_model::{Decimal, Nanos};

/// A text between quotes, with the quotes in it doubled: nothing in it is read as SQL.
pub fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A list of texts for `IN`.
pub(crate) fn texts(texts: &[String]) -> String {
    texts.iter().map(|it| text(it)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn decimal(decimal: Decimal) -> String {
    format!("CAST('{decimal}' AS DECIMAL(38, 12))")
}

/// A moment, for columns that are timestamps.
pub(crate) fn moment(time: Nanos) -> String {
    format!("arrow_cast({}, 'Timestamp(Nanosecond, Some(\"UTC\"))')", time.0)
}

/// A column's name between quotes.
pub(crate) fn column(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_left() {
        assert_eq!(text("x' OR '1'='1"), "'x'' OR ''1''=''1'");
        assert_eq!(text("\\'; --"), "'\\''; --'");
        assert_eq!(column("a\"b"), "\"a\"\"b\"");
    }
}
