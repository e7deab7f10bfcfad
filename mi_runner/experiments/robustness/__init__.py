"""Does a circuit that agrees with its network on the examples also agree between them?"""
