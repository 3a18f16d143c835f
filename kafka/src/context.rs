//! What a client of librdkafka tells beside its answers: logs, and why a connection failed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaErrorCode as Code;

use crate::error::Error;
use crate::redact::without_userinfo;

/// Hears a client. A call that fails says "timed out"; what is kept here says why.
#[derive(Debug, Default)]
pub struct Context {
    last: Mutex<Option<Trouble>>,
    /// Whether there is one: asked for every message, where the lock would cost something.
    is_troubled: AtomicBool,
}

/// What a connection reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub code: Code,
    /// In librdkafka's words, with the broker's address.
    pub reason: String,
}

impl Trouble {
    /// Whether trying again cannot help: the credentials or the certificates are wrong.
    pub fn is_final(&self) -> bool {
        matches!(
            self.code,
            Code::Authentication
                | Code::SSL
                | Code::SaslAuthenticationFailed
                | Code::UnsupportedSASLMechanism
        )
    }
}

impl Context {
    /// What was reported last, since [`Context::forget`].
    pub fn trouble(&self) -> Option<Trouble> {
        self.lock().clone()
    }

    /// A call has succeeded, so that earlier trouble explains nothing any more.
    pub fn forget(&self) {
        if self.is_troubled.load(Ordering::Relaxed) {
            let mut last = self.lock();
            *last = None;
            self.is_troubled.store(false, Ordering::Relaxed);
        }
    }

    /// The error of a call, with what the connection reported meanwhile.
    pub(crate) fn explain(&self, attempt: &str, code: Code) -> Error {
        match self.trouble() {
            // Its code tells more than that time ran out.
            Some(trouble) if is_vague(code) => {
                Error::of_code(attempt, trouble.code, Some(trouble.reason))
            }
            _ => Error::of_code(attempt, code, None),
        }
    }

    pub(crate) fn explain_error(&self, attempt: &str, error: &KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(code) => self.explain(attempt, code),
            None => Error::of_kafka(attempt, error, None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.last.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Notes `trouble`, and says whether it is of another kind than before.
    fn note(&self, trouble: Trouble) -> bool {
        let mut last = self.lock();
        let is_new = last.as_ref().is_none_or(|last| last.code != trouble.code);
        // That all brokers are down follows the reason for it, and would hide that.
        if trouble.code != Code::AllBrokersDown || last.is_none() {
            *last = Some(trouble);
            self.is_troubled.store(true, Ordering::Relaxed);
        }
        is_new
    }
}

/// Codes that only say that there was no answer.
fn is_vague(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::BrokerNotAvailable
    )
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = without_userinfo(message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                if matches!(facility, "FAIL" | "ERROR") {
                    // It is reported as an error too, and said there.
                    tracing::debug!(target: "librdkafka", "{facility} {message}");
                } else {
                    tracing::error!(target: "librdkafka", "{facility} {message}");
                }
            }
            // A connection that was closed is not an error to librdkafka; that this one was closed
            // because it spoke the wrong protocol is only said here.
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info
                if facility == "FAIL" =>
            {
                tracing::debug!(target: "librdkafka", "{facility} {message}");
                let reason = message.split_once("]: ").map_or(&*message, |(_, reason)| reason);
                self.note(Trouble {
                    code: Code::BrokerTransportFailure,
                    reason: reason.to_owned(),
                });
            }
            RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", "{facility} {message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", "{facility} {message}");
            }
            RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", "{facility} {message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        if code == Code::PartitionEOF {
            // No trouble: a consumer that is being closed still comes to the end of a partition.
            return;
        }
        let reason = without_userinfo(reason);
        // It comes again with every attempt to connect; said once, until it is another one.
        if self.note(Trouble { code, reason: reason.clone() }) {
            tracing::warn!(target: "librdkafka", "{reason}");
        } else {
            tracing::debug!(target: "librdkafka", "{reason}");
        }
    }

    /// Nobody reads them, and the default would log them.
    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Context {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn report(context: &Context, code: Code, reason: &str) {
        context.error(KafkaError::Global(code), reason);
    }

    #[test]
    fn a_call_that_timed_out_is_explained_by_what_the_connection_said() {
        let context = Context::default();
        let bare = context.explain("list the topics", Code::OperationTimedOut);
        assert_eq!(bare.kind(), ErrorKind::Unavailable);
        report(&context, Code::Authentication, "h:1: invalid credentials");
        report(&context, Code::AllBrokersDown, "1/1 brokers are down");
        let error = context.explain("list the topics", Code::OperationTimedOut);
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("h:1: invalid credentials"), "{error}");
        // An answer of the broker needs no explanation.
        let answer = context.explain("list the topics", Code::UnknownTopicOrPartition);
        assert_eq!(answer.kind(), ErrorKind::UnknownTopic);
    }

    #[test]
    fn a_connection_that_was_closed_explains_too() {
        let context = Context::default();
        let message = "[thrd:h:1/bootstrap]: h:1/bootstrap: Disconnected: wrong protocol?";
        context.log(RDKafkaLogLevel::Info, "FAIL", message);
        report(&context, Code::AllBrokersDown, "1/1 brokers are down");
        let trouble = context.trouble().unwrap();
        assert_eq!(trouble.reason, "h:1/bootstrap: Disconnected: wrong protocol?");
        assert_eq!(trouble.code, Code::BrokerTransportFailure);
    }

    #[test]
    fn trouble_that_has_passed_explains_nothing() {
        let context = Context::default();
        report(&context, Code::SSL, "h:1: certificate verify failed");
        assert!(context.trouble().unwrap().is_final());
        context.forget();
        assert_eq!(context.trouble(), None);
    }
}
