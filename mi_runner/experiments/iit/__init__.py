"""Can a network, or a rotation of a site, be trained to carry chosen variables at a chosen site? (IIT, DAS)"""
