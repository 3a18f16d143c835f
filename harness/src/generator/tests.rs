use super::*;

/// All lines of `config` and what the generator says of them.
fn generated(config: GeneratorConfig) -> (Vec<u8>, Summary) {
    let mut generator = Generator::new(config).unwrap();
    let mut lines = Vec::new();
    generator.fill(&mut lines, usize::MAX);
    (lines, generator.summary())
}

fn counted(messages: u64) -> GeneratorConfig {
    GeneratorConfig { messages: Some(messages), ..GeneratorConfig::default() }
}

#[test]
fn the_first_ten_thousand_lines_of_the_default_seed_never_change() {
    let (lines, summary) = generated(counted(10_000));
    assert_eq!(summary.bytes, lines.len() as u64);
    let first = lines.split(|&byte| byte == b'\n').next().unwrap();
    assert_eq!(
        String::from_utf8_lossy(first),
        r#"{"e":"trade","E":1704067200000,"s":"BNBUSDT","t":3300003001,"p":"311.90000000","q":"0.07500000","T":1704067200000,"m":true,"M":true}"#
    );
    assert_eq!(
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&lines)),
        "ed7c9b78ffdc761a9070309d8ae074b8"
    );
}

#[test]
fn every_kind_of_line_and_flaw_of_a_seed_never_changes() {
    let (lines, _) = generated(everything(7, 10_000));
    assert_eq!(
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&lines)),
        "ed7115e1adbeeb052f7afeee55c8e439"
    );
}

/// All kinds of messages and flaws, many of each.
fn everything(seed: u64, messages: u64) -> GeneratorConfig {
    GeneratorConfig {
        seed,
        symbols: 150,
        form: LineForm { receive_time: true, envelope: true },
        quotes_per_million: 300_000,
        depth_per_million: 200_000,
        flaws: Flaws {
            duplicates_per_million: 50_000,
            contradictions_per_million: 10_000,
            reordered_per_million: 50_000,
            late_per_million: 10_000,
            malformed_per_million: 10_000,
            missing_per_million: 20_000,
            ..Flaws::NONE
        },
        ..counted(messages)
    }
}

#[test]
fn blocks_and_skips_change_no_byte() {
    let (whole, summary) = generated(everything(1, 5_000));
    let mut generator = Generator::new(everything(1, 5_000)).unwrap();
    let (mut joined, mut block) = (Vec::new(), Vec::new());
    while generator.fill(&mut block, 1_000) > 0 {
        assert!(block.ends_with(b"\n") && block.len() < 2_000);
        joined.append(&mut block);
    }
    assert_eq!((joined, generator.summary()), (whole.clone(), summary));
    let mut late = Generator::new(everything(1, 5_000)).unwrap();
    late.skip(4_000);
    let mut rest = Vec::new();
    late.fill(&mut rest, usize::MAX);
    assert!(whole.ends_with(&rest));
    assert_eq!(rest.iter().filter(|&&byte| byte == b'\n').count(), 1_000);
}

#[test]
fn flaws_come_in_their_shares() {
    let (_, summary) = generated(counted(1_000_000));
    let within = |count: u64, low: u64, high: u64| assert!((low..high).contains(&count), "{count}");
    assert_eq!(summary.messages, 1_000_000);
    assert_eq!(summary.trades + summary.duplicates, 1_000_000);
    within(summary.duplicates, 9_500, 10_300);
    within(summary.missing, 1_300, 1_700);
    within(summary.missing * 100 / summary.gaps, 140, 160);
    within(summary.bytes / summary.messages, 128, 137);
    assert_eq!((summary.out_of_order, summary.withheld), (0, 0));
}

#[test]
fn a_market_that_cannot_be_is_refused() {
    let refused = |config: GeneratorConfig| Generator::new(config).err().unwrap().to_string();
    let default = GeneratorConfig::default;
    assert!(refused(GeneratorConfig { symbols: 0, ..default() }).contains("symbols"));
    assert!(refused(GeneratorConfig { quotes_per_million: 1, ..default() }).contains("quotes"));
    let flaws = Flaws { late_per_million: 1_000_001, ..Flaws::NONE };
    assert!(refused(GeneratorConfig { flaws, ..default() }).contains("flaws"));
    let flaws = Flaws { missing_per_million: 1_000_000, ..Flaws::NONE };
    assert!(refused(GeneratorConfig { flaws, ..default() }).contains("missing"));
}
