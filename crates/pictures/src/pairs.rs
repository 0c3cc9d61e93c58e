//! Pairs files: lines of IMAGE CLOTH, as any system's editor saves them.

use crate::folder::name_of;

/// The text of a file in UTF-8 or UTF-16, with or without a byte order mark; None if it is in neither.
pub(crate) fn decode(bytes: &[u8]) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|&pair| unit(pair)).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => str::from_utf8(rest).ok().map(str::to_owned),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // Names begin with ASCII, of which UTF-16 makes a zero and a letter.
        [1..=255, 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, 1..=255, ..] => utf16(bytes, u16::from_be_bytes),
        _ => str::from_utf8(bytes).ok().map(str::to_owned),
    }
}

/// A line of a pairs file.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// A picture and its own garment: their name.
    Pair(String),
    /// A picture and another's garment.
    Unpaired,
    /// No pair, or names with spaces that do not show where the second one begins.
    Unclear,
}

impl Line {
    /// Reads a line that is not blank.
    pub(crate) fn parse(line: &str) -> Line {
        let pairs = splits(line);
        match pairs.iter().find(|[image, cloth]| name_of(image) == name_of(cloth)) {
            Some([image, _]) => Line::Pair(name_of(image)),
            None if pairs.len() == 1 => Line::Unpaired,
            None => Line::Unclear,
        }
    }
}

/// The two parts of a line at every place where the second name may begin: after each run of spaces and commas, since names
/// may hold spaces.
fn splits(line: &str) -> Vec<[&str; 2]> {
    let is_separator = |c: char| c.is_whitespace() || c == ',';
    let line = line.trim_matches(is_separator);
    let ends =
        line.char_indices().zip(line.chars().skip(1)).filter(|((_, c), next)| is_separator(*c) && !is_separator(*next));
    let parts = ends.map(|((at, c), _)| [line[..at].trim_end_matches(is_separator), &line[at + c.len_utf8()..]]);
    parts.map(|names| names.map(|name| name.trim_matches('"'))).collect()
}

/// The two names of a line that pairs a person with a garment. Names may hold spaces: of the places where the second name may
/// begin, the one counts at which both are known. The names are as the line has them. None if it does not show two names.
pub(crate) fn person_and_garment(
    line: &str,
    is_person: impl Fn(&str) -> bool,
    is_garment: impl Fn(&str) -> bool,
) -> Option<[&str; 2]> {
    let pairs = splits(line);
    let known = pairs.iter().find(|[person, garment]| is_person(person) && is_garment(garment));
    // Names that are not known are told as missing files.
    let single = if let [pair] = &pairs[..] { Some(pair) } else { None };
    known.or(single).filter(|pair| pair.iter().all(|name| !name_of(name).is_empty())).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_any_system_is_decoded() {
        let text = "a.png a.png\r\ncaf\u{e9}.png caf\u{e9}.png\n";
        let units = || text.encode_utf16();
        let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            ["\u{feff}", text].concat().into_bytes(),
            [&[0xff, 0xfe], &*little].concat(),
            [&[0xfe, 0xff], &*big].concat(),
            little,
            big,
        ] {
            assert_eq!(decode(&bytes).as_deref(), Some(text), "{bytes:?}");
        }
        assert_eq!(decode(b"caf\xe9.png caf\xe9.png"), None);
        assert_eq!(decode(b"").as_deref(), Some(""));
    }

    #[test]
    fn persons_and_garments_are_told_apart_by_what_there_is() {
        let split = |line| person_and_garment(line, |name| name == "a 1.jpg", |name| name == "b 2.jpg");
        assert_eq!(split("a 1.jpg b 2.jpg"), Some(["a 1.jpg", "b 2.jpg"]));
        assert_eq!(
            split("c.jpg d.jpg\r"),
            Some(["c.jpg", "d.jpg"]),
            "files that are not there are told by their names"
        );
        for line in ["c.jpg  d.jpg", "c.jpg,\t d.jpg", " c.jpg d.jpg, ", "\"c.jpg\", \"d.jpg\""] {
            assert_eq!(split(line), Some(["c.jpg", "d.jpg"]), "{line}: one run of separators");
        }
        assert_eq!(split("a 1.jpg c 3.jpg"), None);
        assert_eq!(split("a"), None);
        assert_eq!(split("a, "), None);
    }

    #[test]
    fn names_may_hold_spaces() {
        let pair = |name: &str| Line::Pair(name.into());
        assert_eq!(Line::parse("00001_00.jpg 00001_00.jpg"), pair("00001_00"));
        assert_eq!(Line::parse("IMG 0001 (1).png IMG 0001 (1).png"), pair("IMG 0001 (1)"));
        assert_eq!(Line::parse("IMG 1.png\tIMG 1.jpg"), pair("IMG 1"));
        assert_eq!(Line::parse("\"IMG 1.png\" \"IMG 1.png\""), pair("IMG 1"));
        assert_eq!(Line::parse("a.png, a.png"), pair("a"));
        assert_eq!(Line::parse("image/a.jpg cloth/a.jpg"), pair("a"));
        assert_eq!(Line::parse("IMG  1.png  IMG  1.png"), pair("IMG  1"));
        assert_eq!(Line::parse("a.png b.png"), Line::Unpaired);
        assert_eq!(Line::parse("a.png, b.png"), Line::Unpaired);
        assert_eq!(Line::parse("a.png"), Line::Unclear);
        assert_eq!(Line::parse("a 1.png b 2.png"), Line::Unclear);
    }
}
