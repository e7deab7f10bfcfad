"""Many runs as one result: the plan, the search, where jobs run, the tables of all of them."""
