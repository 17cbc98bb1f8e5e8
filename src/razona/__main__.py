"""`python -m razona` is `razona`."""

from razona.cli.main import main

main()
