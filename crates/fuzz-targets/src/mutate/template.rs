//! Changes of Jinja templates: pieces of the language, expressions that grow, nesting.

use super::text;
use crate::random::Random;

const PIECES: [&str; 30] = [
    "{{ messages }}",
    "{{ messages * 3 }}",
    "{% for m in messages %}",
    "{% endfor %}",
    "{% set x = 'a' %}",
    "{% set x = x ~ x %}",
    "{% if x %}",
    "{% else %}",
    "{% endif %}",
    "{% macro f(a) %}{{ f(a) }}{% endmacro %}{{ f(1) }}",
    "{{ '%s %d' % (1, 2) }}",
    "{{ '{0:>10}'.format(x) }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ 1 // 0 }}",
    "{{ x[1:-1:0] }}",
    "{{ range(10000000) | list }}",
    "{{ 'a' * 100000000 }}",
    "{{ x | join(x) }}",
    "{{ x.replace('', x) }}",
    "{{ x | tojson(indent=100) }}",
    "{{ x | indent(1000000) }}",
    "{{ x.center(100000000) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ raise_exception('no') }}",
    "{# ",
    "{% raw %}",
    "{{ strftime_now('%Y%') }}",
    "{{ ns.x }}",
    "{%- generation -%}",
    "{{ x | wordwrap(0) }}",
];

const OPENINGS: [&str; 9] = ["(", "[", "{1:", "not ", "-", "x.a", "x[", "{% if x %}", "{% for x in x %}"];
const CHAINED: [&str; 10] =
    ["+1", "~x", "|upper", ".x", "[0]", " and x", " if x else y", "*2", " is defined", "|replace('a',x)"];

pub(super) fn changed(input: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0..=2 => text::with(input, random.of(&PIECES).as_bytes(), random),
        3 => {
            let chain = random.of(&CHAINED).repeat(random.count(30_000));
            let made = format!("{{{{ x{chain} }}}}");
            text::with(input, made.as_bytes(), random)
        }
        4 => {
            let nested = random.of(&OPENINGS).repeat(random.count(30_000));
            let made = if nested.starts_with("{%") { nested } else { format!("{{{{ {nested} }}}}") };
            text::with(input, made.as_bytes(), random)
        }
        5 => {
            let piece = random.of(&CHAINED).as_bytes();
            text::with(input, piece, random)
        }
        _ => text::changed(input, other, random),
    }
}
