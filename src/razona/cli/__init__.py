"""Floor 9: the command line. One file a verb: parse, call one function, print."""
