"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

- `cut`: the activations that enter the analysed last layers, and a check that these layers give the network's outputs
- `search`: all circuits of these layers counted, the valid ones listed; most callers need only this function
- `ablation`: what an edge that is left out carries: nothing, or its mean
- `edges`: the order of the edges of a chain of any size; circuits as rows of booleans, masks and bits; how they close
- `evaluator`: the outputs of any circuits, by tensors
- `space`: the well-formed circuits of a chain of layers: their number, and what is counted of them
- `circuit`, `drawing`: one circuit, its outputs, its file, its picture; how circuits compare with each other
- `examples`, `rounding`: the examples that circuits are evaluated on; the values of one output that give an answer
- `measures`, `device_measures`: one row for each circuit, by the kernel on the CPU or by tensors on any device
- `minimality`: how minimal a valid circuit is: without some edge, without each, any circuit inside it, any at all
- `census`: exact counts of spaces that are too large for a table
- `halves`: exact counts of valid circuits where few distinct examples must all be right, for still larger spaces
- `prefixes`: the evaluation of all circuits of a space, with work that circuits share done once
- `kernels/`: the compiled loops over circuits
"""
