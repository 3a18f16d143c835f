//! The one error of this crate: what was attempted, why it failed, what to do.

use std::error::Error as StdError;
use std::fmt;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::redact::without_userinfo;

pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// What kind of failure it is, for code that has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// A setting is unknown, cannot be used, or is K2's own to make.
    Setting,
    /// A broker or the registry could not be reached, did not answer in time, or is too busy.
    Unavailable,
    /// The credentials, or the certificate, were refused, or do not allow this.
    Refused,
    /// There is no such topic, or no such partition in it.
    UnknownTopic,
    /// The offset asked for is not in the partition: it was deleted, or is beyond the end.
    OffsetGone,
    /// The schema cannot follow the earlier ones of its subject.
    Incompatible,
    /// The other side says that the request itself is wrong.
    Invalid,
    /// What answered is no schema registry.
    NotARegistry,
    /// The message is larger than a topic takes.
    TooLarge,
    /// The queue of messages that wait for their delivery stayed full.
    Backlogged,
    /// Messages that were sent have not been delivered, and will not be.
    Undelivered,
    /// The client is of no more use and has to be made anew.
    Fatal,
    /// Anything else; the text has what is known.
    Failed,
}

/// A failure at the outside: the broker, the registry, or what was set about them.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    advice: Option<String>,
    source: Option<Source>,
}

impl Error {
    /// `context` is lower case and says what was attempted and why it failed. It holds no secret.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), advice: None, source: None }
    }

    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later without anybody changing anything here.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Backlogged)
    }

    /// Whether the client asked a broker that no longer leads the partition, or leads it anew.
    pub(crate) fn is_of_stale_leader(&self) -> bool {
        let code = self.source.as_ref().and_then(|source| source.downcast_ref::<Code>());
        matches!(
            code,
            Some(
                Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable
                    | Code::FencedLeaderEpoch
                    | Code::UnknownLeaderEpoch
            )
        )
    }

    /// What librdkafka says about `attempt`. `reason` is what the connection reported meanwhile,
    /// which tells more than a code.
    pub(crate) fn of_kafka(attempt: &str, error: &KafkaError, reason: Option<String>) -> Self {
        match code_of(error) {
            Some(code) => Self::of_code(attempt, code, reason),
            // Never the error itself: one about a property holds its value.
            None => {
                let kind = match error {
                    KafkaError::ClientCreation(_) => ErrorKind::Setting,
                    _ => ErrorKind::Failed,
                };
                let reason = reason.unwrap_or_else(|| match error {
                    KafkaError::ClientCreation(text) | KafkaError::AdminOpCreation(text) => {
                        without_userinfo(text)
                    }
                    KafkaError::Nul(_) => "a name holds a NUL byte".into(),
                    _ => "librdkafka gave no reason".into(),
                });
                Self::new(kind, format!("{attempt}: {reason}"))
            }
        }
    }

    pub(crate) fn of_code(attempt: &str, code: Code, reason: Option<String>) -> Self {
        let kind = kind_of(code);
        let context = match reason {
            Some(reason) => format!("{attempt}: {}", without_userinfo(&reason)),
            None => attempt.to_owned(),
        };
        let error = Self::new(kind, context).with_source(code);
        match advice_on(code) {
            Some(advice) => error.with_advice(advice),
            None => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        if let Some(source) = &self.source {
            write!(f, ": {}", root_cause(source.as_ref()))?;
        }
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

/// Why something failed and what to do about it, for a list.
pub(crate) fn reason(error: &KafkaError) -> String {
    let Some(code) = code_of(error) else { return "librdkafka gave no reason".into() };
    match advice_on(code) {
        Some(advice) => format!("{code}; {advice}"),
        None => code.to_string(),
    }
}

fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        // The library's own look-up leaves this one out.
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::Authentication
        | Code::SSL
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SecurityDisabled => ErrorKind::Refused,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            ErrorKind::UnknownTopic
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            ErrorKind::TooLarge
        }
        Code::QueueFull => ErrorKind::Backlogged,
        Code::Fatal
        | Code::OutOfOrderSequenceNumber
        | Code::InvalidProducerEpoch
        | Code::ProducerFenced => ErrorKind::Fatal,
        Code::InvalidArgument
        | Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::InvalidConfig
        | Code::InvalidRequest
        | Code::InvalidTimestamp
        | Code::InvalidRecord
        | Code::PolicyViolation
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::NotImplemented => ErrorKind::Invalid,
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset => ErrorKind::OffsetGone,
        Code::PurgeQueue | Code::PurgeInflight => ErrorKind::Undelivered,
        // Brokers that are away, busy, electing a leader or out of disk: all of these pass.
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::WaitingForCoordinator
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::NotController
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::ReassignmentInProgress
        | Code::KafkaStorageError => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

pub(crate) fn advice_on(code: Code) -> Option<&'static str> {
    match (code, kind_of(code)) {
        (Code::SSL, _) => Some("check kafka.security.protocol and kafka.ssl.ca.location"),
        (Code::TopicAuthorizationFailed, _) => {
            Some("grant the user of kafka.sasl.username access to the topic")
        }
        (Code::GroupAuthorizationFailed, _) => {
            Some("grant the user of kafka.sasl.username access to the group")
        }
        (Code::ClusterAuthorizationFailed | Code::TransactionalIdAuthorizationFailed, _) => {
            Some("grant the user of kafka.sasl.username this operation on the cluster")
        }
        (Code::InvalidReplicationFactor, _) => {
            Some("ask for no more replicas than there are brokers")
        }
        (_, ErrorKind::Refused) => Some(
            "check kafka.security.protocol, kafka.sasl.mechanisms, kafka.sasl.username and \
             kafka.sasl.password",
        ),
        (_, ErrorKind::UnknownTopic) => {
            Some("check kafka.topics, or create the topic with `k2 topics create`")
        }
        (_, ErrorKind::TooLarge) => {
            Some("raise kafka.message.max.bytes and the topic's max.message.bytes, or send less")
        }
        (_, ErrorKind::Unavailable) => {
            Some("check kafka.brokers and kafka.security.protocol, and that the brokers are up")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_the_kind_and_whether_to_try_again() {
        let error = |code| Error::of_code("list the topics", code, None);
        let gone = error(Code::BrokerTransportFailure);
        assert_eq!((gone.kind(), gone.retryable()), (ErrorKind::Unavailable, true));
        let refused = error(Code::TopicAuthorizationFailed);
        assert_eq!((refused.kind(), refused.retryable()), (ErrorKind::Refused, false));
        let unknown = error(Code::UnknownTopicOrPartition);
        assert_eq!((unknown.kind(), unknown.retryable()), (ErrorKind::UnknownTopic, false));
    }

    #[test]
    fn the_text_says_what_was_attempted_why_it_failed_and_what_to_do() {
        let reason = Some("connect to h:1 failed: Connection refused".into());
        let text = Error::of_code("list the topics", Code::AllBrokersDown, reason).to_string();
        let parts = ["list the topics", "Connection refused", "AllBrokersDown", "kafka.brokers"];
        let found: Vec<_> = parts.iter().map(|part| text.find(part)).collect();
        assert!(found.iter().all(Option::is_some) && found.is_sorted(), "{text}");
    }

    #[test]
    fn an_error_of_an_admin_operation_keeps_its_code() {
        let error = KafkaError::AdminOp(Code::InvalidReplicationFactor);
        let error = Error::of_kafka("create topics", &error, None);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("replicas"), "{error}");
    }
}
