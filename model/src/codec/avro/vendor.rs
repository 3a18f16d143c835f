//! Conditions and vendor data, which end a record: shared where they recur.

use std::collections::BTreeMap;

use super::body::Body;
use super::known::Known;
use crate::record::{VendorData, VendorFields};

/// Different values that a decoder shares among records. An interned value is never freed, so there
/// is an end to them; what comes after is kept with its own record.
const SHARED_MAX: usize = 64;
/// Bytes of the longest value that is shared.
const SHARED_BYTES_MAX: usize = 512;

/// No conditions and no vendor data.
const NOTHING: &[u8] = &[0, 0];

/// The values that a decoder has met first.
pub(super) struct SharedVendorData {
    /// By the bytes of the two fields in our own schema, as they came.
    known: Known<VendorData>,
}

impl SharedVendorData {
    pub(super) fn new() -> Self {
        Self { known: Known::new() }
    }

    /// Reads the two fields, which must be all of `bytes`.
    #[inline(always)]
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<VendorData> {
        if bytes == NOTHING {
            return Some(VendorData::EMPTY);
        }
        match self.known.get(bytes) {
            Some(data) => Some(data.clone()),
            None => self.read_new(bytes),
        }
    }

    #[inline(never)]
    fn read_new(&mut self, bytes: &[u8]) -> Option<VendorData> {
        let fields = fields_of(bytes)?;
        if self.known.len() == SHARED_MAX || bytes.len() > SHARED_BYTES_MAX {
            return Some(VendorData::owned(fields));
        }
        let shared = VendorData::shared(fields);
        self.known.insert(bytes, shared.clone());
        Some(shared)
    }
}

fn fields_of(bytes: &[u8]) -> Option<VendorFields> {
    let mut body = Body::new(bytes);
    let mut conditions = Vec::new();
    body.blocks(|body| {
        conditions.push(body.text()?.into());
        Some(())
    })?;
    // A map has no order, and of two values of one key the last counts.
    let mut pairs: BTreeMap<&str, &str> = BTreeMap::new();
    body.blocks(|body| {
        let key = body.text()?;
        pairs.insert(key, body.text()?);
        Some(())
    })?;
    let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    body.is_empty().then_some(VendorFields { conditions, pairs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::avro::encode::push_vendor_data;

    fn encoded(value: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_vendor_data(&["@"], &[("key", value)], &mut bytes);
        bytes
    }

    fn is_shared(data: &VendorData) -> bool {
        matches!(data, VendorData::Shared(_))
    }

    #[test]
    fn the_first_values_are_shared_and_later_ones_are_not() {
        let mut shared = SharedVendorData::new();
        let long = shared.read(&encoded(&"x".repeat(SHARED_BYTES_MAX))).unwrap();
        assert!(!is_shared(&long));
        for value in 0..2 * SHARED_MAX {
            let data = shared.read(&encoded(&value.to_string())).unwrap();
            assert_eq!(is_shared(&data), value < SHARED_MAX);
            assert_eq!(format!("{data:?}"), format!(r#"["@"] {{"key": "{value}"}}"#));
        }
        let again = shared.read(&encoded("3")).unwrap();
        assert!(is_shared(&again));
        assert_eq!(again.pairs()[0].1, "3".into());
    }

    #[test]
    fn pairs_come_in_order_of_key_and_the_last_of_a_key_counts() {
        let mut shared = SharedVendorData::new();
        let data = shared.read(b"\0\x06\x02b\x021\x02a\x022\x02b\x023\0").unwrap();
        assert_eq!(format!("{data:?}"), r#"{"a": "2", "b": "3"}"#);
    }

    #[test]
    fn nothing_may_follow() {
        let mut shared = SharedVendorData::new();
        assert_eq!(shared.read(b"\0\0"), Some(VendorData::EMPTY));
        assert_eq!(shared.read(b"\0\0\0"), None);
        assert_eq!(shared.read(b"\0"), None);
        assert_eq!(shared.read(b""), None);
    }
}
