//! The rules of the house that a machine can check: layering, length, maps that lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "cli/root.rs"]
mod root;

use root::root;

/// A crate uses only crates to its left. The two on the right do not use each other but for the
/// binary, which starts the benches.
const LAYERS: [&str; 9] = [
    "k2-model",
    "k2-kafka",
    "k2-operators",
    "k2-sinks",
    "k2-dataflows",
    "k2-serve",
    "k2-harness",
    "k2-benches",
    "k2",
];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Texts that only mean something on the machine where they were written, spelled in pieces so
/// that this file does not hold them.
const MACHINE_ONLY: [&[&str]; 5] = [
    &["/wo", "rk/"],
    &["/ro", "ot/"],
    &["/ho", "me/"],
    &["crates", ".io-index"],
    &["pypi", ".org"],
];

/// Every file under version control, or about to be, by its path from the root.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_crate_uses_only_crates_to_its_left() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let place = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let own = place(name).unwrap_or_else(|| panic!("{name} has no layer"));
        seen.insert(own);
        for dependency in package["dependencies"].as_array().unwrap() {
            let used_name = dependency["name"].as_str().unwrap();
            let Some(used) = place(used_name) else { continue };
            // A test may let the harness judge what lies to the harness's left.
            let judge = dependency["kind"] == "dev" && used_name == "k2-harness";
            assert!(used < own || judge, "{name} uses {used_name}, which is not to its left");
        }
    }
    assert_eq!(seen.len(), LAYERS.len(), "a layer has no crate");
}

/// With other features a dependency is compiled again, and all that use it: half an hour.
#[test]
fn tests_ask_no_more_of_the_dependencies_than_the_binary_does() {
    let tree = |package: &[&str], edges: &str| {
        let fixed = ["tree", "--prefix", "none", "--format", "{p} {f}", "--edges", edges];
        let lines = cargo(&[&fixed[..], package].concat());
        lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect::<BTreeSet<_>>()
    };
    let binary = tree(&["--package", "k2"], "normal,build");
    let package = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let known: BTreeSet<String> = binary.iter().map(|line| package(line)).collect();
    let with_tests = tree(&["--workspace"], "normal,build,dev");
    let again: Vec<&String> = with_tests
        .iter()
        .filter(|line| !line.is_empty() && !line.starts_with("k2"))
        .filter(|line| known.contains(&package(line)) && !binary.contains(*line))
        .collect();
    assert!(again.is_empty(), "compiled again for the tests: {again:#?}");
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let fixed = ["--offline", "--locked"];
    let done =
        Command::new(cargo).args(arguments).args(fixed).current_dir(root()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn what_decides_results_knows_no_timely_in_the_model_and_no_http_before_serve() {
    let forbidden: [(&str, &[&str]); 5] = [
        ("model", &["timely", "tokio", "arrow-array", "datafusion", "iceberg"]),
        ("kafka", &["timely", "arrow-array", "datafusion", "iceberg", "axum", "clap"]),
        ("operators", &["tokio", "arrow-array", "datafusion", "iceberg", "axum"]),
        ("sinks", &["datafusion", "axum", "reqwest"]),
        ("dataflows", &["datafusion", "axum", "reqwest", "clap"]),
    ];
    for (folder, names) in forbidden {
        let manifest = read(format!("{folder}/Cargo.toml"));
        let used = manifest.split("[dev-dependencies]").next().unwrap_or(&manifest);
        for name in names {
            let named = |line: &str| line.split(['.', ' ', '=']).next() == Some(name);
            assert!(!used.lines().any(named), "{folder} uses {name}");
        }
    }
}

#[test]
fn a_function_fits_a_screen_and_a_file_a_sitting() {
    let mut too_long = Vec::new();
    for path in files().iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        if is_test(path) {
            continue;
        }
        let text = read(path);
        let code = without_tests(&text);
        let lines = code.lines().count();
        if lines > FILE_LINES_MAX {
            too_long.push(format!("{}: {lines} lines", path.display()));
        }
        for (line, length) in functions(&code) {
            if length > FUNCTION_LINES_MAX {
                too_long.push(format!("{}:{line}: function of {length} lines", path.display()));
            }
        }
    }
    assert!(too_long.is_empty(), "split these:\n{}", too_long.join("\n"));
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// Tests stand last in a file.
fn without_tests(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |at: usize| {
        lines[at] == "#[cfg(test)]" && lines.get(at + 1).is_some_and(|line| line.ends_with('{'))
    };
    let end = (0..lines.len()).find(|&at| is_tests(at)).unwrap_or(lines.len());
    lines[..end].join("\n")
}

/// Line and length of each function, told by rustfmt's indentation: a function ends with the brace
/// that stands where it began.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words: Vec<&str> = line.split_whitespace().take(5).collect();
        let is_function = words.iter().take_while(|word| is_modifier(word)).count();
        if words.get(is_function) != Some(&"fn") || line.trim_end().ends_with(';') {
            continue;
        }
        let closes = |line: &&str| {
            line.len() > indent
                && line[indent..].starts_with('}')
                && line[..indent].trim().is_empty()
        };
        let one_line =
            line.ends_with('}') && line.matches('{').count() == line.matches('}').count();
        if !one_line && let Some(length) = lines[at + 1..].iter().position(closes) {
            found.push((at + 1, length + 2));
        }
    }
    found
}

fn is_modifier(word: &str) -> bool {
    matches!(word, "const" | "async" | "unsafe" | "extern") || word.starts_with("pub")
}

#[test]
fn the_tidy_rules_see_what_they_should() {
    let text = "fn one() {}\n\npub async fn two(\n    a: u8,\n) {\n    if a > 0 {\n    }\n}\n";
    assert_eq!(functions(text), [(3, 6)]);
    let tests = "fn a() {\n}\n#[cfg(test)]\nmod tests {\n    fn b() {\n    }\n}\n";
    assert_eq!(without_tests(tests), "fn a() {\n}");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    for path in files() {
        let is_text = path.extension().is_none_or(|end| {
            ["rs", "md", "toml", "sh", "py", "json", "txt"].iter().any(|text| end == *text)
        });
        // The lock file names the registry by necessity.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        if !is_text || path == Path::new("Cargo.lock") {
            continue;
        }
        for pieces in MACHINE_ONLY {
            let forbidden = pieces.concat();
            assert!(!text.contains(&forbidden), "{} names {forbidden}", path.display());
        }
    }
}

#[test]
fn each_file_on_the_map_exists_and_each_folder_is_on_it() {
    let map = read("ARCHITECTURE.md");
    let named: BTreeSet<&str> =
        map.split('`').skip(1).step_by(2).filter(|name| is_path(name)).collect();
    assert!(named.len() > 30, "the map names only {named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "on the map, but not there: {missing:?}");
    let folders: BTreeSet<String> = files()
        .iter()
        .filter(|path| path.components().count() > 1)
        .map(|path| path.components().next().expect("counted").as_os_str().to_string_lossy().into())
        .collect();
    let unnamed: Vec<_> =
        folders.iter().filter(|folder| !map.contains(&format!("`{folder}/"))).collect();
    assert!(unnamed.is_empty(), "there, but not on the map: {unnamed:?}");
}

fn is_path(text: &str) -> bool {
    let is_path_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    text.contains('/') && text.bytes().all(is_path_byte) && !text.starts_with('/')
}

#[test]
fn docker_compose_starts_what_the_tests_start_and_reaches_no_other_machine() {
    let Some(python) = std::env::var_os("K2_READERS") else {
        assert!(std::env::var_os("CI").is_none(), "CI sets K2_READERS");
        eprintln!("SKIPPED: K2_READERS names no Python that reads YAML; ./test does");
        return;
    };
    let check = Command::new(python).arg(root().join("scripts/compose.py")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in files().iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = read(path);
        let folder = root().join(path.parent().expect("a file is in a folder"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or(target);
            let outside = target.is_empty() || target.contains("://");
            assert!(outside || folder.join(target).exists(), "{}: {target}", path.display());
        }
    }
}

#[test]
fn the_changelog_keeps_its_form() {
    let text = read("CHANGELOG.md");
    assert!(text.starts_with("# Changelog\n"));
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let mut releases = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("### ") {
            assert!(kinds.contains(&kind), "{kind} is no kind of change");
            assert!(!releases.is_empty(), "{kind} is in no release");
        } else if let Some(release) = line.strip_prefix("## ") {
            assert!(release.starts_with('['), "{release}: a release is [version] - date");
            releases.push(release);
        }
    }
    assert_eq!(releases.first(), Some(&"[Unreleased]"));
}

#[test]
fn each_invariant_is_asserted_and_tested_under_its_name() {
    let listed: BTreeSet<String> = read("docs/invariants.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    assert!(!listed.is_empty());
    let mut named: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        for name in invariants(&read(&path)) {
            named.entry(name).or_default().push(path.clone());
        }
    }
    for (name, places) in &named {
        assert!(listed.contains(name), "{name} ({places:?}) is not in docs/invariants.md");
    }
    for name in &listed {
        assert!(named.contains_key(name), "{name} is nowhere in the code");
    }
}

/// Names like `SEAM-1` in a text.
fn invariants(text: &str) -> BTreeSet<String> {
    // These look like one and are none.
    const OTHERS: [&str; 4] = ["UTF", "ISO", "RFC", "SHA"];
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('-') {
        let letter = |byte: &u8| byte.is_ascii_uppercase();
        let family = text[..at].bytes().rev().take_while(letter).count();
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let (start, end) = (at - family, at + 1 + digits);
        let alone = |byte: Option<u8>| {
            byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
        };
        let before = text[..start].bytes().next_back();
        let is_name = family >= 3 && digits > 0 && !OTHERS.contains(&&text[start..at]);
        if is_name && alone(before) && alone(text[end..].bytes().next()) {
            found.insert(text[start..end].to_owned());
        }
    }
    found
}
