"""A tokenizer in GGUF's terms: tokens, merges, and the name of a way to cut text that llama.cpp knows."""

# llama.cpp cuts text by a regular expression that is compiled in under a name (`tokenizer.ggml.pre`) before it merges.
# A tokenizer whose own expression has no name there may still get the same tokens under another one, because merges
# never reached across its pieces. What another expression tears apart, like a tag, can be a "user-defined" token, which
# llama.cpp takes out of the text first. Whether that is so is not argued here but tried, on the run's own texts.

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razona.core.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
WORDS_AND_MARKS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreTokenizer:
    """One of llama.cpp's ways to cut text."""

    name: str
    patterns: tuple[str, ...]
    """Each cuts what the one before it left."""
    ignores_merges: bool = False
    """A piece that is a token is taken whole."""


PRE_TOKENIZERS = (
    PreTokenizer(name="qwen2", patterns=(CONTRACTIONS + WORDS_AND_MARKS.replace("{DIGITS}", ""),)),
    PreTokenizer(
        name="llama-bpe", patterns=(CONTRACTIONS + WORDS_AND_MARKS.replace("{DIGITS}", "{1,3}"),), ignores_merges=True
    ),
    PreTokenizer(name="smollm", patterns=(r"\p{N}", GPT2)),
    PreTokenizer(name="gpt-2", patterns=(GPT2,)),
)
"""Those of the families that we export, and two plain ones. Source: `llm_tokenizer_bpe` in llama.cpp's
src/llama-vocab.cpp, of July 2026 (llama-cpp-python 0.3.36)."""
HARD_TEXTS = (
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n",
    "(normal) \N{ROCKET} \N{LLAMA}\N{LLAMA} multiple emojis",
    "3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3",
    "\u4f60\u597d 1314151\u5929\uff5e ------======= \u043d\u0435\u0449\u043e",
    "''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? We'Ve a'lL",
    "x = \\frac{1}{2} <b> a<b && <x_1> </x> <SOLUTION \\boxed{-3,000.50}",
)
"""Texts that ways to cut differ on, after the one by which llama.cpp's converter tells them apart. A tokenizer that
differs on these alone is exported, and the count is told."""
MAX_TORN = 64
"""User-defined tokens: llama.cpp takes the longest first, which for a few tags is what merging gives, and not for whole
vocabularies of phrases."""
MAX_SHOWN = 80
"""Characters of a text that an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a GGUF file holds of a tokenizer."""

    tokens: tuple[str, ...]
    """By id: byte-level spelling for ordinary tokens, plain text for those that are taken out of a text first."""
    types: tuple[int, ...]
    """By id: numbers of `gguf.TokenType`."""
    merges: tuple[str, ...]
    pre: str
    """llama.cpp's name for the way to cut text."""
    torn: tuple[str, ...]
    """Ordinary tokens that are written as user-defined ones, because llama.cpp would tear them apart."""
    texts: int
    """The run's own texts that were cut alike."""
    hard_texts_cut_otherwise: int
    """Of `HARD_TEXTS`."""
    adds_bos: bool
    adds_eos: bool


def read_vocabulary(tokenizer: "PreTrainedTokenizerBase", num_rows: int, texts: Sequence[str]) -> Vocabulary:
    """Give a tokenizer in GGUF's terms.

    Args:
        num_rows: of the embedding; rows without a token are marked as unused.
        texts: of the run; all must be cut as the tokenizer cuts them.

    Raises:
        ModelError: it is no byte-level BPE tokenizer, or llama.cpp would cut the texts otherwise.
    """
    state = _state(tokenizer)
    pre, torn, wrong = _find_pre_tokenizer(state, texts)
    backend = _tokenizer(state)
    kinds = {token["id"]: token for token in state["added_tokens"]}
    spelled = {number: token for token, number in backend.get_vocab(with_added_tokens=True).items()}
    if max(spelled) >= num_rows:
        raise ModelError(
            f"the tokenizer has a token with id {max(spelled)}, and the model has {num_rows} rows of embeddings. Give "
            "the model the tokenizer that it was trained with."
        )
    rows = list(_rows(num_rows, spelled, kinds, torn))
    empty = tokenizer("")["input_ids"]
    return Vocabulary(
        tokens=tuple(token for token, _ in rows),
        types=tuple(int(kind) for _, kind in rows),
        merges=tuple(merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]),
        pre=pre.name,
        torn=tuple(sorted(torn.values())),
        texts=len(texts),
        hard_texts_cut_otherwise=wrong,
        adds_bos=bool(empty) and empty[0] == tokenizer.bos_token_id,
        adds_eos=bool(empty) and empty[-1] == tokenizer.eos_token_id and empty[-1] != tokenizer.bos_token_id,
    )


def _rows(
    num_rows: int, spelled: Mapping[int, str], kinds: Mapping[int, Mapping], plain: Mapping[str, str]
) -> Iterator[tuple[str, int]]:
    from gguf import TokenType

    for number in range(num_rows):
        if number not in spelled:
            yield f"[PAD{number}]", TokenType.UNUSED
        elif number in kinds:
            kind = TokenType.CONTROL if kinds[number]["special"] else TokenType.USER_DEFINED
            yield spelled[number], kind
        elif spelled[number] in plain:
            yield plain[spelled[number]], TokenType.USER_DEFINED
        else:
            yield spelled[number], TokenType.NORMAL


def _state(tokenizer: "PreTrainedTokenizerBase") -> dict:
    """Give the tokenizer as `tokenizer.json` holds it, if it is one that GGUF's `gpt2` kind can hold.

    Raises:
        ModelError: it is another kind.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = json.loads(backend.to_str()) if backend is not None else {}
    kind = state.get("model", {}).get("type")
    steps = _steps(state.get("pre_tokenizer"))
    if kind == "BPE" and any(step["type"] == "ByteLevel" for step in steps) and not _has_prefix_space(steps):
        normalizer = state.get("normalizer")
        if normalizer is None or normalizer["type"] == "NFC":  # which llama.cpp leaves out
            return state
    told = kind or type(tokenizer).__name__
    how = ", ".join(step["type"] for step in steps) or "no pre-tokenizer"
    raise ModelError(
        f"the tokenizer cannot be written to GGUF by Razona: it is {told} with {how} and the normalizer "
        f"{(state.get('normalizer') or {}).get('type', 'none')}; expected byte-level BPE without prefix space, as "
        "Llama 3, Qwen2 and Qwen3 have. Export with --to merged, and convert that folder with llama.cpp's "
        "convert_hf_to_gguf.py."
    )


def _steps(pre_tokenizer: Mapping | None) -> list[Mapping]:
    if pre_tokenizer is None:
        return []
    return list(pre_tokenizer["pretokenizers"]) if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]


def _has_prefix_space(steps: Sequence[Mapping]) -> bool:
    return any(step["type"] == "ByteLevel" and step.get("add_prefix_space") for step in steps)


def _tokenizer(state: Mapping) -> "Tokenizer":
    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(state))


def _find_pre_tokenizer(state: dict, texts: Sequence[str]) -> tuple[PreTokenizer, Mapping[str, str], int]:
    """Give the way to cut under which the tokens are the same, the tokens that it tears, and how many of `HARD_TEXTS`
    it cuts otherwise.

    Raises:
        ModelError: under each of them, some of the texts give other tokens.
    """
    backend = _tokenizer(state)
    expected = {text: backend.encode(text, add_special_tokens=False).tokens for text in (*texts, *HARD_TEXTS)}
    tries = [_try(state, pre, {}, expected) for pre in PRE_TOKENIZERS]
    if all(one.wrong for one in tries):  # the tokenizer is none of llama.cpp's own
        torn = [(pre, _torn(state, pre)) for pre in PRE_TOKENIZERS]
        tries += [_try(state, pre, tokens, expected) for pre, tokens in torn if len(tokens) <= MAX_TORN]
    own = set(texts)
    best = min(tries, key=lambda one: (len(one.wrong & own), len(one.wrong), len(one.torn), one.num_other_cuts))
    wrong = sorted(best.wrong & own)
    if wrong:
        raise ModelError(
            f"the tokenizer cannot be written to GGUF: llama.cpp knows none of its ways to cut text. Under the nearest "
            f"({best.pre.name}), {len(wrong)} of {len(own)} texts of the run give other tokens, for example "
            f"{wrong[0][:MAX_SHOWN]!r}. Export with --to merged, for what reads transformers' folders."
        )
    return best.pre, best.torn, len(best.wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """What one way to cut gives."""

    pre: PreTokenizer
    torn: Mapping[str, str]
    wrong: frozenset[str]
    """Texts with other tokens."""
    num_other_cuts: int
    """Texts that are cut otherwise, whatever tokens come of it."""


def _try(state: dict, pre: PreTokenizer, torn: Mapping[str, str], expected: Mapping[str, list[str]]) -> _Try:
    ours, other = _tokenizer(state), _tokenizer(_as_llama_cpp(state, pre, torn))
    spelled = {text: token for token, text in torn.items()}
    wrong = [
        text
        for text, tokens in expected.items()
        if [spelled.get(one, one) for one in other.encode(text, add_special_tokens=False).tokens] != tokens
    ]
    num_other_cuts = sum(
        ours.pre_tokenizer.pre_tokenize_str(text) != other.pre_tokenizer.pre_tokenize_str(text) for text in expected
    )
    return _Try(pre=pre, torn=torn, wrong=frozenset(wrong), num_other_cuts=num_other_cuts)


def _as_llama_cpp(state: dict, pre: PreTokenizer, torn: Mapping[str, str]) -> dict:
    """Give a tokenizer that does what llama.cpp would do with the file."""
    cuts = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in pre.patterns
    ]
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    free = max(token["id"] for token in [*state["added_tokens"], *_ids(state)]) + 1
    added = [
        {"id": free + place, "content": text, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": False}
        for place, text in enumerate(torn.values())
    ]
    return {
        **state,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, to_bytes]},
        "model": {**state["model"], "ignore_merges": pre.ignores_merges},
        "added_tokens": [*state["added_tokens"], *added],
    }


def _ids(state: Mapping) -> list[dict[str, int]]:
    return [{"id": number} for number in state["model"]["vocab"].values()]


def _torn(state: dict, pre: PreTokenizer) -> dict[str, str]:
    """Give the tokens that are one piece to the tokenizer and several to llama.cpp: byte-level spelling -> text.

    Tokens on the way to others, like `<start_wor`, are no piece of their own, and stay ordinary.
    """
    ours, theirs = _tokenizer(state).pre_tokenizer, _tokenizer(_as_llama_cpp(state, pre, {})).pre_tokenizer
    backend = _tokenizer(state)
    added = {token["content"] for token in state["added_tokens"]}
    torn = {}
    for token, number in state["model"]["vocab"].items():
        text = backend.decode([number], skip_special_tokens=False)
        if token in added or not text or "\N{REPLACEMENT CHARACTER}" in text:
            continue
        if len(ours.pre_tokenize_str(text)) == 1 and len(theirs.pre_tokenize_str(text)) > 1:
            torn[token] = text
    return torn
