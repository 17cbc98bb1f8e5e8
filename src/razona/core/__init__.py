"""Floor 0: the nouns, the errors, the seeds and the map of a run folder. Imports nothing of Razona."""
