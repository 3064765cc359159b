//! Removes secrets from texts of clients and servers, which may repeat them.

use std::{collections::BTreeSet, fmt::Write, sync::Arc};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use url::Url;

/// The shortest text, in bytes, that counts as a secret. Three letters can be guessed, and hiding
/// them would tear words apart.
const SHORTEST: usize = 4;

/// The most bytes of a text that are shown: a server may send megabytes.
const LONGEST_TEXT: usize = 512;

/// Collects the secrets.
#[derive(Default)]
pub(crate) struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Adds everything in a URL that may be a key: its user part, path, query and fragment.
    pub(crate) fn url(&mut self, url: &Url) {
        for part in url.path_segments().into_iter().flatten().chain(url.query()).chain(url.fragment()) {
            self.pieces(part);
        }
        let user = [Some(url.username()), url.password()];
        for part in user.into_iter().flatten() {
            self.pieces(part);
        }
        // The form in which HTTP clients send a user part.
        let user = user.map(|part| decoded(part.unwrap_or_default()));
        let [Some(name), Some(password)] = user.map(|part| String::from_utf8(part).ok()) else { return };
        if !name.is_empty() || !password.is_empty() {
            self.insert(&BASE64_STANDARD.encode(format!("{name}:{password}")));
        }
    }

    /// Adds a header's value and its parts: `Bearer KEY`, `user=a; token=KEY`.
    pub(crate) fn header(&mut self, value: &str) {
        self.pieces(value);
        for word in value.split_whitespace() {
            // `Basic` and the like: a server may repeat the text that it decoded.
            if let Some(text) =
                BASE64_STANDARD.decode(word).ok().and_then(|bytes| String::from_utf8(bytes).ok())
            {
                self.pieces(&text);
            }
        }
    }

    /// Adds a text, and the parts of it that may appear alone.
    pub(crate) fn pieces(&mut self, text: &str) {
        self.forms(text);
        let separator = |letter: char| letter.is_whitespace() || "&;,:/?#=\"'@".contains(letter);
        for part in text.split(separator) {
            self.forms(part);
        }
        // `=` may also belong to the key.
        for pair in text.split(['&', ';', ' ']) {
            if let Some((_, value)) = pair.split_once('=') {
                self.forms(value);
            }
        }
    }

    /// Adds a text as it is, decoded, and encoded again.
    fn forms(&mut self, text: &str) {
        self.insert(text);
        for text in [text.to_owned(), text.replace('+', " ")] {
            let bytes = decoded(&text);
            let plain = String::from_utf8_lossy(&bytes);
            self.insert(&plain);
            // As in a `Debug` output, and in JSON.
            self.insert(&plain.escape_debug().to_string());
            let mut encoded = String::new();
            for byte in &bytes {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        encoded.push(char::from(*byte));
                    }
                    // Writing to a string does not fail.
                    _ => drop(write!(encoded, "%{byte:02x}")),
                }
            }
            self.insert(&encoded);
            for encoded in [BASE64_STANDARD_NO_PAD.encode(&bytes), BASE64_URL_SAFE_NO_PAD.encode(&bytes)] {
                if plain.len() >= SHORTEST {
                    self.insert(&encoded);
                }
            }
        }
    }

    fn insert(&mut self, text: &str) {
        if text.len() >= SHORTEST {
            self.0.insert(text.to_ascii_lowercase());
        }
    }
}

impl From<Secrets> for Arc<[String]> {
    fn from(secrets: Secrets) -> Self {
        secrets.0.into_iter().collect()
    }
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digit = |place: usize| char::from(*behind.get(place)?).to_digit(16);
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// The beginning of a text, with an ellipsis in place of each secret, in upper or lower case.
pub(crate) fn scrub<'a>(text: &str, secrets: impl IntoIterator<Item = &'a String>) -> String {
    let secrets: Vec<&String> = secrets.into_iter().collect();
    let longest = secrets.iter().map(|secret| secret.len()).max().unwrap_or(0);
    let end = text.floor_char_boundary(LONGEST_TEXT);
    // Look far enough to recognise a secret that begins in the shown part and ends beyond it.
    let window = text[..text.floor_char_boundary(end + longest)].to_ascii_lowercase();
    let mut hidden = vec![false; window.len()];
    for secret in secrets {
        let mut from = 0;
        while let Some(place) = window.get(from..).and_then(|rest| rest.find(secret.as_str())) {
            let place = from + place;
            hidden[place..place + secret.len()].fill(true);
            // Occurrences may overlap.
            from = place + window[place..].chars().next().map_or(1, char::len_utf8);
        }
    }
    let mut shown = String::new();
    for (place, letter) in text[..end].char_indices() {
        if !hidden[place] {
            shown.push(letter);
        } else if place == 0 || !hidden[place - 1] {
            shown.push('…');
        }
    }
    if end < text.len() && !shown.ends_with('…') {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_url(url: &str) -> Arc<[String]> {
        let mut secrets = Secrets::default();
        secrets.url(&Url::parse(url).expect("a URL"));
        secrets.into()
    }

    fn of_header(value: &str) -> Arc<[String]> {
        let mut secrets = Secrets::default();
        secrets.header(value);
        secrets.into()
    }

    #[test]
    fn a_key_is_hidden_wherever_it_stands_in_a_url() {
        for url in [
            "https://host/KEYa1",
            "https://host/rpc;token=KEYa1/v2",
            "https://host/?api-key=KEYa1",
            "https://host/?x=1&KEYa1",
            "https://host/?q=%4bEYa1",
            "https://host/#KEYa1",
            "https://KEYa1@host",
            "https://u:KEYa1@host",
            "https://:KEYa1@host",
        ] {
            for text in ["no KEYa1 here", "no keyA1 here", "u%2FKEYa1%3F"] {
                let scrubbed = scrub(text, of_url(url).iter()).to_lowercase();
                assert!(!scrubbed.contains("keya1") && scrubbed.contains('…'), "{url}: {scrubbed}");
            }
        }
    }

    #[test]
    fn a_key_is_hidden_in_every_form_it_is_repeated_in() {
        for url in
            ["https://host/?k=a%2Fb%2bc+d", "https://host/?k=a/b%2Bc%20d", "https://a%2Fb%2Bc%20d@host"]
        {
            let secrets = of_url(url);
            for form in ["a/b+c d", "a%2Fb%2Bc%20d", "a%2fb%2bc%20d"] {
                assert_eq!(scrub(&format!("<{form}>"), secrets.iter()), "<…>", "{url} {form}: {secrets:?}");
            }
        }
        let quoted = of_url("https://host/?k=ab%22cd");
        assert_eq!(scrub(&format!("{:?}", "ab\"cd"), quoted.iter()), "\"…\"");
        let basic = BASE64_STANDARD.encode("user:pass");
        assert_eq!(scrub(&format!("bad {basic}"), of_url("https://user:pass@host").iter()), "bad …");
        assert_eq!(
            scrub(&format!("bad {}", BASE64_STANDARD.encode("secret")), of_url("https://host/secret").iter()),
            "bad …"
        );
    }

    #[test]
    fn a_key_is_hidden_wherever_it_stands_in_a_header() {
        let basic = format!("Basic {}", BASE64_STANDARD.encode("user:s3cr3t"));
        for value in
            ["s3cr3t", "Bearer s3cr3t", "a=b; token=s3cr3t; c", "token=\"s3cr3t\"", "ключ s3cr3t", &basic]
        {
            assert_eq!(scrub("<S3cr3t>", of_header(value).iter()), "<…>", "{value}");
        }
    }

    #[test]
    fn overlapping_secrets_leave_nothing_between_them() {
        let secrets = ["abcd", "cdefgh", "abcdabcd"].map(str::to_owned);
        assert_eq!(scrub("x abcdefgh abcdabcdef y", secrets.iter()), "x … …ef y");
        let secrets = ["aaaa".to_owned()];
        assert_eq!(scrub("aaaaaa", secrets.iter()), "…");
    }

    #[test]
    fn long_texts_are_cut_and_no_key_with_them() {
        let secrets = ["s3cr3t".to_owned()];
        for before in LONGEST_TEXT - 7..=LONGEST_TEXT {
            let text = format!("{}s3cr3t{}", "é".repeat(before / 2), "x".repeat(1 << 20));
            let scrubbed = scrub(&text, secrets.iter());
            assert!(scrubbed.len() <= LONGEST_TEXT + 3 && scrubbed.ends_with('…'), "{scrubbed}");
            assert!(!scrubbed.contains('s'), "{scrubbed}");
        }
        assert_eq!(scrub("short", secrets.iter()), "short");
    }

    #[test]
    fn what_is_not_secret_stays() {
        let secrets = of_url("https://host:9/v1/rpc?x=1");
        assert_eq!(scrub("the rpc of host:9 answers 1", secrets.iter()), "the rpc of host:9 answers 1");
    }
}
