//! The properties that the linked librdkafka knows, as it lists them itself.
//!
//! librdkafka writes its own manual: a table with a line for each property, which says who it is
//! for and whether it is another name of one. Reading that keeps K2 in step with the library: a
//! list of names here would not.

use std::ffi::c_char;
use std::ptr;
use std::slice;
use std::sync::LazyLock;

/// Edits that a name may be away from the right one to be worth a hint.
const HINT_EDITS_MAX: usize = 4;

/// One property of librdkafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    pub name: String,
    pub user: User,
    /// The property that this is only another name of.
    pub alias_of: Option<String>,
}

/// Which clients heed a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Both,
    Consumer,
    Producer,
}

/// The first property of that name, as librdkafka looks them up: those of a client come before
/// those of a topic.
pub fn find(name: &str) -> Option<&'static Property> {
    known().iter().find(|property| property.name == name)
}

/// The name under which librdkafka keeps what is set under `name`. One that it does not list is
/// returned as it is.
pub fn canonical(name: &str) -> &str {
    let found = find(name).or_else(|| find(name.strip_prefix("topic.")?));
    match found {
        Some(property) => property.alias_of.as_ref().unwrap_or(&property.name),
        None => name,
    }
}

/// The property that was probably meant by `name`.
pub fn nearest(name: &str) -> Option<&'static str> {
    let given = name.to_ascii_lowercase();
    let edits = |property: &Property| strsim::damerau_levenshtein(&given, &property.name);
    let nearest = known().iter().map(|property| (edits(property), property.name.as_str())).min();
    let (edits, nearest) = nearest?;
    (edits <= HINT_EDITS_MAX.min(nearest.len() / 3)).then_some(nearest)
}

fn known() -> &'static [Property] {
    static KNOWN: LazyLock<Vec<Property>> =
        LazyLock::new(|| manual().lines().filter_map(property).collect());
    &KNOWN
}

/// Reads a line of the table: `name | C/P | range | default | importance | description`.
fn property(line: &str) -> Option<Property> {
    let mut cells = line.split('|').map(str::trim);
    let name = cells.next()?;
    let user = match cells.next()? {
        "*" => User::Both,
        "C" => User::Consumer,
        "P" => User::Producer,
        // The head of the table, and the line below it.
        _ => return None,
    };
    let alias_of = line.split_once("Alias for `").and_then(|(_, rest)| rest.split_once('`'));
    let alias_of = alias_of.map(|(name, _)| name.to_owned());
    Some(Property { name: name.to_owned(), user, alias_of })
}

#[allow(unsafe_code)]
fn manual() -> String {
    let mut text: *mut c_char = ptr::null_mut();
    let mut bytes: libc::size_t = 0;
    // SAFETY: both places live until after the stream is closed, and nothing else uses them.
    let stream = unsafe { libc::open_memstream(&raw mut text, &raw mut bytes) };
    assert!(!stream.is_null(), "a stream in memory needs nothing but memory");
    // SAFETY: the stream is open, and is used no more once it is closed.
    unsafe {
        rdkafka_sys::rd_kafka_conf_properties_show(stream);
        libc::fclose(stream);
    }
    assert!(!text.is_null(), "a closed stream in memory has its text");
    // SAFETY: closing the stream has put there where its text is and how many bytes it has.
    let manual = unsafe { slice::from_raw_parts(text.cast::<u8>(), bytes) };
    let manual = String::from_utf8_lossy(manual).into_owned();
    // SAFETY: whoever opens a stream in memory has to free its text, and the copy is made.
    unsafe { libc::free(text.cast()) };
    manual
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn the_library_lists_what_it_knows() {
        assert!(known().len() > 150, "{}", known().len());
        let user = |name| find(name).unwrap_or_else(|| panic!("no {name}")).user;
        assert_eq!(user("sasl.password"), User::Both);
        assert_eq!(user("fetch.wait.max.ms"), User::Consumer);
        assert_eq!(user("enable.idempotence"), User::Producer);
        assert_eq!(user("partitioner"), User::Producer);
    }

    #[test]
    fn what_is_set_under_another_name_is_read_under_the_canonical_one() {
        let mut aliases = 0;
        for property in known().iter().filter(|property| property.alias_of.is_some()) {
            let canonical = canonical(&property.name);
            for value in ["7", "lz4", "oauthbearer", "true"] {
                let mut config = ClientConfig::new();
                let Ok(config) = config.set(&property.name, value).create_native_config() else {
                    continue;
                };
                let kept = config.get(canonical).unwrap().to_lowercase();
                assert_eq!(kept, value, "{} is not {canonical}", property.name);
                aliases += 1;
                break;
            }
        }
        assert!(aliases >= 8, "only {aliases} could be told");
    }

    #[test]
    fn the_prefix_of_topic_properties_makes_no_other_property() {
        assert_eq!(canonical("topic.auto.offset.reset"), "auto.offset.reset");
        assert_eq!(canonical("topic.blacklist"), "topic.blacklist");
        assert_eq!(canonical("linger.ms"), "queue.buffering.max.ms");
        assert_eq!(canonical("no.such.thing"), "no.such.thing");
    }

    #[test]
    fn a_misspelt_name_leads_to_the_right_one() {
        assert_eq!(nearest("sasl.user.name"), Some("sasl.username"));
        assert_eq!(nearest("ssl.ca.locaton"), Some("ssl.ca.location"));
        assert_eq!(nearest("compresion.type"), Some("compression.type"));
        assert_eq!(nearest("cleanup"), None);
    }
}
