"""Rewards for how a completion is written: its length, and the script of its working."""

import re
import unicodedata
from functools import lru_cache

from razona.core.errors import RewardError
from razona.rewards.sample import Sample, Value

BUFFER_SHARE = 4
"""`target_tokens` over `buffer` where the recipe gives no buffer: DAPO's 16,384 over 4,096."""
PREFIXES = {
    "latin": ("LATIN",),
    "cyrillic": ("CYRILLIC",),
    "greek": ("GREEK",),
    "arabic": ("ARABIC",),
    "hebrew": ("HEBREW",),
    "devanagari": ("DEVANAGARI",),
    "thai": ("THAI",),
    "hangul": ("HANGUL",),
    "han": ("CJK",),
    "japanese": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"),
}
"""Script -> how the Unicode names of its letters begin."""
_OF_MATHEMATICS = ("MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "MICRO")
"""Letters that formulas of every language use; they count for no script."""
_WORD = re.compile(r"[^\W\d_]+")


def length(sample: Sample) -> Value:
    """A penalty for long completions: 0 up to `target_tokens`, then falling linearly to -1 over `buffer` more.

    value = 0                                  for n <= target
          = (target - n) / buffer              for target < n <= target + buffer
          = -1                                 beyond

    Source: the soft overlong punishment of DAPO, arXiv:2503.14476; its L_max is target + buffer, its L_cache buffer.

    Raises:
        RewardError: the number of tokens is not known. Characters are no measure of it.
    """
    if sample.num_tokens is None:
        raise RewardError(
            "the reward length counts tokens, and no completion_ids came with the completions. TRL's GRPOTrainer hands "
            "them to every reward function; give completion_ids=[[...], ...] where you call it yourself, or remove "
            "length from rewards.components."
        )
    target = sample.options["target_tokens"]
    assert isinstance(target, int)
    buffer = sample.options.get("buffer", max(1, target // BUFFER_SHARE))
    assert isinstance(buffer, int)
    over = sample.num_tokens - target
    if over <= 0:
        return Value(0.0, f"{sample.num_tokens} tokens, within {target}")
    return Value(-min(1.0, over / buffer), f"{sample.num_tokens} tokens, {over} more than {target}")


def language(sample: Sample) -> Value:
    """The share of the letters of the working that belong to the script asked for; 1 where there are none.

    For policies that slip into another language. An empty working gets 0. Mathematical letters are not counted, nor is
    the only Greek letter of a word, as in `2πr`.

    Does not cover: languages that share a script (French is as good as English); nonsense in the right script.
    """
    script = str(sample.options["script"])
    working = sample.text.partition(sample.tags.working_close)[0]
    if not working.strip():
        return Value(0.0, "the working is empty")
    if script == "latin" and working.isascii():
        return Value(1.0, "every letter of the working is latin")
    counted = [word for letters in _WORD.findall(working) for word in _counted_scripts(letters)]
    if not counted:
        return Value(1.0, "the working has no letters")
    share = sum(word in PREFIXES[script] for word in counted) / len(counted)
    return Value(share, f"{share:.0%} of the letters of the working are {script}")


def _counted_scripts(letters: str) -> list[str]:
    """Give the scripts of the letters of one word, without those that mathematics borrows."""
    scripts = [_script_word(letter) for letter in letters]
    is_greek_word = scripts.count("GREEK") > 1
    return [one for one in scripts if one not in _OF_MATHEMATICS and (one != "GREEK" or is_greek_word)]


@lru_cache(maxsize=16_384)
def _script_word(character: str) -> str:
    """Give the first word of a letter's Unicode name, which names its script; full-width letters have it second."""
    words = unicodedata.name(character, "UNNAMED").split()
    is_form = words[0] in ("FULLWIDTH", "HALFWIDTH") and len(words) > 1
    return words[1] if is_form else words[0]
