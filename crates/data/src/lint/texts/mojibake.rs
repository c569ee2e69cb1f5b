//! UTF-8 that was read as Latin-1 or Windows-1252: `Ã©` for `é`, `â€™` for `’`.

/// What each of the bytes 0x80 to 0x9F is in Windows-1252; where it is nothing there, the control character of Latin-1.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// The first place that is such: what it reads, and what it was.
///
/// Sequences that begin with `Ã`, `Â`, `â` or `ð` are (the letters of western Europe, signs, quotes and dashes, emoji):
/// nobody writes those letters before what must follow. Others are only where two stand together, as in the words of
/// other scripts: a German quotation may well end in `Ö“`.
pub(super) fn mojibake(text: &str) -> Option<(String, String)> {
    if text.is_ascii() {
        return None;
    }
    text.char_indices().find_map(|(at, lead)| {
        if !matches!(lead, '\u{c2}'..='\u{f4}') {
            return None;
        }
        let (meant, length) = decoded(&text[at..])?;
        let mut end = at + length;
        let mut whole = meant.to_string();
        let is_certain = match lead {
            'Ã' => !matches!(meant, 'Ò' | 'Ô'), // Portuguese: “IRMÔ
            'Â' | 'â' | 'ð' => true,
            _ => false,
        };
        if !is_certain {
            let (next, length) = decoded(&text[end..])?;
            whole.push(next);
            end += length;
        }
        Some((printable(&text[at..end]), whole))
    })
}

/// Latin-1 has control characters where Windows-1252 has quotes; a message shows their numbers.
fn printable(text: &str) -> String {
    let shown = |it: char| if it.is_control() { it.escape_unicode().to_string() } else { it.to_string() };
    text.chars().map(shown).collect()
}

/// The character whose UTF-8 bytes the text begins with, and the length that they have in the text.
fn decoded(text: &str) -> Option<(char, usize)> {
    let mut characters = text.chars();
    let mut bytes = [0; 4];
    bytes[0] = byte(characters.next()?)?;
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    for byte_of in &mut bytes[1..length] {
        *byte_of = byte(characters.next()?).filter(|it| (0x80..0xc0).contains(it))?;
    }
    let meant = std::str::from_utf8(&bytes[..length]).ok()?.chars().next()?;
    (!meant.is_control()).then(|| (meant, text.len() - characters.as_str().len()))
}

fn byte(character: char) -> Option<u8> {
    match u8::try_from(u32::from(character)) {
        Ok(byte) => Some(byte),
        Err(_) => WINDOWS.iter().position(|it| *it == character).map(|position| 0x80 + position as u8),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Option<(String, String)> {
        mojibake(text)
    }

    fn misread(text: &str) -> String {
        text.bytes()
            .map(|it| if (0x80..0xa0).contains(&it) { WINDOWS[usize::from(it - 0x80)] } else { char::from(it) })
            .collect()
    }

    #[test]
    fn misread_letters_quotes_and_emoji_are_found() {
        assert_eq!(found("cafÃ© au lait"), Some(("Ã©".into(), "é".into())));
        assert_eq!(found("itâ€™s"), Some(("â€™".into(), "’".into())));
        assert_eq!(found("5 Â°C"), Some(("Â°".into(), "°".into())));
        assert_eq!(found(&misread("so 😊")), Some(("ðŸ˜Š".into(), "😊".into())));
        assert_eq!(found(&misread("привет")).map(|it| it.1).as_deref(), Some("пр"));
        assert_eq!(found(&misread("你好")).map(|it| it.1).as_deref(), Some("你好"));
        assert_eq!(found("d\u{c3}\u{a9}j\u{c3}\u{a0}").map(|it| it.1).as_deref(), Some("é"), "Latin-1");
        assert_eq!(found("it\u{e2}\u{80}\u{99}s"), Some((r"â\u{80}\u{99}".into(), "’".into())));
    }

    #[test]
    fn text_as_people_write_it_is_not() {
        for text in [
            "café, naïve, Ærø, São Paulo, âge, À la carte",
            "„Menü“ und „Ö“, »Übermaß«…",
            "“IRMÔ e “AVÔ",
            "l’été… «FORÊT»",
            "Ðức, Å, Â, âm nhạc",
            "привет 你好 😊",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_misread_western_letter_is_found(letter in "[à-öø-ÿäöüßñç]") {
            prop_assert_eq!(found(&misread(&format!("a{letter}b"))).map(|it| it.1), Some(letter));
        }
    }
}
