"""Which variables can be read from which site by a linear probe? (Alain and Bengio 2016)"""
