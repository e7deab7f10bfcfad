"""How many explanations does a network of a Boolean function have? (Méloux et al., ICLR 2025, main part)"""
