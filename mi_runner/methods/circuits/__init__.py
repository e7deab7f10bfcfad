"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

- `cut`: the activations that enter the analysed last layers, and whether these layers alone give the network's outputs
- `search`: every circuit of these layers counted, the valid ones listed: the function that most callers want
- `space`: the well-formed circuits of a chain of layers: their number, their numbering by bits, their masks
- `circuit`: one circuit: what it keeps, how it compares with another, the network with nothing else left
- `examples`, `rounding`: what circuits are evaluated on; which outputs round to an answer
- `measures`, `device_measures`: a row a circuit, by the kernel on the CPU or by tensor operations on any device
- `census`: exact counts, where a row each would be too much
- `prefixes`, `kernel`: what every circuit of a space answers, computed with shared work
"""
