"""Mathematical answers: read by a parser of our own with limits, compared exactly, never evaluated as code."""
