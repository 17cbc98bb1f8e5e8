"""The embedded model's tokenizer: byte-level BPE with one token a digit, learned from the corpus.

Every text can be written with it (bytes are the last resort); the words of the corpus are one token each.
The tags of the default recipe become single tokens by frequency alone; they are ordinary text, not special
tokens, which decoding with `skip_special_tokens` would remove.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from razona.models.chat_template import PLAIN_CHAT_TEMPLATE

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|pad|>"
PIECES = r" ?</?[A-Za-z_]+>| ?[A-Za-z]+| ?[0-9]|\n| ?[^\sA-Za-z0-9<>]+| ?[<>]|\s"
"""Tags, words, single digits, line ends and marks; a piece is never merged with its neighbour."""


def learn(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Learn the merges from `texts`; equal texts give an equal tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=3,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        model_max_length=2048,
        padding_side="left",
        chat_template=PLAIN_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
