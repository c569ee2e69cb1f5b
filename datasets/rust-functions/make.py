#!/usr/bin/env python3
"""Makes this data set: the documented functions of the project's own crates, each cut into a prompt and its completion.

    python3 datasets/rust-functions/make.py          writes train.jsonl, valid.jsonl and test.jsonl beside this file
    python3 -m doctest datasets/rust-functions/make.py

The same sources always give the same bytes. A source file is in one split as a whole, chosen by a hash of its path, so
that a file stays where it is when others come and go.
"""

import hashlib
import json
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MOST_LINES = 25
# Of prompt and completion together: some 500 tokens of a vocabulary made for code.
MOST_CHARACTERS = 2000

STRING = re.compile(r'b?c?r(#*)"|[bc]?"')
CHARACTER = re.compile(r"'(\\u\{[0-9a-fA-F_]+\}|\\x[0-9a-fA-F]{2}|\\.|[^\\'])'", re.DOTALL)
# An identifier before the parameters: `fn(usize) -> f32` is a type, `fn $name` belongs to a macro.
FUNCTION = re.compile(r"\bfn\s+(?:r#)?[A-Za-z_]\w*")
# What no function is taken from: items for tests alone, and the definitions of macros.
LEFT_OUT = re.compile(r"#\[(?:cfg\((?:test|all\(test\b[^\]]*\))\)|test)\]|\bmacro_rules!")
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))?\s+)?mod\s+(\w+)\s*;")


def blanked(source):
    r"""The source with comments and the insides of literals as spaces, so that what is left of braces counts.

    >>> blanked('let a = "}"; // {')
    'let a = " ";     '
    >>> blanked(r"f('{', '\'', b'}', '\u{7d}'); fn g<'a>(x: &'a str) {}").count("}")
    1
    >>> blanked('r#"a " {"# + "\\\\\\"{" + "x"').count("{")
    0
    >>> blanked('/* { /* { */ { */ {').strip()
    '{'
    """
    out = list(source)

    def blank(start, end):
        for i in range(start, end):
            if out[i] != "\n":
                out[i] = " "

    at = 0
    while at < len(source):
        # `r"` begins a raw string; the last letter of a longer word before a quote does not.
        in_word = at > 0 and (source[at - 1].isalnum() or source[at - 1] == "_")
        if source.startswith("//", at):
            end = source.find("\n", at)
            end = len(source) if end < 0 else end
            blank(at, end)
        elif source.startswith("/*", at):
            end = end_of_block_comment(source, at)
            blank(at, end)
        elif (opened := STRING.match(source, at)) and not (in_word and source[at] != '"'):
            end = end_of_string(source, opened)
            blank(opened.end(), end - 1)
        elif literal := CHARACTER.match(source, at):
            end = literal.end()
            blank(at + 1, end - 1)
        else:
            end = at + 1
        at = end
    return "".join(out)


def end_of_block_comment(source, start):
    """Block comments nest in Rust.

    >>> end_of_block_comment("/* a /* b */ c */ d", 0)
    17
    """
    depth, at = 0, start
    for mark in re.compile(r"/\*|\*/").finditer(source, start):
        depth += 1 if mark.group() == "/*" else -1
        at = mark.end()
        if depth == 0:
            return at
    return len(source)


def end_of_string(source, opened):
    hashes = opened.group(1)
    if hashes is not None:
        end = source.index('"' + hashes, opened.end())
        return end + 1 + len(hashes)
    closing = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL).match(source, opened.end())
    return closing.end()


def end_of_block(code, opening):
    """The place after the brace that closes the one at `opening`.

    >>> end_of_block("{ a { b } c } d", 0)
    13
    """
    depth = 0
    for brace in re.compile(r"[{}]").finditer(code, opening):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return brace.end()
    raise ValueError("a brace without its closing one")


def body_of(code, start):
    """Where the body of the item at `start` opens; `None` if it ends without one.

    >>> body_of("fn f(x: [u8; 4]) -> u8 { 0 }", 0)
    23
    >>> body_of("fn f(&self); fn g() {}", 0)
    """
    depth = 0
    for mark in re.compile(r"[()\[\]{;]").finditer(code, start):
        if mark.group() in "([":
            depth += 1
        elif mark.group() in ")]":
            depth -= 1
        elif depth == 0:
            return mark.start() if mark.group() == "{" else None
    return None


def left_out(code):
    """Where the items begin and end that no function is taken from.

    >>> list(left_out("#[cfg(test)] mod tests; #[cfg(test)] #[allow(a)] mod b { } fn c() {}"))
    [(36, 58)]
    """
    for mark in LEFT_OUT.finditer(code):
        if (opening := body_of(code, mark.end())) is not None:
            yield mark.end(), end_of_block(code, opening)


def surroundings(code, at):
    """The header of the block around `at`, as `impl Sampler`; empty at the top of a file or within a module.

    >>> surroundings("mod a {} impl<T> Sum for Vec<T> { fn f() {} }", 35)
    'impl<T> Sum for Vec<T>'
    """
    depth = 0
    for i in range(at - 1, -1, -1):
        depth += {"}": 1, "{": -1}.get(code[i], 0)
        if depth < 0:
            header = re.split(r"[;{}]|#\[[^\]]*\]", code[:i])[-1]
            header = " ".join(header.split())
            return header if re.match(r"(unsafe )?(impl|(pub(\([a-z]+\))? )?trait)\b", header) else ""
    return ""


def heading(source, code, at):
    """Where the documentation of the function at `at` begins: after the item before it and the last blank line."""
    before = max(code.rfind(mark, 0, at) for mark in ";{}")
    start = source.rfind("\n", 0, at) + 1
    while start > 0:
        previous = source.rfind("\n", 0, start - 1) + 1
        line = source[previous:start].strip()
        if previous <= before or not line or (line.startswith("//") and not line.startswith("///")):
            break
        start = previous
    return start


def dedented(text, by):
    return "\n".join(line[by:] if line[:by].isspace() else line for line in text.split("\n"))


def functions(path, source):
    """Prompt and completion of each documented function that is short enough, in the file's order."""
    code = blanked(source)
    skip = list(left_out(code))
    done = 0
    for found in FUNCTION.finditer(code):
        at = found.start()
        if at < done or any(start <= at < end for start, end in skip):
            continue
        opening = body_of(code, at)
        if opening is None:
            continue
        # A function within a function belongs to the outer one's body.
        done = end_of_block(code, opening)
        start = heading(source, code, at)
        head = source[start:opening + 1]
        body = source[opening + 1:done]
        if "///" not in head or not 1 <= len(body[:-1].strip().splitlines()) <= MOST_LINES:
            continue
        indent = len(head) - len(head.lstrip(" "))
        around = surroundings(code, start)
        place = f"// {path}" + (f", {around}" if around else "")
        prompt = f"{place}\n{dedented(head, indent)}"
        completion = dedented(body, indent)
        if len(prompt) + len(completion) <= MOST_CHARACTERS:
            yield prompt, completion


def test_files(sources):
    """Files and folders of modules that are declared for tests alone: `#[cfg(test)] mod fixtures;`."""
    for path, source in sources.items():
        folder = path.parent if path.stem in ("mod", "lib", "main") else path.with_suffix("")
        for module in TEST_MODULE.findall(blanked(source)):
            yield folder / f"{module}.rs"
            yield folder / module


def split_of(path):
    share = int(hashlib.sha256(path.encode()).hexdigest(), 16) % 10
    return {8: "valid", 9: "test"}.get(share, "train")


def main():
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("crates/*/src/**/*.rs"))}
    tests = set(test_files(sources))
    rows = {"train": [], "valid": [], "test": []}
    bodies = set()
    for path, source in sources.items():
        if path in tests or tests & set(path.parents):
            continue
        name = path.relative_to(ROOT).as_posix()
        for prompt, completion in functions(name, source):
            # The same body twice would let one split know the other's answer.
            if (body := " ".join(completion.split())) not in bodies:
                bodies.add(body)
                rows[split_of(name)].append({"prompt": prompt, "completion": completion})
    for split, examples in rows.items():
        lines = [json.dumps(example, ensure_ascii=False) + "\n" for example in examples]
        (HERE / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{split}: {len(lines)} functions, {sum(len(line.encode()) for line in lines)} bytes")


if __name__ == "__main__":
    main()
