//! Chat templates that somebody wrote to take the machine down: each ends soon, in little memory and on an ordinary stack,
//! with an error or a text.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use data::language::{ChatTemplate, Conversation};

/// Counts what is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does it.
#[expect(unsafe_code, reason = "an allocator that counts; see SAFETY")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(used, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MOST_MEMORY: usize = 64 << 20;
/// Without optimisation, beside other tests; a tenth of it otherwise.
const LONGEST: Duration = Duration::from_secs(20);

fn doubled(what: &str) -> String {
    format!("{{% set ns = namespace(x={what}) %}}{{% for i in range(40) %}}")
}

/// Templates by what they do.
fn hostile() -> Vec<(&'static str, String)> {
    let chain = |link: &str| format!("{{{{ 1{} }}}}", link.repeat(100_000));
    // As many words as are allowed, or nearly.
    let allowed = |link: &str, words: usize| format!("{{{{ 1{} }}}}", link.repeat(1990 / words));
    let shared = |after: &str| format!("{}{{% set ns.x = [ns.x, ns.x] %}}{{% endfor %}}{after}", doubled("[1]"));
    let straight = |line: &str, after: &str| format!("{{% set x = [1] %}}{}{after}", line.repeat(40));
    let long = "{% set x = 'ab' * 4000000 %}";
    let sets =
        |value: &str| format!("{}{{% set ns.x = {value} %}}{{% endfor %}}{{{{ ns.x | length }}}}", doubled("'ab '"));
    let turns = |value: &str, after: &str| {
        format!(
            "{{% set ns = namespace(x=[1]) %}}{{% for i in range(100000) %}}{{% set ns.x = {value} %}}{{% endfor %}}{after}"
        )
    };
    let often = |x: &str, what: &str| {
        format!("{{% set x = {x} %}}{{% for i in range(100000) %}}{{% set z = {what} %}}{{% endfor %}}")
    };
    vec![
        ("doubling by ~", sets("ns.x ~ ns.x")),
        ("doubling by +", sets("ns.x + ns.x")),
        ("doubling by *", sets("ns.x * 2")),
        ("doubling by %", sets("'%s%s' % (ns.x, ns.x)")),
        ("doubling by format", sets("'{0}{0}'.format(ns.x)")),
        ("doubling by the filter format", sets("'%s%s' | format(ns.x, ns.x)")),
        ("doubling by join", sets("[ns.x, ns.x] | join")),
        ("doubling by the method join", sets("''.join([ns.x, ns.x])")),
        ("doubling by replace", sets("ns.x | replace('ab', 'abab')")),
        ("doubling by the method replace", sets("ns.x.replace('ab', 'abab')")),
        ("doubling by translate", sets("ns.x.translate({97: 'aa'})")),
        ("doubling by indent", sets("('a\\n' ~ ns.x) | indent(ns.x)")),
        ("doubling by escape", sets("(ns.x ~ '&&&') | forceescape | string")),
        ("doubling by repr", sets("[ns.x, ns.x] | string")),
        ("doubling by tojson", sets("[ns.x, ns.x] | tojson")),
        (
            "doubling by a block",
            format!(
                "{}{{% set b %}}{{{{ ns.x }}}}{{{{ ns.x }}}}{{% endset %}}{{% set ns.x = b %}}{{% endfor %}}",
                doubled("'ab'")
            ),
        ),
        ("a width of %", "{{ '%1000000000d' % 1 }}".to_owned()),
        ("a width of format", "{{ '{:>1000000000}'.format(1) }}".to_owned()),
        ("a width with groups", "{{ '{:0=100000,}'.format(1) }}".to_owned()),
        ("a width of ljust", "{{ 'a'.ljust(1000000000) }}".to_owned()),
        ("a width of zfill", "{{ 'a'.zfill(1000000000) }}".to_owned()),
        ("a width of center", "{{ 'a' | center(1000000000) }}".to_owned()),
        ("a size of tabs", "{{ '\\t\\t'.expandtabs(1000000000) }}".to_owned()),
        ("many lines indented", "{{ ('x\\n' * 10000000) | indent(255) }}".to_owned()),
        ("many lines indented far", "{{ ('x\\n' * 1000000) | indent(255) }}".to_owned()),
        ("much replaced by much", "{{ 'aaaa' | replace('a', 'b' * 100000000) }}".to_owned()),
        ("many characters replaced by many", format!("{long}{{{{ x.replace('a', x) }}}}")),
        ("a long text as characters", format!("{long}{{{{ x | list }}}}")),
        ("a long text backwards", format!("{long}{{{{ x[::-1] | length }}}}")),
        ("a long text in pieces", format!("{long}{{{{ x.split('a') }}}}")),
        ("a long text in words", "{{ ('a ' * 4000000).split() }}".to_owned()),
        ("a long text in lines", "{{ ('a\\n' * 4000000).splitlines() }}".to_owned()),
        ("a long text wrapped", "{{ ('a ' * 4000000) | wordwrap(10) }}".to_owned()),
        ("a long word wrapped", format!("{long}{{{{ x | wordwrap(10) }}}}")),
        ("a long text with links", "{{ ('www.a.com ' * 800000) | urlize }}".to_owned()),
        ("a long word as a link", "{{ ('http://a.' ~ 'a.' * 2000000) | urlize }}".to_owned()),
        ("many tags", "{{ ('<>' * 2000000) | striptags }}".to_owned()),
        ("many comments", "{{ ('<!---->' * 1000000) | striptags }}".to_owned()),
        ("many entities", "{{ ('&' * 2000000) | striptags }}".to_owned()),
        ("quotes escaped", "{{ ('\"' * 8000000) | escape }}".to_owned()),
        ("a long address", "{{ ('ä' * 4000000) | urlencode }}".to_owned()),
        ("many slices", "{{ [1] | slice(1000000000) }}".to_owned()),
        ("a batch filled up", "{{ [1] | batch(1000000000, 0) }}".to_owned()),
        ("a long list", "{{ [1] * 1000000000 }}".to_owned()),
        ("a long list as JSON", "{{ ([1] * 1000000000) | tojson }}".to_owned()),
        ("a long list sorted", "{{ ([1] * 1000000000) | sort }}".to_owned()),
        ("a long list compared", "{{ ([1] * 1000000000) == ([1] * 1000000000) }}".to_owned()),
        ("a long list gone through", "{% for i in [1] * 1000000000 %}{% endfor %}".to_owned()),
        ("a long list's length", "{{ ([1] * 1000000000) | length }}".to_owned()),
        ("a long list's sum", "{{ ([[1, 2]] * 1000000000) | sum(start=[]) }}".to_owned()),
        ("lists doubled", sets("[1] + ([ns.x] + [ns.x])")),
        (
            "lists joined",
            format!("{}{{% set ns.x = ns.x + ns.x %}}{{% endfor %}}{{{{ ns.x | length }}}}", doubled("[1]")),
        ),
        ("lists that share, written", shared("{{ ns.x }}")),
        ("lists that share, as JSON", shared("{{ ns.x | tojson }}")),
        ("lists that share, printed", shared("{{ ns.x | pprint }}")),
        ("lists that share, formatted", shared("{{ '%s' % [ns.x] }}")),
        (
            "lists that share, compared",
            format!(
                "{}{{% set ns.x = [ns.x, ns.x] %}}{{% set ns.y = [ns.y, ns.y] %}}{{% endfor %}}{{{{ ns.x == ns.y }}}}",
                "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(40) %}"
            ),
        ),
        ("lists that share, without a loop", straight("{% set x = [x, x] %}", "{{ x }}")),
        ("tuples that share", straight("{% set x = x, x %}", "{{ x }}")),
        ("tuples in brackets that share", straight("{% set x = (x, x) %}", "{{ x }}")),
        ("dicts that share", straight("{% set x = {'a': x, 'b': x} %}", "{{ x }}")),
        ("calls of dict that share", straight("{% set x = dict(a=x, b=x) %}", "{{ x }}")),
        ("keys with one value that shares", straight("{% set x = dict.fromkeys('ab', x) %}", "{{ x }}")),
        ("batches that share", straight("{% set x = x | batch(2, x) %}", "{{ x }}")),
        ("groups that share", straight("{% set x = x | groupby(1) | list %}", "{{ x }}")),
        ("pairs that share", straight("{% set x = x | zip(x) | list %}", "{{ x }}")),
        ("namespaces that share", straight("{% set x = namespace(a=x, b=x) %}", "{{ x }}")),
        ("a namespace in itself", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned()),
        ("a namespace in its list", "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}".to_owned()),
        ("a namespace in its dict", "{% set ns = namespace() %}{% set ns.x = dict(a=ns) %}{{ ns }}".to_owned()),
        ("a deep list", turns("[ns.x]", "{{ ns.x }}")),
        ("a deep list that is freed", turns("[ns.x]", "")),
        ("a deep dict", turns("{'a': ns.x}", "{{ ns.x }}")),
        ("a deep tuple", turns("(ns.x,)", "{{ ns.x }}")),
        ("deep slices", turns("ns.x[0:]", "{{ ns.x }}")),
        ("deep repetitions", turns("ns.x * 1", "{{ ns.x }}")),
        ("deep sums", turns("ns.x + [1]", "{{ ns.x }}")),
        ("deep reversals", turns("ns.x[::-1]", "{{ ns.x }}")),
        ("a list in itself by filters", turns("ns.x | batch(1) | list", "{{ ns.x }}")),
        ("a chain of +", chain("+1")),
        ("a chain of -", chain("-1")),
        ("a chain of *", chain("*1")),
        ("a chain of ~", chain("~1")),
        ("a chain of filters", chain("|abs")),
        ("a chain of tests", chain(" is odd")),
        ("a chain of and", chain(" and 1")),
        ("a chain of comparisons", chain(" == 1")),
        ("a chain of attributes", chain(".a")),
        ("a chain of subscripts", chain("[0]")),
        ("a chain of conditions", chain(" if 1 else 1")),
        ("a long +", allowed("+1", 2)),
        ("a long *", allowed("*1", 2)),
        ("a long ~", allowed("~1", 2)),
        ("a long line of filters", allowed("|abs", 2)),
        ("a long line of tests", allowed(" is odd", 2)),
        ("a long and", allowed(" and 1", 2)),
        ("a long comparison", allowed(" == 1", 2)),
        ("a long comparison of names", allowed(" == x", 2)),
        ("long attributes", allowed(".a", 2)),
        ("long subscripts", allowed("[0]", 3)),
        ("a long condition", allowed(" if 1 else 1", 4)),
        ("a long not", format!("{{{{ {}1 }}}}", "not ".repeat(1990))),
        ("as many branches as are allowed", format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(500))),
        ("brackets as deep as they may be", format!("{{{{ {}1{} }}}}", "(".repeat(149), ")".repeat(149))),
        ("conditions as deep as they may be", format!("{}{}", "{% if 1 %}".repeat(149), "{% endif %}".repeat(149))),
        ("no end", format!("{{{{ {}", "not ".repeat(100_000))),
        ("no end of a statement", format!("{{% if {}", "not ".repeat(100_000))),
        ("no end of a dict", format!("{{{{{{ {} }}}} and more", "-".repeat(10_000))),
        ("no end of a string", format!("{{{{ {} 'a", "not ".repeat(100_000))),
        ("many items", format!("{{{{ [{}] }}}}", "a.b, ".repeat(12_000))),
        ("many entries", format!("{{{{ {{ {} }} }}}}", "'a': 1, ".repeat(12_000))),
        ("many arguments", format!("{{{{ dict({}) }}}}", "a=1, ".repeat(12_000))),
        ("many variables", format!("{{% set {} = x %}}", "a, ".repeat(24_000))),
        ("many long items", format!("{{{{ [{}] }}}}", format!("1{}, ", "+1".repeat(900)).repeat(27))),
        (
            "many items deep in lists",
            format!("{{{{ {}{}{} }}}}", "[".repeat(900), "1, ".repeat(24_000), "]".repeat(900)),
        ),
        ("nested brackets", format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000))),
        ("nested lists", format!("{{{{ {}1{} }}}}", "[".repeat(100_000), "]".repeat(100_000))),
        ("nested calls", format!("{{{{ {}1{} }}}}", "dict(a=".repeat(900), ")".repeat(900))),
        ("many not", format!("{{{{ {}1 }}}}", "not ".repeat(100_000))),
        ("nested conditions", format!("{}{}", "{% if 1 %}".repeat(20_000), "{% endif %}".repeat(20_000))),
        ("nested loops", format!("{}{}", "{% for i in range(1000) %}".repeat(100), "{% endfor %}".repeat(100))),
        ("many branches", format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(50_000))),
        ("many statements", "{% set x = 1 %}".repeat(60_000)),
        ("a template of many megabytes", "a".repeat(4 << 20)),
        ("a macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned()),
        (
            "a macro that calls itself twice",
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}".to_owned(),
        ),
        ("a loop that calls itself", "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned()),
        (
            "a loop in a loop",
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}".to_owned(),
        ),
        ("a large power", "{{ 9 ** 9 ** 9 }}".to_owned()),
        ("a long text by its characters", often("'ä' * 2000000", "x[1999999]")),
        ("a long text by its last character", often("'a' * 8000000", "x[-1]")),
        ("the end of a long text", often("'a' * 8000000", "x[7999990:]")),
        ("a long key", often("'a' * 4000000", "{x: 1}[x]")),
        ("a long key that is not there", often("'a' * 4000000", "messages[0][x]")),
        ("a long key that is looked for", often("'a' * 4000000", "x in messages[0]")),
        ("a long text that is looked for", often("'a' * 4000000", "'b' in x")),
        ("long texts compared", often("'a' * 4000000", "x == x ~ ''")),
        ("long texts in lists compared", often("['a' * 4000000]", "x == [x[0] ~ '']")),
        ("a long text's case", often("'a' * 4000000", "x is lower")),
        ("a long text's length", often("'a' * 4000000", "x | length")),
        ("a long text's characters' kinds", often("'1' * 4000000", "x.isdigit()")),
        ("a long text as a title", often("'a ' * 2000000", "x | title")),
        ("a long text by a method", often("'a' * 4000000", "x.find('b')")),
        ("a long text as an argument", often("'a' * 4000000", "'b'.find(x)")),
        ("a word wrapped to characters", "{{ ('é' * 2000000) | wordwrap(1) }}".to_owned()),
        (
            "lines with a long text between them",
            "{{ ('a ' * 1000) | wordwrap(1, wrapstring='x' * 4000000) }}".to_owned(),
        ),
        ("a long text cut often by %", "{{ ('%(a).0s' * 100000) % {'a': 'x' * 4000000} }}".to_owned()),
        ("a long text cut often by format", "{{ ('{0!s:.0}' * 100000).format('x' * 4000000) }}".to_owned()),
        ("many characters stripped", "{{ ('x' * 300000).strip('ѐ' * 300000 ~ 'x') }}".to_owned()),
        ("many schemes of links", "{{ ('a ' * 100000) | urlize(extra_schemes=['b:'] * 100000) }}".to_owned()),
        ("links to a long target", "{{ ('www.a.com ' * 1000) | urlize(target='x' * 1000000) }}".to_owned()),
        ("a long list of nothing joined", often("[''] * 200000", "x | join")),
        ("a long list of nothing joined by a method", often("[''] * 200000", "''.join(x)")),
        ("a long list's sum, often", often("[0] * 200000", "x | sum")),
        ("the keys of a long dict", often("dict.fromkeys(range(90000), 1)", "x.keys()")),
        ("a long dict as attributes", often("dict.fromkeys(range(90000))", "x | xmlattr")),
        ("a long name of an attribute", "{{ ([{}] * 200000) | join(attribute='a' * 4000000) }}".to_owned()),
        ("a long name to map to", "{{ ([{}] * 200000) | map(attribute='a' * 4000000) | list | length }}".to_owned()),
        (
            "a long argument of map",
            "{{ ([''] * 200000) | map('replace', 'a' * 4000000, '') | list | length }}".to_owned(),
        ),
        ("a long name to select by", "{{ ([{}] * 200000) | selectattr('a' * 4000000) | list | length }}".to_owned()),
        ("a long name to reject by", "{{ ([{}] * 200000) | rejectattr('a' * 4000000) | list | length }}".to_owned()),
        (
            "a long name to tell apart by",
            "{{ ([{}] * 200000) | unique(attribute='a' * 4000000) | list | length }}".to_owned(),
        ),
        ("many attributes to sort by", "{{ ([{}] * 200000) | sort(attribute='a,' * 1000) | length }}".to_owned()),
        ("a message that is raised", "{{ raise_exception('ab' * 4000000) }}".to_owned()),
    ]
}

#[test]
#[expect(clippy::print_stdout, reason = "with `--nocapture` it is a table of what each takes")]
fn hostile_templates_end_soon_and_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tokenizer_config.json"), "{}").unwrap();
    let mut conversation = Conversation::default();
    conversation.push("user", "hi");
    let only = std::env::var("KINDLING_TEMPLATE").ok();
    let mut wrong = Vec::new();
    for (what, source) in hostile().into_iter().filter(|(what, _)| only.as_deref().is_none_or(|only| only == *what)) {
        std::fs::write(directory.path().join("chat_template.jinja"), &source).unwrap();
        let before = IN_USE.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        let start = Instant::now();
        let made = ChatTemplate::from_dir(directory.path(), SystemTime::UNIX_EPOCH)
            .and_then(|template| template.unwrap().render(&conversation, true));
        let (took, memory) = (start.elapsed(), MOST.load(Ordering::Relaxed) - before);
        let shown = match &made {
            Ok(text) => format!("{} bytes", text.len()),
            Err(error) => error.to_string().chars().take(160).collect(),
        };
        println!("{took:>10.2?} {:>6.1} MB  {what}: {shown}", memory as f64 / 1e6);
        if took > LONGEST || memory > MOST_MEMORY {
            wrong.push(format!("{what}: {took:?}, {memory} bytes"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
