//! Where a reader is: what it sends to go on from there.

use std::fmt;
use std::str::FromStr;

use k2_model::Time;

/// All rows of epochs below `epoch` are behind, and the first `row` rows of that one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) epoch: Time,
    pub(crate) row: u64,
}

impl Position {
    /// At the start of `epoch`.
    pub(crate) fn at(epoch: Time) -> Self {
        Self { epoch, row: 0 }
    }
}

/// A position in one run of a job, for epochs say nothing to another. Not secret: it moves only
/// the reader that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) run: u32,
    pub(crate) position: Position,
}

/// The longest token that is read.
const BYTES_MAX: usize = 64;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}-{}", self.run, self.position.epoch, self.position.row)
    }
}

impl FromStr for Token {
    type Err = ();

    /// Reads exactly what was written.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let run = parts.next().and_then(|run| u32::from_str_radix(run, 16).ok());
        let mut number = || parts.next()?.parse::<u64>().ok();
        let (Some(run), Some(epoch), Some(row)) = (run, number(), number()) else {
            return Err(());
        };
        let token = Self { run, position: Position { epoch, row } };
        let is_same = text.len() <= BYTES_MAX && token.to_string() == text;
        if is_same { Ok(token) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(run: u32, epoch: u64, row: u64) {
            let token = Token { run, position: Position { epoch, row } };
            proptest::prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn anything_else_is_no_token(text in "[-0-9a-f ]{0,80}") {
            if let Ok(token) = text.parse::<Token>() {
                proptest::prop_assert_eq!(token.to_string(), text);
            }
        }
    }

    #[test]
    fn what_was_cut_or_forged_is_no_token() {
        for wrong in [
            "",
            "-",
            "1-2-3",
            "0000002a-1",
            "0000002a-1-2-3",
            "0000002a-+1-2",
            "0000002A-1-2",
            "0000002a-1-99999999999999999999",
            "0000002a-1-2 ",
        ] {
            assert_eq!(wrong.parse::<Token>(), Err(()), "{wrong}");
        }
    }
}
