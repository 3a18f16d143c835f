//! How the messages of a topic are written.

use std::str::FromStr;

/// How the messages of a topic are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// As the venue sends them: a line of a capture, in JSON.
    Raw,
    /// Avro, after a byte 0 and the id of its schema in the registry.
    Avro,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Raw, Self::Avro];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Avro => "avro",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| format!("{text} is no format of messages; there are raw and avro"))
    }
}
