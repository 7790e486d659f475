"""Templates: what they declare, what is refused, and that no value is written as it was typed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from agi_xmpp import cli, render
from agi_xmpp.errors import RenderError
from agi_xmpp.quoting import LINE_BYTES
from agi_xmpp.render import FORMATS, MAX_ITEMS, Template, find, parse_settings, templates

ROOT = Path(__file__).parents[2]
NAMES = [template.name for template in templates()]
BOTH = [(name, format_) for name in NAMES for format_ in FORMATS]


def make(where: Path, source: str, variables: str = '[variables.jid]\ntype = "jid"\nhelp = "who"\n') -> Template:
    (where / "t.toml").write_text(f'title = "T"\nhelp = "H"\n{variables}', encoding="utf-8")
    for format_ in FORMATS:
        (where / f"t.{format_}.j2").write_text(source, encoding="utf-8")
    return find("t", where)


def refused(template: Template | str, **values: str | list[str]) -> str:
    template = find(template) if isinstance(template, str) else template
    lists = {name: [value] if isinstance(value, str) else value for name, value in values.items()}
    with pytest.raises(RenderError) as caught:
        render.render(template, lists)
    return str(caught.value)


class TestTemplates:
    def test_each_sample_of_the_documents_is_there(self):
        assert {"send", "status", "receive", "text-back"} <= set(NAMES), "the four examples of res_jabber"
        assert {"menu", "presence-ring", "missed-call", "voicemail-note", "screen-pop"} <= set(NAMES)
        assert {"click-to-dial", "conference", "who-is-calling", "subroutines"} <= set(NAMES)

    def test_each_has_both_formats_and_no_file_is_left_over(self):
        files = {path.name for path in render.folder().iterdir()}
        assert files == {f"{name}.{end}" for name in NAMES for end in ("toml", "conf.j2", "ael.j2")}

    @pytest.mark.parametrize("name", NAMES)
    def test_declarations_have_nothing_that_is_not_read(self, name):
        declared = tomllib.loads((render.folder() / f"{name}.toml").read_text(encoding="utf-8"))
        assert declared.keys() == {"title", "help", "variables"}
        for about in declared["variables"].values():
            assert about.keys() <= {"type", "help", "default", "many", "choices"}

    @pytest.mark.parametrize(("name", "format_"), BOTH)
    def test_every_variable_is_used(self, name, format_):
        template = find(name)
        source = (render.folder() / f"{name}.{format_}.j2").read_text(encoding="utf-8")
        for variable in template.variables:
            assert re.search(rf"{{[{{%][^}}]*\b{variable.name}\b", source), variable.name

    @pytest.mark.parametrize(("name", "format_"), BOTH)
    def test_the_committed_file_is_what_the_template_makes(self, name, format_):
        committed = (ROOT / "dialplan" / f"{name}.{format_}").read_text(encoding="utf-8")
        assert committed == render.render(find(name), {}, format_), "run: agi-xmpp render --all -o dialplan --force"

    def test_nothing_else_is_committed_beside_them(self):
        assert {path.name for path in (ROOT / "dialplan").iterdir()} == {f"{name}.{end}" for name, end in BOTH}

    @pytest.mark.parametrize("name", NAMES)
    def test_each_is_documented(self, name):
        assert f"### {name}\n" in (ROOT / "docs/dialplan.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize(("name", "format_"), BOTH)
    def test_answers_are_compared_within_quotes_and_typed_text_goes_nowhere_unfiltered(self, name, format_):
        text = render.render(find(name), {}, format_)
        for line in text.splitlines():
            for condition in re.findall(r"\$\[(.*?)\]\?", line) + re.findall(r"if \((.*)\) \{", line):
                for variable in re.findall(r".?\$\{(?:JABBER_\w+|DIALSTATUS|VMSTATUS|answer|jid)\}.?", condition):
                    assert variable.startswith('"'), line
                    assert variable.endswith('"'), line
            if "JABBER_RECEIVE}" in line:
                assert re.search(r"FILTER\([^,]+,\$\{JABBER_RECEIVE\}\)|Return\(", line), line


class TestRender:
    def test_values_are_written_by_place(self, tmp_path):
        template = make(tmp_path, "x({{ jid | argument }})\n")
        text = render.render(template, {"jid": ['b@h/a,"b']})
        assert text.endswith('\n\nx(b@h/a\\,\\"b)\n')

    @pytest.mark.parametrize("expression", ["jid", 'jid ~ "x"', "jid | string", '"text"', "[jid]", "jid.raw", "none"])
    def test_nothing_is_written_without_a_place(self, tmp_path, expression):
        template = make(tmp_path, f"{{{{ {expression} }}}}")
        with pytest.raises(Exception, match=r"without a place|No filter named"):
            render.render(template, {"jid": ["bob@example.org"]})

    def test_undeclared_names_are_errors(self, tmp_path):
        template = make(tmp_path, "{{ jit }}")
        with pytest.raises(Exception, match="'jit' is undefined"):
            render.render(template, {"jid": ["bob@example.org"]})

    def test_an_unknown_type_is_an_error_of_the_template(self, tmp_path):
        with pytest.raises(ValueError, match="unknown type 'jit'"):
            make(tmp_path, "", '[variables.jid]\ntype = "jit"\nhelp = "who"\n')

    def test_a_variable_without_default_is_required(self, tmp_path):
        assert refused(make(tmp_path, "{{ jid | argument }}")) == "jid is required: who"

    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            ({"jit": "bob@example.org"}, "send has no variable 'jit'; did you mean jid?"),
            ({"zzz": "1"}, "send has no variable 'zzz'; there are agi, account, jid"),
            ({"jid": "bob"}, "jid: 'bob' is not a Jabber ID"),
            ({"jid": ["a@b", "c@d"]}, "jid is set 2 times, but it is no list"),
            ({"ring": "soon"}, "ring: 'soon' is not a whole number of seconds"),
            ({"extension": "_X."}, "extension: '_X.' has no fixed length"),
            ({"message": "${SHELL(reboot)}"}, "message: '${SHELL(reboot)}' asks Asterisk for something else"),
            ({"message": ""}, "message: '' is empty"),
        ],
    )
    def test_wrong_values_are_refused_by_name(self, values, complaint):
        assert complaint in refused("send", **values)

    @pytest.mark.parametrize(
        ("template", "values", "complaint"),
        [
            ("menu", {"choices": "1"}, "choices: '1' is not written key=label=dialstring"),
            ("menu", {"choices": "a b=x=PJSIP/b"}, "choices: 'a b' is not a key"),
            ("menu", {"choices": "1=x=bob"}, "choices: 'bob' is not what Dial() calls"),
            ("menu", {"choices": ["a=x=PJSIP/b", "A=y=PJSIP/c"]}, "choices: 'A' stands there twice"),
            ("menu", {"people": ["a@x", "a@x"]}, "people: 'a@x' stands there twice"),
            ("presence-ring", {"members": "ann@x"}, "members: 'ann@x' is not written jid=dialstring"),
            ("presence-ring", {"ring_when": "always"}, "ring_when: 'always' is none of online, not-busy"),
            ("click-to-dial", {"numbers": "_.=PJSIP/x"}, "numbers: '_.' is not a pattern"),
        ],
    )
    def test_wrong_items_of_lists_are_refused(self, template, values, complaint):
        assert complaint in refused(template, **values)

    def test_a_composite_keeps_equals_signs_where_they_may_stand(self):
        text = render.render(find("menu"), {"choices": ["1=a = b=PJSIP/b"]})
        assert ",1=a = b)" in text
        text = render.render(find("presence-ring"), {"members": ["a@x/r=1=PJSIP/b"]})
        assert "a@x/r=1)" in text

    def test_number_of_items(self):
        items = [f"{n}=x=PJSIP/b" for n in range(MAX_ITEMS + 1)]
        assert "choice-19" in render.render(find("menu"), {"choices": items[:-1]})
        assert refused("menu", choices=items) == "choices has 21 items; at most 20 are allowed"

    @pytest.mark.parametrize("format_", FORMATS)
    @pytest.mark.parametrize("over", [-1, 0, 1])
    def test_length_of_a_line(self, tmp_path, format_, over):
        limit = LINE_BYTES[format_]
        template = make(tmp_path, "x é{{ jid | argument }}" + "x" * (limit - 4 - 7 + over))
        values = {"jid": ["bob@h.o"]}
        if over > 0:
            with pytest.raises(RenderError, match=f"more than {limit} bytes, which Asterisk cannot read as {format_}"):
                render.render(template, values, format_)
        else:
            assert len(render.render(template, values, format_).splitlines()[-1].encode()) == limit + over

    def test_a_long_comment_is_harmless_in_ael_only(self, tmp_path):
        template = make(tmp_path, "", '[variables.people]\ntype = "jid"\nmany = true\nhelp = "who"\n')
        values = {"people": [f"{n}@h/" + "x" * 480 for n in range(20)]}
        assert max(len(line) for line in render.render(template, values, "ael").splitlines()) > LINE_BYTES["conf"]
        with pytest.raises(RenderError, match="more than 8190 bytes"):
            render.render(template, values, "conf")

    def test_the_header_says_how_it_was_made(self):
        text = render.render(find("send"), {"jid": ["ann@example.org/a'b"], "ring": ["5"]}, "ael")
        made = next(line for line in text.splitlines() if "Made by" in line)
        assert (
            made == """// Made by: agi-xmpp render send --format ael --set 'jid=ann@example.org/a'"'"'b' --set ring=5"""
        )
        assert all(line.startswith("//") for line in text.partition("\n\n")[0].splitlines())

    def test_unknown_templates_name_the_nearest(self):
        with pytest.raises(RenderError, match="no template 'meun'; did you mean menu"):
            find("meun")

    def test_settings_are_taken_apart_at_the_first_equals_sign(self):
        assert parse_settings(["a=1=2", "b=", "a=3"]) == {"a": ["1=2", "3"], "b": [""]}
        with pytest.raises(RenderError, match="'a' sets nothing"):
            parse_settings(["a"])

    def test_all_with_common_values(self):
        files = render.render_all({"account": ["office"], "members": ["a@x=PJSIP/a"]})
        assert files.keys() == {f"{name}.{end}" for name, end in BOTH}
        assert "jabber_send?var=message&wait=none,office,bob@example.org" in files["send.conf"]
        assert "jabber_status,office,a@x)" in files["presence-ring.ael"]
        with pytest.raises(RenderError, match="no template has a variable 'acount'; did you mean account"):
            render.render_all({"acount": ["x"]})


class TestCommand:
    def run(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli.main, ["render", *arguments])
        return result.exit_code, result.stdout, result.stderr

    def test_list(self):
        code, out, _ = self.run("--list")
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == NAMES

    def test_variables(self):
        code, out, _ = self.run("menu", "--variables")
        assert code == 0
        assert "choices (key=label=dialstring, may be repeated)" in out
        assert "  default: 1=To my cellphone=PJSIP/bob-cell" in out
        assert "ring_when (online or not-busy)" in self.run("presence-ring", "--variables")[1]

    def test_output(self, tmp_path):
        code, out, _ = self.run("send", "--set", "jid=ann@example.org", "--format", "ael")
        assert code == 0
        assert "ann@example.org" in out
        path = tmp_path / "new" / "send.ael"
        again = ("send", "--set", "jid=ann@example.org", "--format", "ael", "-o", str(path))
        assert self.run(*again) == (0, "", "")
        assert path.read_text(encoding="utf-8") == out
        code, _, err = self.run(*again)
        assert (code, err) == (2, f"agi-xmpp: {path} exists; --force overwrites it\n")
        assert self.run(*again, "--force")[0] == 0

    def test_all(self, tmp_path):
        assert self.run("--all", "-o", str(tmp_path), "--set", "account=x")[0] == 0
        assert len(list(tmp_path.iterdir())) == len(BOTH)

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ([], "which template? agi-xmpp render --list shows them"),
            (["sned"], "there is no template 'sned'; did you mean send?"),
            (["send", "--set", "jid=bob"], "jid: 'bob' is not a Jabber ID such as bob@example.org"),
            (["send", "--set", "jid"], "'jid' sets nothing; write it NAME=value"),
            (["--all"], "--all needs a folder by -o, and no NAME"),
            (["send", "-o", "/dev/null/x"], "/dev/null: File exists"),
        ],
    )
    def test_mistakes_are_one_sentence_and_exit_code_2(self, arguments, complaint):
        assert self.run(*arguments) == (2, "", f"agi-xmpp: {complaint}\n")
