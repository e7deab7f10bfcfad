"""`mi-run bench`: discovery methods judged on a fixed list of networks with a known optimum or truth."""
