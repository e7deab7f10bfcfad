"""Does training for clusters make a network modular, so that its clusters can be switched off? (Golechha et al.)"""
