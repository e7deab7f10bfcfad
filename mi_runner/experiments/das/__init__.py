"""`experiment=das` with `experiment.map`: how strong may the map from a site to its variables be?"""
