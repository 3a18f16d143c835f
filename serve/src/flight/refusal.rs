//! What is refused: a status that drivers decide by, with our code, message and hint in it.
//!
//! The text of a status is all that most drivers show, so it has all three. For programs the code
//! and the hint are in its details too, as the `ErrorInfo` that gRPC has for this.

use std::collections::HashMap;
use std::time::Duration;

use arrow_flight::sql::Any;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::access::Denied;
use crate::correlation;
use crate::error::{Error, ErrorKind};

/// Of all details of ours: whose codes they are.
const DOMAIN: &str = "k2";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// Why a call is refused, and when to come back if that helps.
pub(super) struct Refusal(Denied);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self(denied)
    }
}

/// `google.rpc.Status`, which is what a status' details are.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

impl Refusal {
    /// As the answer to the call with `correlation_id`.
    pub(super) fn status(self, correlation_id: &str) -> Status {
        let Self(Denied { error, retry_after }) = self;
        let code = code_of(&error);
        if code == Code::Internal {
            tracing::warn!(%error, correlation_id, "a flight failed");
        }
        let message = format!("{}: {error}", error.code());
        let hint = error.hint().map(|hint| ("hint".to_owned(), hint.to_owned()));
        let ids = [("correlation_id".to_owned(), correlation_id.to_owned())];
        let info = ErrorInfo {
            reason: error.code().to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: hint.into_iter().chain(ids).collect(),
        };
        let info = Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec().into() };
        let details = Details { code: code as i32, message: message.clone(), details: vec![info] };
        let mut headers = MetadataMap::new();
        tell(&mut headers, correlation::HEADER, correlation_id);
        if let Some(wait) = retry_after {
            // In whole seconds, as over HTTP; never too early.
            let seconds = wait.div_duration_f64(Duration::from_secs(1)).ceil().max(1.0);
            tell(&mut headers, "retry-after", &seconds.to_string());
        }
        let details = details.encode_to_vec().into();
        Status::with_details_and_metadata(code, message, details, headers)
    }
}

/// Adds a header, unless its text cannot be one.
pub(super) fn tell(headers: &mut MetadataMap, name: &'static str, text: &str) {
    if let Ok(value) = text.parse() {
        headers.insert(name, value);
    }
}

fn code_of(error: &Error) -> Code {
    match error.code() {
        "no_key" | "unknown_key" | "revoked_key" => Code::Unauthenticated,
        "out_of_scope" => Code::PermissionDenied,
        "unknown_table" | "unknown_symbol" | "unknown_venue" | "unknown_snapshot"
        | "unknown_tag" | "snapshot_expired" => Code::NotFound,
        "read_only" | "not_supported" => Code::Unimplemented,
        "limit_time" => Code::DeadlineExceeded,
        _ => match error.kind() {
            ErrorKind::BadRequest => Code::InvalidArgument,
            ErrorKind::LimitReached => Code::ResourceExhausted,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Internal => Code::Internal,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_code_the_message_and_the_hint_for_people_and_for_programs() {
        let error = Error::bad_request("unknown_table", "answer a query: there is no table x")
            .with_hint("did you mean y?");
        let status = Refusal::from(error).status("id-7");
        assert_eq!(status.code(), Code::NotFound);
        let text = "unknown_table: answer a query: there is no table x; did you mean y?";
        assert_eq!(status.message(), text);
        assert_eq!(status.metadata().get(correlation::HEADER).unwrap(), "id-7");
        let details = Details::decode(status.details()).unwrap();
        assert_eq!((details.code, &*details.message), (5, text));
        let info = ErrorInfo::decode(&*details.details[0].value).unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("unknown_table", "k2"));
        assert_eq!(info.metadata["hint"], "did you mean y?");
    }

    #[test]
    fn who_asked_too_often_is_told_when_to_come_back() {
        let error = Error::new(ErrorKind::LimitReached, "rate_limited", "answer a request");
        let wait = Some(Duration::from_millis(1_200));
        let status = Refusal::from(Denied { error, retry_after: wait }).status("");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get("retry-after").unwrap(), "2");
    }
}
