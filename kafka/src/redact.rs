//! Keeps secrets out of whatever a person may read: logs, errors, debug output.

/// What is shown in the place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// A property whose name holds one of these has a secret for its value, or may have one in it.
const SECRET_NAMES: [&str; 7] =
    ["password", "secret", "token", "credential", "jaas", "ssl.key.pem", "oauthbearer.config"];

/// Whether the value of the property `key` must never be shown.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| key.contains(name))
}

/// The value of the property `key`, as far as it may be shown.
pub fn shown(key: &str, value: &str) -> String {
    if is_secret(key) { HIDDEN.into() } else { without_userinfo(value) }
}

/// `text` with the user and password of each URL in it hidden.
///
/// Whatever stands between `://` and the last `@` before the next URL is taken for them. That may
/// hide more than it must, but a password with a slash or a comma in it does not slip through.
pub fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut safe = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        safe.push_str("://");
        match part.rsplit_once('@') {
            Some((_, rest)) => {
                safe.push_str(HIDDEN);
                safe.push('@');
                safe.push_str(rest);
            }
            None => safe.push_str(part),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_any_case() {
        for key in ["sasl.password", "SSL.Key.Password", "sasl.oauthbearer.client.secret"] {
            assert!(is_secret(key), "{key}");
        }
        assert!(is_secret("ssl.key.pem") && is_secret("sasl.jaas.config"));
        assert!(!is_secret("sasl.username") && !is_secret("ssl.key.location"));
    }

    #[test]
    fn what_logs_in_is_cut_out_of_each_url() {
        let cases = [
            ("http://h:1/path", "http://h:1/path"),
            ("http://me:pass@h:1/path", "http://(hidden)@h:1/path"),
            ("http://me:p/a,s@s@h:1", "http://(hidden)@h:1"),
            ("SSL://a:1,SSL://u:p@b:2,c:3", "SSL://a:1,SSL://(hidden)@b:2,c:3"),
            ("no url, me@home", "no url, me@home"),
        ];
        for (text, safe) in cases {
            assert_eq!(without_userinfo(text), safe);
        }
    }
}
