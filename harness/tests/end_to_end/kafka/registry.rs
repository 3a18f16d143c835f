//! The client of a schema registry by itself.

use k2_harness::parts::{self, Parts};
use k2_kafka::{Compatibility, ErrorKind, Registry, RegistrySettings, value_subject};

#[test]
fn a_registry_keeps_schemas_and_refuses_those_that_do_not_follow() {
    let Some(parts) = Parts::find() else { return };
    let real = parts::Registry::start(&parts);
    let url = real.url();
    let registry =
        Registry::new(&RegistrySettings { url: url.clone(), ..RegistrySettings::default() })
            .unwrap();
    registry.check().unwrap();
    let subject = value_subject("registry.test");
    let schema =
        |fields: &str| format!(r#"{{"type":"record","name":"Registry","fields":[{fields}]}}"#);
    let first = schema(r#"{"name":"a","type":"long"}"#);
    assert!(!registry.has_subject(&subject).unwrap());
    assert_eq!(registry.latest(&subject).unwrap(), None);
    registry.check_compatible(&subject, &first).unwrap();
    let id = registry.register(&subject, &first).unwrap();
    registry.set_compatibility(&subject, Compatibility::Backward).unwrap();
    assert_eq!(registry.register(&subject, &first).unwrap(), id, "it is there already");
    assert_eq!(registry.schema_by_id(id).unwrap().as_deref(), Some(first.as_str()));
    assert_eq!(registry.schema_by_id(id + 1_000_000).unwrap(), None);
    assert!(registry.has_subject(&subject).unwrap());
    let other_type = schema(r#"{"name":"a","type":"string"}"#);
    let no_default = schema(r#"{"name":"a","type":"long"},{"name":"b","type":"long"}"#);
    for bad in [other_type, no_default] {
        for result in
            [registry.check_compatible(&subject, &bad), registry.register(&subject, &bad).map(drop)]
        {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
        }
    }
    let next = schema(r#"{"name":"a","type":"long"},{"name":"b","type":"long","default":0}"#);
    registry.check_compatible(&subject, &next).unwrap();
    let next_id = registry.register(&subject, &next).unwrap();
    assert_ne!(next_id, id);
    assert_eq!(registry.latest(&subject).unwrap(), Some((next_id, next)));
    let error = registry.register(&subject, "no schema").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    // Its path is found where only the host is named.
    let host = url[..url.find("/apis").unwrap()].to_owned();
    let settings = RegistrySettings { url: host, ..RegistrySettings::default() };
    assert!(Registry::new(&settings).unwrap().has_subject(&subject).unwrap());
    // The registry's own server, one part of the path too short.
    let short = url.trim_end_matches('/').rsplit_once('/').unwrap().0.to_owned();
    let settings = RegistrySettings { url: short, ..RegistrySettings::default() };
    let error = Registry::new(&settings).unwrap().check().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotARegistry, "{error}");
}
