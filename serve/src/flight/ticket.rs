//! Tickets: a question, the moment at which its client was told of its columns, and those. Signed,
//! so that they are exchanged for rows as they were given out, and for nothing else.

use arrow_flight::Ticket;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::request::AsOf;
use crate::secret::Secret;

const PURPOSE: &str = "flight ticket";

/// A question at its moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) as_of: AsOf,
    /// As they were told. Which of them can be null is found out by planning, and may be found
    /// otherwise by a plan that is made later; drivers compare.
    pub(super) columns: Vec<u8>,
}

impl Question {
    pub(super) fn ticket(&self, secret: &Secret) -> Result<Ticket> {
        let sealed = secret.sealed(PURPOSE, self)?;
        let ticket = TicketStatementQuery { statement_handle: sealed.into() };
        Ok(Ticket::new(ticket.as_any().encode_to_vec()))
    }

    pub(super) fn open(ticket: &TicketStatementQuery, secret: &Secret) -> Result<Self> {
        secret.opened(PURPOSE, &ticket.statement_handle).map_err(|broken| {
            let message = format!("read the ticket: {}", broken.reason());
            Error::bad_request("invalid_ticket", message)
                .with_hint("send the ticket of GetFlightInfo as it came, or ask for a new one")
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow_flight::sql::Any;
    use k2_model::{Offsets, Origin};

    use super::*;

    #[test]
    fn a_ticket_that_was_changed_cut_or_made_elsewhere_is_refused() {
        let secret = Secret::random();
        let offsets = Offsets::from_iter([(Origin::new("a.ndjson", 0), 7)]);
        let as_of = AsOf { snapshot_id: Some(5), frontier: 9, offsets };
        let question = Question { sql: "SELECT 1".into(), as_of, columns: vec![1, 2] };
        let ticket = question.ticket(&secret).unwrap();
        let any = Any::decode(&*ticket.ticket).unwrap();
        let good = any.unpack::<TicketStatementQuery>().unwrap().unwrap();
        assert_eq!(Question::open(&good, &secret).unwrap(), question);
        let refused = |handle: Vec<u8>, secret: &Secret| {
            let ticket = TicketStatementQuery { statement_handle: handle.into() };
            let error = Question::open(&ticket, secret).unwrap_err();
            assert_eq!(error.code(), "invalid_ticket");
        };
        let handle = good.statement_handle.to_vec();
        for at in 0..handle.len() {
            let mut forged = handle.clone();
            forged[at] ^= 1;
            refused(forged, &secret);
            refused(handle[..at].to_vec(), &secret);
        }
        refused(handle, &Secret::random());
    }
}
