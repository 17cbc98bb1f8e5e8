"""Floor 8: how the embedded base model is made: its corpus, its tokenizer, its pretraining, its card."""
