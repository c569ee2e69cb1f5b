//! What texts are written in: told from their letters, and among Latin letters from their frequent words. It names a
//! language only where these agree, and otherwise says that it does not know.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

/// Of a value so many characters are looked at.
const CHARACTERS: usize = 1000;

/// What texts are written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Language {
    English,
    /// Another language in Latin letters, by its English name.
    European(&'static str),
    /// Latin letters, and few frequent words of any language that is known here.
    Latin,
    Chinese,
    Japanese,
    Korean,
    /// Letters of another script, by its name: `Greek`, `Cyrillic`.
    Script(&'static str),
    /// Each a language or a script.
    Several(Vec<&'static str>),
    Code,
    /// No letters.
    Unknown,
}

/// The most frequent words of languages in Latin letters. Those that several share say nothing between these.
const WORDS: [(&str, &[&str]); 16] = [
    (
        "English",
        &[
            "the", "of", "and", "to", "is", "that", "it", "for", "with", "are", "this", "be", "have", "not", "you",
            "my", "what", "how", "do", "can", "i", "but", "they", "from", "at", "by", "your", "which", "there",
            "would", "does", "why", "who", "where", "when", "please", "an", "as", "or", "its", "in", "a", "on", "was",
            "we", "so", "no", "he", "all",
        ],
    ),
    (
        "German",
        &[
            "der", "und", "das", "ist", "nicht", "ich", "mit", "sich", "auf", "für", "ein", "eine", "dem", "den",
            "von", "zu", "wie", "wir", "sie", "auch", "im", "einen", "mein", "kann", "bei", "wird", "aus", "nach",
            "des", "werden", "die", "in", "war", "es", "an", "hat", "so", "noch",
        ],
    ),
    (
        "French",
        &[
            "le", "les", "et", "est", "pas", "je", "vous", "une", "dans", "pour", "qui", "sur", "avec", "ne", "ce",
            "il", "nous", "mais", "au", "du", "ou", "sont", "mon", "cette", "plus", "c'est", "très", "aux", "été",
            "mes", "de", "la", "en", "un", "que", "se", "des", "a", "on",
        ],
    ),
    (
        "Spanish",
        &[
            "el", "los", "y", "las", "por", "una", "con", "es", "lo", "del", "más", "pero", "para", "muy", "está",
            "mi", "como", "su", "al", "qué", "hay", "yo", "ser", "sus", "cómo", "sin", "este", "fue", "también", "nos",
            "de", "la", "que", "en", "se", "un", "no", "a", "o", "nada",
        ],
    ),
    (
        "Italian",
        &[
            "il", "di", "che", "è", "per", "non", "sono", "della", "gli", "dei", "nel", "con", "mi", "questo", "anche",
            "come", "più", "ma", "alla", "molto", "ho", "delle", "ha", "al", "dal", "una", "questa", "si", "lo",
            "essere", "la", "un", "e", "in", "a", "i", "le", "da", "se", "no",
        ],
    ),
    (
        "Portuguese",
        &[
            "não", "uma", "um", "os", "do", "em", "da", "no", "na", "com", "é", "mais", "muito", "eu", "foi", "ao",
            "você", "são", "dos", "pelo", "meu", "está", "isso", "tem", "para", "mas", "como", "ele", "ser", "já",
            "de", "a", "o", "que", "e", "se", "as", "por",
        ],
    ),
    (
        "Dutch",
        &[
            "het", "een", "van", "ik", "niet", "dat", "zijn", "op", "te", "voor", "met", "maar", "aan", "ook", "er",
            "naar", "wat", "wij", "geen", "bij", "heeft", "mijn", "deze", "worden", "hebben", "dit", "uit", "kan",
            "dan", "om", "de", "in", "is", "en", "was", "we", "hij", "of", "zo",
        ],
    ),
    (
        "Swedish",
        &[
            "och", "att", "det", "är", "som", "inte", "jag", "på", "för", "en", "ett", "har", "med", "av", "den",
            "till", "var", "kan", "från", "men", "vi", "mycket", "så", "om", "när", "i", "de", "ut", "han",
        ],
    ),
    (
        "Danish or Norwegian",
        &[
            "og", "det", "er", "at", "ikke", "jeg", "på", "til", "af", "av", "som", "den", "har", "en", "et", "med",
            "meget", "fra", "men", "vi", "kan", "så", "mig", "meg", "også", "i", "de", "for", "han", "om", "var",
        ],
    ),
    (
        "Finnish",
        &[
            "ja", "on", "ei", "se", "että", "oli", "hän", "mutta", "kun", "ovat", "myös", "joka", "niin", "minä",
            "sen", "ole", "kuin", "hyvin", "tämä", "en", "tai",
        ],
    ),
    (
        "Polish",
        &[
            "nie", "się", "jest", "na", "że", "z", "w", "i", "do", "to", "jak", "ale", "po", "co", "tak", "są", "czy",
            "od", "przez", "był", "dla", "mnie", "już", "tego", "tym", "a", "o", "ja", "ma", "za",
        ],
    ),
    (
        "Czech",
        &[
            "je", "se", "na", "že", "v", "to", "jsem", "ale", "jako", "s", "z", "do", "byl", "není", "který", "jsou",
            "tak", "pro", "jeho", "při", "když", "velmi", "a", "jsme", "už", "i", "o", "po", "od", "jak", "si",
        ],
    ),
    (
        "Romanian",
        &[
            "și", "nu", "este", "în", "cu", "pe", "să", "care", "din", "mai", "sunt", "pentru", "fost", "un", "o",
            "la", "am", "că", "foarte", "ce", "de", "se", "a",
        ],
    ),
    (
        "Hungarian",
        &[
            "a", "az", "és", "hogy", "nem", "egy", "is", "ez", "van", "meg", "csak", "de", "volt", "már", "nagyon",
            "ha", "mint", "még", "el", "vagy", "nincs", "ki",
        ],
    ),
    (
        "Turkish",
        &[
            "bir", "ve", "bu", "için", "çok", "ile", "de", "da", "ne", "gibi", "daha", "ama", "olan", "var", "mi",
            "değil", "en", "kadar", "sonra", "her", "o", "ben",
        ],
    ),
    (
        "Vietnamese",
        &[
            "và", "là", "của", "có", "không", "được", "cho", "các", "một", "những", "trong", "tôi", "này", "với",
            "rất", "người", "đã", "để", "khi", "thì",
        ],
    ),
];

/// Scripts other than Latin, and what their letters say: a language, or no more than the script.
const SCRIPTS: [(&str, &[(u32, u32)]); 19] = [
    ("Han", &[(0x2e80, 0x2fdf), (0x3400, 0x4dbf), (0x4e00, 0x9fff), (0xf900, 0xfaff), (0x20000, 0x3ffff)]),
    ("Kana", &[(0x3040, 0x30ff), (0x31f0, 0x31ff), (0xff66, 0xff9f)]),
    ("Hangul", &[(0x1100, 0x11ff), (0x3130, 0x318f), (0xac00, 0xd7af)]),
    ("Cyrillic", &[(0x400, 0x52f), (0x1c80, 0x1c8f), (0x2de0, 0x2dff), (0xa640, 0xa69f)]),
    ("Greek", &[(0x370, 0x3ff), (0x1f00, 0x1fff)]),
    ("Arabic", &[(0x600, 0x6ff), (0x750, 0x77f), (0x8a0, 0x8ff), (0xfb50, 0xfdff), (0xfe70, 0xfefe)]),
    ("Hebrew", &[(0x590, 0x5ff), (0xfb1d, 0xfb4f)]),
    ("Thai", &[(0xe00, 0xe7f)]),
    ("Devanagari", &[(0x900, 0x97f), (0xa8e0, 0xa8ff)]),
    ("Bengali", &[(0x980, 0x9ff)]),
    ("Gurmukhi", &[(0xa00, 0xa7f)]),
    ("Gujarati", &[(0xa80, 0xaff)]),
    ("Tamil", &[(0xb80, 0xbff)]),
    ("Telugu", &[(0xc00, 0xc7f)]),
    ("Kannada", &[(0xc80, 0xcff)]),
    ("Malayalam", &[(0xd00, 0xd7f)]),
    ("Georgian", &[(0x10a0, 0x10ff), (0x1c90, 0x1cbf), (0x2d00, 0x2d2f)]),
    ("Armenian", &[(0x530, 0x58f)]),
    // What is no letter of a script above.
    ("other", &[]),
];

const HAN: usize = 0;
const KANA: usize = 1;
const HANGUL: usize = 2;
const OTHER: usize = SCRIPTS.len() - 1;

/// What has been counted of texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Writing {
    /// Other than spaces.
    characters: usize,
    latin: usize,
    scripts: [usize; SCRIPTS.len()],
    /// In Latin letters.
    words: usize,
    /// Those that are frequent in some language.
    frequent: BTreeMap<&'static str, usize>,
    /// Brackets and operators, which prose has few of.
    symbols: usize,
}

impl Writing {
    pub(super) fn add(&mut self, text: &str) {
        let end = text.char_indices().nth(CHARACTERS).map_or(text.len(), |(end, _)| end);
        for character in text[..end].chars().filter(|character| !character.is_whitespace()) {
            self.characters += 1;
            if "{}()[]<>=;_/\\*+|&$#".contains(character) {
                self.symbols += 1;
            } else if is_latin(character) {
                self.latin += 1;
            } else if character.is_alphabetic() {
                self.scripts[script(character)] += 1;
            }
        }
        let is_part = |character: char| character.is_alphanumeric() || character == '\'';
        for word in text[..end].split(|character: char| !is_part(character)).filter(|word| word.starts_with(is_latin)) {
            self.words += 1;
            if let Some(known) = known(&word.to_lowercase()) {
                *self.frequent.entry(known).or_default() += 1;
            }
        }
    }

    /// What both are written in.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.characters += other.characters;
        self.latin += other.latin;
        self.words += other.words;
        self.symbols += other.symbols;
        for (count, more) in self.scripts.iter_mut().zip(other.scripts) {
            *count += more;
        }
        for (word, count) in &other.frequent {
            *self.frequent.entry(word).or_default() += count;
        }
        self
    }

    /// The language, and what it was told from.
    pub fn language(&self) -> (Language, String) {
        if self.symbols * 12 > self.characters {
            let percent = 100 * self.symbols / self.characters.max(1);
            return (Language::Code, format!("{percent} % of the characters are brackets and operators"));
        }
        let letters = self.latin + self.scripts.iter().sum::<usize>();
        if letters == 0 {
            return (Language::Unknown, "the texts have no letters".to_owned());
        }
        // A character of Chinese says as much as two letters.
        let weight = |script: usize, count: usize| if script == HAN { 2 * count } else { count };
        let weighed = self.scripts.iter().enumerate().map(|(script, count)| (script, weight(script, *count)));
        let mut others: Vec<(usize, usize)> = weighed.filter(|(_, count)| count * 8 >= letters).collect();
        others.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut scripts: Vec<usize> = others.iter().map(|(script, _)| *script).collect();
        if self.scripts[KANA] * 20 > self.scripts[HAN] + self.scripts[KANA] && self.scripts[KANA] * 20 > letters {
            scripts.retain(|script| ![HAN, KANA].contains(script));
            scripts.insert(0, KANA);
        }
        let latin = (self.latin * 3 >= letters || scripts.is_empty()).then(|| self.of_words());
        let share = |count: usize| 100 * count / letters;
        match (scripts.as_slice(), latin) {
            ([], None) => (Language::Unknown, "its letters are of many scripts".to_owned()),
            ([], Some(latin)) => latin,
            ([script], None) => {
                let mut count = self.scripts[*script];
                if *script == KANA {
                    count += self.scripts[HAN];
                }
                (of_script(*script), format!("{} % of the letters are {}", share(count), letters_of(*script)))
            }
            (scripts, latin) => {
                let mut names: Vec<&'static str> = scripts.iter().map(|script| name(&of_script(*script))).collect();
                names.extend(latin.map(|(language, _)| name(&language)));
                (Language::Several(names), "its letters are of several scripts".to_owned())
            }
        }
    }

    /// By the frequent words.
    fn of_words(&self) -> (Language, String) {
        let hits = |words: &[&str]| words.iter().filter_map(|word| self.frequent.get(word)).sum::<usize>();
        let mut found: Vec<(usize, &str, &[&str])> =
            WORDS.iter().map(|(name, words)| (hits(words), *name, *words)).collect();
        found.sort_by_key(|(hits, ..)| std::cmp::Reverse(*hits));
        let (most, language, words) = found[0];
        // Of running text every third word is frequent, of headlines and titles every tenth.
        if most == 0 || most * 14 < self.words {
            return (
                Language::Latin,
                "Latin letters, and few frequent words of any language that is known here".to_owned(),
            );
        }
        let is_own = |word: &&str| !words.contains(word);
        let second = found[1..].iter().find(|(_, _, of_other)| {
            let own: usize = of_other.iter().filter(|word| is_own(word)).filter_map(|it| self.frequent.get(*it)).sum();
            own > 2 && own * 20 > self.words && own * 4 > most
        });
        if let Some((_, other, _)) = second {
            return (Language::Several(vec![language, other]), format!("frequent words of {language} and of {other}"));
        }
        let mut shown: Vec<(&str, usize)> =
            words.iter().filter_map(|word| Some((*word, *self.frequent.get(word)?))).collect();
        shown.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let shown: Vec<String> = shown.iter().take(3).map(|(word, _)| format!("`{word}`")).collect();
        let language = if language == "English" { Language::English } else { Language::European(language) };
        (language, format!("its frequent words are {}", shown.join(", ")))
    }
}

impl Language {
    /// As a sentence names it: `Greek letters`, `English and German`.
    pub fn name(&self) -> String {
        match self {
            Self::English => "English".to_owned(),
            Self::European(language) => (*language).to_owned(),
            Self::Latin | Self::Unknown => "not recognised".to_owned(),
            Self::Chinese => "Chinese".to_owned(),
            Self::Japanese => "Japanese".to_owned(),
            Self::Korean => "Korean".to_owned(),
            Self::Script(script) => format!("{script} letters"),
            Self::Several(names) => names.join(" and "),
            Self::Code => "code or markup".to_owned(),
        }
    }
}

fn name(language: &Language) -> &'static str {
    match language {
        Language::English => "English",
        Language::European(name) => name,
        Language::Latin => "Latin letters",
        Language::Chinese => "Chinese",
        Language::Japanese => "Japanese",
        Language::Korean => "Korean",
        Language::Script(script) => script,
        Language::Several(_) => "several languages",
        Language::Code => "code",
        Language::Unknown => "other letters",
    }
}

fn of_script(script: usize) -> Language {
    match script {
        HAN => Language::Chinese,
        KANA => Language::Japanese,
        HANGUL => Language::Korean,
        OTHER => Language::Unknown,
        other => Language::Script(SCRIPTS[other].0),
    }
}

fn letters_of(script: usize) -> &'static str {
    match script {
        HAN => "Chinese characters",
        KANA => "kana and Chinese characters",
        HANGUL => "Hangul",
        OTHER => "of other scripts",
        other => SCRIPTS[other].0,
    }
}

fn script(character: char) -> usize {
    let code = u32::from(character);
    let has = |ranges: &[(u32, u32)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&code));
    SCRIPTS.iter().position(|(_, ranges)| has(ranges)).unwrap_or(OTHER)
}

fn is_latin(character: char) -> bool {
    character.is_ascii_alphabetic()
        || matches!(character, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}') && character.is_alphabetic()
}

/// The word of the lists that this one is.
fn known(word: &str) -> Option<&'static str> {
    static KNOWN: LazyLock<HashSet<&str>> =
        LazyLock::new(|| WORDS.iter().flat_map(|(_, words)| words.iter().copied()).collect());
    KNOWN.get(word).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(texts: &[&str]) -> Language {
        let mut writing = Writing::default();
        texts.iter().for_each(|text| writing.add(text));
        writing.language().0
    }

    #[test]
    fn letters_tell_scripts_and_frequent_words_tell_languages() {
        let found = [
            ("How do I reset my password? The link in the mail does not work.", Language::English),
            (
                "Wie kann ich mein Passwort zurücksetzen? Der Link in der Mail ist ungültig.",
                Language::European("German"),
            ),
            ("Je ne peux pas me connecter, le lien est mort et vous ne répondez pas.", Language::European("French")),
            ("No puedo entrar en la página, el enlace está roto y no hay respuesta.", Language::European("Spanish")),
            ("Il servizio è molto buono ma la camera non è pulita.", Language::European("Italian")),
            ("O serviço é muito bom mas o quarto não está limpo.", Language::European("Portuguese")),
            ("Ik kan niet inloggen, het wachtwoord is niet goed en er is geen hulp.", Language::European("Dutch")),
            ("Nie mogę się zalogować, to hasło jest złe i nie ma pomocy.", Language::European("Polish")),
            ("这家酒店的服务非常好，房间也很干净。", Language::Chinese),
            ("このホテルのサービスはとても良いです。", Language::Japanese),
            ("이 호텔은 서비스가 아주 좋습니다.", Language::Korean),
            ("Очень хороший отель, номер чистый.", Language::Script("Cyrillic")),
            ("Πολύ καλό ξενοδοχείο, καθαρό δωμάτιο.", Language::Script("Greek")),
            ("فندق جيد جدا والغرفة نظيفة.", Language::Script("Arabic")),
            ("โรงแรมนี้ดีมากและสะอาดมาก", Language::Script("Thai")),
            ("यह होटल बहुत अच्छा है", Language::Script("Devanagari")),
            ("def f(x):\n    return [g(y) for y in x if y != None]", Language::Code),
            ("Zorblax quintel marvane", Language::Latin),
            ("4155 2023", Language::Unknown),
        ];
        for (text, expected) in found {
            assert_eq!(language(&[text]), expected, "{text}");
        }
    }

    #[test]
    fn several_languages_are_told_as_such() {
        let english = "the room is clean and the staff is very kind to you, but there is no bar";
        let german = "das Zimmer ist sauber und das Personal ist sehr nett zu mir, aber es gibt nicht eine Bar";
        assert_eq!(language(&[english, german]), Language::Several(vec!["English", "German"]));
        let greek = "το δωμάτιο είναι καθαρό και το προσωπικό ευγενικό";
        assert_eq!(language(&[english, greek]), Language::Several(vec!["Greek", "English"]));
    }

    #[test]
    fn names_of_brands_in_another_script_do_not_change_the_language() {
        assert_eq!(language(&["我买的iPhone屏幕坏了，客服的态度也不好，不推荐大家购买。"]), Language::Chinese);
        assert_eq!(language(&["The word λόγος is hard to translate, and so is the rest of it."]), Language::English);
    }

    #[test]
    fn what_it_was_told_from_is_said() {
        let mut writing = Writing::default();
        writing.add("the cat and the dog are in the house of the king");
        assert_eq!(writing.language().1, "its frequent words are `the`, `of`, `and`");
        let mut writing = Writing::default();
        writing.add("καλημέρα κόσμε");
        assert_eq!(writing.language(), (Language::Script("Greek"), "100 % of the letters are Greek".to_owned()));
    }
}
