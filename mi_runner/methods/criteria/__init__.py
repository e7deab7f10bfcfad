"""Which further test tells valid circuits apart? Criteria, each a number in 0..1 for each circuit, 1 the best."""
