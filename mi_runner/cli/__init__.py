"""The command line: starts a run or a sweep, prints help, or prints one line that says what is wrong."""
