"""The command line: what was typed becomes a run, a sweep, a page of help, or one line that says what is wrong."""
