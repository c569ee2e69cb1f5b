"""Writes table.json: expressions, and what Jinja2 makes of them in the sandbox that Transformers sets up for chat templates.

    pip install jinja2==3.1.6 transformers==5.24.0 && python table.py > table.json

Run it again after adding an expression; `null` stands for an error.
"""
import json
import sys

from transformers.utils.chat_template_utils import _cached_compile_jinja_template as compile_template

VALUES = {
    "n": 7, "m": -3, "zero": 0, "big": 12345678901234567, "x": 2e-05, "y": 1e16, "tiny": 1.5e-07, "half": 0.5, "whole": 3.0, "minus": -0.0,
    "yes": True, "no": False, "nothing": None, "empty": "", "s": "red-old-lamp", "name": "Ann", "words": "the old lamp is red", "lines": "a\nb\r\nc\n\nd",
    "quote": "it's", "both": "it's \"so\"", "odd": "é\t\\\n\x00\x7f\u200b😀", "html": "<b>Tom & \"Jerry's\"</b>", "digits": "0123", "spaces": "  a  b ",
    "list": [3, 1, 2], "floats": [0.1, 2.0, 1e-9], "mixed": [1, 2.5, "a", None, True, {"k": 1e20}], "names": ["b", "A", "c", "a"],
    "map": {"b": 2, "a": 1.0, "c": None}, "items": {"items": [1], "keys": 2, "get": 3}, "nested": {"a": {"b": [1, {"c": 2e-05}]}},
    "people": [{"name": "Ann", "age": 30, "city": {"name": "Oslo"}}, {"name": "bob", "age": 25, "city": {"name": "Bonn"}}, {"name": "Cid", "age": 30, "city": {"name": "oslo"}}],
    "long": "The quick brown fox jumps over the lazy dog and runs away", "url": "see http://a.example/x?y=1&z=2 and www.b.example, or mail@c.example.",
}

NUMBERS = """
x
y
tiny
half
whole
minus
big
n
-x
[x, y, n, none, "it's"]
(x,)
(x, 1)
()
[]
{}
{'a': x, 1: y, 2.5: none, true: [1.0]}
mixed
map
nested
floats
floats | join(', ')
x ~ y
x ~ '|' ~ n ~ none ~ true
x + 1
y + 1
half + half
n / 2
6 / 3
7 // 2
m // 2
-7 // 2
7.5 // 2
-7.5 // 2
7 % 3
m % 2
7.5 % 2
-7.5 % 2
2 ** 3
2 ** -1
2 ** 0.5
2 ** 3 ** 2
-2 ** 2
2 ** 100
10 ** 20
1e16
1e15
1e22
1e23
123456789.0
1e-4
1e-5
0.1 + 0.2
1.0
100.0 * 3
1 / 3
2 / 3 ~ ''
1e308 * 10
-1e308 * 10
1e308 * 10 - 1e308 * 10
[1e308 * 10]
5 * 0.1
3 * 1.0
1_000
1_0.5
0x1f
0b101
0o17
1 + 2.0
true + 1
true * 3
'ab' * 3
3 * 'ab'
[1] * 2
[1] + [2.5]
(1,) + (2,)
'a' + 'b'
'a' 'b'
1 + n * 2 - m
(1 + 2) * 3 ~ 'x'
n - 1 ~ 'a'
n * 2 ~ n % 4 ~ -n
'%d' % n ~ '!'
n % 4 * 2
2 * n % 4
-n % 4
n | string ~ x | string
x | string
true | string
none | string
list | string
'é' | string
x | float
'2e-05' | float
'abc' | float
'abc' | float(1.5)
'12' | float
' 12 ' | float
'inf' | float
'nan' | float
none | float
'12' | int
'12.7' | int
'abc' | int
'abc' | int(5)
'0x1f' | int(0, 16)
'ff' | int(base=16)
'0b11' | int(0, 2)
'1e3' | int
2.9 | int
-2.9 | int
true | int
none | int
' 42 ' | int
'1_000' | int
2.5 | round
3.5 | round
-2.5 | round
2.675 | round(2)
2.345 | round(1, 'ceil')
2.345 | round(1, 'floor')
2.345 | round(2, method='ceil')
42.55 | round(1)
1234 | round(-2)
1234.5 | round(-2)
42 | round
1e16 | round
0.5 | round | int
m | abs
-0.0 | abs
-2.5 | abs
list | sum
floats | sum
[0.1] * 3 | sum
([0.1] * 3) | sum
list | sum(start=10)
people | sum('age')
people | sum(attribute='age', start=0.5)
[] | sum
list | max
list | min
names | max
names | min
names | max(case_sensitive=true)
names | min(case_sensitive=true)
people | max(attribute='age')
[] | max
floats | min
1 == 1.0
true == 1
1 < 2 < 3
1 < 2.5
3 > 2 > 2
'a' < 'b'
'a' < 'B'
[1, 2] < [1, 3]
(1, 2) == (1, 2)
(1, 2) == [1, 2]
{'a': 1} == {'a': 1.0}
'a' == 1
1 != 2
none == none
'b' in 'abc'
1 in [1.0]
1.0 in [1]
'a' in map
2 not in list
1 if no
1 if yes else 2
'' or 'd'
'a' and 'b'
0 or 0.0
not ''
none or none
[] or x
n.bit_length()
half.is_integer()
whole.is_integer()
half.as_integer_ratio()
half.hex()
n.conjugate()
n.to_bytes(2, 'big')
n / 0
n % 0
n // 0
12345678901234567890
123456789012345678901234567890
-9223372036854775808
18446744073709551616 + 1
big * big
"""

PRINTF = r"""
'%s' % x
'%s' % y
'%s' % n
'%s' % none
'%s' % true
'%s' % list
'%s' % (list,)
'%s' % 'a'
'%s and %s' % ('a', 1.0)
'%s costs %d' % (s, n)
'%d' % 3.99
'%d' % -3.99
'%d' % true
'%i' % n
'%u' % n
'%5d|%-5d|%05d|%+d|% d' % (n, n, n, n, n)
'%x %X %#x %#X %o %#o' % (255, 255, 255, 255, 8, 8)
'%x' % -255
'%#05x' % 10
'%.3d' % n
'%8.3d|' % n
'%f' % half
'%.2f' % 3.14159
'%8.2f|%-8.2f|%08.2f|%+.1f' % (1.5, 1.5, 1.5, 1.5)
'%.0f' % 2.5
'%.0f' % 3.5
'%#.0f' % 2.5
'%F' % y
'%e' % x
'%.2e' % 12345.678
'%E' % tiny
'%.0e' % 12345
'%g' % x
'%g' % y
'%g' % 100000
'%g' % 1000000
'%G' % tiny
'%g' % 0.0001
'%g' % 1.5
'%#g' % 1.5
'%.3g' % 1234.5
'%.10g' % 0.1
'%f' % n
'%e' % 0
'%g' % 0
'%c%c' % ('a', 98)
'%r %r %r' % ('a', 1.0, none)
'%r' % quote
'%r' % both
'%a' % 'é😀'
'%5s|%-5s|%.2s|%5.1s|' % ('ab', 'ab', 'abc', 'abc')
'%*d|%-*d|%.*f' % (5, n, 5, n, 2, half)
'%%' % ()
'100%%' % ()
'%s%%' % n
'%(a)s %(b)05.1f' % {'a': 1, 'b': 2.25}
'%(a)s' % map
'no' % map
'no' % list
'%s' % map
'%s' % ()
'%s %s' % 'a'
'%s' % ('a', 'b')
'%d' % 'a'
'%y' % 1
'%' % 1
'%ld %hd %Lf' % (1, 2, 3)
'%s' % undefined_name
'%x' % 1.5
'%c' % 'ab'
'%+f %+g' % (1e308 * 10, -0.0)
'%010s|' % 'a'
'%s' | format(x)
'%s, %s!' | format('Hi', name)
'%(a)s' | format(a=1.0)
'%.3f' | format(half)
'%5.1f%%' | format(12.345)
'%s' | format
'{}'.format(x)
'{} {}'.format(1, 'a')
'{0} {1} {0}'.format('a', 1e16)
'{a} {b}'.format(a=1, b=none)
'{:.2f}'.format(3.14159)
'{:5d}|{:<5}|{:>5}|{:^5}|{:05d}'.format(n, n, 'ab', 'ab', n)
'{:*^9}'.format('mid')
'{:,} {:_} {:,.2f}'.format(1234567, 1234567, 1234567.891)
'{:x} {:X} {:#x} {:b} {:#b} {:o} {:c}'.format(255, 255, 255, 5, 5, 8, 97)
'{:e} {:.3E} {:g} {:G} {:%} {:.1%}'.format(12345.678, 12345.678, x, tiny, half, 0.123)
'{:+} {: } {:-}'.format(1, 1, 1)
'{:+.1f}'.format(-0.04)
'{!r} {!s} {!a}'.format('é', 'é', 'é')
'{!r:>8}'.format('a')
'{0[0]} {1[a]}'.format(list, map)
'{p[name]}'.format(p=people[0])
'{{}} {}'.format(1)
'{:>{}}'.format('a', 5)
'{:{w}.{p}f}'.format(half, w=8, p=3)
'{}'.format(list)
'{}'.format(none)
'{:s}'.format('a')
'{:.2}'.format('abc')
'{:10}|'.format(true)
'{:10}|'.format(half)
'{:.3}'.format(half)
'{:.3}'.format(1234.5678)
'{:.0f} {:#.0f}'.format(2.5, 2.5)
'{:n}'.format(1234)
'{:=+8d}'.format(42)
'{:08.3f}'.format(-3.14159)
'{:<08}'.format(5)
'{:d}'.format(1.5)
'{:d}'.format('a')
'{:5}'.format(none)
'{}'.format()
'{'.format(1)
'{} {0}'.format(1)
'{a}'.format(b=1)
'{:z}'.format(1)
'{x}'.format_map({'x': 2e-05})
'{name} is {age:>4}'.format_map(people[0])
"""

STRINGS = r"""
s.rsplit('-', 1)
s.rsplit('-', 1)[0]
s.rsplit('-')
s.rsplit(maxsplit=1)
words.rsplit()
words.rsplit(none, 1)
words.rsplit(none, 2)
s.split('-', 1)
s.split('-', maxsplit=1)
s.split(sep='-')
spaces.split()
spaces.split(' ')
spaces.split(none, 1)
' a  b c '.split(none, 1)
''.split()
''.split(',')
s.split('')
s.partition('-')
s.partition('-')[2]
s.partition('x')
s.rpartition('-')
s.rpartition('x')
s.removeprefix('red-')
s.removeprefix('x')
s.removesuffix('-lamp')
s.removesuffix('')
'7'.zfill(4)
(n | string).zfill(4)
'-7'.zfill(4)
'+7'.zfill(4)
'12345'.zfill(3)
name.ljust(6) ~ '|'
name.ljust(6, '.')
name.rjust(6, '.')
name.rjust(2)
name.center(6, '*')
name.center(8, '*')
'ab'.center(5, '*')
'a'.center(4, '*')
name.center(6) ~ '|'
'a\tb'.expandtabs()
'a\tbc\td'.expandtabs(4)
'a\tb\n\tc'.expandtabs(tabsize=2)
'Straße'.casefold()
'ΑΒΓ'.casefold()
'Hello World'.swapcase()
'Straße'.swapcase()
'Straße'.upper()
'ÀÉ'.lower()
'ΑΣ'.lower()
'hello world'.title()
"they're bill's".title()
'x1y2 z'.title()
'hELLO'.capitalize()
'ǆa'.capitalize()
'ßa'.capitalize()
name.translate({65: 'B', 110: none})
name.translate({65: 66})
'abc'.isalpha()
'abc1'.isalpha()
''.isalpha()
'éß'.isalpha()
'ab1'.isalnum()
'a b'.isalnum()
'²'.isalnum()
digits.isdigit()
'²'.isdigit()
'½'.isdigit()
'½'.isnumeric()
'Ⅷ'.isnumeric()
'三'.isnumeric()
'²'.isdecimal()
'٣'.isdecimal()
'12'.isdecimal()
''.isdigit()
'abc'.isascii()
'é'.isascii()
''.isascii()
'abc'.islower()
'aBc'.islower()
'1'.islower()
'a1'.islower()
'ABC'.isupper()
'A1'.isupper()
'Hello World'.istitle()
'Hello world'.istitle()
'HELLO'.istitle()
''.istitle()
' \t\n'.isspace()
''.isspace()
'\u00a0'.isspace()
'\x1c'.isspace()
'a_1'.isidentifier()
'1a'.isidentifier()
'if'.isidentifier()
''.isidentifier()
'abc'.isprintable()
'a\n'.isprintable()
'\u200b'.isprintable()
''.isprintable()
lines.splitlines()
lines.splitlines(true)
lines.splitlines(keepends=true)
'a\x0bb\x0cc\x1cd\x85e\u2028f'.splitlines()
''.splitlines()
'a\n'.splitlines()
'\n'.splitlines()
s.find('old')
s.find('x')
s.find('-', 4)
s.find('-', 4, 6)
s.rfind('-')
s.rfind('-', 0, 5)
s.find('')
'é-é'.find('-')
s.index('old')
s.index('x')
s.rindex('-')
s.count('-')
s.count('-', 4)
s.count('')
'aaaa'.count('aa')
s.startswith('red')
s.startswith(('x', 'red'))
s.startswith('old', 4)
s.startswith('old', 4, 6)
s.startswith('')
s.endswith('lamp')
s.endswith(('x', 'mp'))
s.endswith('old', 0, 7)
s.replace('-', '+')
s.replace('-', '+', 1)
s.replace('', '.')
s.replace('e', '', 1)
s.replace('-', '+', count=1)
spaces.strip() ~ '|'
spaces.lstrip() ~ '|'
spaces.rstrip() ~ '|'
'xxaxx'.strip('x')
'xyaxy'.lstrip('xy')
'xyaxy'.rstrip('yx')
' a '.strip(none)
'\x1c a \x1f'.strip()
'-'.join(['a', 'b'])
'-'.join('abc')
'-'.join(map)
'-'.join([])
'-'.join([1])
'é😀'.encode()
'é'.encode('utf-8')
'a\n\\\'"'.encode()
'é'.encode('latin-1')
'é'.encode('ascii')
'é'.encode('ascii', 'ignore')
'é'.encode('ascii', errors='replace')
'é'.encode().decode()
'abc'.encode() | length
'abc'[1]
'abc'[-1]
'abc'[5]
'abcdef'[1:4]
'abcdef'[::-1]
'abcdef'[::2]
'abcdef'[-3:]
'é😀x'[1]
'abc' | length
'abc' | first
'abc' | last
'abc' | list
'abc' | reverse
quote
[quote]
[both]
[odd]
['\x9f\xa0\u3000\ue000']
['a\rb']
{'a': quote}
'abc'.nosuch()
'abc'.maketrans('a', 'b')
name.__class__
name.__len__()
"""

LISTS = r"""
list.index(1)
list.index(9)
list.count(1)
list.copy()
[1, 2, 1].index(1, 1)
(1, 2, 1).count(1)
(1, 2).index(2)
list.append(1)
list.pop()
list.sort()
list.nosuch()
map.get('a')
map.get('z')
map.get('z', 'd')
map.get('c', 'd')
map.keys() | list
map.values() | list
map.items() | list
map.keys()
map.values()
map.items()
map.copy()
map.update({'a': 1})
map.pop('a')
map.setdefault('a', 1)
map.a
map['a']
map.nosuch
map['nosuch'] is defined
items.items() | list
items['items']
items.get('keys')
items.keys() | list
dict(a=1, b=x)
dict({'a': 1}, b=2)
dict(map)
dict()
dict([('a', 1), ('b', 2)])
dict.fromkeys(['a', 'b'], 0)
dict.fromkeys('ab')
range(3)
range(3) | list
range(1, 10, 3) | list
range(3, 0, -1) | list
range(3)[1]
range(3) | length
range(0)
cycler('a', 'b').next()
joiner(',')()
namespace(a=1).a
list[0]
list[-1]
list[5]
list[1:]
list[::-1]
list[::2]
(1, 2, 3)[1:]
list | length
map | length
list | count
list | first
list | last
[] | first
map | first
map | last
list | sort
list | sort(reverse=true)
names | sort
names | sort(case_sensitive=true)
names | sort(true)
people | sort(attribute='age') | map(attribute='name') | list
people | sort(attribute='age,name') | map(attribute='name') | list
people | sort(attribute='city.name') | map(attribute='name') | join(',')
map | sort
names | unique | list
['a', 'A', 'b', 'a'] | unique | list
['a', 'A', 'b', 'a'] | unique(case_sensitive=true) | list
people | unique(attribute='age') | map(attribute='name') | list
people | map(attribute='name') | join(', ')
people | map(attribute='city.name') | list
people | map(attribute='nosuch', default='d') | list
people | map(attribute='nosuch') | list
people | join(', ', attribute='name')
names | map('upper') | list
names | map('replace', 'a', 'x') | list
['1', '2'] | map('int') | sum
[1, 2] | map('string') | list
list | select('odd') | list
list | select('>', 1) | list
list | select | list
[0, 1, '', 'a', none] | select | list
list | reject('odd') | list
[0, 1, '', 'a', none] | reject | list
people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | selectattr('age', '>', 26) | map(attribute='name') | list
people | selectattr('nosuch') | list
people | selectattr('nosuch', 'undefined') | list | length
people | rejectattr('age', 'eq', 30) | map(attribute='name') | list
people | selectattr('city.name', 'eq', 'Oslo') | list | length
people | groupby('age')
people | groupby('age') | length
people | groupby('city.name') | map('first') | list
people | groupby('city.name', case_sensitive=true) | map('first') | list
people | groupby('nosuch', default='x') | map('first') | list
[1, 2, 3, 4, 5] | batch(2)
[1, 2, 3, 4, 5] | batch(2) | list
[1, 2, 3, 4, 5] | batch(2, 'x') | list
[1, 2, 3, 4, 5] | slice(2) | list
[1, 2, 3, 4, 5] | slice(3, 'x') | list
[1, 2] | slice(3) | list
map | dictsort
map | dictsort(by='value')
{'a': 2, 'B': 1} | dictsort
{'a': 2, 'B': 1} | dictsort(true)
{'a': 2, 'B': 1} | dictsort(by='value')
{'a': 2, 'B': 1} | dictsort(reverse=true)
{'a': 2, 'B': 1} | dictsort(false, 'value', true)
map | items | list
nothing | items | list
undefined_name | items | list
map | list
list | reverse | list
list | reverse
list | list
list | join
list | join('-')
mixed | join(' ')
[1.0, 2e-05] | join(', ')
[[1.5], {'a': none}] | join('; ')
map | join(',')
'abc' | join('-')
people | attr('x')
name | attr('upper')
map | attr('a')
people | map(attribute=0) | list
[[1, 2], [3, 4]] | map(attribute=1) | list
[[1, 2], [3, 4]] | map('first') | list
list | map('nosuch') | list
list | nosuch
list | tojson
map | tojson
nested | tojson(indent=2)
mixed | tojson
odd | tojson
html | tojson
odd | tojson(ensure_ascii=true)
map | tojson(sort_keys=true, separators=(',', ':'))
x | tojson
[y, minus, 1e22, 0.1] | tojson
[1e308 * 10, -1e308 * 10, 1e308 * 10 - 1e308 * 10] | tojson
(1, 2) | tojson
{7: 2, none: 3, 2.5: 5, true: 4, 'a': 5} | tojson
big | tojson
map | tojson(true)
map | tojson(false, 2)
map | tojson(indent='\t')
none | tojson
undefined_name | tojson
list | pprint
mixed | pprint
name | pprint
{'b': 1, 'a': 2} | pprint
people | pprint
"""

TEXTS = r"""
words | wordcount
'' | wordcount
"it's a-b c_d" | wordcount
123 | wordcount
words | truncate(12)
words | truncate(12, true)
words | truncate(12, false, '!')
words | truncate(12, end='')
words | truncate(15, leeway=0)
words | truncate(17)
words | truncate(5, true, leeway=0)
long | truncate(20)
long | truncate(20, killwords=true)
long | truncate
'abcdefghij' | truncate(5, leeway=0)
'foo bar baz qux' | truncate(9)
'foo bar baz qux' | truncate(11)
'foo bar baz qux' | truncate(11, false, '...', 0)
long | wordwrap(20)
long | wordwrap(10)
long | wordwrap(6)
long | wordwrap(6, break_long_words=false)
long | wordwrap(20, wrapstring='|')
'a\n\nb c d' | wordwrap(3)
'abcdefghij klm' | wordwrap(4)
'a-b-c-d-e-f' | wordwrap(4)
'a-b-c-d-e-f' | wordwrap(4, break_on_hyphens=false)
'one  two   three' | wordwrap(8)
{'class': 'a b', 'id': none, 'x': 1.0} | xmlattr
{'class': 'a"b<'} | xmlattr
{'class': 'a'} | xmlattr(false)
{} | xmlattr
{'a b': 1} | xmlattr
url | urlize
url | urlize(10)
url | urlize(nofollow=true)
url | urlize(target='_blank')
url | urlize(rel='me')
'(http://a.example)' | urlize
'http://a.example/(x)' | urlize
'<http://a.example>' | urlize
'ftp://a.example a.example/x x.org. mailto:a@b.example' | urlize
'tel:123' | urlize(extra_schemes=['tel:'])
html | striptags
'<p>a  b</p>\n<!-- c --> d &amp; e &lt;f&gt;' | striptags
'a < b' | striptags
1 | filesizeformat
0 | filesizeformat
100 | filesizeformat
1000 | filesizeformat
1e6 | filesizeformat
1234567 | filesizeformat
1024 | filesizeformat(true)
1048576 | filesizeformat(binary=true)
'1500' | filesizeformat
-5 | filesizeformat
1e30 | filesizeformat
html | escape
html | e
html | forceescape
html | escape | forceescape
html | safe
(html | escape) ~ '<'
x | escape
html | escape | upper
words | title
"they're bill's FRIENDS" | title
'a-b (c) [d]' | title
'hELLO wORLD' | capitalize
name | upper
name | lower
12.0 | upper
spaces | trim ~ '|'
'xxaxx' | trim('x')
'xax' | trim(chars='x')
12 | trim
name | center(9) ~ '|'
name | center ~ '|'
words | replace('the', 'a')
words | replace(' ', '_', 2)
112 | replace('1', '2')
words | replace('e', '')
'{\n' | indent(4, first=true)
'a\n\nb' | indent(2)
'a\n\nb' | indent(2, blank=true)
'a\nb' | indent('> ')
'a\nb' | indent('> ', true)
'a\nb\n' | indent
'' | indent
'a' | indent(2, true)
'a b&c=d/e?é' | urlencode
{'a': 1, 'b': 'x y'} | urlencode
[('a', 1), ('b', 'é')] | urlencode
12 | urlencode
undefined_name | default('d')
'' | default('d')
'' | default('d', true)
none | default('d')
none | d('d', boolean=true)
undefined_name | default
x | default(1)
'a' | string | length
name | list | join('.')
'%s' | format(html | safe)
'a' | e == 'a'
"""

TESTS = r"""
s is sequence
list is sequence
map is sequence
n is sequence
none is sequence
range(3) is sequence
(1, 2) is sequence
map.items() is sequence
s is iterable
list is iterable
map is iterable
n is iterable
none is iterable
undefined_name is iterable
map.items() is iterable
s is mapping
list is mapping
map is mapping
s is string
n is string
(s | escape) is string
n is number
half is number
true is number
'1' is number
n is integer
half is integer
true is integer
whole is integer
half is float
n is float
true is boolean
n is boolean
none is boolean
true is true
1 is true
no is false
0 is false
none is none
no is none
undefined_name is none
undefined_name is defined
undefined_name is undefined
map.nosuch is defined
map.a is defined
n is odd
n is even
m is odd
whole is odd
n is divisibleby(7)
n is divisibleby 2
n is divisibleby(0)
'abc' is lower
'Abc' is lower
'ABC' is upper
'1' is upper
12 is lower
none is sameas none
true is sameas true
1 is sameas true
1 is sameas 1.0
list is sameas list
'upper' is filter
'nosuch' is filter
'odd' is test
'nosuch' is test
n is callable
range is callable
dict is callable
raise_exception is callable
s is escaped
(s | escape) is escaped
n is eq 7
n is equalto(7.0)
n is ne 7
n is lt 8
n is lessthan(7)
n is le 7
n is gt 6
n is greaterthan 7
n is ge 7
n is == 7
1 is in [1, 2]
'a' is in 'abc'
3 is in(list)
n is not odd
n is not none and n is odd
s is string and s is not mapping
n is nosuch
not n is odd
list is defined and list | length > 2
n is odd ~ 'x'
[1, 2] is eq([1, 2])
"""

BLOCKS = r"""
{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in map | dictsort %}{{ k }}={{ v }};{% endfor %}
{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.cycle('a', 'b') }};{% endfor %}
{% for i in list %}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.changed(i) }};{% endfor %}
{% for i in list if i > 1 %}{{ i }}{{ loop.last }}{% else %}none{% endfor %}
{% for i in [] %}{{ i }}{% else %}none{% endfor %}
{% for i in nested.a.b recursive %}{{ i }}{{ loop.depth }}{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}
{% set a, b = 1.5, 'x' %}{{ a ~ b }}
{% set a = x ~ y %}{{ a }}
{% set a %}{{ x }}{{ list }}{% endset %}{{ a | length }}{{ a }}
{% set a | upper %}x{{ 1.0 }}{% endset %}{{ a }}
{% set ns = namespace(n=0, x=1e16) %}{% for i in list %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n ~ ns.x }}
{% filter upper %}a{{ x }}{% endfilter %}
{% macro f(a, b=2.0) %}<{{ a ~ b }}>{% endmacro %}{{ f(1) ~ f(x, 3) }}
{% macro f(a) %}{{ caller() }}{{ a }}{% endmacro %}{% call f(1.0) %}c{{ x }}{% endcall %}
{% macro f() %}x{% endmacro %}{{ f() | length }}{{ f() ~ 1e16 }}{{ f() + 'y' }}
{% if x == 2e-05 and n % 2 == 1 %}a{% elif n %}b{% else %}c{% endif %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i / 2 }} {% endfor %}
{% with a = n % 4 ~ 'b' %}{{ a }}{% endwith %}
{# {{ n % 2 }} ~ #}{{ n }}{# '#}
{% raw %}{{ n % 2 ~ 'a' }}{% endraw %}{{ 'x' ~ n }}
{{ '{{' ~ "%}" ~ '}}' }}
{{- n ~ 'a' -}} b
a {%- if n % 2 %} {{ n }} {% endif -%} b
{{ {'a': {'b': n % 4}}['a'].b ~ '}' }}
{{ (n % 4) ~ (s ~ 'x')[0] ~ [1 ~ 2, 3][0] }}
{{ dict(a=n % 4, b='x' ~ 1)['b'] }}
{{ s[n % 4:n - 1 ~ ''] if no else s[1:n % 5] }}
{{ 'a' if n % 2 == 1 else 'b' ~ 'c' }}
{{ n is odd and n % 2 == 1 or 'x' ~ 'y' }}
{{ not n % 2 == 1 }}{{ -n ~ -x }}{{ n in [n % 8] }}
{{ [n, s] | map('string') | join(',') ~ '.' }}
{{ 'a' ~ 'b' | upper }}{{ ('a' ~ 'b') | upper }}
{{ '%s' % s | upper }}{{ ('%s' % s) | upper }}{{ '%d%s' % (n % 4, 'a' ~ 'b') }}
{{ 'a~b' ~ "c%d" ~ 'e\'~' }}
{{ n~n }}{{ n%4 }}{{ s~'x'~1.0 }}
"""


def rows(text):
    return [line for line in text.strip().split("\n") if line.strip()]


def rendered(source):
    try:
        return compile_template(source).render(**json.loads(json.dumps(VALUES)))
    except Exception:
        return None


def is_the_same_everywhere(written):
    return written is None or " at 0x" not in written


sections = {name: {f"{{{{ {row} }}}}": None for row in rows(text)} for name, text in [
    ("numbers", NUMBERS), ("printf", PRINTF), ("strings", STRINGS), ("lists", LISTS), ("texts", TEXTS), ("tests", TESTS)]}
sections["blocks"] = {row: None for row in rows(BLOCKS)}
for section in sections.values():
    for source in section:
        section[source] = rendered(source)
    # What shows a place in memory, as an iterator does, is left out.
    for source in [source for source, written in section.items() if not is_the_same_everywhere(written)]:
        del section[source]
json.dump({"values": VALUES, **sections}, sys.stdout, ensure_ascii=True, indent=0)
print()
