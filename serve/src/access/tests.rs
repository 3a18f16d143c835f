use super::*;

const AT: &str = "2026-01-01T00:00:00Z";

fn directory_with(keys: &[(&NewKey, &str, Option<&str>)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = KeyRing::default();
    for (key, scopes, rate) in keys {
        let rate = rate.map(|rate| rate.parse().unwrap());
        ring.add(key, "a name", scopes.parse().unwrap(), rate, AT.into()).unwrap();
    }
    ring.save(directory.path()).unwrap();
    directory
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}

#[test]
fn a_key_is_let_in_for_its_scopes_and_nothing_else_is() {
    let (key, other) = (NewKey::generate().unwrap(), NewKey::generate().unwrap());
    let directory = directory_with(&[(&key, "read", None)]);
    let access = Access::of(directory.path(), None, Policy::Keys);
    let client = access.identify(Some(key.text())).unwrap();
    assert_eq!(client.key_id.as_deref(), Some(key.id()));
    access.admit(&client, Scope::Read).unwrap();
    assert_eq!(access.admit(&client, Scope::Sql).unwrap_err().error.code(), "out_of_scope");
    assert_eq!(code(access.identify(None)), "no_key");
    assert_eq!(code(access.identify(Some(other.text()))), "unknown_key");
    for wrong in
        ["", "k2_", key.id(), &key.text()[..key.text().len() - 1], &key.text().to_uppercase()]
    {
        assert_eq!(code(access.identify(Some(wrong))), "unknown_key", "{wrong}");
    }
}

#[test]
fn an_open_door_asks_for_no_key_but_a_wrong_one_is_wrong_there_too() {
    let key = NewKey::generate().unwrap();
    let directory = directory_with(&[(&key, "read", None)]);
    let access = Access::of(directory.path(), None, Policy::Local);
    let nobody = access.identify(None).unwrap();
    access.admit(&nobody, Scope::Admin).unwrap();
    assert_eq!(code(access.identify(Some("k2_wrong"))), "unknown_key");
    assert!(access.identify(Some(key.text())).is_ok());
}

#[test]
fn a_rate_is_kept_and_says_when_to_come_back() {
    let key = NewKey::generate().unwrap();
    let directory = directory_with(&[(&key, "read", Some("3/h"))]);
    let access = Access::of(directory.path(), None, Policy::Keys);
    let client = access.identify(Some(key.text())).unwrap();
    for _ in 0..3 {
        access.under(Policy::Local).admit(&client, Scope::Read).unwrap();
    }
    let denied = access.admit(&client, Scope::Read).unwrap_err();
    assert_eq!(denied.error.code(), "rate_limited");
    let wait = denied.retry_after.unwrap();
    assert!(wait > Duration::from_secs(1_190) && wait <= Duration::from_secs(1_200), "{wait:?}");
}

#[test]
fn a_revoked_key_is_refused_by_a_door_that_knew_it() {
    let key = NewKey::generate().unwrap();
    let directory = directory_with(&[(&key, "admin", None)]);
    let access = Access::of(directory.path(), None, Policy::Keys);
    let client = access.identify(Some(key.text())).unwrap();
    let mut ring = KeyRing::load(directory.path()).unwrap();
    ring.revoke(key.id(), AT.into()).unwrap();
    assert_eq!(code(ring.revoke(key.id(), AT.into())), "revoked_key");
    assert_eq!(code(ring.revoke("nobody", AT.into())), "unknown_key");
    assert!(!ring.has_valid());
    ring.save(directory.path()).unwrap();
    std::thread::sleep(LOOK_EVERY);
    assert_eq!(access.admit(&client, Scope::Read).unwrap_err().error.code(), "revoked_key");
    assert_eq!(code(access.identify(Some(key.text()))), "revoked_key");
}

#[test]
fn the_file_holds_no_key_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let key = NewKey::generate().unwrap();
    let directory = directory_with(&[(&key, "read,sql", Some("5/min"))]);
    let path = directory.path().join(KEYS_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    let secret = key.text().rsplit('_').next().unwrap();
    assert!(secret.len() == 64 && !text.contains(secret), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let ring = KeyRing::load(directory.path()).unwrap();
    assert_eq!((&*ring.entries()[0].name, ring.has_valid()), ("a name", true));
    std::fs::write(&path, "{").unwrap();
    assert_eq!(code(KeyRing::load(directory.path())), "keys");
}

#[test]
fn the_own_key_of_a_process_needs_no_file() {
    let (own, directory) = (NewKey::generate().unwrap(), tempfile::tempdir().unwrap());
    let access = Access::of(directory.path(), Some(&own), Policy::Keys);
    let client = access.identify(Some(own.text())).unwrap();
    access.admit(&client, Scope::Admin).unwrap();
    assert_eq!(code(access.identify(Some(NewKey::generate().unwrap().text()))), "unknown_key");
}
