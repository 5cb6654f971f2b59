//! "did you mean": the nearest known word to a mistyped one.

/// Returns the candidate nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.to_lowercase();
            let prefix = lower.len() >= 3
                && (other.starts_with(&lower) || lower.starts_with(&other) && other.len() >= 3);
            let distance = distance(&lower, &other, limit + 1);
            (distance <= limit || prefix).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) between two words, cut at `enough`.
fn distance(a: &str, b: &str, enough: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) >= enough || a.len() > 64 || b.len() > 64 {
        return enough;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = replace.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let words = ["command", "cwd", "env", "env_file", "instances", "restart"];
        for (typed, meant) in [
            ("comand", Some("command")),
            ("commnad", Some("command")),
            ("enviroment", None),
            ("instance", Some("instances")),
            ("retsart", Some("restart")),
            ("envfile", Some("env_file")),
            ("xyz", None),
            ("", None),
        ] {
            let found = nearest(typed, words);
            if typed == "enviroment" {
                assert_eq!(found, Some("env"), "a shared beginning is enough");
            } else {
                assert_eq!(found, meant, "{typed}");
            }
        }
    }
}
