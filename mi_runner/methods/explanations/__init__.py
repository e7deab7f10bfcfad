"""How many explanations does a network of a Boolean function have? (Méloux et al., ICLR 2025, main part)

- `boolean`: a network on the exact inputs: its answers, and the values of its neurons in a circuit
- `groundings`: where, then what: thresholds and truth tables for the neurons of a circuit, counted and listed
- `algorithms`: normalised trees of two-input functions, up to a depth
- `alignments`: what, then where: sets of neurons that carry the nodes of an algorithm
- `interchange_kernel`, `grounding_kernel`: what these compute for many circuits and choices, compiled
"""
