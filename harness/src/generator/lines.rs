//! What may happen to lines without changing what they mean: repetition, disorder, cutting.

use super::random::Random;

/// Every line twice in a row.
pub fn double_lines(bytes: &[u8]) -> Vec<u8> {
    let mut doubled = Vec::with_capacity(bytes.len() * 2 + 2);
    for line in whole_lines(bytes) {
        push_line(&mut doubled, line);
        push_line(&mut doubled, line);
    }
    doubled
}

/// The same lines, none further than `within` places from its own.
pub fn shuffle_lines(bytes: &[u8], within: u64, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    // A line's key is at most `within` above its place. So no line that begins more than `within`
    // after it comes before it, and none that begins more than `within` before it comes after.
    let mut keyed: Vec<(u64, &[u8])> = (0..)
        .zip(whole_lines(bytes))
        .map(|(place, line): (u64, &[u8])| (place + random.below(within + 1), line))
        .collect();
    keyed.sort_by_key(|&(key, _)| key);
    let mut shuffled = Vec::with_capacity(bytes.len() + 1);
    for (_, line) in keyed {
        push_line(&mut shuffled, line);
    }
    shuffled
}

/// Cuts between lines into `pieces` of about as many lines each; the last may be empty.
pub fn cut_lines(bytes: &[u8], pieces: usize) -> Vec<&[u8]> {
    let count = whole_lines(bytes).count();
    let each = count.div_ceil(pieces.max(1)).max(1);
    let mut rest = bytes;
    let mut cut = Vec::with_capacity(pieces);
    for _ in 0..pieces.max(1) {
        let end = whole_lines(rest).take(each).map(<[u8]>::len).sum();
        let (piece, after) = rest.split_at(end);
        cut.push(piece);
        rest = after;
    }
    cut
}

/// Lines with their ends; the last may have none.
fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n')
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_lines_are_the_same_lines_and_stay_near() {
        let text: String = (0..5_000).map(|number| format!("{number}\n")).collect();
        let shuffled = String::from_utf8(shuffle_lines(text.as_bytes(), 100, 7)).unwrap();
        let mut numbers: Vec<i64> = shuffled.lines().map(|line| line.parse().unwrap()).collect();
        let furthest = numbers.iter().zip(0..).map(|(number, at): (_, i64)| (number - at).abs());
        assert!((50..=100).contains(&furthest.max().unwrap()));
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..5_000));
    }

    #[test]
    fn a_cut_loses_nothing_and_falls_between_lines() {
        let text = b"one\ntwo\nthree\nfour\nfive";
        for pieces in 1..8 {
            let cut = cut_lines(text, pieces);
            assert_eq!((cut.len(), cut.concat()), (pieces, text.to_vec()));
            assert!(cut.iter().rev().skip(1).all(|piece| piece.is_empty()
                || piece.ends_with(b"\n")
                || piece.ends_with(b"five")));
        }
        assert_eq!(double_lines(b"one\ntwo"), b"one\none\ntwo\ntwo\n");
    }
}
