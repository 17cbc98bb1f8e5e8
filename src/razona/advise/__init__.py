"""Floor 8: reinforcement or supervised fine-tuning, what it takes, and what to look at before anything is spent."""
