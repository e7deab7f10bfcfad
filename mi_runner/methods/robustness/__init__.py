"""Does a circuit answer as its network does between the examples, too? (Hadad, Katz, Bassan, ICLR 2026)

- `regions`: the boxes around examples, and the hull of all of them
- `networks`: a part and its circuits as arrays of float64 for the kernels, and where answers change
- `lines`: lines that bound what a network computes in a box, compiled
- `answers`: answers at points, and whether two answers differ beyond doubt, compiled
- `boxes`: whether two networks answer alike in a box, by splitting it, compiled
- `decide`: all circuits in all boxes, compiled
- `programs`: the same by linear programs, for what splitting leaves undecided; splits signs of neurons, not boxes
- `certify`: what is proved, refuted and undecided of circuits; most callers need only this function
- `difference`: the largest difference of a circuit's outputs to the network's, as an interval
"""
