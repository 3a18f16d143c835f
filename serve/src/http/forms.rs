//! The forms of texts as regular expressions, for the document: exactly what the server reads.

use serde_json::{Value as Json, json};

/// Minutes in UTC or in a zone, of any day from 1700 to 2199. The format `date-time` has seconds.
const MINUTES: &str = "^(((1[7-9]|2[01])[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|\
                       (0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])))|\
                       ((1[7-9]|2[01])(0[48]|[2468][048]|[13579][26])|2000)-02-29)\
                       T([01][0-9]|2[0-3]):[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// A moment of a parameter: ISO 8601, or nanoseconds since 1970 in 64 bits.
pub(super) fn time() -> Json {
    let nanos = format!("^(-?({})|{})$", whole(i64::MAX), i64::MIN);
    json!({
        "description": "ISO 8601 with a zone, from 1678 to 2261, with or without its seconds; a \
                        day, which is its midnight in UTC; or nanoseconds since 1970.",
        "anyOf": [{ "type": "string", "format": "date-time" },
                  { "type": "string", "format": "date" },
                  { "type": "string", "pattern": MINUTES },
                  { "type": "string", "pattern": nanos },
                  { "type": "integer", "format": "int64", "minimum": i64::MIN,
                    "maximum": i64::MAX }],
    })
}

/// A moment of the tables.
pub(super) fn moment() -> Json {
    json!({
        "description": "The id of a snapshot, tag:NAME, ISO 8601 with or without its seconds and \
                        zone, or a day, which is its midnight in UTC.",
        "anyOf": [{ "type": "string", "pattern": "^tag:[a-z][a-z0-9-]*$" },
                  { "type": "string", "pattern": format!("^({})$", whole(i64::MAX)) },
                  { "type": "string", "format": "date-time" },
                  { "type": "string", "format": "date" },
                  { "type": "string", "pattern": MINUTES },
                  { "type": "integer", "format": "int64", "minimum": 0, "maximum": i64::MAX }],
    })
}

/// Whole numbers from 0 to `max`, which must be above 9.
fn whole(max: i64) -> String {
    let digits = max.to_string();
    let shorter = format!("0|[1-9][0-9]{{0,{}}}", digits.len() - 2);
    // Of those that are as long, the ones that have a smaller digit first here.
    let smaller = digits.char_indices().filter_map(|(at, digit)| {
        let least = if at == 0 { '1' } else { '0' };
        let below = char::from_u32(u32::from(digit) - 1).filter(|below| *below >= least)?;
        let rest = match digits.len() - at - 1 {
            0 => String::new(),
            rest => format!("[0-9]{{{rest}}}"),
        };
        Some(format!("{}[{least}-{below}]{rest}", &digits[..at]))
    });
    let forms = std::iter::once(shorter).chain(smaller).chain([digits.clone()]);
    forms.collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_those_up_to_the_last_digit() {
        assert_eq!(whole(10), "0|[1-9][0-9]{0,0}|10");
        assert_eq!(whole(307), "0|[1-9][0-9]{0,1}|[1-2][0-9]{2}|30[0-6]|307");
        assert!(whole(i64::MAX).ends_with("|922337203685477580[0-6]|9223372036854775807"));
    }
}
