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
        let line = line.trim();
        // Names may hold spaces: every one may be where the second name begins.
        let splits = line.char_indices().filter(|(_, c)| c.is_whitespace() || *c == ',');
        let pairs = splits.map(|(at, c)| (&line[..at], &line[at + c.len_utf8()..]));
        let bare = |name: &str| name_of(name.trim().trim_matches('"'));
        if let Some((image, _)) = pairs.into_iter().find(|(image, cloth)| bare(image) == bare(cloth)) {
            return Line::Pair(bare(image));
        }
        if line.split_whitespace().count() == 2 { Line::Unpaired } else { Line::Unclear }
    }
}

/// The two names of a line that pairs a person with a garment. Names may hold spaces: of the places where the second name may
/// begin, the one counts at which both are known. None if the line does not show two names.
pub(crate) fn person_and_garment(
    line: &str,
    is_person: impl Fn(&str) -> bool,
    is_garment: impl Fn(&str) -> bool,
) -> Option<[String; 2]> {
    let line = line.trim();
    let splits = line.char_indices().filter(|(_, c)| c.is_whitespace() || *c == ',');
    let bare = |name: &str| name_of(name.trim().trim_matches('"'));
    let pairs: Vec<_> = splits.map(|(at, c)| [bare(&line[..at]), bare(&line[at + c.len_utf8()..])]).collect();
    let known = pairs.iter().find(|[person, garment]| is_person(person) && is_garment(garment));
    // Names that are not known are told as missing files.
    let single = if let [pair] = &pairs[..] { Some(pair) } else { None };
    known.or(single).filter(|pair| pair.iter().all(|name| !name.is_empty())).cloned()
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
        let split = |line: &str| person_and_garment(line, |name| name == "a 1", |name| name == "b 2");
        let names = |a: &str, b: &str| Some([a.to_owned(), b.to_owned()]);
        assert_eq!(split("a 1.jpg b 2.jpg"), names("a 1", "b 2"));
        assert_eq!(split("c.jpg d.jpg\r"), names("c", "d"), "files that are not there are told by their names");
        assert_eq!(split("a 1.jpg c 3.jpg"), None);
        assert_eq!(split("a"), None);
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
        assert_eq!(Line::parse("a.png b.png"), Line::Unpaired);
        assert_eq!(Line::parse("a.png"), Line::Unclear);
        assert_eq!(Line::parse("a 1.png b 2.png"), Line::Unclear);
    }
}
