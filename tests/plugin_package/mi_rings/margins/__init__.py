"""How sure is a network of its answers, class by class?"""
