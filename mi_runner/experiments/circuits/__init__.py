"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)"""
