//! Correlation ids: what ties a request, its answer and the log lines of both together.

/// Where a client gives its own, and an answer says which it was.
pub(crate) const HEADER: &str = "x-correlation-id";
/// Longer ids are not taken over.
const BYTES_MAX: usize = 128;

/// The id that a client gave, if it can stand in a header and a log line, or a new one.
pub(crate) fn id_of(given: Option<&str>) -> String {
    let is_sound = |id: &&str| {
        (1..=BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match given.filter(is_sound) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_a_log_line_can_hold_is_taken_over() {
        assert_eq!(id_of(Some("mine-7")), "mine-7");
        for unsound in [None, Some(""), Some("a b"), Some("a\nb"), Some(&*"x".repeat(129))] {
            assert_eq!(id_of(unsound).len(), 36, "{unsound:?}");
        }
    }
}
