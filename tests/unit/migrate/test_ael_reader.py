"""AEL, as far as it is read."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.migrate.ael_reader import AelError, read


def statements(body: str) -> list[tuple[str, str, bool]]:
    text = f"context c {{ 1 => {{ {body} }} }}"
    return [
        (statement.kind, text[statement.span.start : statement.span.end], statement.in_list)
        for statement in read(text).statements
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("A(b);", [("call", "A(b);", True)]),
        ("A( b // c, (d) ) ;", [("call", "A( b // c, (d) ) ;", True)]),
        ("A(\\), b);", [("call", "A(\\), b);", True)]),
        ("x=1 + (2;3);", [("assign", "x=1 + (2;3);", True)]),
        ("local x=1;", [("assign", "local x=1;", True)]),
        ("F(a,b)=${c};", [("assign", "F(a,b)=${c};", True)]),
        ("&m(a);", [("assign", "&m(a);", True)]),
        ("goto a|b|1;", [("assign", "goto a|b|1;", True)]),
        ("jump 1@c;", [("assign", "jump 1@c;", True)]),
        ("l: A();", [("call", "A();", True)]),
        ("A; ; break; continue; return;", []),
        ("if (a) B();", [("call", "B();", False), ("if", "if (a) B();", True)]),
        (
            "if (a) B(); else { C(); }",
            [("call", "B();", False), ("call", "C();", True), ("if", "if (a) B(); else { C(); }", True)],
        ),
        ("if (a) ; elsewhere=1;", [("if", "if (a) ;", True), ("assign", "elsewhere=1;", True)]),
        ("iffy(a);", [("call", "iffy(a);", True)]),
        ("while(a) B();", [("call", "B();", False), ("while", "while(a) B();", True)]),
        ("for (x=1;a;y) B();", [("call", "B();", False), ("for", "for (x=1;a;y) B();", True)]),
        (
            "switch(a) { case 1: A(); break; pattern X.: default: B(); }",
            [
                ("call", "A();", True),
                ("call", "B();", True),
                ("if", "switch(a) { case 1: A(); break; pattern X.: default: B(); }", True),
            ],
        ),
        ("ifTime(*|*|*|*) A();", [("call", "A();", False), ("if", "ifTime(*|*|*|*) A();", True)]),
        ("/* A(); */ B(); // C();\n", [("call", "B();", True)]),
    ],
)
def test_statements(body, expected):
    assert statements(body) == expected


def test_the_rest_of_the_grammar():
    text = """
    globals { A=1; B=${C}; }
    abstract extend context c { }
    extend context default {
      includes { a; b|9:00-17:00|*|*|*; } switches { x/y; } eswitches { z; }
      ignorepat => 9; X=1; local Y=2;
      _[1-9]X. => A();
      1@2 => B();
      regexten 3 => C();
      hint(SIP/1 & SIP/2) 4 => D();
      regexten hint(SIP/1) 5 => E(); ;
    };
    macro m ( a , b ) { includes { x; } F(); catch h { G(); } };
    """
    assert [statement.name for statement in read(text).statements] == list("ABCDEFG")


def test_includes_and_comments():
    text = (
        '#include "a.ael"\ncontext c {\n// #include "no.ael"\n 1 => { /* #include "no" */ A();\n#include "b.ael"\n } }'
    )
    source = read(text)
    assert [(name, text.count("\n", 0, position) + 1) for name, position in source.includes] == [
        ("a.ael", 1),
        ("b.ael", 5),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("context c {", "} is missing"),
        ("context c { 1 => A() }", "; is missing before '}"),
        ("context c { 1 => A(; }", "mismatched }"),
        ("context c { 1 => A(]); }", "mismatched ]"),
        ("context c { 1 => { A(); }", "} is missing"),
        ("context c { 1 A(); }", "=> is missing"),
        ("context { }", "a word is missing"),
        ("contxt c { }", "a context, macro or globals is missing before 'contxt'"),
        ("[default]\nexten => s,1,NoOp", "a context, macro or globals is missing"),
        ("context c { 1 => switch(a) { A(); } }", "case, pattern or default is missing"),
        ("context c { 1 => switch(a) { case 1: A();", "} is missing"),
        ("context c { 1 => ${a; }", "; is missing before 'the end of the file'"),
        ("context c { 1 => A(", r"\) is missing"),
        ("context c { 1 => x=", "; is missing"),
        ("context c { \0 }", "NUL"),
    ],
)
def test_what_is_not_ael(text, message):
    with pytest.raises(AelError, match=message) as caught:
        read(text)
    assert 0 <= caught.value.position <= len(text)


_TOKENS = """context c`macro m(a)`{`}`(`)`[`]`;`=`=>`,`:`&`|`@`if`else`while`for`switch`case`default`goto`1`A(b);`${x}
`$[1]`//
`/* */`/*`\\`"` `
"""
TOKENS = st.sampled_from(_TOKENS.split("`"))


@given(st.lists(TOKENS, max_size=25))
def test_any_text_is_read_or_refused(tokens):
    text = " ".join(tokens)
    with contextlib.suppress(AelError):
        for statement in read(text).statements:
            assert 0 <= statement.span.start < statement.span.end <= len(text)
