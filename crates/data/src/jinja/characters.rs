//! What kind a character is to Python, whose methods ask for Unicode's categories.

use unicode_categories::UnicodeCategories;

/// White space as `str.split()` and `str.strip()` have it: that of Unicode and the four separators of ASCII.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Where `str.splitlines()` ends a line, but for a carriage return that a line feed follows.
pub(super) fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Letters: what is alphabetic to Rust without numbers, marks and symbols that are.
pub(super) fn is_alpha(character: char) -> bool {
    character.is_alphabetic() && !character.is_number_letter() && !character.is_mark() && !character.is_symbol_other()
}

pub(super) fn is_decimal(character: char) -> bool {
    character.is_number_decimal_digit()
}

/// Digits, also raised, lowered and in circles.
pub(super) fn is_digit(character: char) -> bool {
    const OTHERS: [(char, char); 15] = [
        ('\u{b2}', '\u{b3}'),
        ('\u{b9}', '\u{b9}'),
        ('\u{1369}', '\u{1371}'),
        ('\u{19da}', '\u{19da}'),
        ('\u{2070}', '\u{2070}'),
        ('\u{2074}', '\u{2079}'),
        ('\u{2080}', '\u{2089}'),
        ('\u{2460}', '\u{2468}'),
        ('\u{2474}', '\u{247c}'),
        ('\u{2488}', '\u{2490}'),
        ('\u{24ea}', '\u{24ea}'),
        ('\u{24f5}', '\u{24fd}'),
        ('\u{24ff}', '\u{24ff}'),
        ('\u{2776}', '\u{277e}'),
        ('\u{2780}', '\u{2788}'),
    ];
    let others = OTHERS.iter().any(|(first, last)| (*first..=*last).contains(&character));
    is_decimal(character) || others || ('\u{278a}'..='\u{2792}').contains(&character)
}

/// Numbers, also fractions, Roman and Chinese ones.
pub(super) fn is_numeric(character: char) -> bool {
    const CHINESE: &str = "〇零一二三四五六七八九十百千万萬億亿兆壹贰貳叁參肆伍陆陸柒捌玖拾佰仟兩两廿卅卌";
    character.is_numeric() || is_digit(character) || CHINESE.contains(character)
}

pub(super) fn is_alphanumeric(character: char) -> bool {
    is_alpha(character) || is_numeric(character)
}

/// Whether `repr` shows the character itself.
pub(super) fn is_printable(character: char) -> bool {
    let is_other = character.is_other_control()
        || character.is_other_format()
        || character.is_other_private_use()
        || character.is_separator_line()
        || character.is_separator_paragraph()
        || character.is_separator_space();
    character == ' ' || !is_other && !is_noncharacter(character)
}

/// Code points that no character will ever have.
fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

/// Has an upper and a lower form, or is one.
pub(super) fn is_cased(character: char) -> bool {
    character.is_uppercase() || character.is_lowercase() || character.is_letter_titlecase()
}

/// The character as the first of a word.
pub(super) fn to_title(character: char) -> String {
    let title = match character {
        'Ǆ' | 'ǅ' | 'ǆ' => Some('ǅ'),
        'Ǉ' | 'ǈ' | 'ǉ' => Some('ǈ'),
        'Ǌ' | 'ǋ' | 'ǌ' => Some('ǋ'),
        'Ǳ' | 'ǲ' | 'ǳ' => Some('ǲ'),
        _ => None,
    };
    match title {
        Some(title) => title.to_string(),
        // `ß` becomes `Ss`.
        None => {
            let mut upper = character.to_uppercase();
            upper.next().into_iter().chain(upper.flat_map(char::to_lowercase)).collect()
        }
    }
}

/// For comparisons without regard to case.
pub(super) fn folded(text: &str) -> String {
    let fold = |character: char| -> String {
        match character {
            'ı' => 'ı'.to_string(),
            'İ' => character.to_lowercase().collect(),
            _ => character.to_uppercase().flat_map(char::to_lowercase).collect(),
        }
    };
    text.chars().map(fold).collect()
}
