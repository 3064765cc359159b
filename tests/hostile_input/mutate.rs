//! Makes hostile inputs of valid ones, by a seed.

use base64::{Engine, prelude::BASE64_STANDARD};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`; zero for none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

const NUMBERS: [u64; 8] = [0, 1, 2, 0xff, 0xffff, u32::MAX as u64, i64::MAX as u64, u64::MAX];

/// Changes bytes here and there; some lengths of `other` may come in.
fn bytes(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    let place = random.below(input.len());
    match random.below(9) {
        0 | 1 if !input.is_empty() => input[place] ^= 1 << random.below(8),
        2 if !input.is_empty() => input[place] = *random.pick(&[0, 1, 2, 3, 0x7f, 0x80, 0xff]),
        3 => input.truncate(place),
        4 => {
            let more = 1 + random.below(64);
            let bytes = if random.one_in(2) { vec![0; more] } else { random.bytes(more) };
            input.extend(bytes);
        }
        5 => {
            // The one's beginning, the other's end.
            let from = random.below(other.len());
            input.truncate(place);
            input.extend(&other[from..]);
        }
        6 => {
            let count = random.below((input.len() - place).min(16));
            input.drain(place..place + count);
        }
        7 => {
            let from = random.below(other.len());
            let count = random.below((other.len() - from).min(32));
            input.splice(place..place, other[from..from + count].iter().copied());
        }
        _ => {
            let number = random.pick(&NUMBERS).to_le_bytes();
            let width = *random.pick(&[1, 2, 4, 8]);
            for (byte, new) in input.iter_mut().skip(place).zip(&number[..width]) {
                *byte = *new;
            }
        }
    }
}

/// The data begins here in an input: behind the owning program and the lamports.
const DATA: usize = 9;

/// Where the layout has something to lie about: tags, the state, amounts, lengths, the type of an
/// extended account.
const FIELDS: [(usize, usize); 13] = [
    (0, 4),
    (36, 8),
    (44, 1),
    (45, 1),
    (46, 4),
    (64, 8),
    (72, 4),
    (108, 1),
    (109, 4),
    (121, 8),
    (129, 4),
    (165, 1),
    (166, 2),
];

/// Account bytes.
pub(crate) fn account(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    match random.below(4) {
        0 => bytes(random, input, other),
        1 => {
            let (place, width) = *random.pick(&FIELDS);
            let number = if random.one_in(4) { random.next() } else { *random.pick(&NUMBERS) };
            for (byte, new) in input.iter_mut().skip(DATA + place).zip(&number.to_le_bytes()[..width]) {
                *byte = *new;
            }
        }
        2 => extension(random, input),
        _ => match random.below(4) {
            // Another program's.
            0 if !input.is_empty() => input[0] = random.next() as u8,
            1 => input.resize(DATA + *random.pick(&[0, 82, 164, 165, 166, 170, 355, 1024]), 0),
            2 => input.resize(DATA + random.below(400), 2),
            _ => bytes(random, input, other),
        },
    }
}

/// Edits one type-length-value entry behind the base.
fn extension(random: &mut Random, input: &mut Vec<u8>) {
    let mut entries = Vec::new();
    let mut place = DATA + 166;
    while let Some(head) = input.get(place..place + 4) {
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        entries.push((place, length));
        place += 4 + length;
    }
    if entries.is_empty() {
        input.resize(input.len().max(DATA + 165), 0);
        input.push(2);
        let (kind, length) = (random.below(32) as u16, random.below(80));
        input.extend(kind.to_le_bytes());
        input.extend((length as u16).to_le_bytes());
        input.extend(vec![0; if random.one_in(4) { random.below(80) } else { length }]);
        return;
    }
    let (place, length) = *random.pick(&entries);
    let kind = random.below(40) as u16;
    match random.below(5) {
        0 => input[place..place + 2].copy_from_slice(&kind.to_le_bytes()),
        1 => {
            let length = if random.one_in(2) { random.below(100) as u16 } else { random.next() as u16 };
            input[place + 2..place + 4].copy_from_slice(&length.to_le_bytes());
        }
        2 => {
            let end = (place + 4 + length).min(input.len());
            let entry = input[place..end].to_vec();
            input.extend(entry);
        }
        3 => {
            let end = (place + 4 + length).min(input.len());
            input.drain(place..end);
        }
        _ => {
            input.extend(kind.to_le_bytes());
            input.extend(random.bytes(2));
        }
    }
}

/// What stands in JSON's place of a value.
fn value(random: &mut Random) -> String {
    let some = [
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "-9223372036854775809",
        "1.5",
        "1e400",
        "1E-400",
        "0",
        "null",
        "true",
        "\"\"",
        "[]",
        "{}",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\"base64\"",
        "\"base58\"",
        "\"base64+zstd\"",
        "\"jsonParsed\"",
        "\"11111111111111111111111111111111\"",
        "{\"slot\":1}",
        "[\"\",\"base64\"]",
    ];
    match random.below(24) {
        0 => {
            let depth = random.below(300);
            format!("{}{}", "[".repeat(depth), "]".repeat(depth))
        }
        1 => {
            let depth = random.below(200);
            format!("{}0{}", "{\"\":".repeat(depth), "}".repeat(depth))
        }
        // What takes the most room for its length.
        2 => format!("[{}0]", "{\"\":0},".repeat(random.below(200))),
        3 => format!("[{}0]", "0,".repeat(random.below(500))),
        4 => format!("\"{}\"", "A".repeat(random.below(4_000))),
        5 => random.next().to_string(),
        _ => (*random.pick(&some)).to_owned(),
    }
}

/// Where the tokens of a text begin and end; what is no JSON is cut into single bytes.
fn tokens(text: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = match text[at] {
            b'"' => {
                let mut end = at + 1;
                while end < text.len() && text[end] != b'"' {
                    end += if text[end] == b'\\' { 2 } else { 1 };
                }
                (end + 1).min(text.len())
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'-' => {
                let more = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                at + text[at..].iter().take_while(|byte| more(byte)).count().max(1)
            }
            _ => at + 1,
        };
        found.push((at, end));
        at = end;
    }
    found
}

/// JSON text.
pub(crate) fn json(random: &mut Random, text: &mut Vec<u8>, other: &[u8]) {
    if random.one_in(8) || text.is_empty() {
        return bytes(random, text, other);
    }
    let tokens = tokens(text);
    let spot = random.below(tokens.len());
    let (from, to) = tokens[spot];
    let is_value = !b"{}[]:, ".contains(&text[from]) && text.get(to) != Some(&b':');
    let chosen = text[from..to].to_vec();
    match random.below(7) {
        0..3 if is_value => drop(text.splice(from..to, value(random).into_bytes())),
        // Long strings are accounts.
        0..3 if !is_value => {
            let long = tokens.iter().filter(|(from, to)| to - from > 40 && text[*from] == b'"');
            let long: Vec<_> = long.copied().collect();
            if long.is_empty() {
                return bytes(random, text, other);
            }
            let (from, to) = *random.pick(&long);
            if let Ok(data) = BASE64_STANDARD.decode(&text[from + 1..to - 1]) {
                let mut input = [vec![0; DATA], data].concat();
                account(random, &mut input, b"");
                let data = BASE64_STANDARD.encode(input.get(DATA..).unwrap_or_default());
                text.splice(from..to, format!("\"{data}\"").into_bytes());
            }
        }
        3 => drop(text.drain(from..to)),
        // Twice: a member, an element, a bracket.
        4 => {
            let (_, end) = tokens[(spot + 1 + random.below(4)).min(tokens.len() - 1)];
            let mut again = text[from..end].to_vec();
            if random.one_in(2) {
                again.push(b',');
            }
            text.splice(from..from, again);
        }
        5 if chosen[0] == b'"' && chosen.len() > 2 => {
            // The same string, one letter escaped; or another one.
            let place = 1 + random.below(chosen.len() - 2);
            let letter = if random.one_in(3) { random.next() as u16 } else { u16::from(chosen[place]) };
            text.splice(from + place..from + place + 1, format!("\\u{letter:04x}").into_bytes());
        }
        6 => {
            // A token of another's in its place.
            let theirs = self::tokens(other);
            if let Some((start, end)) = theirs.get(random.below(theirs.len())) {
                text.splice(from..to, other[*start..*end].iter().copied());
            }
        }
        _ => bytes(random, text, other),
    }
}
