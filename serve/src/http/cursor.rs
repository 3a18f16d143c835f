//! Cursors: where a page ended, and at which moment. Opaque, and signed, so that nobody can have
//! a server compare with, or pin, what it never gave out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k2_model::{Decimal, Nanos};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::request::AsOf;
use crate::secret::Secret;

/// What the server signs a cursor as.
const PURPOSE: &str = "";

/// One column's value in the last row of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    Integer(i64),
    Decimal(Decimal),
    Text(String),
}

/// Where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Of which question: a cursor goes on with that, and with no other.
    pub(super) question: u64,
    pub(super) as_of: AsOf,
    /// Where a window begins that was told from the newest record when the first page was made.
    pub(super) since: Option<Nanos>,
    /// The last row, by what the pages are ordered by.
    pub(super) last: Vec<Part>,
}

impl Cursor {
    pub(super) fn sealed(&self, secret: &Secret) -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(secret.sealed(PURPOSE, self)?))
    }

    pub(super) fn open(text: &str, question: u64, secret: &Secret) -> Result<Self> {
        let wrong = |reason: &str| {
            Error::bad_request("invalid_cursor", format!("read the cursor: {reason}"))
                .with_hint("send the cursor of the page before as it came, or ask without one")
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong("it is not one of ours"))?;
        let opened = secret.opened(PURPOSE, &bytes);
        let cursor: Self = opened.map_err(|broken| wrong(broken.reason()))?;
        if cursor.question != question {
            return Err(wrong("it is of another question")
                .with_hint("with a cursor only limit and format may differ from the page before"));
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use k2_model::{Offsets, Origin};

    use super::*;

    fn cursor() -> Cursor {
        let offsets = (0..40).map(|at| (Origin::new("market.crypto.trades.binance", at), 1 << at));
        Cursor {
            question: 7,
            as_of: AsOf { snapshot_id: Some(5), frontier: 9, offsets: Offsets::from_iter(offsets) },
            since: Some(Nanos(-3)),
            last: vec![Part::Integer(-1), Part::Text("a'b".into())],
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_and_is_short() {
        let secret = Secret::random();
        let text = cursor().sealed(&secret).unwrap();
        assert!(text.len() < 1_000, "{}", text.len());
        assert_eq!(Cursor::open(&text, 7, &secret).unwrap(), cursor());
        let same = Secret::new(*secret.bytes());
        assert_eq!(Cursor::open(&text, 7, &same).unwrap(), cursor());
    }

    #[test]
    fn a_cursor_that_was_changed_cut_or_made_elsewhere_is_refused() {
        let secret = Secret::random();
        let text = cursor().sealed(&secret).unwrap();
        let refused = |text: &str| {
            let error = Cursor::open(text, 7, &secret).unwrap_err();
            assert_eq!(error.code(), "invalid_cursor");
        };
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            refused(std::str::from_utf8(&forged).unwrap());
            refused(&text[..at]);
        }
        refused(&cursor().sealed(&Secret::random()).unwrap());
        assert!(Cursor::open(&text, 8, &secret).is_err(), "of another question");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_taken_for_a_cursor(text in ".{0,200}") {
            proptest::prop_assert!(Cursor::open(&text, 7, &Secret::new([1; 32])).is_err());
        }
    }
}
