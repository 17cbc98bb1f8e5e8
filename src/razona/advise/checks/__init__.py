"""The rules of `razona check`, a file a group; `razona.advise.check` runs them."""
