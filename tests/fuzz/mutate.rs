//! What becomes of a seed.

use proc_tests::Random;

/// No input is longer.
const MAX: usize = 64 * 1024;

/// Pieces that formats have a meaning for.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\"",
    b"'",
    b"\\",
    b"=",
    b"{",
    b"}",
    b"[",
    b"]",
    b"${",
    b"$(",
    b"-1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e999",
    b"\xff\xfe",
    b"null",
    b"\"format\":2",
    b"\"seq\":",
    b"../",
    b"*",
    b"\xe2\x80\xae",
];

/// Returns one seed, changed in one to eight places.
pub(crate) fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = pick(seeds, random).clone();
    for _ in 0..=random.below(8) {
        change(&mut bytes, seeds, random);
        bytes.truncate(MAX);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = below(bytes.len() + 1, random);
    let to = at + below(bytes.len() - at + 1, random);
    match random.below(9) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..to)),
        2 => {
            let piece = bytes[at..to].to_vec();
            bytes.splice(at..at, piece);
        }
        3 => {
            let other = pick(seeds, random);
            let from = below(other.len() + 1, random);
            bytes.splice(at..to, other[from..].iter().copied());
        }
        4 | 5 => {
            let word = WORDS[below(WORDS.len(), random)];
            bytes.splice(at..at, word.iter().copied());
        }
        6 => {
            // The same piece again and again: depth and length.
            let word = WORDS[below(WORDS.len(), random)];
            let many = word.repeat(below(2000, random));
            bytes.splice(at..at, many);
        }
        7 => bytes.insert(at, random.draw().to_le_bytes()[0]),
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

fn pick<'a>(seeds: &'a [Vec<u8>], random: &mut Random) -> &'a Vec<u8> {
    &seeds[below(seeds.len(), random)]
}

fn below(bound: usize, random: &mut Random) -> usize {
    let drawn = random.below(bound as u64);
    usize::try_from(drawn).expect("below a length")
}
