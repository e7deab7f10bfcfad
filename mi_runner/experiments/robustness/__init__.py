"""Does a circuit agree with its network between the examples, too?"""
