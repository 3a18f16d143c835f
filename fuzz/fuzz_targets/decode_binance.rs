//! No bytes make a reader of Binance's messages panic, and both readers make the same of them.
//!
//! The input is cut into lines, so that what one message leaves behind is met by the next.

#![no_main]

use k2_fuzz::TABLE;
use k2_model::codec::{Decoded, Decoder, VENUES};
use k2_model::{Coordinates, Origin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let origin = Origin::new("fuzz", 0);
    for venue in VENUES {
        let decoder = || Decoder::new(venue, TABLE.clone()).expect("a known venue");
        let (mut with, mut without) = (decoder(), decoder().without_fast_path());
        for (offset, line) in (0..).zip(input.split(|&byte| byte == b'\n')) {
            let at = Coordinates { origin, offset };
            let (mut one, mut other) = (Decoded::default(), Decoded::default());
            with.decode(line, at, &mut one);
            without.decode(line, at, &mut other);
            assert_eq!(one, other);
            assert_eq!(one.tally.messages(), u64::from(!line.is_empty()));
        }
    }
});
