"""Floor 3: the policy, its tokenizer and its adapter.

The public names are in `razona.models.load`; this file stays empty of imports, because `embedded.tokenizer`
and the recipe's checks need the chat template without loading torch.
"""
