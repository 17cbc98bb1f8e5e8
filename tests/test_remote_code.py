"""What could run code that nobody asked for: a model's own Python files, pickles in checkpoints, our own source."""

import ast
import contextlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import razona
from razona.core.errors import ModelError
from razona.core.rundir import RunDir
from razona.evaluate.named import load_model
from razona.models import remote_code
from razona.models.load import load_policy, load_tokenizer, load_tuned
from razona.recipe import ModelSection, load
from razona.train import train

PACKAGE = Path(razona.__file__).parent
CONFIGURATION = """
from pathlib import Path
from transformers import Qwen3Config
(Path(__file__).parent / "ran").touch()
Path({mark!r}).touch()

class OwnConfig(Qwen3Config):
    model_type = "own"
"""
MODELLING = """
from transformers import Qwen3ForCausalLM
from .configuration_own import OwnConfig

class OwnForCausalLM(Qwen3ForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random model as one of a kind that transformers does not know, with the classes for it beside it."""
    folder = tmp_path / "own"
    shutil.copytree(random_model, folder)
    (folder / "configuration_own.py").write_text(CONFIGURATION.format(mark=str(tmp_path / "ran")))
    (folder / "modeling_own.py").write_text(MODELLING)
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": auto_map}))
    monkeypatch.setattr(remote_code, "_told", set())
    return folder


def test_a_model_with_code_of_its_own_is_refused_by_the_key_that_would_let_it_run(
    own_code: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        load_policy(ModelSection(name=str(own_code)))
    told = str(caught.value)
    for word in ("configuration_own.py, modeling_own.py", str(own_code), "model.trust_remote_code: true"):
        assert word in told
    assert not (tmp_path / "ran").exists()


def test_where_it_is_trusted_it_runs_and_its_files_are_named_once(
    own_code: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    section = ModelSection(name=str(own_code), trust_remote_code=True)
    assert type(load_policy(section).model).__name__ == "OwnForCausalLM"
    load_tokenizer(section)
    told = capsys.readouterr().err
    assert told.count("model.trust_remote_code: runs Python code that comes with") == 1
    assert "configuration_own.py, modeling_own.py" in told
    assert (tmp_path / "ran").exists()


def test_trust_that_nothing_needs_is_told(random_model: Path, capsys: pytest.CaptureFixture) -> None:
    load_tokenizer(ModelSection(name=str(random_model), trust_remote_code=True))
    assert "names no code of its own: it can be off" in capsys.readouterr().err


@pytest.fixture
def own_tokenizer(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random model, whose tokenizer asks for a class of another repository's."""
    folder = tmp_path / "own"
    shutil.copytree(random_model, folder)
    path = folder / "tokenizer_config.json"
    auto_map = {"AutoTokenizer": [None, "someone/else--tokenization_own.OwnTokenizer"]}
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "tokenizer_class": "OwnTokenizer", "auto_map": auto_map})
    )
    monkeypatch.setattr(remote_code, "_told", set())
    return folder


def test_code_that_a_known_family_does_not_need_is_not_run_and_that_is_told_once(
    own_tokenizer: Path, capsys: pytest.CaptureFixture
) -> None:
    for _ in range(2):
        assert type(load_tokenizer(ModelSection(name=str(own_tokenizer)))).__module__.startswith("transformers.")
    told = capsys.readouterr().err
    assert told.count("(someone/else/tokenization_own.py) is not run; transformers' own classes are used") == 1


def test_a_tokenizer_with_code_of_its_own_of_no_known_family_is_refused(own_tokenizer: Path) -> None:
    path = own_tokenizer / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "own"}))
    with pytest.raises(ModelError, match=r"someone/else/tokenization_own\.py.*model\.trust_remote_code: true"):
        load_tokenizer(ModelSection(name=str(own_tokenizer)))


@pytest.mark.parametrize(
    ("auto_map", "files"),
    [
        ({"AutoTokenizer": [None, "a/b--tokens.T"], "AutoConfig": "conf.C"}, ["a/b/tokens.py", "conf.py"]),
        (["tokens.Slow", "tokens.Fast"], ["tokens.py"]),
        ({"AutoModel": 3}, []),
        (None, []),
    ],
)
def test_the_files_of_a_model_are_read_from_its_settings(auto_map: object, files: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": auto_map}))
    assert remote_code.code_of(str(tmp_path), None) == files


# --- Adapters ------------------------------------------------------------------------------------------------------


def test_a_pickled_adapter_is_refused_whatever_safetensors_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (tmp_path / "adapter_model.bin").write_bytes(b"")
    (tmp_path / "other.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"adapter_model\.bin.*allow_pickle"):
        load_tuned(ModelSection(), tmp_path)


def test_an_adapter_without_weights_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(ModelError, match=r"no adapter_model\.safetensors"):
        load_tuned(ModelSection(), tmp_path)


def test_the_base_that_an_adapter_names_gets_none_of_the_trust_in_the_recipes_own_model(
    own_code: Path, random_model: Path, tmp_path: Path
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(own_code)}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    recipe = load("demo", [f"model.name={random_model}", "model.trust_remote_code=true"])
    with pytest.raises(ModelError, match=r"configuration_own\.py, modeling_own\.py.*model\.trust_remote_code: true"):
        load_model(str(adapter), recipe)
    assert not (tmp_path / "ran").exists()


# --- Checkpoints ---------------------------------------------------------------------------------------------------


class Touch:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended after the first of two steps, as far as its folder tells."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    train(recipe(), folder)
    shutil.rmtree(folder / "checkpoints" / "checkpoint-2")
    return folder


def recipe():
    return load(
        "demo",
        [
            *("train.steps=2", "train.save_every=1", "train.completions_per_step=8", "train.microbatch_size=8"),
            *("rollout.group_size=4", "rollout.max_completion_tokens=16", "guard.every=0", "train.sampling=uniform"),
        ],
    )


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
def test_a_checkpoint_from_someone_else_runs_no_code(name: str, begun: Path, tmp_path: Path) -> None:
    run, mark = RunDir(tmp_path / "run"), tmp_path / "ran"
    shutil.copytree(begun, run.root)
    place = run.checkpoints / "checkpoint-1" / name
    assert place.exists()
    torch.save({"state": Touch(mark)}, place)
    with contextlib.suppress(Exception):  # whatever refuses it: that nothing of it runs is what counts
        train(recipe(), run.root, resume=True)
    assert not mark.exists()
    torch.load(place, weights_only=False)
    assert mark.exists(), "the file would have run code where pickles are read without care"


# --- Our own source ------------------------------------------------------------------------------------------------

UNPICKLERS = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


def careless_reads(source: str) -> list[str]:
    """Give the calls and imports in a module that could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            taken = {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
            if any(name.split(".")[0] in UNPICKLERS for name in names) and taken != {"UnpicklingError"}:
                found.append(f"line {node.lineno}: imports {', '.join(names)}")
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {one.arg: ast.unparse(one.value) for one in node.keywords}
            if name == "torch.load" and given.get("weights_only") != "True":
                found.append(f"line {node.lineno}: torch.load without weights_only=True")
            if name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False":
                found.append(f"line {node.lineno}: {name} with pickles")
            if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load") and "Safe" not in str(given.get("Loader")):
                found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize(
    ("source", "is_careless"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("torch.load(path)", True),
        ("torch.load(path, weights_only=False)", True),
        ("torch.load(path, weights_only=True)", False),
        ("numpy.load(path, allow_pickle=True)", True),
        ("yaml.load(text)", True),
        ("yaml.load(text, Loader=SafeLoader)", False),
        ("from pickle import UnpicklingError", False),
    ],
)
def test_a_careless_read_is_seen(source: str, is_careless: bool) -> None:
    assert bool(careless_reads(source)) == is_careless


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_of_ours_reads_a_pickle(path: Path) -> None:
    assert careless_reads(path.read_text(encoding="utf-8")) == []
