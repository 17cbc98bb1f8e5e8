"""Hostile texts where they are stored, printed and exported: what comes back is what went in, and nothing acts."""

import ast
import io
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hostile_text import SHORT_TEXTS, TEXTS
from huggingface_hub import ModelCard
from report_runs import completion_row
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from test_export_card import card_of

import razona
from razona.cli.console import SafeConsole, make_console
from razona.cli.live import LiveView, StoredSample
from razona.cli.main import main
from razona.core.errors import DataError, RecipeError
from razona.core.files import append_jsonl, read_jsonl, to_json, write_json, write_jsonl, write_text
from razona.core.markdown import coded, in_cell, plain
from razona.core.rundir import RunDir
from razona.core.terminal import ACTED_ON, say, say_json, visible
from razona.export.card import write_card
from razona.recipe import dump, load

SOURCES = Path(razona.__file__).parent
BY_NAME = pytest.mark.parametrize("name", SHORT_TEXTS)


def acting(words: str) -> list[str]:
    """Give the characters that a terminal might act on, line ends and tabs apart."""
    return [one for one in words if one not in "\n\t" and unicodedata.category(one) in ACTED_ON]


def joined_halves(text: str) -> str:
    """Give the text with two halves that stand side by side as the character they make: JSON knows no difference."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


# Stored


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_back_from_every_kind_of_file(name: str, tmp_path: Path) -> None:
    text, expected = TEXTS[name], joined_halves(TEXTS[name])
    row = {"completion": text, text[:100]: [text[:100]]}
    write_jsonl(tmp_path / "rows.jsonl", [row, row])
    append_jsonl(tmp_path / "rows.jsonl", row)
    write_json(tmp_path / "one.json", row)
    stored = (tmp_path / "rows.jsonl").read_bytes()
    assert stored.count(b"\n") == 3 and stored.decode("utf-8")
    found = [*read_jsonl(tmp_path / "rows.jsonl"), json.loads((tmp_path / "one.json").read_text(encoding="utf-8"))]
    assert [one["completion"] for one in found] == [expected] * 4
    assert [list(one) for one in found] == [["completion", joined_halves(text[:100])]] * 4


def test_half_a_character_alone_is_read_back_as_it_was() -> None:
    for text in ("\ud800", "a\udfffb", "\\\ud800", '"\ud83d"', "\ude00\ud83d"):
        assert json.loads(to_json(text)) == text


def test_half_a_character_in_a_text_file_is_written_out(tmp_path: Path) -> None:
    write_text(tmp_path / "page.md", "a\ud800b \N{GRINNING FACE}\n")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == "a\\ud800b \N{GRINNING FACE}\n"


@BY_NAME
def test_the_rows_of_the_verb_verify_keep_a_text(name: str, tmp_path: Path) -> None:
    from razona.verify.rows import VerifyOptions, verify_file

    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text(json.dumps({"completion": SHORT_TEXTS[name], "gold": SHORT_TEXTS[name] or "7"}) + "\n")
    summary = verify_file(rows, out, VerifyOptions())
    (found,) = read_jsonl(out)
    assert found["completion"] == joined_halves(SHORT_TEXTS[name])
    assert sum(summary.outcomes.values()) == 1


@pytest.mark.parametrize("column", ["question", "answer", "id"])
def test_a_row_of_data_with_half_a_character_is_refused_by_its_place(column: str, tmp_path: Path) -> None:
    from razona.data.source import load_problems

    rows = [{"question": "1+1?", "answer": "2", "id": "a"}, {"question": "2+2?", "answer": "4", "id": "b"}]
    rows[1][column] += "\ud83d"
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=rf"row 2: column '{column}' holds half of a character, U\+D83D, at place "):
        load_problems(load("demo", [f"data.source={path}"]).data, count=2, seed=0)


# Printed


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_of_a_text_that_is_said_is_an_order_to_the_terminal(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEXTS[name]
    say(text)
    say(f"razona: {text}", to_stderr=True)
    captured = capsys.readouterr()
    assert acting(captured.out) == acting(captured.err) == []
    say_json({"completion": text, "names": [text]})
    told = capsys.readouterr().out
    assert told.isascii() and acting(told) == []
    assert json.loads(told)["completion"] == joined_halves(text)


def test_a_terminal_that_is_no_utf_8_gets_question_marks_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    say("vier: \u56db \x1b[2J")
    stream.flush()
    assert stream.buffer.getvalue() == b"vier: ? \\x1b[2J\n"  # type: ignore[attr-defined]


def drawn(*drawings: object) -> str:
    console = SafeConsole(file=io.StringIO(), width=80, force_terminal=False, markup=False, emoji=False)
    for one in drawings:
        console.print(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@BY_NAME
def test_nothing_that_is_drawn_is_an_order_to_the_terminal(name: str) -> None:
    text = SHORT_TEXTS[name]
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    table.add_row(Text(text))
    view = LiveView()
    view.update([{"step": 1, "reward": 0.5}], StoredSample(row=completion_row(1, 0, text), num_stored=1))
    assert acting(drawn(text, Text(text), table, Panel(text, title=Text(text)), view)) == []


def test_a_name_is_no_markup_of_rich(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.add_column("[bold]a[/bold]")
    table.add_row("[/] [link=file:///etc/passwd]b[/link] :smile:")
    console = make_console()
    console.print("[red]c[/red]")
    console.print(table)
    told = capsys.readouterr().out
    for words in ("[bold]a[/bold]", "[/] [link=file:///etc/passwd]b[/link] :smile:", "[red]c[/red]"):
        assert words in told


def test_a_console_keeps_its_own_colours_and_a_live_view_writes_none_of_the_texts_orders() -> None:
    console = SafeConsole(file=io.StringIO(), width=60, force_terminal=True, color_system="standard", markup=False)
    console.print(Text("red", style="red"))
    with Live(Panel("\x1b]0;owned \x9b2J"), console=console, refresh_per_second=1):
        pass
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert "\x1b[31mred\x1b[0m" in told
    assert "\x1b]0;owned" not in told and "\x9b" not in told and "\\x1b]0;owned \\x9b2J" in told


def test_the_verbs_console_is_the_safe_one() -> None:
    assert type(make_console()) is SafeConsole
    assert acting(visible("".join(map(chr, range(0x3000))))) == []
    assert visible("def f():\n\treturn 1") == "def f():\n\treturn 1"


def test_every_print_of_the_package_stands_in_one_file_and_every_console_in_another() -> None:
    found = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in ("print", "Console", "typer.echo", "typer.secho", "rich.print", "sys.stdout.write"):
                found.append((str(path.relative_to(SOURCES)), name))
    assert {place for place, _ in found} == {"core/terminal.py"}
    assert len(found) == 2  # `say` and `say_json`; consoles are SafeConsole


def run_main(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[str, int]:
    """Give all that a verb prints, and its exit code."""
    monkeypatch.setattr("sys.argv", ["razona", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    code = ended.value.code
    return captured.out + captured.err, code if isinstance(code, int) else 0


def test_verify_data_inspect_and_errors_print_rows_without_their_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    orders = "\x1b]0;owned\x07\x9b2J\u202e"
    rows = [{"completion": r"\boxed{\sin_3}", "gold": rf"\sin_x{orders}"}]
    Path("verify.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = [{"id": f"{orders}{n}", "question": f"{orders} 1+1?", "answer": f"{orders}2"} for n in range(3)]
    Path("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    Path("broken.jsonl").write_text(json.dumps([orders]) + "\n", encoding="utf-8")
    for arguments in (
        ("verify", "verify.jsonl"),
        ("verify", "verify.jsonl", "--json"),
        ("data", "inspect", "data.jsonl"),
        ("data", "inspect", "data.jsonl", "--json"),
        ("verify", "broken.jsonl"),
        ("verify", f"{orders}.jsonl"),
        ("data", "inspect", f"{orders}.jsonl"),
        ("train", f"demo{orders}"),
        ("data", "inspect", "data.jsonl", "--against", f"{orders}.jsonl"),
    ):
        told, _ = run_main(capsys, monkeypatch, *arguments)
        assert told and acting(told) == [], arguments
    told, code = run_main(capsys, monkeypatch, "data", "inspect", "data.jsonl")
    assert code == 0 and "\\x1b]0;owned\\x07\\x9b2J\\u202e1" in told


# Exported: YAML, Markdown. There is no export to CSV.

UGLY_NAMES = [
    "a: b", "a\nlicense: stolen", "---\nx", "*anchor", "!!python/object:os.system", "a|b", "`code` and ``more``",
    "[click](javascript:alert(1))", "<img src=x onerror=alert(1)>", "\x1b[2Jname", "\u202ename", "# heading", "null",
    "=1+1", "'quoted' \"twice\"", "%TAG ! !", "{a: [b", "\u2028line", "yes", "1e3", "~", "\ttab", "a `` b ` c",
]  # fmt: skip


@pytest.mark.parametrize("name", UGLY_NAMES, ids=ascii)
def test_a_resolved_recipe_is_read_back_with_any_name_in_it(name: str, tmp_path: Path) -> None:
    recipe = load("demo")
    recipe = recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"name": name}),
            "data": recipe.data.model_copy(update={"source": name}),
        }
    )
    write_text(tmp_path / "recipe.yaml", dump(recipe))
    assert load(tmp_path / "recipe.yaml") == recipe
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text(encoding="utf-8"))["model"]["name"] == name


def test_a_recipe_takes_no_name_with_half_a_character() -> None:
    with pytest.raises(RecipeError, match=r"model\.name"):
        load("demo", ["model.name=name\ud800"])


@pytest.mark.parametrize("name", UGLY_NAMES, ids=ascii)
def test_a_name_ends_neither_front_matter_nor_code_nor_cell_of_a_model_card(name: str, tmp_path: Path) -> None:
    card = card_of(tmp_path)
    recipe = card.source.recipe
    hub_name = f"owner/{name.replace('/', '')}"
    recipe = recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"name": hub_name, "revision": name}),
            "data": recipe.data.model_copy(update={"source": hub_name}),
        }
    )
    text = write_card(replace(card, source=replace(card.source, recipe=recipe), prompt=f"{name}\n```\n# heading\n"))
    fields = ModelCard(text).data.to_dict()  # the hub's own reader
    assert fields["base_model"] == hub_name and fields["datasets"] == [hub_name]
    assert set(fields) == {"base_model", "base_model_relation", "datasets", "library_name", "pipeline_tag", "tags"}
    rows = [line for line in text.split("\n") if line.startswith(("| base |", "| data |"))]
    assert len(rows) == 2 and all(line.replace("\\|", "").count("|") == 3 for line in rows)
    headings = [line for line in text.split("\n") if line.startswith("# ")]
    assert headings.count("# demo") == 1 and set(headings) <= {"# demo", "# heading", name}
    write_text(tmp_path / "README.md", text)


@pytest.mark.parametrize(
    ("name", "as_text", "as_code"),
    [
        ("Qwen/Qwen3-4B_Base", "Qwen/Qwen3-4B_Base", "`Qwen/Qwen3-4B_Base`"),
        ("a|b", "a\\|b", "`a|b`"),
        ("`a`", "\\`a\\`", "`` `a` ``"),
        ("a\nb", "a b", "`a b`"),
        ("<b>[c](d)", "\\<b\\>\\[c\\](d)", "`<b>[c](d)`"),
        ("\x1b[2J", "\\\\x1b\\[2J", "`\\x1b[2J`"),
        ("\ud800", "\\\\ud800", "`\\ud800`"),
    ],
    ids=ascii,
)
def test_a_name_in_markdown_is_text(name: str, as_text: str, as_code: str) -> None:
    assert (plain(name), coded(name)) == (as_text, as_code)


def test_a_bar_in_a_cell_is_written_out_once() -> None:
    assert in_cell("`a|b` and a\\|b") == "`a\\|b` and a\\|b"


def test_a_comparison_as_markdown_has_two_names_and_no_markup_of_theirs() -> None:
    from razona.cli.compare import markdown

    side = {"n": 5, "k": 1, "pass_at_1": 0.5, "ci95": {"pass_at_1": [0.4, 0.6]}, "tokens_per_correct": 3.0}
    side |= {"mean_length": 5.0, "truncated": 0.0, "unverified": 0.0}
    names = {"base": "a|b\n| c |", "tuned": "<img src=x>[d](e)"}
    lines = markdown({"base": side, "tuned": side, "names": names, "paragraph": "Words."}).split("\n")
    assert lines[2] == "| | a\\|b \\| c \\| | \\<img src=x\\>\\[d\\](e) |"
    assert [line.replace("\\|", "").count("|") for line in lines[2:] if line.startswith("|")] == [4] * (len(lines) - 4)


# The folder of a run


def test_a_run_of_hostile_completions_is_read_back_for_the_live_view_and_the_page(tmp_path: Path) -> None:
    from razona.cli.live import read_sample
    from razona.report.browser import read_browser

    run = RunDir(tmp_path / "run")
    rows = [completion_row(1, place, text) for place, text in enumerate(SHORT_TEXTS.values())]
    write_jsonl(run.completions(1), rows)
    sample = read_sample(run, 1)
    assert sample is not None and sample.num_stored == len(SHORT_TEXTS)
    (step,) = read_browser(run)
    assert len(json.dumps(step.as_json())) > 1_000
