"""`razona chat`: what is asked and shown, how it is stopped, and that no order to the terminal gets through."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from typer.testing import CliRunner, Result

from razona.cli.chat import stopped_by_interrupt
from razona.cli.main import app
from razona.core.errors import DataError, RazonaError, RecipeError
from razona.evaluate.chat import Settings, Speaker, Talk, default_tokens, limit_of_answer, load_speakers, prompt_of
from razona.models.load import Policy, load_policy
from razona.recipe import ModelSection, load
from razona.rollout import Sampling, generate
from razona.rollout.engine import end_ids
from razona.rollout.stream import Spelling, stream

QUESTION = "Tom has 3 apples and buys 4 more. How many apples has he now?"
HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold]loud[/bold]\r\x9b31m \u202e :smile: é🙂\tend"


def chat(*arguments: str, typed: str = "") -> Result:
    result = CliRunner().invoke(app, ["chat", *arguments], input=typed)
    if isinstance(result.exception, RazonaError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def embedded() -> Policy:
    return load_policy(ModelSection())


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch, embedded: Policy):
    """Give a function that makes every model say this text."""

    def install(text: str) -> None:
        ids = [*embedded.tokenizer(text, add_special_tokens=False)["input_ids"], embedded.tokenizer.eos_token_id]
        monkeypatch.setattr("razona.rollout.stream.stream", lambda *args, **options: iter(ids))

    return install


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter upon the embedded model that changes what it says."""
    folder = tmp_path_factory.mktemp("adapter")
    base = load_policy(ModelSection())
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=256, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(base.model, config).save_pretrained(str(folder))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "embedded"}))
    return folder


def test_a_greedy_answer_is_what_the_engine_of_training_samples(embedded: Policy):
    speaker = Speaker(name="embedded", policy=embedded, recipe=load("demo", []))
    prompt = embedded.tokenizer(prompt_of(speaker, QUESTION), add_special_tokens=False)["input_ids"]
    ends = end_ids(embedded.model, embedded.tokenizer)
    greedy = Sampling(max_tokens=48, temperature=0)
    streamed = list(stream(embedded.model, prompt, ends=ends, sampling=greedy, seed=0))
    at_once = generate(embedded.model, [prompt], engine="native", padding=0, ends=ends, sampling=greedy, seed=0)
    assert streamed == at_once[0].ids
    assert len(streamed) > 1


def test_samples_depend_on_the_seed_and_on_nothing_else(embedded: Policy):
    def sampled(seed: int) -> list[int]:
        sampling = Sampling(max_tokens=24, temperature=1.5)
        return list(stream(embedded.model, [5, 6, 7], ends=[], sampling=sampling, seed=seed))

    assert sampled(1) == sampled(1) != sampled(2)
    assert len(sampled(1)) == 24


def test_without_its_adapter_a_model_answers_as_its_base_and_keeps_the_adapter(embedded: Policy, adapter: Path):
    base, tuned = load_speakers(str(adapter), load("demo", []), "base")
    assert base.policy is tuned.policy and (base.name, tuned.name) == ("embedded", str(adapter))
    plain = Speaker(name="plain", policy=embedded, recipe=base.recipe)
    texts = {}
    for name, speaker in (("tuned", tuned), ("off", base), ("tuned again", tuned), ("plain", plain)):
        talk = Talk(speaker=speaker, question=QUESTION, settings=Settings(temperature=1.0, max_tokens=32, seed=3))
        list(talk)
        assert talk.answer is not None
        texts[name] = talk.answer.text
    assert texts["off"] == texts["plain"] != texts["tuned"] == texts["tuned again"]


@pytest.mark.parametrize("text", ["2+2 = 4", "é🙂 naïve 数学", "a\n\n b\t c ", HOSTILE])
def test_pieces_of_text_add_up_to_the_whole(embedded: Policy, text: str):
    tokenizer = embedded.tokenizer
    spelling = Spelling(tokenizer)
    pieces = [spelling.add(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert "".join(pieces) + spelling.end() == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_bytes_that_end_within_a_character_are_told_at_the_end(embedded: Policy):
    ids = embedded.tokenizer("é", add_special_tokens=False)["input_ids"]
    assert len(ids) == 2
    spelling = Spelling(embedded.tokenizer)
    assert spelling.add(ids[0]) == "" and spelling.end() == "\N{REPLACEMENT CHARACTER}"


def test_one_question_is_answered_as_json(embedded: Policy):
    result = chat("embedded", "--prompt", QUESTION, "--json", "--temperature", "0", "--max-tokens", "40")
    told = json.loads(result.stdout)
    assert (told["temperature"], told["max_tokens"], told["seed"], told["recipe"]) == (0.0, 40, 0, "demo")
    (answer,) = told["answers"]
    speaker = Speaker(name="embedded", policy=embedded, recipe=load("demo", []))
    talk = Talk(speaker=speaker, question=QUESTION, settings=Settings(temperature=0, max_tokens=40, seed=9))
    pieces = list(talk)
    assert talk.answer is not None and answer["text"] == talk.answer.text
    assert "".join(piece.text for piece in pieces) in answer["text"].replace("<end_working_out>", "").replace(
        "<SOLUTION>", ""
    )
    assert "correct" not in result.stdout


def test_piped_questions_are_answered_one_by_one_until_the_input_ends(says):
    says("3 + 4 = 7.\n<end_working_out>\n<SOLUTION>7</SOLUTION>")
    result = chat("embedded", typed="first?\n\n /second?\n")
    lines = result.stdout.splitlines()
    assert lines[1:] == [
        "> first?", "working  3 + 4 = 7.", "solution  7", lines[4],
        ">  /second?", "working  3 + 4 = 7.", "solution  7", lines[8],
    ]  # fmt: skip
    assert lines[4].endswith("ended by itself, in the form asked for]")
    assert "remembers nothing" in result.stderr and result.exit_code == 0


def test_commands_change_what_follows_and_mistakes_are_told(says):
    says("x")
    typed = "/seed 7\n/temperature 0.5\n/temperature -1\n/seed x\n/sing\n/help\nq?\n/quit\nnever asked\n"
    out = chat("embedded", typed=typed).stdout
    assert "Temperature 1, seed 7," in out and "Temperature 0.5, seed 7," in out
    assert "/temperature -1: expected a number from 0" in out and "/seed x: expected a whole number" in out
    assert "/sing is no command; there are /seed, /temperature, /help and /quit" in out
    assert "Ctrl-C stops the answer" in out and "> q?" in out and "never asked" not in out


def test_no_conversation_is_in_the_prompt(monkeypatch: pytest.MonkeyPatch, embedded: Policy):
    prompts = []

    def note(model: object, prompt: list[int], **options: object) -> Iterator[int]:
        prompts.append(embedded.tokenizer.decode(prompt))
        yield embedded.tokenizer.eos_token_id

    monkeypatch.setattr("razona.rollout.stream.stream", note)
    chat("embedded", typed="first?\nsecond?\n")
    speaker = Speaker(name="embedded", policy=embedded, recipe=load("demo", []))
    assert prompts == [prompt_of(speaker, "first?"), prompt_of(speaker, "second?")]
    assert prompts[0].endswith("<start_working_out>")


def test_the_same_question_again_gets_another_sample_and_the_first_one_after_its_seed_is_set():
    out = chat("embedded", "--temperature", "2", "--max-tokens", "12", typed="q?\nq?\n/seed 0\nq?\n").stdout
    asked = [part.split("[")[0] for part in out.split("> q?\n")[1:]]
    assert asked[0] != asked[1] and asked[0] == asked[2]


@pytest.mark.parametrize("before", ["", "<end_working_out>", "<end_working_out><SOLUTION>"])
def test_nothing_that_a_terminal_acts_on_gets_through(says, before: str):
    says(before + HOSTILE)
    out = chat("embedded", "--prompt", "q?").stdout
    assert [one for one in out if one != "\n" and unicodedata.category(one) in ("Cc", "Cf")] == []
    assert r"\x1b[2J\x1b]0;owned\x07[bold]loud[/bold]\r\x9b31m \u202e :smile: é🙂    end" in out
    as_json = chat("embedded", "--prompt", "q?", "--json").stdout
    assert as_json.isascii() and "\x1b" not in as_json
    assert json.loads(as_json)["answers"][0]["text"] == before + HOSTILE


def test_a_question_of_broken_bytes_is_asked_with_replacements(says):
    says("x")
    told = json.loads(chat("embedded", "--prompt", "a\udcff?", "--json").stdout)
    assert told["question"] == "a\N{REPLACEMENT CHARACTER}?"


def test_ctrl_c_stops_the_answer_and_not_the_program(monkeypatch: pytest.MonkeyPatch, embedded: Policy):
    word = embedded.tokenizer("7", add_special_tokens=False)["input_ids"][0]

    def pressed_at_the_third(*args: object, **options: object) -> Iterator[int]:
        for number in range(1000):
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield word

    monkeypatch.setattr("razona.rollout.stream.stream", pressed_at_the_third)
    result = chat("embedded", typed="first?\nsecond?\n")
    assert result.stdout.count("[3 tokens in") == 2 and result.stdout.count("stopped, not in the form") == 2
    assert result.exit_code == 0
    assert chat("embedded", "--prompt", "q?").exit_code == 130


def test_a_second_ctrl_c_before_the_next_token_is_an_interrupt():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stopped_by_interrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_answer_at_the_limit_says_so_and_the_models_window_is_a_limit(embedded: Policy):
    assert "cut off at 2, not in the form" in chat("embedded", "--prompt", "q?", "--max-tokens", "2").stdout
    speaker = Speaker(name="embedded", policy=embedded, recipe=load("demo", []))
    assert limit_of_answer(speaker, 2000, 1000) == 48
    assert limit_of_answer(speaker, 1000, 10) == 10
    talk = Talk(speaker=speaker, question="7 " * 2100, settings=Settings(temperature=0, max_tokens=9, seed=0))
    with pytest.raises(DataError, match=r"tokens long in the recipe's form, and embedded reads 2,048"):
        list(talk)


def test_two_models_answer_one_after_the_other_each_under_its_name(adapter: Path):
    told = json.loads(chat(str(adapter), "--versus", "embedded", "--prompt", QUESTION, "--json").stdout)
    assert [answer["model"] for answer in told["answers"]] == ["embedded", str(adapter)]
    assert told["answers"][0]["text"] != told["answers"][1]["text"]
    shown = chat(str(adapter), "--versus", "base", "--prompt", QUESTION).stdout.splitlines()
    assert [shown.index("embedded"), shown.index(str(adapter)) > 1] == [0, True]


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (["embedded", "--json"], r"--json prints the answers to one question. Give it with --prompt"),
        (["embedded", "--versus", "base", "--prompt", "q?"], r"--versus base: embedded is neither a run's folder nor"),
        (["embedded", "--recipe", "dem", "--prompt", "q?"], r"dem"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments: list[str], mistake: str):
    with pytest.raises(RecipeError, match=mistake):
        chat(*arguments)


def test_a_model_without_a_recipe_of_its_own_may_write_1024_tokens(tmp_path: Path):
    recipe = load("demo", [])
    assert default_tokens("Qwen/Qwen3-0.6B-Base", recipe, is_recipe_named=False) == 1024
    assert default_tokens("Qwen/Qwen3-0.6B-Base", recipe, is_recipe_named=True) == 96
    assert default_tokens("embedded", recipe, is_recipe_named=False) == 96
    (tmp_path / "recipe.yaml").write_text("name: x")
    assert default_tokens(str(tmp_path), recipe, is_recipe_named=False) == 96


def test_on_a_wide_terminal_the_answers_stand_side_by_side_and_ctrl_d_leaves(adapter: Path):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 140, 0, 0))
    command = [sys.executable, "-m", "razona", "chat", str(adapter), "--versus", "base", "--max-tokens", "8"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140", "LINES": "30"}
    run = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, preexec_fn=interrupt_by_sigint
    )
    try:
        seen = read_until(master, "> ")
        os.write(master, f"{QUESTION}\n".encode())
        seen += read_until(master, "╯", "\n> ")
        time.sleep(1)  # readline shows the prompt before it waits, and a signal in between waits for the next key
        run.send_signal(signal.SIGINT)
        seen += read_until(master, "(/quit or Ctrl-D leaves)", "> ")
        os.write(master, b"\x04")
        assert run.wait(timeout=60) == 0
    finally:
        run.kill()
        run.wait()
        os.close(slave)
    os.close(master)
    columns = [line for line in seen.splitlines() if line.count("╭") == 2]
    assert columns and "embedded" in columns[-1] and adapter.name[:10] in columns[-1]


def interrupt_by_sigint() -> None:
    """Let Ctrl-C interrupt, also where the tests run in the background of a shell, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def read_until(terminal: int, *marks: str) -> str:
    """Read a terminal until it has shown these texts, one after the other."""
    seen, place, deadline = "", 0, time.monotonic() + 180
    for mark in marks:
        while (found := seen.find(mark, place)) < 0:
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 65536).decode("utf-8", "replace")
        place = found + len(mark)
    return seen
