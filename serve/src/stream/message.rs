//! What a reader is sent, over either protocol: an event, its data, and where the reader then is.

use std::sync::Arc;

use crate::error::Error;
use crate::stream::token::{Position, Token};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// How things stood when the subscription began.
    Snapshot,
    /// What came since.
    Changes,
    /// Rows that this reader was too slow for.
    Skipped,
    /// What was asked for is no longer in memory; a snapshot follows.
    Reset,
    /// Nothing came.
    Heartbeat,
    /// The job has ended, or the server is about to.
    End,
    /// The reader may no longer read.
    Refused,
}

impl Event {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Changes => "changes",
            Self::Skipped => "skipped",
            Self::Reset => "reset",
            Self::Heartbeat => "heartbeat",
            Self::End => "end",
            Self::Refused => "refused",
        }
    }
}

/// One event for one reader. Its rows are shared with the other readers of the same rows.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) event: Event,
    /// Where the reader is once it has this; `None` if it is in the middle of something.
    pub(crate) position: Option<Position>,
    /// The members of the data besides the rows, as JSON.
    pub(crate) members: String,
    /// The rows, as JSON: each text is one or several, with commas between them.
    pub(crate) rows: Option<Vec<Arc<str>>>,
}

impl Message {
    /// The last one to a reader that may no longer read.
    pub(crate) fn refused(error: &Error) -> Self {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let (code, message) = (text(error.code()), text(error.message()));
        let hint = text(error.hint().unwrap_or_default());
        let members = format!("\"code\":{code},\"message\":{message},\"hint\":{hint}");
        Self { event: Event::Refused, position: None, members, rows: None }
    }

    pub(crate) fn data(&self) -> String {
        let of_rows = self.rows.iter().flatten().map(|rows| rows.len() + 1).sum::<usize>();
        let mut data = String::with_capacity(self.members.len() + of_rows + 16);
        data.push('{');
        data.push_str(&self.members);
        if let Some(rows) = &self.rows {
            data.push_str(if self.members.is_empty() { "\"data\":[" } else { ",\"data\":[" });
            for (at, row) in rows.iter().enumerate() {
                data.push_str(if at > 0 { "," } else { "" });
                data.push_str(row);
            }
            data.push(']');
        }
        data.push('}');
        data
    }

    pub(crate) fn id(&self, run: u32) -> Option<String> {
        self.position.map(|position| Token { run, position }.to_string())
    }

    /// As a server-sent event. A heartbeat is a comment that still moves the last event's id on.
    pub(crate) fn to_sse(&self, run: u32) -> String {
        let mut text = match self.event {
            Event::Heartbeat => ": heartbeat\n".to_owned(),
            event => format!("event: {}\ndata: {}\n", event.as_str(), self.data()),
        };
        if let Some(id) = self.id(run) {
            text.push_str("id: ");
            text.push_str(&id);
            text.push('\n');
        }
        text.push('\n');
        text
    }

    /// As the text of a WebSocket frame.
    pub(crate) fn to_frame(&self, run: u32) -> String {
        let id = self.id(run).map_or("null".to_owned(), |id| format!("\"{id}\""));
        let event = self.event.as_str();
        format!("{{\"event\":\"{event}\",\"id\":{id},\"data\":{}}}", self.data())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_same_over_both_protocols() {
        let rows = vec![Arc::from(r#"{"a":1},{"a":2}"#), Arc::from(r#"{"a":3}"#)];
        let message = Message {
            event: Event::Changes,
            position: Some(Position { epoch: 7, row: 2 }),
            members: r#""as_of":{"frontier":7}"#.to_owned(),
            rows: Some(rows),
        };
        let data = r#"{"as_of":{"frontier":7},"data":[{"a":1},{"a":2},{"a":3}]}"#;
        assert_eq!(
            message.to_sse(42),
            format!("event: changes\ndata: {data}\nid: 0000002a-7-2\n\n")
        );
        let frame = format!(r#"{{"event":"changes","id":"0000002a-7-2","data":{data}}}"#);
        assert_eq!(message.to_frame(42), frame);
    }

    #[test]
    fn a_heartbeat_is_a_comment_with_an_id() {
        let position = Some(Position::at(9));
        let message =
            Message { event: Event::Heartbeat, position, members: String::new(), rows: None };
        assert_eq!(message.to_sse(1), ": heartbeat\nid: 00000001-9-0\n\n");
        assert_eq!(message.to_frame(1), r#"{"event":"heartbeat","id":"00000001-9-0","data":{}}"#);
    }
}
