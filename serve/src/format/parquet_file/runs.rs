//! Runs of equal values, which most texts of market data come in.

use arrow_array::{Array, StringArray};
use k2_sinks::encode::push_run;

/// A value, and how many rows in a row have it.
pub(super) type Run<T> = (T, usize);

/// Value by value.
pub(super) fn runs_of<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<Run<T>> {
    let mut runs = Vec::new();
    values.for_each(|value| push_run(&mut runs, value, 1, T::eq));
    runs
}

/// Of texts that may be missing, over all of `parts`.
pub(super) fn runs_of_texts<'a>(
    parts: impl Iterator<Item = &'a StringArray>,
) -> Vec<Run<Option<&'a str>>> {
    let mut runs = Vec::new();
    for part in parts {
        if part.null_count() > 0 {
            part.iter().for_each(|text| push_run(&mut runs, text, 1, PartialEq::eq));
            continue;
        }
        let mut from = 0;
        while from < part.len() {
            let end = end_of_run(part, from);
            push_run(&mut runs, Some(part.value(from)), end - from, PartialEq::eq);
            from = end;
        }
    }
    runs
}

/// Where the run of texts ends that begins with row `from`.
///
/// Texts lie one behind the other, so many are one and the same where their bytes are those of one
/// text earlier. A step that goes well is followed by one twice as long.
fn end_of_run(texts: &StringArray, from: usize) -> usize {
    let (offsets, bytes) = (texts.value_offsets(), texts.value_data());
    let length = offsets[from + 1] - offsets[from];
    let goes_on = |rows: std::ops::Range<usize>| {
        let ends = &offsets[rows.start..=rows.end];
        let (first, last) = (ends[0] as usize, ends[rows.len()] as usize);
        ends.windows(2).fold(true, |same, ends| same & (ends[1] - ends[0] == length))
            && bytes[first..last] == bytes[first - length as usize..last - length as usize]
    };
    let (mut end, mut step) = (from + 1, 1);
    while end < texts.len() {
        let next = (end + step).min(texts.len());
        if goes_on(end..next) {
            end = next;
            step *= 2;
        } else if step == 1 {
            break;
        } else {
            // It ends within the step.
            step = (step / 4).max(1);
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn runs_of_texts_are_those_found_one_by_one(
            // Texts of which several in a row have the bytes of others.
            picked in proptest::collection::vec((0..5_usize, 1..70_usize), 0..20),
            cut in 0..200_usize,
            has_missing: bool,
        ) {
            let texts = ["", "a", "aa", "ab", "aaaa"];
            let rows = picked.iter().flat_map(|(text, rows)| vec![texts[*text]; *rows]);
            let rows: Vec<Option<&str>> =
                rows.map(|text| (!has_missing || !text.is_empty()).then_some(text)).collect();
            let whole = StringArray::from(rows.clone());
            let cut = cut.min(whole.len());
            let parts = [whole.slice(0, cut), whole.slice(cut, whole.len() - cut)];
            proptest::prop_assert_eq!(runs_of_texts(parts.iter()), runs_of(rows.into_iter()));
        }
    }
}
